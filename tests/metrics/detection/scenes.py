"""Random scenes of boxes, and their evaluation by pycocotools."""

from __future__ import annotations

import contextlib
import functools
import io

import numpy as np


def detections(*rows, images=None):
    """Return (images, D, 6) from rows (image, x1, y1, x2, y2, score, class), each image by descending score."""
    return _fill(rows, images, 5, lambda row: -row[4])


def truths(*rows, images=None):
    """Return (images, M, 6) from rows (image, x1, y1, x2, y2, class, ignored)."""
    return _fill(rows, images, 4, lambda row: 0)


def _fill(rows, images, label, key):
    images = images or 1 + max(row[0] for row in rows)
    lists = [sorted((row[1:] for row in rows if row[0] == image), key=key) for image in range(images)]
    result = np.zeros((images, max(map(len, lists)), 6), np.float32)
    result[:, :, label] = -1
    for image, detected in enumerate(lists):
        for place, row in enumerate(detected):
            result[image, place] = row
    return result


@functools.lru_cache
def scene(seed, images=None, classes=None):
    """Return detections, truth and the number of classes of a few images, with the difficult cases of real data.

    Some images have no boxes, only true boxes, or only detections; some true boxes are crowds; scores are tied; a class
    may never occur; some images have far more than 100 detections of a class; some boxes lie on a coarse grid, so that
    overlaps are tied and equal to thresholds.
    """
    generator = np.random.default_rng(seed)
    images = images or int(generator.integers(1, 9))
    classes = classes or int(generator.integers(1, 5))
    labels = max(1, classes - int(generator.integers(0, 2)))
    crowds, step = generator.choice([0.0, 0.2, 0.6]), generator.choice([0.0, 5.0])
    boxes, detected = [], []
    for image in range(images):
        mode = generator.choice(["both", "both", "both", "none", "truth", "found", "many"])
        true = []
        if mode in ("both", "truth", "many"):
            for _ in range(int(generator.integers(1, 8))):
                box, label = _box(generator, step), int(generator.integers(labels))
                true.append((box, label))
                boxes.append((image, *box, label, float(generator.random() < crowds)))
        if mode in ("both", "found", "many"):
            for _ in range(int(generator.integers(1, 14)) + (130 * classes if mode == "many" else 0)):
                detected.append((image, *_detection(generator, true, classes, step)))
    arrays = detections(*detected, images=images), truths(*boxes, images=images)
    for array in arrays:
        array.setflags(write=False)
    return *arrays, classes


def distinct(detected, seed):
    """Return detections whose scores are all different, each image's by descending score."""
    changed = detected.copy()
    scores = (
        np.random.default_rng(seed).permutation(detected[..., 4].size).reshape(detected.shape[:2])
        / detected[..., 4].size
    )
    changed[..., 4] = -np.sort(-scores, axis=1)
    return changed


def _box(generator, step):
    x, y = generator.uniform(0, 70, 2)
    w, h = generator.uniform(8, 60, 2) * generator.choice([0.5, 1.0, 2.0])
    box = np.array([x, y, x + w, y + h])
    if step:
        box = np.round(box / step) * step
        box[2:] = np.maximum(box[2:], box[:2] + step)
    return np.float32(box)


def _detection(generator, true, classes, step):
    if true and generator.random() < 0.7:
        box, label = true[int(generator.integers(len(true)))]
        box = box + np.float32(generator.normal(0, generator.choice([0.0, 1.0, 4.0]), 4))
        box = np.round(box / step) * step if step else box
        box = np.float32([*box[:2], *np.maximum(box[2:], box[:2] + 1)])
        label = label if generator.random() < 0.85 else int(generator.integers(classes))
    else:
        box, label = _box(generator, step), int(generator.integers(classes))
    score = generator.random()
    return (*box, np.float32(np.round(score, 1) if generator.random() < 0.5 else score), label)


def coco(detected, true, classes, limits=(1, 10, 100)):
    """Return pycocotools' evaluator after evaluate and accumulate."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        reference, predictions = COCO(), COCO()
        for holder, rows in ((reference, _truth_rows(true)), (predictions, _detection_rows(detected))):
            holder.dataset = {
                "info": {},
                "images": [{"id": image + 1} for image in range(len(true))],
                "categories": [{"id": label + 1} for label in range(classes)],
                "annotations": rows,
            }
            holder.createIndex()
        evaluator = COCOeval(reference, predictions, "bbox")
        evaluator.params.maxDets = list(limits)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _rows(array, label):
    for image, rows in enumerate(np.float64(array)):
        for row in rows[rows[:, label] != -1]:
            x, y, width, height = row[0], row[1], row[2] - row[0], row[3] - row[1]
            yield (
                row,
                {
                    "image_id": image + 1,
                    "category_id": int(row[label]) + 1,
                    "bbox": [x, y, width, height],
                    "area": width * height,
                },
            )


def _truth_rows(true):
    return [{**common, "id": index + 1, "iscrowd": int(row[5])} for index, (row, common) in enumerate(_rows(true, 4))]


def _detection_rows(detected):
    return [
        {**common, "id": index + 1, "iscrowd": 0, "score": row[4]}
        for index, (row, common) in enumerate(_rows(detected, 5))
    ]
