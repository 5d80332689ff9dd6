"""Cells of the metrics of detection, from simulated boxes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from suite.kinds.detection import metrics
from suite.kinds.detection.calibration import D_ECE_BINS, LAECE_BINS, detection_calibration
from suite.metrics import detection as boxes
from suite.metrics.stats import mean_defined
from suite.metrics.stats.imagined import FEWEST_SAMPLES
from suite.metrics.table import Column, Table
from suite.types import Measure
from tests.benchmarks.coverage.cells import Cell

Array = npt.NDArray[Any]
Summary = Callable[[Table], Sequence[Measure]]

SIZES = (50, 200, 1000)
QUALITIES = (0.98, 0.9, 0.5)
SHARES = {"balanced": (0.7, 0.7, 0.7), "long tail": (0.9, 0.5, 0.2, 0.06), "95:5": (1.0, 0.05)}
"""The share of images that show each class."""

SIDE, PITCH, MOST = 20.0, 60.0, 4
"""Side of a box, distance between objects, and most objects of a class in an image."""

TRUTH_SETS = {50: 1000, 200: 300, 1000: 100}
"""Number of data sets whose mean is the value expected at a number of images."""

TRUTHS = Path(__file__).with_name("detection.json")
"""The true values by setting, number of images and measure; ``python -m tests.benchmarks.coverage.detection`` writes
them."""

EXPECTED = ("map", "map50", "class_map", "olrp", "d_ece", "laece")
"""Measures whose interval is of the value expected at this number of images; that of others is of the value of all."""


@dataclass(frozen=True)
class Detector:
    """A detector whose errors within an image are correlated.

    Attributes:
        quality: expected share of objects that are found.
        shares: of images that show each class, (classes,).
    """

    quality: float
    shares: tuple[float, ...]

    def tables(self, n: int, rng: np.random.Generator) -> tuple[Array, Array]:
        """Return detections (n, D, 6) and true boxes (n, M, 6)."""
        classes = len(self.shares)
        shown = rng.random((n, classes)) < self.shares
        number = np.minimum(1 + rng.poisson(0.7, (n, classes)), MOST) * shown
        place = np.arange(classes * MOST)
        label, row = place // MOST, place % MOST
        real = row < number[:, label]
        truth = np.zeros((n, classes * MOST, 6), np.float32)
        truth[..., 0], truth[..., 2], truth[..., 3] = place * PITCH, place * PITCH + SIDE, SIDE
        truth[..., 4] = np.where(real, label, -1)
        # The difficulty of an image and of an object decide on recall, score and overlap.
        ease = (rng.standard_normal((n, 1)) + rng.standard_normal(real.shape)) / np.sqrt(2)
        found = real & (ndtr(ease) > 1 - self.quality)
        overlap = 0.55 + 0.45 * ndtr(0.5 * ease + 2 * (self.quality - 0.5) + 0.5 * rng.standard_normal(real.shape))
        score = ndtr(0.7 * ease + 2 * self.quality + 0.5 * rng.standard_normal(real.shape))
        hits = self._boxes(place * PITCH, SIDE * (1 - overlap) / (1 + overlap), score, label, found)
        # False positives come in the images that are hard.
        rate = (1 - self.quality) * np.maximum(np.array(self.shares), 0.05) * np.exp(rng.standard_normal((n, 1)))
        false = row < rng.poisson(rate)[:, label]
        guess = ndtr(rng.standard_normal(false.shape))
        wrong = self._boxes(place * PITCH, 0 * place, guess, label, false, 100.0)
        return np.concatenate([hits, wrong], axis=1), truth

    def _boxes(
        self, left: Array, shift: Array, score: Array, label: Array, kept: npt.NDArray[np.bool_], top: float = 0.0
    ) -> Array:
        table = np.zeros((*kept.shape, 6), np.float32)
        table[..., 0], table[..., 2] = left + shift, left + shift + SIDE
        table[..., 1], table[..., 3] = top, top + SIDE
        table[..., 4], table[..., 5] = np.clip(score, 0, 1), np.where(kept, label, -1)
        return table

    def table(self, n: int, rng: np.random.Generator, level: float) -> Table:
        """Return what the suite stores of n images."""
        detections, truth = self.tables(n, rng)
        columns = Column("detections", detections), Column("boxes", truth)
        classes = [f"c{index}" for index in range(len(self.shares))]
        facts = {"classes": classes, "threshold": 0.5, "least_score": 0.05}
        return Table(columns, facts, int(rng.integers(2**31)), level)

    def values(self, n: int, rng: np.random.Generator) -> dict[str, float]:
        """Return the values of all measures of n images, without intervals; NaN if undefined."""
        detections, truth = self.tables(n, rng)
        classes = len(self.shares)
        matches = boxes.match(detections, truth, classes)
        ap, recall = boxes.average_precision(matches)[0], boxes.average_recall(matches, (100,))[0, 0]
        hits, overlaps = (boxes.events(detections, truth, classes, tau) for tau in (0.5, 0.0))
        rates = boxes.rates(boxes.states(detections, truth, 0.5))[0]
        conclusive = (boxes.boxes_of(matches)[:, -1] > 0).sum() >= FEWEST_SAMPLES
        return {
            "map": float(boxes.mean_ap(ap)),
            "map50": float(boxes.mean_ap(ap[:, :1])),
            "class_map": float(boxes.mean_ap(ap[-1:])) if conclusive else float("nan"),
            "ar100": float(boxes.mean_ap(recall)),
            "olrp": float(mean_defined(boxes.optimal_lrp(matches))[0]),
            "found_rate": float(rates[0]),
            "false_positives_per_image": float(rates[3]),
            "d_ece": float(boxes.d_ece(hits, bins=D_ECE_BINS)[0]),
            "laece": float(boxes.laece(overlaps, bins=LAECE_BINS)[0]),
            "laace": float(boxes.laace(overlaps)[0]),
            "oce": float(boxes.oce(boxes.objects(detections, truth, classes))[0]),
        }


def settings() -> dict[str, Detector]:
    """Return the detectors by setting."""
    return {
        f"quality {quality}, {balance}": Detector(quality, shares)
        for balance, shares in SHARES.items()
        for quality in QUALITIES
    }


def simulated_truths(model: Detector) -> dict[str, dict[str, float]]:
    """Return the mean values at each number of images; the last are used for measures without bias."""
    result = {}
    for n, sets in TRUTH_SETS.items():
        rng = np.random.default_rng(n)
        rows = [model.values(n, rng) for _ in range(sets)]
        result[str(n)] = {name: round(float(np.nanmean([row[name] for row in rows])), 5) for name in rows[0]}
    return result


SUMMARIES: dict[str, Summary] = {
    **dict.fromkeys(("map", "map50", "class_map"), metrics.mean_average_precision),
    "ar100": metrics.average_recall,
    "olrp": metrics.localisation_recall_precision,
    **dict.fromkeys(("found_rate", "false_positives_per_image"), metrics.states_of_objects),
    **dict.fromkeys(("d_ece", "laece", "laace", "oce"), detection_calibration),
}


def _draw(name: str, model: Detector, n: int, rng: np.random.Generator, level: float) -> Measure:
    """Return a measure of one data set; of a class, that of the last, the rarest."""
    return [one for one in SUMMARIES[name](model.table(n, rng, level)) if one.metric == name][-1]


def _cells() -> Iterator[Cell]:
    known = json.loads(TRUTHS.read_text()) if TRUTHS.exists() else {}
    for setting, model in settings().items():
        for n in SIZES:
            for name in SUMMARIES:
                quick = (name, setting, n) == ("class_map", "quality 0.98, long tail", 50)
                at = str(n if name in EXPECTED else max(SIZES))
                truth = known.get(setting, {}).get(at, {}).get(name, float("nan"))
                yield Cell(
                    name,
                    setting + ", rarest class" * (name == "class_map"),
                    n,
                    truth,
                    partial(_draw, name, model, n),
                    quick,
                )


CELLS: list[Cell] = list(_cells())

if __name__ == "__main__":
    TRUTHS.write_text(
        json.dumps({name: simulated_truths(model) for name, model in settings().items()}, indent=1) + "\n"
    )
