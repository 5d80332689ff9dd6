"""Losses that an attack on a segmenter raises.

Each is averaged over the pixels of an image that count, so that no image depends on its company; an image without any
has loss 0 and no gradient. The losses differ in which pixels they push: the cross-entropy pushes most those that are
wrong already, and all but the first two hold these back in favour of those that are still right.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from suite.errors import AttackError, SpecError, did_you_mean
from suite.metrics.segmentation.arrays import IGNORED

SPREAD = 10.0
"""Range of an average pixel's logits, after scaling: neither flat nor saturated."""

LEAD = 1.0
"""Scaled lead of a wrong class beyond which `margin` pushes a pixel no further."""

TINY = 1e-30
"""Range of logits below which they are equal."""


def ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean cross-entropy; its gradient vanishes where the model is sure."""
    return _mean(_cross_entropy(logits, targets), targets)


def scaled_ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return `ce` of logits scaled as `_scaled` does: a factor on all logits is undone, and hides no gradient."""
    return ce(_scaled(logits, targets), targets, progress)


def margin(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean lead of the largest wrong logit over the right one, after scaling, each cut at `LEAD`.

    The lead of a class is linear in the logits: however sure the model is of a pixel, its gradient is as large as any
    other's, until it is clearly wrong. After Carlini and Wagner (2017).
    """
    scaled, labels = _scaled(logits, targets), _labels(targets)
    own = scaled.gather(1, labels)
    wrong = scaled.scatter(1, labels, -torch.inf).amax(dim=1)
    return _mean((wrong - own[:, 0]).clamp_max(LEAD), targets)


def segpgd(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy with weight 1 - l on right pixels and l on wrong ones, l = progress / 2 (Gu 2022)."""
    weights = torch.where(_right(logits, targets), 1 - progress / 2, progress / 2)
    return _mean(weights * _cross_entropy(logits, targets), targets)


def cospgd(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy weighted by the cosine of softmax and one-hot truth (Agnihotri et al. 2024).

    The weight takes no part in the gradient.
    """
    chances = logits.detach().softmax(dim=1)
    cosine = chances.gather(1, _labels(targets))[:, 0] / chances.norm(dim=1)
    return _mean(cosine * _cross_entropy(logits, targets), targets)


def mask_ce(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the cross-entropy of the pixels that are still right, 0 for the wrong ones (Croce et al. 2024)."""
    return _mean(_right(logits, targets) * _cross_entropy(logits, targets), targets)


def js(logits: Tensor, targets: Tensor, progress: float) -> Tensor:
    """Return the mean Jensen-Shannon divergence of softmax and one-hot truth, in 0..log 2 (Croce et al. 2024).

    With p the probability of the true class it is log 2 + (p log p - (1 + p) log(1 + p)) / 2. Its gradient vanishes
    where the model is sure, of the right class or of a wrong one.
    """
    log_chance = -_cross_entropy(logits, targets)
    chance = log_chance.exp()
    spread = chance * log_chance - (1 + chance) * chance.log1p()
    return _mean(torch.log(spread.new_tensor(2.0)) + spread / 2, targets)


def learned(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the loss that training lowers, (n,): `ce` and soft Dice over the classes an image holds (Milletari 2016).

    Objects are few of an image's pixels; the cross-entropy alone is content for long to call everything background.
    """
    valid = (targets != IGNORED)[:, None]
    chances = logits.softmax(dim=1) * valid
    truth = torch.zeros_like(chances).scatter(1, _labels(targets), 1.0) * valid
    both, whole = (chances * truth).sum(dim=(2, 3)), (chances + truth).sum(dim=(2, 3))
    present = truth.amax(dim=(2, 3))
    missed = (1 - 2 * both / whole.clamp_min(1)) * present
    return ce(logits, targets, 0.0) + missed.sum(dim=1) / present.sum(dim=1).clamp_min(1)


def damage(output: Tensor, targets: Tensor, progress: float = 0.0) -> Tensor:
    """Return 1 - the image's mean intersection over union, (n,) in [0, 1], as `suite.metrics.segmentation.image_iou`
    has it.

    It is what the attacks are after, and has no gradient. An image whose pixels are all ignored has no damage.
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
        targets: the right class of each pixel, (n, h, w), 255 ignored.
        name: one of `LOSSES`.
        target_classes: must be None; a target per pixel is not supported.
        progress: share of the attack's steps that are done, in [0, 1).

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given, or progress is outside [0, 1).
    """
    loss = LOSSES.get(name)
    if loss is None:
        raise SpecError(f"Segmentation has no attack loss {name!r}.{did_you_mean(name, LOSSES)}")
    if target_classes is not None:
        raise AttackError("An attack on segmentation has no goal for each pixel; leave the goal out.")
    if not 0 <= progress < 1:
        raise AttackError(f"progress={progress!r}; expected the share of steps that are done, from 0 to below 1.")
    return loss(output.double(), targets, progress)


def _labels(targets: Tensor) -> Tensor:
    """Return class indices (n, 1, h, w) fit for gathering, 0 for ignored pixels."""
    return torch.where(targets == IGNORED, 0, targets).long()[:, None]


def _said(logits: Tensor) -> Tensor:
    """Return the class of each pixel's largest logit, the first of equal ones, (n, h, w)."""
    return logits.detach().max(dim=1).indices  # argmax says the same and takes several times as long on a CPU


def _right(logits: Tensor, targets: Tensor) -> Tensor:
    return _said(logits) == targets


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross-entropy of each pixel, (n, h, w), 0 without gradient for ignored ones."""
    return nn.functional.cross_entropy(logits, targets.long(), ignore_index=IGNORED, reduction="none")


def _mean(values: Tensor, targets: Tensor) -> Tensor:
    """Return the mean over each image's pixels that count, (n,); 0 where none does."""
    valid = targets != IGNORED
    return torch.where(valid, values, 0.0).sum(dim=(1, 2)) / valid.sum(dim=(1, 2)).clamp_min(1)


def _scaled(logits: Tensor, targets: Tensor) -> Tensor:
    """Return logits scaled so that those of an average pixel span `SPREAD`; the factor is one for the whole image.

    So a pixel that the model is surer of than of others remains so.
    """
    low, high = logits.detach().aminmax(dim=1)
    return logits * (SPREAD / _mean(high - low, targets).clamp_min(TINY))[:, None, None, None]


def _confusions(output: Tensor, targets: Tensor) -> Tensor:
    """Return a confusion matrix per image, (n, classes, classes); rows are the truth."""
    images, classes = output.shape[:2]
    first = torch.arange(images, device=output.device)[:, None, None] * classes
    keys = (first + targets) * classes + _said(output)
    size = images * classes * classes
    counts = torch.bincount(torch.where(targets == IGNORED, size, keys).flatten(), minlength=size + 1)
    return counts[:size].view(images, classes, classes)
