"""Boxes beside pycocotools: time of matching and average precision, of a bootstrap, and of the error per image.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tests.benchmarks.boxes_speed

pycocotools is given 5,000 images of 20 true boxes and 20 detections in 10 classes, and evaluates and accumulates; the
suite matches and computes average precision and average recall of the same boxes, with COCO's four ranges of areas as
pycocotools does, and with one range. Times are processor times on one thread, the best of several runs that take turns.
"""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np

from suite.metrics.detection import average_precision, average_recall, image_errors, match, mean_ap
from suite.metrics.detection.matching import AREAS
from suite.metrics.stats.bootstrap import bootstrap, resample_counts
from tests.metrics.detection.scenes import coco

RUNS = 3


def scene(images, true, found, classes, *, padding=0):
    """Return random detections (images, found + padding, 6), 70% of them near a true box, and truth."""
    generator = np.random.default_rng(0)
    corner = generator.uniform(0, 400, (images, true, 2))
    truth = np.concatenate(
        [
            corner,
            corner + generator.uniform(16, 160, (images, true, 2)),
            generator.integers(0, classes, (images, true, 1)),
            np.zeros((images, true, 1)),
        ],
        axis=2,
    ).astype(np.float32)
    source = truth[np.arange(images)[:, None], generator.integers(0, true, (images, found))]
    box = (
        source[..., :4]
        + generator.normal(0, 6, (images, found, 4))
        + generator.uniform(0, 80, (images, found, 1)) * (generator.random((images, found, 1)) < 0.3)
    )
    box[..., 2:] = np.maximum(box[..., 2:], box[..., :2] + 1)
    score = -np.sort(-generator.random((images, found, 1)), axis=1)
    detections = np.concatenate([box, score, source[..., 4:5]], axis=2).astype(np.float32)
    empty = np.broadcast_to(np.float32([0, 0, 0, 0, 0, -1]), (images, padding, 6))
    return np.concatenate([detections, empty], axis=1), truth


def best(*works, runs=RUNS):
    """Return the least processor time of each work in seconds; they take turns."""
    times = [[] for _ in works]
    for _ in range(runs):
        for work, taken in zip(works, times, strict=True):
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
    return [min(taken) for taken in times]


def prepared(detections, truth, classes):
    """Return pycocotools' evaluator with the data loaded, which is not timed."""
    evaluator = coco(detections, truth, classes)

    def work():
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.evaluate()
            evaluator.accumulate()

    return evaluator, work


def ours(detections, truth, classes, names):
    """Return the average precisions of all boxes, after those of every named range of areas."""
    for name in names:
        matches = match(detections, truth, classes, areas=AREAS[name])
        result = average_precision(matches), average_recall(matches)
    return result


def main() -> None:
    """Print the three comparisons."""
    detections, truth = scene(5000, 20, 20, 10)
    evaluator, reference = prepared(detections, truth, 10)
    theirs, four, one = best(
        reference,
        lambda: ours(detections, truth, 10, reversed(AREAS)),
        lambda: ours(detections, truth, 10, ["all"]),
    )
    value = mean_ap(ours(detections, truth, 10, ["all"])[0])[0]
    expected = evaluator.eval["precision"][:, :, :, 0, -1].mean()
    print(f"mAP {value:.12f}, pycocotools {expected:.12f}")
    print(f"pycocotools {theirs:.2f} s; four ranges {four:.2f} s ({theirs / four:.1f} times faster); ", end="")
    print(f"one range {one:.2f} s ({theirs / one:.1f} times faster)")
    matches = match(*scene(500, 6, 10, 10), 10)
    (drawn,) = best(
        lambda: bootstrap(lambda index: mean_ap(average_precision(matches, resample_counts(index).T)), 500, seed=0)
    )
    print(f"1,000 replicates of mAP, 500 images of 10 detections: {drawn:.2f} s")
    for found, threshold in ((10, 0.3), (100, 0.3)):
        few, true = scene(64, 3, found, 10, padding=100 - found)
        (taken,) = best(lambda few=few, true=true, least=threshold: image_errors(few, true, least), runs=20)
        print(f"image_errors of 64 images, {found} of 100 rows real, threshold {threshold}: {1000 * taken:.1f} ms")


if __name__ == "__main__":
    main()
