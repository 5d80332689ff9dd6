"""Clean metrics of sentiment, in addition to those of classification."""

import numpy as np

from suite.data.text import texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.metrics import stats
from suite.metrics.stats import Statistic, drawn, ratio, resampled, sums_ratio
from suite.models.adapters.text import TorchText
from suite.types import Measure, not_applicable

NOT_READ = "the model does not expose its tokens"


@metric(kind="sentiment")
def auroc(outcomes: Outcomes) -> list[Measure]:
    """Area under the ROC curve of the second class; ties count half."""
    count = len(outcomes.classes)
    if count != 2:
        return [not_applicable("auroc", f"it is defined for two classes, and the task has {count}")]
    scores = outcomes.output[:, 1].astype(np.float64) - outcomes.output[:, 0]
    statistic = stats.auroc(scores, outcomes.targets == 1)
    why = "the texts are all of one class"
    return [resampled("auroc", statistic, len(scores), seed=outcomes.seed, why=why)]


@metric(kind="sentiment")
def mcc(outcomes: Outcomes) -> list[Measure]:
    """Matthews correlation of predictions and labels, -1 to 1; 0 for guessing, whatever the class frequencies."""
    statistic = matthews(outcomes.output.argmax(axis=1), outcomes.targets, len(outcomes.classes))
    why = "the texts, or the predictions, are all of one class"
    return [resampled("mcc", statistic, len(outcomes.targets), seed=outcomes.seed, why=why, unit="correlation")]


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


@metric(kind="sentiment")
def unknown_words(outcomes: Outcomes) -> list[Measure]:
    """Fraction of tokens that are not in the model's vocabulary."""
    if not isinstance(outcomes.model, TorchText):
        return [not_applicable("unknown_words", NOT_READ)]
    reading = outcomes.model.read(outcomes.inputs)
    spans = reading.spans.cpu().numpy()
    words = reading.mask.cpu().numpy() & (spans[..., 1] > spans[..., 0])  # tokens that stand for characters of the text
    unknown = words & (reading.ids.cpu().numpy() == outcomes.model.tokenizer.unknown)
    why = "the model reads no word of any text"
    statistic = sums_ratio(unknown.sum(axis=1), words.sum(axis=1))
    return [resampled("unknown_words", statistic, len(words), seed=outcomes.seed, why=why, higher_is_better=None)]


@metric(kind="sentiment")
def texts_cut(outcomes: Outcomes) -> list[Measure]:
    """Fraction of texts that are longer than the model's maximum length, and are truncated."""
    if not isinstance(outcomes.model, TorchText):
        return [not_applicable("texts_cut", NOT_READ)]
    reading = outcomes.model.read(outcomes.inputs)
    full = reading.mask.all(dim=1).cpu().numpy()
    ends = reading.spans[..., 1].amax(dim=1).cpu().numpy()
    texts = texts_of(outcomes.inputs.cpu().numpy())
    truncated = full & np.array([bool(text[end:].strip()) for text, end in zip(texts, ends, strict=True)])
    return [stats.rate("texts_cut", truncated, higher_is_better=None, params={"length": outcomes.model.length})]
