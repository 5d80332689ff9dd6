"""Metrics of the texts that a language model generates: memorized n-grams, variety and repetition."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from suite.data.text import WORD, texts_of
from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.language.generated_text import LENGTH, SAMPLES, unprompted
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.table import Measured, Table
from suite.types import Measure

RUN = 8
"""Characters of an n-gram that counts as memorized, or repeated."""

NGRAM_MEMORIZATION = Metric(
    "ngram_memorization",
    f"memorized {RUN}-grams",
    f"share of the {RUN}-grams of generated text that also occur in the training text",
    higher_is_better=None,
    control="real",
    columns=(BoardColumn(f"{RUN}-grams memorized"),),
)
DISTINCT_1 = Metric(
    "distinct_1",
    "distinct words",
    "distinct words as a share of all generated words",
    higher_is_better=None,
    control="real",
)
DISTINCT_2 = Metric(
    "distinct_2",
    "distinct word pairs",
    "distinct word pairs as a share of all generated word pairs",
    higher_is_better=None,
    control="real",
)
REPETITION = Metric(
    "repetition",
    "repetition",
    "share of the generated text that repeats itself",
    higher_is_better=None,
    control="real",
)

GENERATED = "generated"
"""The population of generated texts."""


def text_statistics(outcomes: Outcomes) -> list[Measured]:
    """Return the statistics of generated texts and of the evaluated windows, cut to one length.

    NaN stands for a text that is too short for a statistic.
    """
    length = min(LENGTH, outcomes.inputs.shape[1])
    generated = unprompted(outcomes, SAMPLES, length)
    real = [text[:length] for text in texts_of(outcomes.inputs.cpu().numpy())]
    train = TrainingNgrams(joined(outcomes.data.train.ids, texts_of(outcomes.data.train.inputs)))
    statistics: dict[Metric, Callable[[str], float | None]] = {
        NGRAM_MEMORIZATION: train.fraction,
        DISTINCT_1: partial(distinct_words, size=1),
        DISTINCT_2: partial(distinct_words, size=2),
        REPETITION: repetition,
    }

    def columns(texts: Sequence[str]) -> dict[str, Array]:
        return {
            one.name: np.array([statistic(text) for text in texts], np.float64) for one, statistic in statistics.items()
        }

    params = {"samples": len(generated), "characters": length, "temperature": 1.0}
    return [Measured(columns(real), {"generated": params}), Measured(columns(generated), population=GENERATED)]


@metric(kind="language", entries=[NGRAM_MEMORIZATION, DISTINCT_1, DISTINCT_2, REPETITION], measure=text_statistics)
def generated_text(table: Table) -> list[Measure]:
    """Memorized n-grams, distinct words and word pairs, and repetition in generated text.

    The control of each metric is its value on test text of the same length.
    """
    params: dict[str, Any] = table.facts["generated"]
    runs = {**params, "run": RUN}
    memorized = [(NGRAM_MEMORIZATION, runs)] if params["characters"] >= RUN else []
    rows = [*memorized, (DISTINCT_1, params), (DISTINCT_2, params), (REPETITION, runs)]
    return [_text_measure(table, one, own) for one, own in rows]


def _text_measure(table: Table, metric: Metric, params: dict[str, Any]) -> Measure:
    """Return the mean over generated texts with its interval, and that of real ones as its control."""
    values, real = (column[~np.isnan(column)] for column in (table.of(GENERATED, metric.name), table[metric.name]))
    n = len(table.of(GENERATED, metric.name))
    fields: dict[str, Any] = {"params": params, "n_failed": n - len(values)}
    if not len(values):
        return table.undefined(metric, "no text is long enough", n=n, **fields)
    return table.of_others().mean(metric, values, control=float(real.mean()) if len(real) else None, **fields)


def joined(ids: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return texts, joined where their ids, ``name/position``, show that they are adjacent."""
    groups: list[list[str]] = []
    expected = None
    for name, text in zip(ids, texts, strict=True):
        stem, _, position = name.rpartition("/")
        start = (stem, int(position)) if position.isdecimal() else None
        if start is not None and start == expected:
            groups[-1].append(text)
        else:
            groups.append([text])
        expected = None if start is None else (stem, start[1] + len(text))
    return ["".join(parts) for parts in groups]


class TrainingNgrams:
    """The n-grams of `RUN` characters that occur in training texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.hashes: Array = np.unique(np.concatenate([np.zeros(0, np.uint64), *map(_ngram_hashes, texts)]))

    def fraction(self, text: str) -> float | None:
        """Return the fraction of a text's n-grams that occur in training texts; None for a text without any."""
        hashes = _ngram_hashes(text)
        known = np.searchsorted(self.hashes, hashes, "right") > np.searchsorted(self.hashes, hashes)
        return float(known.mean()) if len(hashes) else None


def _ngram_hashes(text: str) -> Array:
    """Return a hash for each n-gram of `RUN` characters of a text, (characters - RUN + 1,).

    With 64 bits, the probability of any collision among a million different n-grams is less than 1e-6.
    """
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    if len(points) < RUN:
        return np.zeros(0, np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(points, RUN)
    hashes = np.full(len(windows), 0x9E3779B97F4A7C15, np.uint64)
    for column in windows.T:
        hashes = (hashes ^ column) * np.uint64(0xFF51AFD7ED558CCD)
        hashes ^= hashes >> np.uint64(33)
    return hashes


def distinct_words(text: str, size: int) -> float | None:
    """Return the fraction of distinct n-grams of `size` words in a text; None for a text without any."""
    words = WORD.findall(text.lower())
    ngrams = list(zip(*(words[start:] for start in range(size)), strict=False))
    return len(set(ngrams)) / len(ngrams) if ngrams else None


def repetition(text: str) -> float | None:
    """Return the fraction of a text's n-grams of `RUN` characters that repeat earlier ones; None without any."""
    hashes = _ngram_hashes(text)
    return 1 - len(np.unique(hashes)) / len(hashes) if len(hashes) else None
