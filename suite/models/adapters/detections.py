"""From candidates to detections: what is no detection at all, what is one twice, and what must not pass for either."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torchvision.ops import batched_nms

LIMIT = 100
"""Detections that count in an image, the best ones first; COCO's own number."""

THRESHOLD = 0.05
"""Score under which a candidate is no detection at all."""

POOL = 1000
"""Candidates of an image that suppression looks at, the best ones first: its cost grows with their square."""


def selected(candidates: Tensor, nms: float) -> Tensor:
    """Return the detections among candidates; boxes and scores stay differentiable.

    Each image is treated alone: its detections cannot depend on its company.

    Args:
        candidates: (n, L, 4 + classes), as the adapter's `candidates` returns them.
        nms: intersection over union above which the worse of two boxes of one class is suppressed; 1 to keep all.

    Returns:
        (n, 100, 6), as from `TorchDetector.raw`.
    """
    return torch.stack([_selected(image, nms) for image in candidates])


def _selected(candidates: Tensor, nms: float) -> Tensor:
    if not torch.isfinite(candidates.detach()).all():
        return broken(candidates[None])
    scores = candidates[:, 4:]
    place, labels = (scores.detach() >= THRESHOLD).nonzero(as_tuple=True)
    if len(place) > POOL:
        best = scores.detach()[place, labels].topk(POOL).indices
        place, labels = place[best], labels[best]
    boxes, confidence = candidates[place, :4], scores[place, labels]
    if nms < 1:
        kept = batched_nms(boxes.detach(), confidence.detach(), labels, nms)[:LIMIT]
    else:
        kept = confidence.detach().argsort(descending=True, stable=True)[:LIMIT]
    return table({"boxes": boxes[kept], "scores": confidence[kept], "labels": labels[kept]})


def table(found: Mapping[str, Tensor]) -> Tensor:
    """Return the detections of one image as rows (100, 6), by falling score, padded."""
    scores = found["scores"]
    order = scores.detach().argsort(descending=True, stable=True)
    order = order[scores.detach()[order] >= THRESHOLD][:LIMIT]
    rows = torch.cat([found["boxes"][order], scores[order, None], found["labels"][order, None].to(scores.dtype)], dim=1)
    padding = rows.new_tensor([0, 0, 0, 0, 0, -1]).expand(LIMIT - len(rows), 6)
    return torch.cat([rows, padding])


def broken(candidates: Tensor) -> Tensor:
    """Return the rows of an image whose candidates are not finite, (100, 6): all NaN, on the candidates' device."""
    return candidates.new_full((LIMIT, 6), torch.nan)


def spoiled(candidates: Tensor, *outputs: Tensor) -> Tensor:
    """Return candidates that are NaN for every image in which a network's output is not finite.

    A sigmoid turns an infinite logit into a score of 1, and clipping an infinite box into the whole image: what comes
    behind looks sound. Gradients are left as they are.

    Args:
        candidates: (n, L, ...).
        outputs: each (n, ...).
    """
    poison = torch.stack([(output.detach() * 0).flatten(1).sum(dim=1) for output in outputs]).sum(dim=0)
    return candidates + poison.view(-1, *[1] * (candidates.ndim - 1))
