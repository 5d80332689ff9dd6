"""A detector and a segmenter in closed form, and scenes that they predict correctly, so all metrics are known exactly.

A scene is a grid of 3x3 cells of 8x8 gray pixels. An object fills the middle 6x6 pixels of its cell and is slightly
redder (class 0) or greener (class 1) than the rest. Both models use the mean of red minus green over a cell's middle,
so that noise averages out and attacks add up: eps in every pixel changes the mean by 2 eps.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from suite.axes.base import Context
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.kinds.detection.kind import Detection
from suite.kinds.segmentation.kind import Segmentation
from suite.models.adapters.detector import TorchDetector
from suite.models.base import TorchSegmenter
from suite.runner.settings import silent

CELLS, CELL, SIDE = 3, 8, 24
NOTHING = np.array([0, 0, 0, 0, 0, -1], np.float32)
"""A padding row of detections."""

THINGS = ("red", "green")
GREY, NOISE = 0.4, 0.02
LOW, HIGH = 0.24, 0.3
"""Range of an object's contrast."""

LIMIT = 0.17
"""Contrast above which a cell has an object."""

SLOPE = 30.0
LANDMARKS = torch.tensor(
    [[8 * c + 1, 8 * r + 1, 8 * c + 7, 8 * r + 7] for r in range(CELLS) for c in range(CELLS)], dtype=torch.float32
)
"""The boxes of all cells, (9, 4); there are no others."""


def scenes(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return images (n, 3, 24, 24) and the class of each cell, (n, 9), -1 if empty; every fifth image is empty."""
    generator = np.random.default_rng(seed)
    images = (GREY + generator.uniform(-NOISE, NOISE, (count, 3, SIDE, SIDE))).astype(np.float32)
    cell_classes = np.full((count, CELLS**2), -1)
    for place in range(count):
        if place % 5 == 4:
            continue
        for cell in generator.permutation(CELLS**2)[: generator.integers(1, 4)]:
            label = int(generator.integers(2))
            cell_classes[place, cell] = label
            x1, y1, x2, y2 = LANDMARKS[cell].int().tolist()
            images[place, label, y1:y2, x1:x2] += np.float32(generator.uniform(LOW, HIGH))
    return images, cell_classes


def boxes_of(cell_classes: np.ndarray) -> np.ndarray:
    """Return true boxes (n, 3, 6)."""
    tables = np.zeros((len(cell_classes), 3, 6), np.float32)
    tables[..., 4] = -1
    for table, row in zip(tables, cell_classes, strict=True):
        for place, cell in enumerate(np.flatnonzero(row >= 0)):
            table[place] = [*LANDMARKS[cell].tolist(), row[cell], 0]
    return tables


def masks_of(cell_classes: np.ndarray) -> np.ndarray:
    """Return masks, uint8 (n, 24, 24): 0 for the background, 1 for red, 2 for green."""
    masks = np.zeros((len(cell_classes), SIDE, SIDE), np.uint8)
    for image, row in zip(masks, cell_classes, strict=True):
        for cell in np.flatnonzero(row >= 0):
            x1, y1, x2, y2 = LANDMARKS[cell].int().tolist()
            image[y1:y2, x1:x2] = 1 + row[cell]
    return masks


class Reader(nn.Module):
    """The contrast of each cell: red minus green, averaged over its middle, (n, 9)."""

    def __init__(self) -> None:
        super().__init__()
        self.contrast = nn.Conv2d(3, 1, 1, bias=False)
        self.contrast.weight.data = torch.tensor([1.0, -1.0, 0.0]).view(1, 3, 1, 1)
        inside = torch.zeros(CELLS**2, SIDE, SIDE)
        for cell, (x1, y1, x2, y2) in enumerate(LANDMARKS.int().tolist()):
            inside[cell, y1:y2, x1:x2] = 1 / 36
        self.register_buffer("inside", inside)

    def forward(self, images: Tensor) -> Tensor:
        return torch.einsum("nhw,chw->nc", self.contrast(images)[:, 0], self.inside)


class PlantedDetector(nn.Module):
    """Every cell is a candidate; the score of red is sigmoid(slope (contrast - limit)), that of green its mirror.

    Args:
        way: ``regular``; ``blind``: a gradient of exactly zero; ``silent``: no detections; ``nan``: NaN always;
            ``nan once``: NaN for a single test scene; ``nan moved``: NaN where no cell has the green it should have,
            as in no scene and under most attacks.
        single: compute the sigmoid in float32.
    """

    classes, channels, nms = 2, 3, 0.5

    def __init__(self, way: str = "regular", *, single: bool = False) -> None:
        super().__init__()
        self.way, self.single, self.reader = way, single, Reader()
        self.register_buffer("landmarks", LANDMARKS.clone())

    def odds(self, images: Tensor) -> Tensor:
        contrast = self.reader(images)
        if self.way == "blind":
            contrast = contrast.detach() + 0 * contrast
        odds = SLOPE * (torch.stack([contrast, -contrast], dim=2) - LIMIT)
        if self.way == "silent":
            return odds * 0 - 20
        return odds + nan_offset(self.way, images, self.reader.inside)[:, None, None]

    def raw(self, images: Tensor) -> Tensor:
        boxes = self.landmarks.expand(len(images), -1, -1)
        odds = self.odds(images)
        # The last bit of a float32 sigmoid depends on its place in the batch, see test_graded.
        return torch.cat([boxes, odds.sigmoid() if self.single else odds.double().sigmoid().float()], dim=2)

    def losses(self, images: Tensor, targets) -> Tensor:
        odds = self.odds(images)
        expected = torch.zeros_like(odds)
        for row, truth in zip(expected, targets, strict=True):
            for box, label in zip(truth["boxes"], truth["labels"], strict=True):
                row[(self.landmarks - box).abs().amax(dim=1) < 1, label] = 1
        return nn.functional.binary_cross_entropy_with_logits(odds, expected, reduction="none").sum(dim=(1, 2))


class PlantedSegmenter(nn.Module):
    """The middle of a cell is red, green or background by its contrast; see `PlantedDetector` for the ways."""

    def __init__(self, way: str = "regular") -> None:
        super().__init__()
        self.way, self.reader = way, Reader()

    def forward(self, images: Tensor) -> Tensor:
        contrast = self.reader(images)
        if self.way == "blind":
            contrast = contrast.detach() + 0 * contrast
        if self.way == "silent":
            contrast = 0 * contrast
        middle = (self.reader.inside > 0).to(contrast)
        red = SLOPE * (torch.einsum("nc,chw->nhw", contrast, middle))
        nothing = torch.full_like(red, SLOPE * LIMIT)
        return (
            torch.stack([nothing, red, -red], dim=1)
            + nan_offset(self.way, images, self.reader.inside)[:, None, None, None]
        )


def nan_offset(way: str, images: Tensor, inside: Tensor) -> Tensor:
    """Return NaN for the images for which a broken model returns NaN, 0 for the others, (n,)."""
    values = images.detach()
    which = torch.zeros(len(values), dtype=torch.bool)
    if way == "nan":
        which[:] = True
    if way == "nan once":
        which = (values - torch.from_numpy(scenes(20, 2)[0][7])).abs().flatten(1).amax(dim=1) < 1e-6
    if way == "nan moved":
        which = (torch.einsum("nhw,chw->nc", values[:, 1], inside) - GREY).abs().amin(dim=1) > 0.01
    return torch.where(which, torch.nan, 0.0)


def model_of(kind: str, way: str = "regular") -> TorchDetector | TorchSegmenter:
    """Return a planted model of a kind."""
    if kind == "detection":
        return TorchDetector(PlantedDetector(way))
    return TorchSegmenter(PlantedSegmenter(way))


CLASSES = {"detection": THINGS, "segmentation": ("background", *THINGS)}
KINDS = tuple(CLASSES)


def split_of(kind: str, name: str, count: int, seed: int) -> Split:
    """Return some scenes as a split."""
    images, cell_classes = scenes(count, seed)
    targets = boxes_of(cell_classes) if kind == "detection" else masks_of(cell_classes)
    return Split(tuple(f"{name}-{place}" for place in range(count)), images, targets)


def context_of(kind: str, model=None, *, count: int = 20, **fields) -> Context:
    """Return the context that the harness gives to an axis, with an unfitted kind."""
    info = TaskInfo("planted", kind, "1", CLASSES[kind], (3, SIDE, SIDE))
    splits = [
        split_of(kind, name, many, seed)
        for seed, (name, many) in enumerate((("train", 24), ("validation", 30), ("test", count)))
    ]
    data = TaskData(info, *splits, DataReport({}), "d")
    return Context(
        kind=(Detection() if kind == "detection" else Segmentation()).kind(),
        data=data,
        test=data.test,
        model=model or model_of(kind),
        members=lambda count: [model or model_of(kind)] * count,
        track=silent,
        device=torch.device("cpu"),
        names=("planted", "net", "axis"),
        **fields,
    )


def table(detections):
    """Return detections (n, D, 6) as the output of a detector, (n, 100, 6), in descending order of score."""
    output = np.tile(NOTHING, (len(detections), 100, 1))
    for rows, image in zip(output, detections, strict=True):
        real = image[image[:, 5] != -1]
        best = real[np.argsort(-real[:, 4], kind="stable")][:100]
        rows[: len(best)] = best
    return output
