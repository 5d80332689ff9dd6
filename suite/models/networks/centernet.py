"""A small CenterNet: each cell of a map predicts whether it holds an object's center, and the object's box."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import generalized_box_iou_loss

from suite.models.adapters.detections import propagate_nan
from suite.models.adapters.detector import Truth
from suite.models.networks.blocks import block, concat_upsampled, upsample

STRIDE = 4
"""Side of a cell in pixels."""

SPREAD = 8.0
"""Side of a box in standard deviations of the Gaussian target around its center."""

NEAR = torch.tensor([(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)])
"""Cells around a center that are trained to predict its box, for peaks that are one cell off."""

BOX_WEIGHT = 2.0
"""Weight of the box loss relative to the heat map loss; high, because strict IoU thresholds need precise boxes."""


def centernet(classes: int, input_shape: tuple[int, ...], *, width: int = 24) -> CenterNet:
    """Return a CenterNet for images (channels, height, width) of any size."""
    return CenterNet(classes, input_shape[0], width)


class CenterNet(nn.Module):
    """A detector after Zhou et al. 2019, "Objects as points": a heat map of centers, an offset and a size per cell.

    Instead of two L1 losses with weights to tune, boxes are trained with the generalized IoU loss of Rezatofighi et al.
    2019, at the center's cell and its eight neighbors.

    Args:
        classes: number of classes.
        channels: channels of the images.
        width: channels at stride 2; twice as many at stride 4, that of the heat map, and four times as many at larger
            strides, where layers are cheap.
    """

    nms = 0.5

    def __init__(self, classes: int, channels: int, width: int) -> None:
        super().__init__()
        self.classes, self.channels = classes, channels
        self.fine = nn.Sequential(block(channels, width, stride=2), block(width, 2 * width, stride=2))
        self.middle = _level(2 * width, 4 * width, further=2)
        self.coarse = _level(4 * width, 4 * width, further=3)
        self.rise, self.merge = block(8 * width, 2 * width), block(2 * width, 2 * width)
        self.heat, self.box = nn.Conv2d(2 * width, classes, 1), nn.Conv2d(2 * width, 4, 1)
        nn.init.constant_(cast(Tensor, self.heat.bias), -4)  # prior: almost no cell is a center

    def raw(self, images: Tensor) -> Tensor:
        """Return a candidate for every cell, (n, cells, 4 + classes)."""
        return _candidates(*self._maps(images))

    def losses(self, images: Tensor, targets: Truth) -> dict[str, Tensor]:
        """Return the loss of the heat map and of the boxes, each (n,)."""
        return self.both(images, targets)[0]

    def both(self, images: Tensor, targets: Truth) -> tuple[dict[str, Tensor], Tensor]:
        """Return the losses and the candidates."""
        heat, boxes = self._maps(images)
        truth = pad_sequence([t["boxes"] for t in targets], batch_first=True)
        labels = pad_sequence([t["labels"] for t in targets], batch_first=True, padding_value=-1)
        losses = {
            "heat": self._heat_loss(heat, truth, labels),
            "box": BOX_WEIGHT * self._box_loss(boxes, truth, labels),
        }
        return losses, _candidates(heat, boxes)

    def _maps(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of the heat map (n, classes, rows, columns) and the box of every cell (n, 4, ...)."""
        fine = self.fine(images)
        middle = self.middle(fine)
        risen = self.rise(concat_upsampled(self.coarse(middle), middle))
        features = self.merge(upsample(risen, fine.shape[-2:]) + fine)  # half the cost of concatenation
        shift, size = self.box(features).chunk(2, dim=1)
        rows, columns = features.shape[-2:]
        row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack([column, row]).to(features)
        center, half = (cells + 0.5 + shift) * STRIDE, size.clamp(max=6).exp() * 2 * STRIDE
        return self.heat(features), torch.cat([center - half, center + half], dim=1)

    def _heat_loss(self, heat: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
        """Return the focal loss of CenterNet, reduced near centers, per image and divided by the number of objects."""
        target = bumps(heat, truth, labels)
        probability = heat.sigmoid()
        hit, miss = nn.functional.logsigmoid(heat), nn.functional.logsigmoid(-heat)
        losses = torch.where(target == 1, -((1 - probability) ** 2) * hit, -((1 - target) ** 4) * probability**2 * miss)
        total: Tensor = losses.flatten(1).sum(dim=1) / (labels >= 0).sum(dim=1).clamp(min=1)
        return total

    def _box_loss(self, boxes: Tensor, truth: Tensor, labels: Tensor) -> Tensor:
        """Return 1 - GIoU, averaged over the cells around each center and the objects of an image."""
        rows, columns = boxes.shape[-2:]
        center = center_cells(truth)[:, :, None] + NEAR.flip(1).to(truth.device)  # (n, M, 9, 2), column before row
        inside = ((center >= 0) & (center < center.new_tensor([columns, rows]))).all(dim=-1)
        index = (center[..., 1] * columns + center[..., 0]).clamp(0, rows * columns - 1).flatten(1)
        predicted = boxes.flatten(2).gather(2, index[:, None].expand(-1, 4, -1)).transpose(1, 2)
        target = truth[:, :, None].expand(-1, -1, len(NEAR), -1).flatten(1, 2)
        counted = (inside & (labels >= 0)[:, :, None]).flatten(1)
        losses: Tensor = generalized_box_iou_loss(predicted, target) * counted
        return losses.sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def _level(before: int, after: int, *, further: int) -> nn.Sequential:
    """Return a block of stride 2 and further blocks at that resolution."""
    return nn.Sequential(block(before, after, stride=2), *[block(after, after) for _ in range(further)])


def _candidates(heat: Tensor, boxes: Tensor) -> Tensor:
    return propagate_nan(torch.cat([boxes, heat.sigmoid()], dim=1).flatten(2).transpose(1, 2), heat, boxes)


def center_cells(boxes: Tensor) -> Tensor:
    """Return column and row of the cells that hold the centers of boxes (..., 4), (..., 2) int64."""
    return ((boxes[..., :2] + boxes[..., 2:]) / (2 * STRIDE)).long()


def bumps(heat: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Return the target heat map: 1 at every center's cell, with a Gaussian decay within its box.

    Args:
        heat: the predicted map, (n, classes, rows, columns).
        boxes: (n, M, 4) in pixels.
        labels: (n, M), -1 in padding.
    """
    rows, columns = heat.shape[-2:]
    column, row = center_cells(boxes).clamp(min=0).to(heat).unbind(dim=-1)
    wide, high = ((boxes[..., 2:] - boxes[..., :2]) / (STRIDE * SPREAD)).clamp(min=1e-3).unbind(dim=-1)
    across = (torch.arange(columns).to(heat) - column.clamp(max=columns - 1)[..., None]) / wide[..., None]
    down = (torch.arange(rows).to(heat) - row.clamp(max=rows - 1)[..., None]) / high[..., None]
    each = torch.exp(-(across[:, :, None] ** 2 + down[..., None] ** 2) / 2)  # (n, M, rows, columns)
    target = torch.zeros_like(heat)
    index = labels.clamp(min=0)[..., None, None].expand_as(each)
    return target.scatter_reduce(1, index, each * (labels >= 0)[..., None, None], "amax")
