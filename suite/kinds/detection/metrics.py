"""Clean metrics of detection: COCO's, localization recall precision, and the states of objects.

Average precision and optimal LRP choose the best of many thresholds on the samples they are measured on, and are biased
upwards for few images. Their intervals are therefore of the expected value at this number of images.
"""

from collections.abc import Sequence
from typing import Any

from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.kinds.detection.kind import RATES, rate_measures
from suite.metrics import detection as boxes
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.detection.precision import LIMITS
from suite.metrics.stats import Statistic, mean_defined, resampled
from suite.types import Measure


def matched(outcomes: Outcomes, thresholds: Sequence[float] = COCO_THRESHOLDS) -> boxes.Matches:
    """Return the detections of a split matched with true boxes."""
    return boxes.match(outcomes.output, outcomes.targets, len(outcomes.classes), thresholds)


@metric(kind="detection")
def mean_average_precision(outcomes: Outcomes) -> list[Measure]:
    """COCO's mean average precision: over IoU .50 to .95, at .50 and at .75, and by class."""
    matches, n = matched(outcomes), len(outcomes.ids)
    common: dict[str, Any] = {"seed": outcomes.seed, "recentred": True}

    def at_thresholds(columns: list[int]) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts)[..., columns])

    def of_class(index: int) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts)[:, [index]])

    columns = {"map": list(range(len(matches.thresholds))), "map50": [matches.at(0.5)], "map75": [matches.at(0.75)]}
    measures = [resampled(name, at_thresholds(chosen), n, **common) for name, chosen in columns.items()]
    for index, name in enumerate(outcomes.classes):
        why = f"no test image has an object of class {name}"
        measures.append(resampled("class_map", of_class(index), n, why=why, params={"class": name}, **common))
    return measures


@metric(kind="detection")
def average_recall(outcomes: Outcomes) -> list[Measure]:
    """COCO's average recall with at most 1, 10 and 100 detections per image."""
    matches, n = matched(outcomes), len(outcomes.ids)

    def at(index: int) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_recall(matches, LIMITS, counts)[index])

    return [resampled(f"ar{limit}", at(index), n, seed=outcomes.seed) for index, limit in enumerate(LIMITS)]


@metric(kind="detection")
def localisation_recall_precision(outcomes: Outcomes) -> list[Measure]:
    """Optimal LRP error: false positives, misses and localization errors, at the best threshold of each class."""
    matches = matched(outcomes, (0.5,))

    def mean(counts: Array | None) -> Array:
        return mean_defined(boxes.optimal_lrp(matches, counts))

    return [resampled("olrp", mean, len(outcomes.ids), seed=outcomes.seed, recentred=True, higher_is_better=False)]


@metric(kind="detection")
def states_of_objects(outcomes: Outcomes) -> list[Measure]:
    """Fractions of objects detected, mislabeled and missed at the threshold, and false positives per image."""
    threshold = outcomes.kind.threshold
    per_image = boxes.states(outcomes.output, outcomes.targets, threshold)
    common: dict[str, Any] = {"seed": outcomes.seed, "params": {"threshold": round(threshold, 4)}}
    return rate_measures(per_image, RATES, **common)
