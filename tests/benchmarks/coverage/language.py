"""Cells of samples in groups: windows in runs, all windows of a passage, and sentences of reviews."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter
from scipy.special import ndtr, ndtri

from suite.data.windows import RUN_LENGTH, in_runs
from suite.kinds.classification.kind import ACCURACY
from suite.kinds.language import metrics as language
from suite.kinds.sentiment import metrics as sentiment
from suite.metrics.table import GROUP, Column, Table
from suite.types import Measure, Sample
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[np.generic]
Summary = Callable[[Table], Sequence[Measure]]

CHARACTERS = 128
"""Scored characters of a window."""

BITS, SPREAD = 2.5, 0.18
"""Mean bits per character, and the standard deviation of their logarithm among windows; both as in the plays."""

CORRELATION, RANGE = 0.25, 12.0
"""Correlation of neighbouring windows of the plays, and the distance at which it has fallen to 1 / e."""

SENTENCES = 9
"""Mean number of sentences of a review, as in the product reviews of VADER."""


def _table(columns: dict[str, Array], groups: Array, rng: np.random.Generator, level: float) -> Table:
    named = {**columns, GROUP: np.array([f"g{group}" for group in groups], dtype=object)}
    facts = {"classes": ["negative", "positive"], "causal": "pass"}
    return Table(tuple(Column(name, values) for name, values in named.items()), facts, int(rng.integers(2**31)), level)


def _window_table(effects: npt.NDArray[np.float64], groups: Array, rng: np.random.Generator, level: float) -> Table:
    """Return windows whose bits are log-normal; `effects` are standard normal, (n,)."""
    characters = np.full(effects.size, CHARACTERS)
    bits = BITS * CHARACTERS * np.exp(SPREAD * effects - SPREAD**2 / 2)
    correct = rng.binomial(CHARACTERS, 0.25 + 0.5 * ndtr(effects))
    columns = {"bits": bits, "characters": characters, "bytes": characters, "correct_characters": correct}
    return _table(columns, groups, rng, level)


def _runs(summary: Summary, index: int, runs: int, share: float, rng: np.random.Generator, level: float) -> Measure:
    """Measure runs of windows; `share` is the correlation of two windows of one run."""
    groups = np.repeat(np.arange(runs), RUN_LENGTH)
    effects = np.sqrt(share) * rng.standard_normal(runs)[groups] + np.sqrt(1 - share) * rng.standard_normal(groups.size)
    return summary(_window_table(effects, groups, rng, level))[index]


def _passage(n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure all windows of a passage, in the groups that the suite makes of them."""
    step = np.exp(-1 / RANGE)
    state = lfilter([np.sqrt(1 - step**2)], [1, -step], rng.standard_normal(n + 200))[200:]
    effects = np.sqrt(CORRELATION) * state + np.sqrt(1 - CORRELATION) * rng.standard_normal(n)
    windows = in_runs([Sample(str(place), "", 0) for place in range(n)], None)
    return language.bits_per_character(_window_table(effects, np.array([w.group for w in windows]), rng, level))[0]


def _reviews(n: int, rng: np.random.Generator) -> Array:
    """Return the review of each of n sentences; the lengths of reviews are geometric."""
    ends = np.cumsum(rng.geometric(1 / SENTENCES, n))
    return np.searchsorted(ends, np.arange(n), side="right")


def _accuracy(accuracy: float, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure sentences of which two of one review are right together with a correlation of 0.2."""
    reviews = _reviews(n, rng)
    chances = rng.beta(4 * accuracy, 4 * (1 - accuracy), n)  # of a beta distribution with the sum 4: 1 / (4 + 1)
    correct = rng.random(n) < chances[reviews]
    return _table({"correct": correct}, reviews, rng, level).rate(ACCURACY, correct)


def _auroc(d: float, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Measure scores of two normal classes with distance d, of which a third of the variance is that of reviews."""
    reviews, labels = _reviews(n, rng), (rng.random(n) < 0.5).astype(np.int64)
    noise = np.sqrt(1 / 3) * rng.standard_normal(n)[reviews] + np.sqrt(2 / 3) * rng.standard_normal(n)
    return sentiment.auroc(_table({"label": labels, "score": noise + d * (labels - 0.5)}, reviews, rng, level))[0]


def _of_windows() -> Iterator[Cell]:
    rows = (
        (language.bits_per_character, 0, "bits_per_character", BITS),
        (language.bits_per_character, 2, "perplexity", 2**BITS),
        (language.next_character_accuracy, 0, "next_character_accuracy", 0.5),
    )
    for summary, index, name, truth in rows:
        for share in (0.2, 0.7):
            for runs in (5, 10, 20, 100):
                setting = f"{runs} runs of {RUN_LENGTH} windows, correlation {share}"
                draw = partial(_runs, summary, index, runs, share)
                quick = (name, share, runs) == ("bits_per_character", 0.7, 10)
                yield Cell(name, setting, runs * RUN_LENGTH, truth, draw, quick)
    for n in (200, 500, 1891):
        yield Cell("bits_per_character", "all windows of a passage", n, BITS, partial(_passage, n))


def _of_sentences() -> Iterator[Cell]:
    for accuracy in (0.98, 0.9, 0.5):
        for n in (50, 100, 200, 1000, 5000):
            yield Cell(
                "accuracy", f"sentences of reviews, accuracy {accuracy}", n, accuracy, partial(_accuracy, accuracy, n)
            )
            d = 2 * float(ndtri(accuracy))
            truth = float(ndtr(d / np.sqrt(2)))
            yield Cell("auroc", f"sentences of reviews, accuracy {accuracy}", n, truth, partial(_auroc, d, n))


CELLS: list[Cell] = [*_of_windows(), *_of_sentences()]
