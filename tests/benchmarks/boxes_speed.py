"""Speed of the detection metrics compared with pycocotools: matching and average precision, bootstrap, image errors.

    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m tests.benchmarks.boxes_speed

On 5,000 images with 20 true boxes and 20 detections in 10 classes, pycocotools evaluates and accumulates; the suite
matches and computes average precision and recall of the same boxes, once for COCO's four area ranges as pycocotools
does, and once for a single range. Times are processor times on one thread, the minimum over several runs that take
turns.
"""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np

from suite.metrics.detection import average_precision, average_recall, image_errors, match, mean_ap
from suite.metrics.detection.matching import AREAS
from suite.metrics.stats.bootstrap import bootstrap
from tests.metrics.detection.scenes import coco

RUNS = 3


def scene(images, true, detected, classes, *, padding=0):
    """Return random detections (images, detected + padding, 6), 70% of them near a true box, and the truth."""
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
    source = truth[np.arange(images)[:, None], generator.integers(0, true, (images, detected))]
    box = (
        source[..., :4]
        + generator.normal(0, 6, (images, detected, 4))
        + generator.uniform(0, 80, (images, detected, 1)) * (generator.random((images, detected, 1)) < 0.3)
    )
    box[..., 2:] = np.maximum(box[..., 2:], box[..., :2] + 1)
    score = -np.sort(-generator.random((images, detected, 1)), axis=1)
    detections = np.concatenate([box, score, source[..., 4:5]], axis=2).astype(np.float32)
    empty = np.broadcast_to(np.float32([0, 0, 0, 0, 0, -1]), (images, padding, 6))
    return np.concatenate([detections, empty], axis=1), truth


def minimum_times(*functions, runs=RUNS):
    """Return the minimum processor time of each function in seconds; they take turns."""
    times = [[] for _ in functions]
    for _ in range(runs):
        for work, taken in zip(functions, times, strict=True):
            start = time.process_time()
            work()
            taken.append(time.process_time() - start)
    return [min(taken) for taken in times]


def prepared(detections, truth, classes):
    """Return pycocotools' evaluator with the data already loaded, and the function to time."""
    evaluator = coco(detections, truth, classes)

    def work():
        with contextlib.redirect_stdout(io.StringIO()):
            evaluator.evaluate()
            evaluator.accumulate()

    return evaluator, work


def ours(detections, truth, classes, names):
    """Return average precision and recall for the last of the named area ranges, after computing all of them."""
    for name in names:
        matches = match(detections, truth, classes, areas=AREAS[name])
        result = average_precision(matches), average_recall(matches)
    return result


def main() -> None:
    """Print the three comparisons."""
    detections, truth = scene(5000, 20, 20, 10)
    evaluator, reference = prepared(detections, truth, 10)
    theirs, four, one = minimum_times(
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
    (seconds,) = minimum_times(
        lambda: bootstrap(lambda weights: mean_ap(average_precision(matches, weights.T)), 500, seed=0)
    )
    print(f"1,000 replicates of mAP, 500 images of 10 detections: {seconds:.2f} s")
    for detected, threshold in ((10, 0.3), (100, 0.3)):
        few, true = scene(64, 3, detected, 10, padding=100 - detected)
        (taken,) = minimum_times(lambda few=few, true=true, least=threshold: image_errors(few, true, least), runs=20)
        print(f"image_errors of 64 images, {detected} of 100 rows valid, threshold {threshold}: {1000 * taken:.1f} ms")


if __name__ == "__main__":
    main()
