"""Postprocessing of detector candidates: score threshold, non-maximum suppression, non-finite outputs."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.ops import batched_nms

LIMIT = 100
"""Maximum detections per image, as in COCO; those with the highest scores are kept."""

THRESHOLD = 0.05
"""Candidates with a lower score are dropped."""

POOL = 1000
"""Maximum candidates per image before suppression, whose cost is quadratic; those with the highest scores are kept."""


def select_detections(candidates: Tensor, nms: float) -> Tensor:
    """Return the detections after thresholding and non-maximum suppression; boxes and scores stay differentiable.

    Images are processed one at a time, so that detections do not depend on the batch.

    Args:
        candidates: (n, L, 4 + classes), as `TorchDetector.candidates` returns them.
        nms: IoU above which the lower-scored of two boxes of the same class is suppressed; 1 to keep all.

    Returns:
        (n, 100, 6), as from `TorchDetector.raw`.
    """
    return torch.stack([_select_in_image(image, nms) for image in candidates])


def _select_in_image(candidates: Tensor, nms: float) -> Tensor:
    if not torch.isfinite(candidates.detach()).all():
        return nan_rows(candidates[None])
    scores = candidates[:, 4:]
    index, labels = (scores.detach() >= THRESHOLD).nonzero(as_tuple=True)
    if len(index) > POOL:
        best = scores.detach()[index, labels].topk(POOL).indices
        index, labels = index[best], labels[best]
    boxes, confidence = candidates[index, :4], scores[index, labels]
    if nms < 1:
        kept = batched_nms(boxes.detach(), confidence.detach(), labels, nms)[:LIMIT]
    else:
        kept = confidence.detach().argsort(descending=True, stable=True)[:LIMIT]
    return detection_table({"boxes": boxes[kept], "scores": confidence[kept], "labels": labels[kept]})


def detection_table(detections: Mapping[str, Tensor]) -> Tensor:
    """Return the detections of one image as padded rows (100, 6), by descending score."""
    scores = detections["scores"]
    order = scores.detach().argsort(descending=True, stable=True)
    order = order[scores.detach()[order] >= THRESHOLD][:LIMIT]
    labels = detections["labels"][order, None].to(scores.dtype)
    rows = torch.cat([detections["boxes"][order], scores[order, None], labels], dim=1)
    padding = rows.new_tensor([0, 0, 0, 0, 0, -1]).expand(LIMIT - len(rows), 6)
    return torch.cat([rows, padding])


def nan_rows(candidates: Tensor) -> Tensor:
    """Return the rows of an image with candidates that are not finite, (100, 6): all NaN."""
    return candidates.new_full((LIMIT, 6), torch.nan)


def propagate_nan(candidates: Tensor, *outputs: Tensor) -> Tensor:
    """Return candidates that are NaN for every image with a network output that is not finite.

    Without it such outputs go unnoticed: a sigmoid turns an infinite logit into a score of 1, and clipping turns an
    infinite box into the whole image. Gradients do not change.

    Args:
        candidates: (n, L, ...).
        outputs: each (n, ...).
    """
    nan_or_zero = torch.stack([(output.detach() * 0).flatten(1).sum(dim=1) for output in outputs]).sum(dim=0)
    return candidates + nan_or_zero.view(-1, *[1] * (candidates.ndim - 1))
