"""Sentiment metrics: against scikit-learn, by hand, and in undefined cases."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import matthews_corrcoef, roc_auc_score
from torch import nn

from suite.data import Split
from suite.data.text import packed
from suite.kinds.base import Outcomes
from suite.kinds.sentiment.kind import Sentiment
from suite.kinds.sentiment.metrics import auroc, mcc, texts_cut, unknown_words
from suite.metrics.stats.bootstrap import bootstrap, resample_counts
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.networks.text import Bag

CLASSES = ("negative", "positive")


def outcomes(logits: Any, targets: Any, classes: tuple[str, ...] = CLASSES, **more: Any) -> Outcomes:
    output = np.asarray(logits, np.float32)
    return Outcomes(
        tuple(f"t{place}" for place in range(len(output))), output, np.asarray(targets), classes, 0, Sentiment(), **more
    )


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
    (measure,) = auroc(outcomes(*guesses(20, 3), ("a", "b", "c")))
    assert measure.status == "skipped"
    assert "3" in measure.reason


@pytest.mark.parametrize("classes", [2, 4])
def test_mcc_matches_sklearn(classes: int) -> None:
    logits, targets = guesses(200, classes)
    (measure,) = mcc(outcomes(logits, targets, tuple("abcd"[:classes])))
    assert measure.value == pytest.approx(matthews_corrcoef(targets, logits.argmax(axis=1)), abs=1e-12)
    assert measure.lo < measure.value < measure.hi


def test_mcc_of_a_constant_model_is_undefined() -> None:
    (measure,) = mcc(outcomes([[1.0, 0.0]] * 4, [0, 1, 0, 1]))
    assert measure.value is None


@pytest.mark.parametrize(
    ("metric", "oracle"),
    [
        (auroc, lambda logits, targets: roc_auc_score(targets, logits[:, 1] - logits[:, 0])),
        (mcc, lambda logits, targets: matthews_corrcoef(targets, logits.argmax(axis=1))),
    ],
)
def test_interval_matches_resampled_texts(metric: Any, oracle: Any) -> None:
    """scikit-learn evaluates every resample."""
    logits, targets = guesses(60)
    draws: list[np.ndarray] = []
    bootstrap(lambda indices: draws.append(indices) or np.zeros(len(indices)), 60, seed=0, replicates=400)
    values = [oracle(logits[row], targets[row]) for row in np.concatenate(draws)]
    (measure,) = metric(outcomes(logits, targets))
    np.testing.assert_allclose((measure.lo, measure.hi), np.quantile(values, [0.025, 0.975]), atol=1e-12)


def reader(length: int = 4) -> TorchText:
    words = Words(("good", "film", "!"))
    return TorchText(Bag(len(words.vocabulary), 2), words, length=length)


def reads(*texts: str, model: Any = None, room: int = 8) -> Outcomes:
    rows = torch.from_numpy(packed(texts, max(map(len, texts)) + room))
    return outcomes(np.zeros((len(texts), 2)), [0] * len(texts), model=model or reader(), inputs=rows)


def test_unknown_words_are_a_fraction_of_words_read() -> None:
    (measure,) = unknown_words(reads("Good film!", "bad", "good good good good bad bad bad"))
    assert measure.value == 1 / 8  # only the first four words are read
    assert measure.n == 3
    assert measure.lo <= measure.value <= measure.hi


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


@pytest.mark.parametrize("metric", [unknown_words, texts_cut])
def test_token_metrics_are_skipped_for_models_without_tokens(metric: Any) -> None:
    (measure,) = metric(reads("good", model=nn.Identity()))
    assert measure.status == "skipped"


def data(shares: np.ndarray | None) -> Any:
    ids = tuple(f"t{place}" for place in range(4))
    return SimpleNamespace(test=Split(ids, packed(list("abcd"), 2), np.array([0, 1, 0, 1]), shares))


def test_rater_votes_are_joined_by_id() -> None:
    shares = np.array([[1.0, 0.0], [0.3, 0.7], [np.nan, np.nan], [0.1, 0.9]])
    logits = np.log([[0.1, 0.9], [0.3, 0.7]])
    few = Outcomes(("t3", "t1"), logits, np.array([1, 1]), CLASSES, 0, Sentiment(), data=data(shares))
    measures = {measure.metric: measure for measure in Sentiment().uncertainty(few)}
    assert measures["js_distance"].value == pytest.approx(0.0, abs=1e-7)
    assert measures["total_variation"].n == 2
    assert (measures["accuracy_agreed"].n, measures["accuracy_disputed"].n) == (1, 1)
    assert measures["soft_cross_entropy"].params == {"unrated": 0}


def test_no_rater_rows_for_a_task_without_votes() -> None:
    assert Sentiment().uncertainty(outcomes(np.zeros((4, 2)), [0, 1, 0, 1], data=data(None))) == []


def test_statistic_weights_texts_by_resampling_counts() -> None:
    from suite.kinds.sentiment.metrics import matthews
    from suite.metrics import stats

    logits, targets = guesses(30)
    indices = np.random.default_rng(0).integers(0, 30, (5, 30))
    counts, scores = resample_counts(indices).T, logits[:, 1] - logits[:, 0]
    for statistic, each in (
        (stats.auroc(scores, targets == 1), lambda row: stats.auroc(scores[row], targets[row] == 1)(None)),
        (
            matthews(logits.argmax(axis=1), targets, 2),
            lambda row: matthews(logits[row].argmax(axis=1), targets[row], 2)(None),
        ),
    ):
        np.testing.assert_allclose(statistic(counts), np.concatenate([each(row) for row in indices]), atol=1e-12)
