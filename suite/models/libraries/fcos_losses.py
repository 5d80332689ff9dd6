"""The losses of FCOS for each image of a batch, where torchvision gives one number for all."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, one_hot
from torch.nn.utils.rnn import pad_sequence
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

RANGE = (4, 8)
"""A place answers for objects whose farthest side is so many strides away; the outer levels have no limit."""


def fcos_losses(
    targets: Sequence[Mapping[str, Tensor]],
    outputs: Mapping[str, Tensor],
    cells: Tensor,
    levels: Sequence[int],
    radius: float,
) -> dict[str, Tensor]:
    """Return what torchvision would for each image alone, of all images at once.

    Args:
        targets: ``boxes`` (k, 4) and ``labels`` (k,) of each of n images.
        outputs: ``cls_logits`` (n, A, classes), ``bbox_regression`` (n, A, 4) and ``bbox_ctrness`` (n, A, 1).
        cells: squares of one stride round every place that answers, (A, 4).
        levels: how many of the A places belong to each level, the finest first.
        radius: strides from an object's centre within which a place answers for it.

    Returns:
        ``classification``, ``bbox_regression`` and ``bbox_ctrness``, each (n,).
    """
    boxes, labels = _padded(targets)
    answers = _responsible(boxes, labels, cells, levels, radius)
    found, which = answers >= 0, answers.clamp(min=0)
    logits, count = outputs["cls_logits"], found.sum(dim=1).clamp(min=1)
    kind = one_hot(labels.gather(1, which).clamp(min=0), logits.shape[-1]) * found[..., None]
    image, place = found.nonzero(as_tuple=True)
    wanted = boxes[image, which[image, place]]
    overlap, centred = _of_places(wanted, outputs["bbox_regression"][image, place], cells[place])
    wrong = binary_cross_entropy_with_logits(outputs["bbox_ctrness"][image, place, 0], centred, reduction="none")
    nothing = logits.new_zeros(len(boxes))
    return {
        "classification": sigmoid_focal_loss(logits, kind.to(logits)).flatten(1).sum(dim=1) / count,
        "bbox_regression": nothing.index_add(0, image, overlap) / count,
        "bbox_ctrness": nothing.index_add(0, image, wrong) / count,
    }


def _padded(targets: Sequence[Mapping[str, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return boxes (n, M, 4) and labels (n, M), -1 in padding; M is one at least, which keeps the shapes."""
    boxes = pad_sequence([target["boxes"] for target in targets], batch_first=True)
    labels = pad_sequence([target["labels"] for target in targets], batch_first=True, padding_value=-1)
    if boxes.shape[1]:
        return boxes, labels
    return boxes.new_zeros(len(boxes), 1, 4), labels.new_full((len(boxes), 1), -1)


def _responsible(boxes: Tensor, labels: Tensor, cells: Tensor, levels: Sequence[int], radius: float) -> Tensor:
    """Return the object that each place answers for, the smallest one where there are several, -1 for none, (n, A)."""
    centre, stride = _centres(cells)
    middle = (boxes[..., :2] + boxes[..., 2:]) / 2
    near = (centre[:, None] - middle[:, None]).abs().amax(dim=-1) < radius * stride[:, None]
    sides = torch.cat([centre[:, None] - boxes[:, None, :, :2], boxes[:, None, :, 2:] - centre[:, None]], dim=-1)
    low, high = stride * RANGE[0], stride * RANGE[1]
    low[: levels[0]], high[-levels[-1] :] = 0, torch.inf
    farthest = sides.amax(dim=-1)
    fits = near & (sides.amin(dim=-1) > 0) & (farthest > low[:, None]) & (farthest < high[:, None])
    areas = ((boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1]))[:, None]
    smallest, which = torch.where(fits & (labels >= 0)[:, None], areas, torch.inf).min(dim=-1)
    return torch.where(smallest < torch.inf, which, -1)


def _of_places(boxes: Tensor, regression: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - GIoU of the boxes that places predict, and how near to the middle of its true box each place is.

    The latter is 1 in the middle and 0 at a side (Tian et al. 2019, eq. 3).
    """
    centre, stride = _centres(cells)
    sides = regression * stride[:, None]
    overlap: Tensor = generalized_box_iou_loss(torch.cat([centre - sides[:, :2], centre + sides[:, 2:]], dim=1), boxes)
    before, behind = centre - boxes[:, :2], boxes[:, 2:] - centre
    return overlap, (torch.minimum(before, behind) / torch.maximum(before, behind)).prod(dim=1).sqrt()


def _centres(cells: Tensor) -> tuple[Tensor, Tensor]:
    """Return the centres (A, 2) and the sides (A,) of squares."""
    return (cells[:, :2] + cells[:, 2:]) / 2, cells[:, 2] - cells[:, 0]
