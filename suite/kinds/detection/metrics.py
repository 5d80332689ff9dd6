"""Metrics of detection: COCO's, localization recall precision, and the states of objects, clean and under attack.

Average precision and optimal LRP choose the best of many thresholds on the samples they are measured on, and are biased
upwards for few images. Their intervals are therefore of the expected value at this number of images.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from suite.decorators import metric
from suite.kinds.base import Array
from suite.kinds.detection.damage import AIMS
from suite.kinds.detection.tallies import imagined_precision, split
from suite.metrics import detection as boxes
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.detection import AVERAGE_RECALLS, CLASS_MAP, MAP, MAP50, MAP75, OLRP, RATES
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.detection.precision import LIMITS
from suite.metrics.stats.imagined import Imagined, imagined_ratios, too_rare
from suite.metrics.table import Table
from suite.types import Measure


def _under_attack(rate: Metric) -> Metric:
    """Return a rate under attack; it has a column for attacks that aim at it, where mAP can hide their success."""
    aim = next(name for name, place in AIMS.items() if RATES[place] is rate)
    title = rate.name.replace("_", " ").removesuffix(" rate")
    column = BoardColumn(f"{{attack}} {{size}} {title}", {"reference": True, "loss": aim})
    return replace(rate, columns=(column,), control="random")


EXPECTED: dict[str, Any] = {"recentred": True, "added": Imagined.added}
"""How intervals of the value expected at this number of images are computed."""

ATTACKED_MAP50 = replace(MAP50, columns=(), control="random")
ATTACKED_RATES = tuple(_under_attack(rate) for rate in RATES[1:])


@metric(kind="detection", entries=[MAP, MAP50, MAP75, CLASS_MAP])
def mean_average_precision(table: Table) -> list[Measure]:
    """COCO's mean average precision: over IoU .50 to .95, at .50 and at .75, and by class."""
    matches, classes = _matched(table), table.facts["classes"]
    precision = boxes.imagined_precision(
        matches, [range(len(matches.thresholds)), [matches.at(0.5)], [matches.at(0.75)]]
    )

    def values(weights: Array | None) -> Array:
        """Return mAP, AP50, AP75 and the mAP of each class, (r, 3 + K)."""
        every, at50, at75 = precision(weights).swapaxes(0, 1)
        return np.concatenate([every[:, :1], at50[:, :1], at75[:, :1], every[:, 1:]], axis=1)

    named = [{"params": {"class": name}, "why": f"no test image has an object of class {name}"} for name in classes]
    metrics = [MAP, MAP50, MAP75, *[CLASS_MAP] * len(classes)]
    measures = table.resampled_together(metrics, values, each=[{}, {}, {}, *named], **EXPECTED)
    images = (boxes.boxes_of(matches) > 0).sum(axis=0).tolist()
    return [*measures[:3], *(too_rare(*one) for one in zip(measures[3:], images, classes, strict=True))]


@metric(kind="detection", entries=AVERAGE_RECALLS)
def average_recall(table: Table) -> list[Measure]:
    """COCO's average recall with at most 1, 10 and 100 detections per image."""
    statistic = boxes.imagined_recall(_matched(table), LIMITS)
    return table.resampled_together(AVERAGE_RECALLS, statistic, added=Imagined.added)


@metric(kind="detection", entries=[OLRP])
def localisation_recall_precision(table: Table) -> list[Measure]:
    """Optimal LRP error: false positives, misses and localization errors, at the best threshold of each class."""
    return [table.resampled(OLRP, boxes.imagined_lrp(_matched(table, (0.5,))), **EXPECTED)]


@metric(kind="detection", entries=RATES)
def states_of_objects(table: Table) -> list[Measure]:
    """Fractions of objects detected, mislabeled and missed at the threshold, and false positives per image."""
    return _rates(table, table["detections"], table["boxes"], RATES)


@metric(kind="detection", axis="robustness", entries=[ATTACKED_MAP50, *ATTACKED_RATES])
def detection_under_attack(table: Table) -> list[Measure]:
    """AP50, and the rates of wrong states at the threshold, because AP alone hides missed objects."""
    tally = table["tally"]
    ap50 = table.resampled(ATTACKED_MAP50, imagined_precision(tally, (0.5,)), len(tally), **EXPECTED)
    return [ap50, *_rates(table, *split(tally), ATTACKED_RATES)]


def _matched(table: Table, thresholds: Sequence[float] = COCO_THRESHOLDS) -> boxes.Matches:
    return boxes.match(table["detections"], table["boxes"], len(table.facts["classes"]), thresholds)


def _rates(table: Table, detections: Array, truth: Array, metrics: Sequence[Metric]) -> list[Measure]:
    """Return some of `RATES`, of all columns or the last ones, at the threshold among the facts."""
    threshold = float(table.facts["threshold"])
    states = boxes.states(detections, truth, threshold)
    fields: dict[str, Any] = {"params": {"threshold": round(threshold, 4)}}
    *shares, false_positives = metrics
    objects = states[:, :3].sum(axis=1, keepdims=True).repeat(len(shares), axis=1)
    statistic = imagined_ratios(states[:, 3 - len(shares) : 3], objects)
    return [
        *table.resampled_together(shares, statistic, n=len(states), added=Imagined.added, **fields),
        table.mean(false_positives, states[:, 3], **fields),
    ]
