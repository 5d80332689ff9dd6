"""Clean measures of detection: COCO's, localisation recall precision, and what became of the objects.

Average precision and optimal LRP choose the best of many thresholds on the very samples they are measured on: with few
images they flatter. Their intervals are therefore of the value to expect at this number of images.
"""

from collections.abc import Sequence

from suite.decorators import metric
from suite.kinds.base import Array, Outcomes
from suite.metrics import detection as boxes
from suite.metrics.detection.matching import COCO_THRESHOLDS
from suite.metrics.detection.precision import LIMITS
from suite.metrics.stats import Statistic, resampled
from suite.types import Measure


def matched(outcomes: Outcomes, thresholds: Sequence[float] = COCO_THRESHOLDS) -> boxes.Matches:
    """Return the detections of a split matched with the truth."""
    return boxes.match(outcomes.output, outcomes.targets, len(outcomes.classes), thresholds)


@metric(kind="detection")
def mean_average_precision(outcomes: Outcomes) -> list[Measure]:
    """COCO's mean average precision: over IoU .50 to .95, at .50 and at .75, and by class."""
    matches, n = matched(outcomes), len(outcomes.ids)

    def over(*columns: int) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts)[..., list(columns)])

    def of_class(index: int) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_precision(matches, counts)[:, [index]])

    whole = tuple(range(len(matches.thresholds)))
    columns = {"map": whole, "map50": (matches.at(0.5),), "map75": (matches.at(0.75),)}
    measures = [
        resampled(name, over(*chosen), n, seed=outcomes.seed, recentred=True) for name, chosen in columns.items()
    ]
    for index, name in enumerate(outcomes.classes):
        why = f"no test image has an object of class {name}"
        measures.append(
            resampled(
                "class_map", of_class(index), n, seed=outcomes.seed, why=why, recentred=True, params={"class": name}
            )
        )
    return measures


@metric(kind="detection")
def average_recall(outcomes: Outcomes) -> list[Measure]:
    """COCO's average recall with at most 1, 10 and 100 detections of an image."""
    matches = matched(outcomes)

    def at(place: int) -> Statistic:
        return lambda counts: boxes.mean_ap(boxes.average_recall(matches, LIMITS, counts)[place])

    return [
        resampled(f"ar{limit}", at(place), len(outcomes.ids), seed=outcomes.seed) for place, limit in enumerate(LIMITS)
    ]


@metric(kind="detection")
def localisation_recall_precision(outcomes: Outcomes) -> list[Measure]:
    """Optimal LRP error: false, missed and badly placed boxes together, at the best threshold of each class."""
    matches = matched(outcomes, (0.5,))

    def mean(counts: Array | None) -> Array:
        return boxes.mean_defined(boxes.optimal_lrp(matches, counts))

    return [resampled("olrp", mean, len(outcomes.ids), seed=outcomes.seed, recentred=True, higher_is_better=False)]


@metric(kind="detection")
def states_of_objects(outcomes: Outcomes) -> list[Measure]:
    """Shares of objects found, mislabelled and missed at the threshold, and hallucinations per image."""
    per_image, threshold = (
        boxes.states(outcomes.output, outcomes.targets, outcomes.kind.threshold),
        outcomes.kind.threshold,
    )
    names = (
        ("found_rate", True),
        ("mislabel_rate", False),
        ("disappearance_rate", False),
        ("false_positives_per_image", False),
    )

    def rate(place: int) -> Statistic:
        return lambda counts: boxes.rates(per_image, counts)[:, place]

    return [
        resampled(
            name,
            rate(place),
            len(outcomes.ids),
            seed=outcomes.seed,
            unit="per image" if name == "false_positives_per_image" else "fraction",
            higher_is_better=higher,
            params={"threshold": round(threshold, 4)},
        )
        for place, (name, higher) in enumerate(names)
    ]
