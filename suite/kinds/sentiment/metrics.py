"""Clean measures of sentiment, beside those of every classification."""

import numpy as np

from suite.data.text import texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.metrics import stats
from suite.metrics.stats import Statistic, drawn, ratio, resampled, sums_ratio
from suite.models.adapters.text import Reading, TorchText
from suite.types import Measure, not_applicable

NOT_READ = "the model does not say what it reads of a text"


@metric(kind="sentiment")
def auroc(outcomes: Outcomes) -> list[Measure]:
    """Share of pairs of a text of either class in which the second class's has the higher score; ties count half."""
    count = len(outcomes.classes)
    if count != 2:
        return [not_applicable("auroc", f"it is defined for two classes, and the task has {count}")]
    scores = outcomes.output[:, 1].astype(np.float64) - outcomes.output[:, 0]
    statistic = stats.auroc(scores, outcomes.targets == 1)
    why = "the texts are all of one class"
    return [resampled("auroc", statistic, len(scores), seed=outcomes.seed, why=why)]


@metric(kind="sentiment")
def mcc(outcomes: Outcomes) -> list[Measure]:
    """Matthews correlation of answers and labels, -1 to 1; 0 is what guessing gets whatever the classes' sizes."""
    count = len(outcomes.classes)
    statistic = correlated(outcomes.output.argmax(axis=1), outcomes.targets, count)
    why = "the texts, or the answers, are all of one class"
    return [resampled("mcc", statistic, len(outcomes.targets), seed=outcomes.seed, why=why, unit="correlation")]


def correlated(answers: Array, targets: Array, classes: int) -> Statistic:
    """Return the correlation coefficient of answers and targets (n,) for any number of classes (Gorodkin 2004)."""
    said, true = (np.eye(classes)[values] for values in (answers, targets))

    def statistic(counts: Array | None) -> Array:
        weights = drawn(counts, len(targets))
        n, right = weights.sum(axis=1), weights @ (answers == targets)
        by_answer, by_target = weights @ said, weights @ true
        shared = right * n - (by_answer * by_target).sum(axis=1)
        spread = (n**2 - (by_answer**2).sum(axis=1)) * (n**2 - (by_target**2).sum(axis=1))
        return ratio(shared, np.sqrt(spread))

    return statistic


@metric(kind="sentiment")
def unknown_words(outcomes: Outcomes) -> list[Measure]:
    """Share of the words read that are not in the model's vocabulary."""
    if not isinstance(outcomes.model, TorchText):
        return [not_applicable("unknown_words", NOT_READ)]
    reading = outcomes.model.read(outcomes.inputs)
    real = _of_text(reading)
    ids = reading.ids.cpu().numpy()
    words, unknown = real.sum(axis=1), (real & (ids == outcomes.model.tokenizer.unknown)).sum(axis=1)
    why = "no text has a word that the model reads"
    statistic = sums_ratio(unknown, words)
    return [resampled("unknown_words", statistic, len(words), seed=outcomes.seed, why=why, higher_is_better=None)]


@metric(kind="sentiment")
def texts_cut(outcomes: Outcomes) -> list[Measure]:
    """Share of the texts that are longer than the model reads: what stands behind, it never sees."""
    if not isinstance(outcomes.model, TorchText):
        return [not_applicable("texts_cut", NOT_READ)]
    reading = outcomes.model.read(outcomes.inputs)
    full = reading.mask.all(dim=1).cpu().numpy()
    ends = reading.spans[..., 1].amax(dim=1).cpu().numpy()
    texts = texts_of(outcomes.inputs.cpu().numpy())
    behind = np.array([bool(text[end:].strip()) for text, end in zip(texts, ends, strict=True)])
    params = {"length": outcomes.model.length}
    return [stats.rate("texts_cut", full & behind, higher_is_better=None, params=params)]


def _of_text(reading: Reading) -> Array:
    """Return which tokens stand for characters of the text, bool (n, length)."""
    spans = reading.spans.cpu().numpy()
    return np.asarray(reading.mask.cpu().numpy() & (spans[..., 1] > spans[..., 0]))
