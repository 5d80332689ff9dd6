"""Losses of FCOS per image, where torchvision returns one number per batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

RANGE = (4, 8)
"""A location is assigned objects whose farthest side is this many strides away; the outer levels have no limit."""


def fcos_losses(
    targets: Sequence[Mapping[str, Tensor]],
    outputs: Mapping[str, Tensor],
    cells: Tensor,
    levels: Sequence[int],
    radius: float,
) -> dict[str, Tensor]:
    """Return the losses that torchvision returns for each image alone, for all images at once.

    Args:
        targets: ``boxes`` (k, 4) and ``labels`` (k,) of each of n images.
        outputs: ``cls_logits`` (n, A, classes), ``bbox_regression`` (n, A, 4) and ``bbox_ctrness`` (n, A, 1).
        cells: boxes of one stride around every location, (A, 4).
        levels: number of locations per level, finest first; they add up to A.
        radius: distance from an object's center, in strides, within which a location is assigned to it.

    Returns:
        ``classification``, ``bbox_regression`` and ``bbox_ctrness``, each (n,).
    """
    boxes, labels = _padded(targets)
    matches = _matches(boxes, labels, cells, levels, radius)
    positive, objects = matches >= 0, matches.clamp(min=0)
    logits, count = outputs["cls_logits"], positive.sum(dim=1).clamp(min=1)
    classes = one_hot(labels.gather(1, objects).clamp(min=0), logits.shape[-1]) * positive[..., None]
    image, location = positive.nonzero(as_tuple=True)
    truth = boxes[image, objects[image, location]]
    overlap, centerness = _box_targets(truth, outputs["bbox_regression"][image, location], cells[location])
    entropy = binary_cross_entropy_with_logits(
        outputs["bbox_ctrness"][image, location, 0], centerness, reduction="none"
    )
    zeros = logits.new_zeros(len(boxes))
    return {
        "classification": sigmoid_focal_loss(logits, classes.to(logits)).flatten(1).sum(dim=1) / count,
        "bbox_regression": zeros.index_add(0, image, overlap) / count,
        "bbox_ctrness": zeros.index_add(0, image, entropy) / count,
    }


def _padded(targets: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return boxes (n, M, 4) and labels (n, M), -1 in padding; M is at least 1."""
    boxes = pad_sequence([target["boxes"] for target in targets], batch_first=True)
    labels = pad_sequence([target["labels"] for target in targets], batch_first=True, padding_value=-1)
    if boxes.shape[1]:
        return boxes, labels
    return boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(boxes), 1), -1)


def _matches(boxes: Tensor, labels: Tensor, cells: Tensor, levels: Sequence[int], radius: float) -> Tensor:
    """Return the object assigned to each location, the smallest of several, -1 for none, (n, A)."""
    center, stride = _centers(cells)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    near = (center[:, None] - middle[:, None]).abs().amax(dim=-1) < radius * stride[:, None]
    sides = torch.cat([center[:, None] - boxes[:, None, :, :2], boxes[:, None, :, 2:] - center[:, None]], dim=-1)
    low, high = stride * RANGE[0], stride * RANGE[1]
    low[: levels[0]], high[-levels[-1] :] = 0, torch.inf
    farthest = sides.amax(dim=-1)
    fits = near & (sides.amin(dim=-1) > 0) & (farthest > low[:, None]) & (farthest < high[:, None])
    areas = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))[:, None]
    smallest, index = torch.where(fits & (labels >= 0)[:, None], areas, torch.inf).min(dim=-1)
    return torch.where(smallest < torch.inf, index, -1)


def _box_targets(boxes: Tensor, regression: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - GIoU of the predicted boxes, and the centerness of each location in its true box.

    Centerness is 1 at the center and 0 at a side (Tian et al. 2019, eq. 3).
    """
    center, stride = _centers(cells)
    sides = regression * stride[:, None]
    overlap: Tensor = generalized_box_iou_loss(torch.cat([center - sides[:, :2], center + sides[:, 2:]], dim=1), boxes)
    start, end = center - boxes[:, :2], boxes[:, 2:] - center
    return overlap, (torch.minimum(start, end) / torch.maximum(start, end)).prod(dim=1).sqrt()


def _centers(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centers (A, 2) and the sides (A,) of squares."""
    return (cells[:, :2] + cells[:, 2:]) / 2, cells[:, 2] - cells[:, 0]
