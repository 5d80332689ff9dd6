"""Losses that attacks on a detector maximize, and the scalars that attribution explains.

They use all candidates, not only the detections that survive thresholds and non-maximum suppression: a suppressed
candidate becomes a detection as soon as the one that suppressed it is gone.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torchvision.ops import box_iou

from suite.errors import NotApplicableError, SpecError, did_you_mean
from suite.models.adapters.detections import select_detections
from suite.models.adapters.detector import TorchDetector

DETECTOR = "detector"
"""The sum of the detector's training losses."""

ALIASES = {"ce": DETECTOR, "scaled_ce": DETECTOR, "margin": DETECTOR}
"""Default losses of attacks on classifiers; for a detector they mean the sum of its training losses."""

TINY = 1e-6
"""Smallest distance from 0 and 1 to which scores are clipped before taking logarithms."""

ON = 0.5
"""IoU above which a candidate belongs to a box."""

NEAR = 0.3
"""The same for the log odds of a box: low enough that some candidate is always near."""


def vanish(candidates: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability that there is nothing, summed over all candidates and classes (TOG, Chow 2020)."""
    return torch.log1p(-scores(candidates)).sum(dim=(1, 2))


def fabricate(candidates: Tensor, targets: Tensor) -> Tensor:
    """Return the log-probability that there is something, summed over all candidates (TOG, Chow 2020)."""
    return scores(candidates).amax(dim=2).log().sum(dim=1)


def mislabel(candidates: Tensor, targets: Tensor) -> Tensor:
    """Return the margin of the best wrong class in log-probabilities, summed over the candidates on true boxes, (n,).

    Raises:
        NotApplicableError: there is only one class.
    """
    if candidates.shape[2] < 4 + 2:
        raise NotApplicableError("a task with one class has no wrong class that an object could be given")
    total = []
    for image, table, truth in zip(scores(candidates).log(), candidates.detach(), targets, strict=True):
        counted = truth[(truth[:, 4] >= 0) & (truth[:, 5] == 0)]
        overlap = box_iou(table[:, :4], counted[:, :4].to(table))
        near, which = (overlap > ON).nonzero(as_tuple=True)
        labels = counted[which, 4].long()[:, None]
        own = image[near].gather(1, labels)[:, 0]
        other = image[near].scatter(1, labels, -torch.inf).amax(dim=1)
        total.append((other - own).sum() + 0 * image.sum())
    return torch.stack(total)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"vanish": vanish, "fabricate": fabricate, "mislabel": mislabel}
)
"""The objectives that need the candidates alone, by name."""


def loss_and_detections(model: TorchDetector, pixels: Tensor, targets: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return a loss per image (n,) in float64, differentiable, and the detections.

    Raises:
        SpecError: there is no such loss.
    """
    name = ALIASES.get(name, name)
    if name == DETECTOR:
        losses, output = model.losses(pixels, targets)
        return losses.double(), output
    if name not in LOSSES:
        raise SpecError(f"Detection has no attack loss {name!r}.{did_you_mean(name, [DETECTOR, *LOSSES])}")
    candidates = model.candidates(pixels)
    with torch.no_grad():
        output = select_detections(candidates, model.nms)
    return LOSSES[name](candidates.double(), targets), output


def scores(candidates: Tensor) -> Tensor:
    """Return the scores of candidates, clipped away from 0 and 1 so that their logarithms are finite."""
    return candidates[..., 4:].clamp(TINY, 1 - TINY)


def covered_share(boxes: Tensor, covered: Tensor) -> Tensor:
    """Return which fraction of each box (n, M, 4) lies under covered pixels (n, h, w), (n, M); 0 for empty boxes."""
    height, width = covered.shape[1:]
    rows = _pixel_shares(boxes[..., 1], boxes[..., 3], height)
    columns = _pixel_shares(boxes[..., 0], boxes[..., 2], width)
    under = torch.einsum("nmh,nhw,nmw->nm", rows, covered.to(rows), columns)
    area = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
    return torch.where(area > 0, under / area.clamp_min(TINY), 0.0)


def _pixel_shares(low: Tensor, high: Tensor, length: int) -> Tensor:
    """Return the fraction of each pixel of a line that lies between low and high, (n, M, length) in [0, 1]."""
    start = torch.arange(length, device=low.device, dtype=low.dtype)
    return (torch.minimum(high[..., None], start + 1) - torch.maximum(low[..., None], start)).clamp(0, 1)


def log_odds_on(candidates: Tensor, best: Tensor) -> Tensor:
    """Return the mean log odds of a detection's class over the candidates near its box, weighted by overlap, (n,).

    Args:
        candidates: (n, L, 4 + classes).
        best: one detection per image, (n, 6), x1, y1, x2, y2, score, class.
    """
    index = best[:, 5].long()[:, None, None].expand(-1, candidates.shape[1], 1)
    own = scores(candidates).gather(2, index)[..., 0]
    odds = own.log() - torch.log1p(-own)
    overlap = torch.stack(
        [box_iou(table[:, :4], box[None, :4])[:, 0] for table, box in zip(candidates.detach(), best, strict=True)]
    )
    weights = torch.where(overlap > NEAR, overlap, 0.0)
    mean = (weights * odds).sum(dim=1) / weights.sum(dim=1).clamp_min(TINY)
    lowest = math.log(TINY) - math.log1p(-TINY)
    return torch.where(weights.sum(dim=1) > 0, mean, mean + lowest)  # without candidates near the box: the lowest odds


def similarity(detections: Tensor, best: Tensor) -> Tensor:
    """Return the highest score times IoU of a detection of the same class that belongs to the box, (n,) in [0, 1]."""
    values = []
    for table, box in zip(detections, best, strict=True):
        overlap = box_iou(table[:, :4], box[None, :4].to(table))[:, 0]
        fits = (table[:, 5] == box[5]) & (overlap > ON)
        values.append(torch.where(fits, table[:, 4] * overlap, 0.0).amax())
    return torch.stack(values).double()


def inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Return the pixels with their center in each box (n, 4 or more), else the one under its center, bool (n, h, w)."""
    rows = torch.arange(height, device=boxes.device) + 0.5
    columns = torch.arange(width, device=boxes.device) + 0.5
    down = (rows >= boxes[:, 1, None]) & (rows < boxes[:, 3, None])
    across = (columns >= boxes[:, 0, None]) & (columns < boxes[:, 2, None])
    middle = ((boxes[:, :2] + boxes[:, 2:4]) / 2).floor() + 0.5
    down |= ~down.any(dim=1, keepdim=True) & (rows == middle[:, 1, None].clamp(0.5, height - 0.5))
    across |= ~across.any(dim=1, keepdim=True) & (columns == middle[:, 0, None].clamp(0.5, width - 0.5))
    return down[:, :, None] & across[:, None, :]
