"""Losses that an attack on a classifier raises.

They are taken in float64, and none of them saturates: a model with huge or tiny logits cannot hide its gradient,
because only the direction of a sample's gradient is followed, never its length. The untargeted margin is above zero
exactly where the model is wrong; the others grow with the odds of that, and need not cross zero at the same place.
"""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn

from suite.errors import SpecError

SPREAD = 10.0
"""Range of the logits, after scaling, at which probabilities are compared: neither flat nor saturated."""

TINY = 1e-30
"""Distance between logits below which they are equal."""


def margin(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the largest wrong logit, or that of the goal, minus the right one (Carlini and Wagner 2017)."""
    own = _of(logits, targets)
    if target_classes is not None:
        return _of(logits, target_classes) - own
    return _without(logits, targets).amax(dim=1) - own


def ce(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the log odds of a wrong class, or of the goal.

    They grow with the cross-entropy c of the target as log(exp(c) - 1), so that a sample's gradient has the direction
    of the gradient of its cross-entropy, but does not vanish where the model is sure. Towards a goal they fall as the
    cross-entropy of the goal grows.
    """
    if target_classes is not None:
        return _of(logits, target_classes) - _without(logits, target_classes).logsumexp(dim=1)
    return _without(logits, targets).logsumexp(dim=1) - _of(logits, targets)


def scaled_ce(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return `ce` of logits scaled to a range of `SPREAD` in each sample; an affine change of the logits is undone."""
    return ce(_scaled(logits), targets, target_classes)


def dlr(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the difference of logits ratio (Croce and Hein 2020), with its sign turned so that above zero is wrong.

    Untargeted the margin is divided by the distance from the first to the third logit, towards a goal by the distance
    from the first to the mean of the third and the fourth. With fewer classes the last one stands in, and the distance
    is taken as given: else the ratio would be the same everywhere, and its gradient zero.
    """
    ordered = logits.sort(dim=1, descending=True).values
    third = ordered[:, min(2, logits.shape[1] - 1)]
    fourth = ordered[:, min(3, logits.shape[1] - 1)]
    spread = ordered[:, 0] - (third if target_classes is None else (third + fourth) / 2)
    if logits.shape[1] < (3 if target_classes is None else 4):
        spread = spread.detach()
    return margin(logits, targets, target_classes) / spread.clamp_min(TINY)


def probability_margin(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the margin between probabilities, of logits scaled as in `scaled_ce` (after Xia et al. 2024)."""
    return margin(_scaled(logits).softmax(dim=1), targets, target_classes)


LOSSES = MappingProxyType(
    {"margin": margin, "ce": ce, "scaled_ce": scaled_ce, "dlr": dlr, "probability_margin": probability_margin}
)
"""The losses by name."""


def attack_loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None) -> Tensor:
    """Return a loss per sample (n,) in float64.

    Args:
        output: logits (n, classes).
        targets: the right classes, (n,).
        name: one of `LOSSES`.
        target_classes: the classes that the model shall say instead, (n,); None for any wrong one.

    Raises:
        SpecError: the loss is unknown.
    """
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = LOSSES.get(name)
    if loss is None:
        raise SpecError(f"Classification has no attack loss {name!r}; choose one of {', '.join(LOSSES)}.")
    return loss(output.double(), targets, target_classes)


def rivals(output: Tensor, targets: Tensor, count: int) -> Tensor:
    """Return the wrong classes nearest to the right one in logits, the nearest first, (n, count or fewer)."""
    return _without(output, targets).topk(min(count, output.shape[1] - 1), dim=1).indices


def _scaled(logits: Tensor) -> Tensor:
    """Return logits scaled to a range of `SPREAD` in each sample; an affine change of them is undone."""
    low, high = logits.detach().aminmax(dim=1, keepdim=True)
    return logits * (SPREAD / (high - low).clamp_min(TINY))


def _of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _without(logits: Tensor, classes: Tensor) -> Tensor:
    mask = nn.functional.one_hot(classes, logits.shape[1]).bool()
    return logits.masked_fill(mask, -torch.inf)
