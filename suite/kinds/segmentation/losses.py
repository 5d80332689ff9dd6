"""Losses that attacks on a segmenter maximize.

Each is averaged over the valid pixels of an image, so that it does not depend on the batch; an image without valid
pixels has loss 0 and no gradient. The losses differ in their weights of pixels: the gradient of the cross-entropy is
largest at pixels that are wrong already, and all losses but the first two reduce it there in favor of correct pixels.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from suite.errors import AttackError
from suite.kinds.defaults import find_loss
from suite.kinds.scaling import to_spread
from suite.metrics.segmentation.arrays import IGNORED

LEAD = 1.0
"""Scaled margin of a wrong class at which `margin` is clipped."""


def ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean cross-entropy; its gradient vanishes where the model is confident."""
    return _mean(_cross_entropy(logits, targets), targets)


def scaled_ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return `ce` of scaled logits: a factor on all logits cannot mask the gradient."""
    return ce(_scaled(logits, targets), targets, progress)


def margin(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean margin of the largest wrong logit over the true one, after scaling, clipped at `LEAD`.

    The margin is linear in the logits: a pixel's gradient does not depend on the model's confidence until the pixel is
    clearly wrong. After Carlini and Wagner (2017).
    """
    scaled, labels = _scaled(logits, targets), _labels(targets)
    own = scaled.gather(1, labels)
    wrong = scaled.scatter(1, labels, -torch.inf).amax(dim=1)
    return _mean((wrong - own[:, 0]).clamp_max(LEAD), targets)


def segpgd(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy with weight 1 - l on correct pixels and l on wrong ones, l = progress / 2 (Gu 2022)."""
    weights = torch.where(_correct(logits, targets), 1 - progress / 2, progress / 2)
    return _mean(weights * _cross_entropy(logits, targets), targets)


def cospgd(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy weighted by the cosine of softmax and one-hot truth (Agnihotri et al. 2024).

    The weight is detached from the gradient.
    """
    probabilities = logits.detach().softmax(dim=1)
    cosine = probabilities.gather(1, _labels(targets))[:, 0] / probabilities.norm(dim=1)
    return _mean(cosine * _cross_entropy(logits, targets), targets)


def mask_ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy of the pixels that are still correct, 0 for the wrong ones (Croce et al. 2024)."""
    return _mean(_correct(logits, targets) * _cross_entropy(logits, targets), targets)


def js(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean Jensen-Shannon divergence of softmax and one-hot truth, in 0..log 2 (Croce et al. 2024).

    With p the probability of the true class it is log 2 + (p log p - (1 + p) log(1 + p)) / 2. Its gradient vanishes
    where the model is confident, of the true class or of a wrong one.
    """
    log_p = -_cross_entropy(logits, targets)
    p = log_p.exp()
    difference = p * log_p - (1 + p) * p.log1p()
    return _mean(torch.log(difference.new_tensor(2.0)) + difference / 2, targets)


def training_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return `ce` plus the soft Dice loss over the classes in each image, (n,) (Milletari 2016).

    Objects cover few pixels: with the cross-entropy alone a model predicts background everywhere for many epochs.
    """
    valid = (targets != IGNORED)[:, None]
    probabilities = logits.softmax(dim=1) * valid
    truth = torch.zeros_like(probabilities).scatter(1, _labels(targets), 1.0) * valid
    overlap, total = (probabilities * truth).sum(dim=(2, 3)), (probabilities + truth).sum(dim=(2, 3))
    present = truth.amax(dim=(2, 3))
    dice_loss = (1 - 2 * overlap / total.clamp_min(1)) * present
    return ce(logits, targets, 0.0) + dice_loss.sum(dim=1) / present.sum(dim=1).clamp_min(1)


def damage(output: Tensor, targets: Tensor, progress: float = 0.0) -> Tensor:
    """Return 1 - the mean intersection over union of each image, (n,) in [0, 1], without gradient.

    It equals 1 - `suite.metrics.segmentation.image_iou`, and is 0 for an image whose pixels are all ignored.
    """
    matrices = _confusions(output, targets).double()
    hits = matrices.diagonal(dim1=1, dim2=2)
    union = matrices.sum(dim=1) + matrices.sum(dim=2) - hits
    present = (union > 0).sum(dim=1)
    mean = (hits / union.clamp_min(1)).sum(dim=1) / present.clamp_min(1)
    return torch.where(present > 0, 1 - mean, 0.0)


LOSSES: Mapping[str, Callable[[Tensor, Tensor, float], Tensor]] = MappingProxyType(
    {
        "ce": ce,
        "scaled_ce": scaled_ce,
        "margin": margin,
        "segpgd": segpgd,
        "cospgd": cospgd,
        "mask_ce": mask_ce,
        "js": js,
        "damage": damage,
    }
)
"""The losses by name; `damage` alone has no gradient."""


def attack_loss(
    output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None, progress: float = 0.0
) -> Tensor:
    """Return a loss per image (n,) in float64.

    Args:
        output: logits (n, classes, h, w).
        targets: the true class of each pixel, (n, h, w), 255 ignored.
        name: one of `LOSSES`.
        target_classes: must be None; a target per pixel is not supported.
        progress: fraction of the attack's steps that are done, in [0, 1).

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given, or progress is outside [0, 1).
    """
    loss = find_loss(LOSSES, "Segmentation", name, target_classes)
    if not 0 <= progress < 1:
        raise AttackError(f"progress={progress!r}; expected the fraction of steps that are done, from 0 to below 1.")
    return loss(output.double(), targets, progress)


def _labels(targets: Tensor) -> Tensor:
    """Return class indices (n, 1, h, w) to gather with, 0 for ignored pixels."""
    return torch.where(targets == IGNORED, 0, targets).long()[:, None]


def _predicted(logits: Tensor) -> Tensor:
    """Return the class of each pixel's largest logit, (n, h, w); ties go to the first class."""
    return logits.detach().max(dim=1).indices  # equal to argmax, which takes several times as long on a CPU


def _correct(logits: Tensor, targets: Tensor) -> Tensor:
    return _predicted(logits) == targets


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, (n, h, w), 0 without gradient for ignored ones."""
    return nn.functional.cross_entropy(logits, targets.long(), ignore_index=IGNORED, reduction="none")


def _mean(values: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over each image's valid pixels, (n,); 0 without valid pixels."""
    valid = targets != IGNORED
    return torch.where(valid, values, 0.0).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp_min(1)


def _scaled(logits: Tensor, targets: Tensor) -> Tensor:
    """Return logits scaled so that those of an average pixel span `SPREAD`.

    All pixels of an image share one factor, so that their confidences keep their order.
    """
    low, high = logits.detach().aminmax(dim=1)
    return logits * to_spread(_mean(high - low, targets))[:, None, None, None]


def _confusions(output: Tensor, targets: Tensor) -> Tensor:
    """Return a confusion matrix per image, (n, classes, classes); rows are true classes."""
    images, classes = output.shape[:2]
    first = torch.arange(images, device=output.device)[:, None, None] * classes
    keys = (first + targets) * classes + _predicted(output)
    size = images * classes * classes
    counts = torch.bincount(torch.where(targets == IGNORED, size, keys).flatten(), minlength=size + 1)
    return counts[:size].view(images, classes, classes)
