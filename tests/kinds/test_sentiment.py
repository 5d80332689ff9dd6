"""Sentiment metrics: against scikit-learn, by hand, and in undefined cases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from suite.data import Split
from suite.data.text import packed
from suite.errors import NotApplicableError
from suite.kinds.base import Outcomes, required
from suite.kinds.sentiment import metrics
from suite.kinds.sentiment.kind import Sentiment
from suite.metrics import stats
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.networks.text import Bag
from suite.types import TEXT, Capabilities, Measure
from tests.kinds.tables import assert_same, part, table_of

CLASSES = ("negative", "positive")


def outcomes(logits: Any, targets: Any, classes: tuple[str, ...] = CLASSES, **more: Any) -> Outcomes:
    output = np.asarray(logits, np.float32)
    return Outcomes(
        tuple(f"t{place}" for place in range(len(output))),
        output,
        np.asarray(targets),
        classes,
        0,
        Sentiment().kind(),
        **more,
    )


def auroc(given: Outcomes) -> list[Measure]:
    return metrics.auroc(table_of(given, metrics.scores))


def mcc(given: Outcomes) -> list[Measure]:
    return metrics.mcc(table_of(given))


def unknown_words(given: Outcomes) -> list[Measure]:
    return metrics.unknown_words(table_of(given, metrics.word_counts))


def texts_cut(given: Outcomes) -> list[Measure]:
    return metrics.texts_cut(table_of(given, metrics.truncation))


def raters(given: Outcomes) -> list[Measure]:
    return metrics.agreement_with_raters(table_of(given, metrics.ratings))


def guesses(n: int, classes: int = 2, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return logits that favor the target and have many ties, and targets."""
    generator = np.random.default_rng(seed)
    targets = generator.integers(0, classes, n)
    return np.round(generator.normal(size=(n, classes)) + np.eye(classes)[targets]), targets


def test_auroc_matches_sklearn_with_ties() -> None:
    logits, targets = guesses(300)
    (measure,) = auroc(outcomes(logits, targets))
    assert measure.value == pytest.approx(roc_auc_score(targets, logits[:, 1] - logits[:, 0]), abs=1e-12)
    assert measure.lo < measure.value < measure.hi
    assert measure.n == 300


@pytest.mark.parametrize(
    ("scores", "targets", "expected"),
    [
        ([0, 1, 2, 3], [0, 0, 1, 1], 1.0),
        ([3, 2, 1, 0], [0, 0, 1, 1], 0.0),
        ([1, 1, 1, 1], [0, 1, 0, 1], 0.5),
        ([0, 1, 1, 2], [0, 0, 1, 1], 0.875),
        ([0, 2, 1], [0, 0, 1], 0.5),
    ],
)
def test_auroc_by_hand(scores: list[float], targets: list[int], expected: float) -> None:
    (measure,) = auroc(outcomes([[0.0, score] for score in scores], targets))
    assert measure.value == expected


def test_auroc_does_not_depend_on_order() -> None:
    logits, targets = guesses(100)
    order = np.random.default_rng(1).permutation(100)
    assert auroc(outcomes(logits, targets))[0].value == auroc(outcomes(logits[order], targets[order]))[0].value


@pytest.mark.parametrize("metric", [auroc, mcc])
def test_auroc_and_mcc_are_undefined_for_one_class(metric: Any) -> None:
    (measure,) = metric(outcomes([[0.0, 1.0], [1.0, 0.0]], [1, 1]))
    assert (measure.value, measure.lo, measure.hi, measure.n) == (None, None, None, 2)
    assert "all of one class" in measure.reason


def test_auroc_needs_two_classes() -> None:
    with pytest.raises(NotApplicableError, match="two classes, and the task has 3"):
        metrics.scores(outcomes(*guesses(20, 3), ("a", "b", "c")))


@pytest.mark.parametrize("classes", [2, 4])
def test_mcc_matches_sklearn(classes: int) -> None:
    logits, targets = guesses(200, classes)
    (measure,) = mcc(outcomes(logits, targets, tuple("abcd"[:classes])))
    assert measure.value == pytest.approx(matthews_corrcoef(targets, logits.argmax(axis=1)), abs=1e-12)
    assert measure.lo < measure.value < measure.hi


def test_mcc_of_a_constant_model_is_undefined() -> None:
    (measure,) = mcc(outcomes([[1.0, 0.0]] * 4, [0, 1, 0, 1]))
    assert measure.value is None


@pytest.mark.parametrize("metric", [auroc, mcc])
def test_zero_errors_leave_room_for_errors(metric: Any) -> None:
    targets = np.repeat([0, 1], 25)
    (measure,) = metric(outcomes(np.eye(2)[targets], targets))
    assert (measure.value, measure.hi) == (1.0, 1.0)
    assert measure.lo < 0.93  # 3 of 50 may be wrong


@pytest.mark.parametrize("metric", [auroc, mcc])
def test_intervals_are_wider_for_fewer_texts_of_a_class(metric: Any) -> None:
    def width(rare: int) -> float:
        targets = np.repeat([0, 1], [200 - rare, rare])
        (measure,) = metric(outcomes(np.eye(2)[targets], targets))
        return measure.hi - measure.lo

    assert width(100) < width(20) < width(5)


def test_interval_of_auroc_matches_delong() -> None:
    """On many texts both are the normal interval; the variance is that of DeLong et al. (1988)."""
    logits, targets = guesses(1000)
    scores = logits[:, 1] - logits[:, 0]
    (measure,) = auroc(outcomes(logits, targets))
    gaps = scores[targets == 1][:, None] - scores[targets == 0]
    wins = (gaps > 0) + (gaps == 0) / 2
    variance = sum(wins.mean(axis=axis).var(ddof=1) / wins.shape[1 - axis] for axis in (0, 1))
    assert (measure.hi - measure.lo) == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.15)


def reader(length: int = 4) -> TorchText:
    words = Words(("good", "film", "!"))
    return TorchText(Bag(len(words.vocabulary), 2), words, length=length)


def reads(*texts: str, model: Any = None, room: int = 8) -> Outcomes:
    rows = torch.from_numpy(packed(texts, max(map(len, texts)) + room))
    return outcomes(np.zeros((len(texts), 2)), [0] * len(texts), model=model or reader(), read=lambda: rows)


def test_unknown_words_are_a_fraction_of_words_read() -> None:
    (measure,) = unknown_words(reads("Good film!", "bad", "good good good good bad bad bad"))
    assert measure.value == 1 / 8  # only the first four words are read
    assert measure.n == 3
    assert measure.lo <= measure.value <= measure.hi


def test_no_unknown_word_leaves_room_for_some() -> None:
    """Of texts of equal length the interval is that of a rate of texts without a known word."""
    (measure,) = unknown_words(reads(*["good film"] * 50))
    assert (measure.value, measure.lo) == (0.0, 0.0)
    assert measure.hi == pytest.approx(stats.clopper_pearson(0, 50, 0.95)[1], abs=0.015)


def test_unknown_words_are_undefined_without_words() -> None:
    (measure,) = unknown_words(reads("  ", " "))
    assert measure.value is None
    assert "the model reads no word" in measure.reason


def test_text_is_truncated_only_if_words_are_lost() -> None:
    (measure,) = texts_cut(reads("good good film !", "good good film !  ", "good good film ! .", "good"))
    assert (measure.value, measure.n) == (0.25, 4)
    assert measure.params == {"length": 4}
    (none,) = texts_cut(reads("good good film ! .", model=reader(5)))
    assert none.value == 0.0


@pytest.mark.parametrize("measure", [metrics.word_counts, metrics.truncation])
def test_token_metrics_do_not_apply_to_models_without_tokens(measure: Any) -> None:
    with pytest.raises(NotApplicableError, match="does not expose its tokens"):
        measure(reads("good", model=SimpleNamespace(capabilities=Capabilities())))


def data(shares: np.ndarray | None) -> Any:
    ids = tuple(f"t{place}" for place in range(4))
    return SimpleNamespace(test=Split(ids, packed(list("abcd"), 2), np.array([0, 1, 0, 1]), shares))


def test_rater_votes_are_joined_by_id() -> None:
    shares = np.array([[1.0, 0.0], [0.3, 0.7], [np.nan, np.nan], [0.1, 0.9]])
    logits = np.log([[0.1, 0.9], [0.3, 0.7]])
    few = Outcomes(("t3", "t1"), logits, np.array([1, 1]), CLASSES, 0, Sentiment().kind(), data=data(shares))
    measures = {measure.metric: measure for measure in raters(few)}
    assert measures["js_distance"].value == pytest.approx(0.0, abs=1e-7)
    assert measures["total_variation"].n == 2
    assert (measures["accuracy_agreed"].n, measures["accuracy_disputed"].n) == (1, 1)
    assert measures["soft_cross_entropy"].params == {"unrated": 0}


def test_no_rater_rows_for_a_task_without_votes() -> None:
    assert raters(outcomes(np.zeros((4, 2)), [0, 1, 0, 1], data=data(None))) == []


def test_statistic_weights_texts_by_resampling_counts() -> None:
    matthews = metrics.matthews
    logits, targets = guesses(30)
    indices = np.random.default_rng(0).integers(0, 30, (5, 30))
    counts = np.stack([np.bincount(row, minlength=30) for row in indices]).astype(float)
    scores = logits[:, 1] - logits[:, 0]
    for statistic, each in (
        (stats.auroc(scores, targets == 1), lambda row: stats.auroc(scores[row], targets[row] == 1)(None)),
        (
            matthews(logits.argmax(axis=1), targets, 2),
            lambda row: matthews(logits[row].argmax(axis=1), targets[row], 2)(None),
        ),
    ):
        np.testing.assert_allclose(statistic(counts), np.concatenate([each(row) for row in indices]), atol=1e-12)


@pytest.mark.parametrize("rows", [[3, 0, 1], [1, 2, 3, 4, 5, 6, 7]])
def test_summary_of_some_texts_equals_a_run_on_them(rows: list[int]) -> None:
    logits, targets = guesses(8)
    shares = np.random.default_rng(0).multinomial(10, [0.5, 0.5], 8) / 10
    shares[5] = np.nan
    texts = ("good", "a bad film !", "good good good film ! !", "bad", "", "so good", "film film", "x y z u v w")
    read = reads(*texts)
    ids = read.ids
    test = SimpleNamespace(test=Split(ids, read.inputs.numpy(), targets, shares))
    given = Outcomes(ids, logits.astype(np.float32), targets, CLASSES, 0, read.kind, read.model, test, read.read)
    measurements = (metrics.scores, metrics.word_counts, metrics.truncation, metrics.ratings)
    whole, direct = table_of(given, *measurements), table_of(part(given, rows), *measurements)
    for summary in (
        metrics.auroc,
        metrics.mcc,
        metrics.unknown_words,
        metrics.texts_cut,
        metrics.agreement_with_raters,
    ):
        assert_same(summary(whole.take(rows)), summary(direct))


def test_texts_are_explained_by_their_tokens() -> None:
    kind = Sentiment().kind()
    assert (kind.name, kind.input, kind.inherits) == ("sentiment", TEXT, ("classification",))
    with pytest.raises(NotApplicableError, match="use the axis rationale"):
        required(kind.maps)
    assert required(kind.features).explainable(np.zeros((3, 2))).tolist() == [True] * 3
    assert reader().capabilities.tokens and not reader().in_space("embedding").capabilities.tokens
