"""Cells of the metrics of segmentation, from simulated confusion matrices and sums over pixels per image."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit, ndtr
from scipy.stats import beta

from suite.kinds.segmentation.calibration import segmentation_calibration
from suite.kinds.segmentation.metrics import mean_iou, pixel_accuracy
from suite.metrics.segmentation import PixelEvents, class_pixels
from suite.metrics.table import Column, Table
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[np.float64]

SIZES = (50, 200, 1000)
ACCURACIES = (0.98, 0.9, 0.5)
SHARES = {
    "balanced": (0.7,) * 5,
    "long tail": (1.0, 0.6, 0.4, 0.2, 0.1, 0.06),
    "95:5": (1.0, 0.05),
}
"""The share of images that show each class."""

TRUTHS = Path(__file__).with_name("segmentation.json")
"""The true values by setting and measure; ``python -m tests.benchmarks.coverage.segmentation`` writes them."""

LOG_ODDS = (5.0, 2.7, 0.3)
"""Mean log odds of correct pixels for these accuracies; of two classes the lowest is a little above .5."""

BINS, PATCH = 15, (20, 20)
"""Bins of confidence, and size of an image whose pixels are simulated."""

PIXELS = 10_000
SPREAD = 4.0
"""Parameters a + b of the beta distribution of the accuracy of a class in an image: some images fail altogether."""


@dataclass(frozen=True)
class Segmenter:
    """A segmenter whose accuracies on the classes of an image are correlated.

    Attributes:
        accuracy: expected share of correct pixels of a class in an image.
        shares: of images that show each class, (classes,).
    """

    accuracy: float
    shares: tuple[float, ...]

    def confusions(self, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Return confusion matrices of images, (n, classes, classes)."""
        classes = len(self.shares)
        shown = rng.random((n, classes)) < self.shares
        shown[~shown.any(axis=1), 0] = True
        size = rng.standard_gamma(1.0, (n, classes)) * shown
        size[:, 0] *= 3
        truths = np.maximum(size / size.sum(axis=1, keepdims=True) * PIXELS, 20 * shown)
        common, own = rng.standard_normal((n, 1)), rng.standard_normal((n, classes))
        rank = ndtr((common + own) / np.sqrt(2))
        right = beta.ppf(rank, SPREAD * self.accuracy, SPREAD * (1 - self.accuracy))
        # Wrong pixels are taken for classes of the image, and seldom for others.
        mistaken = shown | (rng.random((n, classes)) < np.maximum(0.1 * np.array(self.shares), 0.01))
        parts = [self._row(index, truths[:, index], right[:, index], mistaken, rng) for index in range(classes)]
        return np.rint(np.stack(parts, axis=1)).astype(np.int64)

    def _row(
        self, index: int, truths: Array, right: Array, mistaken: npt.NDArray[np.bool_], rng: np.random.Generator
    ) -> Array:
        weights = mistaken * rng.standard_gamma(1.0, mistaken.shape)
        weights[:, index] = 0
        weights[weights.sum(axis=1) == 0, 1 if index == 0 else 0] = 1
        row = (truths * (1 - right))[:, None] * weights / weights.sum(axis=1, keepdims=True)
        row[:, index] = truths * right
        return np.asarray(row)

    def table(self, n: int, rng: np.random.Generator, level: float) -> Table:
        """Return what the suite stores of n images."""
        facts = {"classes": [f"c{index}" for index in range(len(self.shares))]}
        columns = Column("id", np.arange(n).astype(str)), Column("confusion", self.confusions(n, rng))
        return Table(columns, facts, int(rng.integers(2**31)), level)

    def truths(self) -> dict[str, float]:
        """Return the values of all measures over 120,000 images."""
        rng = np.random.default_rng(1)
        total = sum(self.confusions(20_000, rng).sum(axis=0, keepdims=True) for _ in range(6))
        hits, true, predicted = (part[0] for part in class_pixels(np.asarray(total)))
        each = hits / (true + predicted - hits)
        return {
            "miou": float(each.mean()),
            "class_iou": float(each[-1]),
            "mean_accuracy": float((hits / true).mean()),
            "pixel_accuracy": float(hits.sum() / true.sum()),
        }


@dataclass(frozen=True)
class Pixels:
    """A segmenter of two classes, overconfident in images that are hard.

    Attributes:
        log_odds: mean log odds of a correct pixel.
    """

    log_odds: float

    def columns(self, n: int, rng: np.random.Generator) -> dict[str, npt.NDArray[Any]]:
        """Return the sums over pixels of n images."""
        ease, own = rng.standard_normal((n, 1, 1)), rng.standard_normal((n, *PATCH))
        right = expit(self.log_odds + ease + own)
        stated = expit(self.log_odds + 0.5 * ease + 1.2 * own)
        truth = rng.integers(0, 2, stated.shape)
        candidate = np.where(rng.random(stated.shape) < right, truth, 1 - truth)
        first = np.where(candidate == 0, stated, 1 - stated)
        probabilities = np.stack([first, 1 - first], axis=1)
        return dict(PixelEvents.of(probabilities, truth, bins=BINS).columns)

    def table(self, n: int, rng: np.random.Generator, level: float) -> Table:
        """Return what the suite stores of n images."""
        columns = tuple(Column(name, values) for name, values in self.columns(n, rng).items())
        return Table(columns, {"bins": BINS}, int(rng.integers(2**31)), level)

    def truths(self) -> dict[str, float]:
        """Return the values of measures over 8,000 images; of binned errors the mean over sets of each size."""
        rng = np.random.default_rng(1)
        events = PixelEvents(self.columns(8_000, rng))
        values = {
            "nll": float(events.nll()[0]),
            "brier": float(events.brier()[0]),
            "image_ece": float(events.per_image_ece().mean()),
        }
        for n in SIZES:
            sets = np.zeros((400, 8_000))
            for row in sets:
                row[rng.choice(8_000, n, replace=False)] = 1
            values[f"ece, {n}"] = float(events.ece(counts=sets).mean())
            values[f"classwise_ece, {n}"] = float(events.classwise_ece(sets).mean())
        return values


Model = Segmenter | Pixels

SUMMARIES: dict[str, Callable[[Table], Sequence[Measure]]] = {
    **dict.fromkeys(("miou", "class_iou"), mean_iou),
    **dict.fromkeys(("pixel_accuracy", "mean_accuracy"), pixel_accuracy),
    **dict.fromkeys(("ece", "classwise_ece", "nll", "brier", "image_ece"), segmentation_calibration),
}


def settings() -> dict[str, Model]:
    """Return the segmenters by setting."""
    odds = zip(ACCURACIES, LOG_ODDS, strict=True)
    return {
        **{
            f"accuracy {accuracy}, {balance}": Segmenter(accuracy, shares)
            for balance, shares in SHARES.items()
            for accuracy in ACCURACIES
        },
        **{f"accuracy {accuracy}, pixels": Pixels(log_odds) for accuracy, log_odds in odds},
    }


def _draw(name: str, model: Model, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Return a measure of one data set: of a class, that of the last, the rarest; of a region, that of all pixels."""
    found = [one for one in SUMMARIES[name](model.table(n, rng, level)) if one.metric == name]
    return found[0 if name == "ece" else -1]


def _cells() -> Iterator[Cell]:
    known = json.loads(TRUTHS.read_text()) if TRUTHS.exists() else {}
    for setting, model in settings().items():
        truths = known.get(setting, {})
        for n in SIZES:
            for name in SUMMARIES:
                truth = truths.get(name, truths.get(f"{name}, {n}"))
                if truth is not None:
                    quick = (name, setting, n) == ("class_iou", "accuracy 0.98, long tail", 50)
                    label = setting + ", rarest class" * (name == "class_iou")
                    yield Cell(name, label, n, truth, partial(_draw, name, model, n), quick)


CELLS: list[Cell] = list(_cells())


def _write_truths() -> None:
    values = {name: model.truths() for name, model in settings().items()}
    rounded = {name: {key: round(value, 5) for key, value in own.items()} for name, own in values.items()}
    TRUTHS.write_text(json.dumps(rounded, indent=1) + "\n")


if __name__ == "__main__":
    _write_truths()
