"""Losses that attacks on a classifier maximize.

They are computed in float64, and none of them saturates: large or small logits do not mask the gradient, because
attacks follow only the direction of a sample's gradient, never its magnitude. The untargeted margin is positive
exactly where the model is wrong; the others increase with the odds of an error, and need not cross zero at the same
point.
"""

from collections.abc import Callable
from types import MappingProxyType

import torch
from torch import Tensor, nn

from suite.errors import SpecError
from suite.kinds.scaling import nonzero, to_spread


def margin(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the largest wrong logit, or that of the target class, minus the true one (Carlini and Wagner 2017)."""
    own = _logit_of(logits, targets)
    if target_classes is not None:
        return _logit_of(logits, target_classes) - own
    return _mask_out(logits, targets).amax(dim=1) - own


def ce(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the log odds of a wrong class, or of the target class.

    As a function of the cross-entropy c of the true class they are log(exp(c) - 1): a sample's gradient has the
    direction of that of its cross-entropy, but does not vanish where the model is confident. In a targeted attack they
    decrease with the cross-entropy of the target class.
    """
    if target_classes is not None:
        return _logit_of(logits, target_classes) - _mask_out(logits, target_classes).logsumexp(dim=1)
    return _mask_out(logits, targets).logsumexp(dim=1) - _logit_of(logits, targets)


def scaled_ce(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return `ce` of logits scaled to a range of `SPREAD` in each sample: invariant to affine maps of the logits."""
    return ce(_scaled(logits), targets, target_classes)


def dlr(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the difference of logits ratio (Croce and Hein 2020), with its sign flipped: positive means misclassified.

    The margin is divided by the difference of the first and the third largest logit, in a targeted attack by that of
    the first and the mean of the third and the fourth. With fewer classes the last logit replaces the missing ones, and
    the divisor is detached: otherwise the ratio would be constant, and its gradient zero.
    """
    ordered = logits.sort(dim=1, descending=True).values
    third = ordered[:, min(2, logits.shape[1] - 1)]
    fourth = ordered[:, min(3, logits.shape[1] - 1)]
    spread = ordered[:, 0] - (third if target_classes is None else (third + fourth) / 2)
    if logits.shape[1] < (3 if target_classes is None else 4):
        spread = spread.detach()
    return margin(logits, targets, target_classes) / nonzero(spread)


def probability_margin(logits: Tensor, targets: Tensor, target_classes: Tensor | None) -> Tensor:
    """Return the margin between the probabilities of logits scaled as in `scaled_ce` (after Xia et al. 2024)."""
    return margin(_scaled(logits).softmax(dim=1), targets, target_classes)


LOSSES = MappingProxyType(
    {"margin": margin, "ce": ce, "scaled_ce": scaled_ce, "dlr": dlr, "probability_margin": probability_margin}
)
"""The losses by name."""


def attack_loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None) -> Tensor:
    """Return a loss per sample (n,) in float64.

    Args:
        output: logits (n, classes).
        targets: the true classes, (n,).
        name: one of `LOSSES`.
        target_classes: the classes that the model should predict instead, (n,); None for any wrong one.

    Raises:
        SpecError: the loss is unknown.
    """
    loss: Callable[[Tensor, Tensor, Tensor | None], Tensor] | None = LOSSES.get(name)
    if loss is None:
        raise SpecError(f"Classification has no attack loss {name!r}; choose one of {', '.join(LOSSES)}.")
    return loss(output.double(), targets, target_classes)


def rivals(output: Tensor, targets: Tensor, count: int) -> Tensor:
    """Return the wrong classes of the largest logits, in descending order, (n, count or fewer)."""
    return _mask_out(output, targets).topk(min(count, output.shape[1] - 1), dim=1).indices


def _scaled(logits: Tensor) -> Tensor:
    """Return logits scaled to a range of `SPREAD` in each sample."""
    low, high = logits.detach().aminmax(dim=1, keepdim=True)
    return logits * to_spread(high - low)


def _logit_of(logits: Tensor, classes: Tensor) -> Tensor:
    return logits.gather(1, classes[:, None])[:, 0]


def _mask_out(logits: Tensor, classes: Tensor) -> Tensor:
    mask = nn.functional.one_hot(classes, logits.shape[1]).bool()
    return logits.masked_fill(mask, -torch.inf)
