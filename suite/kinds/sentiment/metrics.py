"""Metrics of sentiment, in addition to those of classification."""

import numpy as np

from suite.data.text import texts_of
from suite.decorators import metric
from suite.errors import NotApplicableError
from suite.kinds.base import Array, Outcomes, required
from suite.metrics.calibration.agreement import AGREEMENT_METRICS, agreement_measures
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import Added, Statistic, drawn, ratio, sums_ratio
from suite.metrics.stats.by_class import imagined_auroc, imagined_by_class, widened
from suite.metrics.table import Measured, Table
from suite.models.adapters.text import Reading
from suite.types import Measure

AUROC = Metric(
    "auroc",
    "AUROC",
    "probability that a sample of one class scores higher than one of the other; 50 % is chance",
    columns=(BoardColumn("AUROC"),),
)
MCC = Metric(
    "mcc",
    "Matthews correlation",
    "Matthews correlation of predictions and labels; 0 is chance, 1 is perfect",
    unit="correlation",
)
UNKNOWN_WORDS = Metric(
    "unknown_words", "unknown words", "share of words that are not in the model's vocabulary", higher_is_better=None
)
TEXTS_CUT = Metric(
    "texts_cut",
    "truncated texts",
    "share of texts that are longer than the model's input and were truncated",
    higher_is_better=None,
)

NOT_READ = "the model does not expose its tokens"


def scores(outcomes: Outcomes) -> Measured:
    """Return each text's score: the logit of the second class minus that of the first.

    Raises:
        NotApplicableError: there are not two classes.
    """
    count = len(outcomes.classes)
    if count != 2:
        raise NotApplicableError(f"it is defined for two classes, and the task has {count}")
    return Measured({"score": outcomes.output[:, 1].astype(np.float64) - outcomes.output[:, 0]})


@metric(kind="sentiment", entries=[AUROC], measure=scores)
def auroc(table: Table) -> list[Measure]:
    """Area under the ROC curve of the second class; ties count half."""
    positive, why = table["label"] == 1, "the texts are all of one class"
    if len(np.unique(positive)) < 2:
        return [table.undefined(AUROC, why, n=len(table))]
    statistic, added = imagined_auroc(table["score"], positive)
    return [table.resampled(AUROC, statistic, added=added, why=why)]


@metric(kind="sentiment", entries=[MCC])
def mcc(table: Table) -> list[Measure]:
    """Matthews correlation of predictions and labels, -1 to 1; 0 for guessing, whatever the class frequencies."""
    labels, predictions, every = table["label"], table["prediction"], np.arange(len(table.facts["classes"]))
    sizes = np.bincount(labels, minlength=len(every))
    true = np.concatenate([labels, every, every])  # with the imagined samples, wrong and right
    predicted = np.concatenate([predictions, (every + 1) % len(every), every])
    raw = matthews(predicted, true, len(every))
    own, few = matthews(predictions, labels, len(every))(None), sizes[sizes > 0].min()

    def statistic(weights: Array | None) -> Array:
        return widened(raw(weights), own, few, (-1.0, 1.0))

    why = "the texts, or the predictions, are all of one class"
    return [table.resampled(MCC, statistic, added=imagined_by_class(sizes), why=why)]


def matthews(predictions: Array, targets: Array, classes: int) -> Statistic:
    """Return the Matthews correlation of predictions and targets (n,) for any number of classes (Gorodkin 2004)."""
    predicted, true = (np.eye(classes)[values] for values in (predictions, targets))

    def statistic(counts: Array | None) -> Array:
        weights = drawn(counts, len(targets))
        n, correct = weights.sum(axis=1), weights @ (predictions == targets)
        by_prediction, by_target = weights @ predicted, weights @ true
        covariance = correct * n - (by_prediction * by_target).sum(axis=1)
        variances = (n**2 - (by_prediction**2).sum(axis=1)) * (n**2 - (by_target**2).sum(axis=1))
        return ratio(covariance, np.sqrt(variances))

    return statistic


def word_counts(outcomes: Outcomes) -> Measured:
    """Return how many words of each text the model reads, and how many of these are unknown to it.

    Raises:
        NotApplicableError: the model does not expose its tokens.
    """
    reading = _read(outcomes)
    spans = reading.spans.cpu().numpy()
    words = reading.mask.cpu().numpy() & (spans[..., 1] > spans[..., 0])  # tokens that stand for characters of the text
    unknown = words & (reading.ids.cpu().numpy() == outcomes.model.tokenizer.unknown)
    return Measured({"words": words.sum(axis=1), "unknown": unknown.sum(axis=1)})


@metric(kind="sentiment", entries=[UNKNOWN_WORDS], measure=word_counts)
def unknown_words(table: Table) -> list[Measure]:
    """Fraction of tokens that are not in the model's vocabulary."""
    unknown, words = (table[name].astype(np.float64) for name in ("unknown", "words"))
    size = (words @ words) / max(words.sum(), 1)  # of the text that an average word stands in
    # Imagined texts without a known word, and without an unknown one; see `Added`.
    statistic = sums_ratio(np.append(unknown, [size, 0]), np.append(words, [size, size]))
    added = Added(low=np.array([0.0, 1.0]), high=np.array([1.0, 0.0]))
    return [table.resampled(UNKNOWN_WORDS, statistic, added=added, why="the model reads no word of any text")]


def truncation(outcomes: Outcomes) -> Measured:
    """Return which texts are longer than the model's maximum number of tokens, and this number.

    Raises:
        NotApplicableError: the model does not expose its tokens.
    """
    reading = _read(outcomes)
    full = reading.mask.all(dim=1).cpu().numpy()
    ends = reading.spans[..., 1].amax(dim=1).cpu().numpy()
    texts = texts_of(outcomes.inputs.cpu().numpy())
    cut = full & np.array([bool(text[end:].strip()) for text, end in zip(texts, ends, strict=True)])
    return Measured({"cut": cut}, {"max_tokens": outcomes.model.length})


@metric(kind="sentiment", entries=[TEXTS_CUT], measure=truncation)
def texts_cut(table: Table) -> list[Measure]:
    """Fraction of texts that are longer than the model's maximum length, and are truncated."""
    return [table.rate(TEXTS_CUT, table["cut"], params={"length": table.facts["max_tokens"]})]


def _read(outcomes: Outcomes) -> Reading:
    if not outcomes.model.capabilities.tokens:
        raise NotApplicableError(NOT_READ)
    reading: Reading = outcomes.model.read(outcomes.inputs)
    return reading


def ratings(outcomes: Outcomes) -> Measured:
    """Return the share of raters who chose each class, NaN for unrated texts, and the predicted distributions.

    There are none for a task without ratings.
    """
    test = outcomes.data.test
    if test.shares is None:
        return Measured()
    row = {name: index for index, name in enumerate(test.ids)}
    shares = test.shares[[row[name] for name in outcomes.ids]]
    probabilities = required(outcomes.kind.probabilities).probabilities(outcomes.output)
    return Measured({"shares": shares, "probabilities": probabilities})


@metric(kind="sentiment", axis="calibration", entries=AGREEMENT_METRICS, measure=ratings)
def agreement_with_raters(table: Table) -> list[Measure]:
    """Agreement of the predicted distributions with the ratings of several people."""
    if "shares" not in table:
        return []
    predicted, shares, labels = (table[name] for name in ("probabilities", "shares", "label"))
    return agreement_measures(
        predicted, shares, labels, seed=table.seed, params=table.params, level=table.level, groups=table.groups
    )
