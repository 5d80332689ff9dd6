"""The detection metrics as plain loops over images and boxes, independent of the suite."""

from __future__ import annotations

import numpy as np


def overlap(detected, true):
    """Return the intersection over union of two rows, over the detection's area if the truth is ignored."""
    width = min(detected[2], true[2]) - max(detected[0], true[0])
    height = min(detected[3], true[3]) - max(detected[1], true[1])
    if width <= 0 or height <= 0:
        return 0.0
    own = (detected[2] - detected[0]) * (detected[3] - detected[1])
    other = (true[2] - true[0]) * (true[3] - true[1])
    return width * height / (own if true[5] else own + other - width * height)


def real(rows, label):
    rows = np.float64(rows)
    return rows[rows[:, label] != -1]


def greedy(detected, true, iou):
    """Return (detection, partner or None, overlap) by descending score, for the rows of one image without padding."""
    free = [True] * len(true)
    result = []
    for row in detected[np.argsort(-detected[:, 4], kind="stable")]:
        best = (-1, 0.0, -1)
        for place, box in enumerate(true):
            value = overlap(row, box)
            usable = box[4] == row[5] and value > 0 and value >= iou and (free[place] or box[5])
            if usable and (1 - box[5], value) >= best[:2]:
                best = (1 - box[5], value, place)
        partner = best[2] if best[2] >= 0 else None
        if partner is not None:
            free[partner] = bool(true[partner][5])
        result.append((row, partner, best[1] if partner is not None else 0.0))
    return result


def above(detections, threshold):
    """Return the detections of each image that score at least the threshold."""
    images = [real(rows, 5) for rows in detections]
    return [rows[rows[:, 4] >= threshold] for rows in images]


def lrp(detections, truth, threshold, pooled=False):
    """Return the LRP error at tau = 0.5 of each image, or pooled over all images."""
    parts = []
    for detected, rows in zip(above(detections, threshold), truth, strict=True):
        true = real(rows, 4)
        matched = greedy(detected, true, 0.5)
        hits = [value for _, partner, value in matched if partner is not None and not true[partner][5]]
        false = sum(partner is None for _, partner, _ in matched)
        missed = int((true[:, 5] == 0).sum()) - len(hits)
        parts.append((false + missed + sum((1 - value) / 0.5 for value in hits), false + missed + len(hits)))
    if pooled:
        cost, whole = np.sum(parts, axis=0)
        return cost / whole if whole else 0.0
    return np.array([cost / whole if whole else 0.0 for cost, whole in parts])


def states(detections, truth, threshold):
    """Return the numbers of found, mislabeled and missed true boxes and of false positives of each image."""
    result = []
    for detected, rows in zip(above(detections, threshold), truth, strict=True):
        true = real(rows, 4)
        matched = greedy(detected, true, 0.5)
        hit = {partner for _, partner, _ in matched if partner is not None}
        false = [row for row, partner, _ in matched if partner is None]
        counts = [0, 0, 0, 0]
        for place, box in enumerate(true):
            if box[5]:
                continue
            near = any(row[5] != box[4] and overlap(row, box) >= 0.5 for row in false)
            counts[0 if place in hit else 1 if near else 2] += 1
        counts[3] = sum(all(overlap(row, box) < 0.5 for box in true) for row, _, _ in matched)
        result.append(counts)
    return np.array(result)


def events(detections, truth, iou):
    """Return (score, overlap of the hit or 0, hit, class) of up to 100 detections per image, without ignored ones."""
    result = []
    for detected, rows in zip(above(detections, 0.05), truth, strict=True):
        true = real(rows, 4)
        kept = detected[np.argsort(-detected[:, 4], kind="stable")][:100]
        for row, partner, value in greedy(kept, true, iou):
            if partner is None or not true[partner][5]:
                result.append((row[4], value, partner is not None, int(row[5])))
    return result


def binned(pairs, bins):
    """Return the binned calibration error of (score, outcome) pairs; bins are closed above."""
    groups = {}
    for score, outcome in pairs:
        place = next(index for index in range(bins) if score <= (index + 1) / bins)
        groups.setdefault(place, []).append(score - outcome)
    return sum(abs(sum(gaps)) for gaps in groups.values()) / len(pairs)


def object_costs(detections, truth, classes, iou):
    """Return the Brier score of every true box that is not ignored."""
    costs = []
    for detected, rows in zip(above(detections, 0.05), truth, strict=True):
        kept = detected[np.argsort(-detected[:, 4], kind="stable")][:100]
        for box in real(rows, 4):
            if not box[5]:
                votes = [np.eye(classes)[int(row[5])] * row[4] for row in kept if overlap(row, box) >= iou]
                mean = np.mean(votes, axis=0) if votes else np.zeros(classes)
                costs.append(((np.eye(classes)[int(box[4])] - mean) ** 2).sum())
    return costs
