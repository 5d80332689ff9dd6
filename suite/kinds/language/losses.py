"""Bits and damage of a text under a language model, and the losses that attacks maximize."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn

from suite.kinds.defaults import find_loss
from suite.kinds.scaling import to_spread


def surprise(output: Tensor, targets: Tensor) -> Tensor:
    """Return the negative log-likelihood of the scored characters in nats, (n, scored), in float64.

    Args:
        output: logits (n, positions, classes), of which the last positions are scored.
        targets: class indices (n, scored).
    """
    logits = output[:, -targets.shape[1] :].double()
    return nn.functional.cross_entropy(logits.transpose(1, 2), targets.long(), reduction="none")


def ce(output: Tensor, targets: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of a window's scored characters."""
    return surprise(output, targets).mean(dim=1)


def scaled_ce(output: Tensor, targets: Tensor) -> Tensor:
    """Return `ce` of logits scaled so that those of an average character span `SPREAD`.

    A factor on all logits cannot mask the gradient.
    """
    logits = output[:, -targets.shape[1] :].double()
    low, high = logits.detach().aminmax(dim=2)
    return ce(logits * to_spread((high - low).mean(dim=1))[:, None, None], targets)


def damage(output: Tensor, targets: Tensor) -> Tensor:
    """Return the bits per character relative to a uniform guess, clipped at 1, (n,): 1 is no better than chance."""
    return (ce(output, targets) / math.log(output.shape[2])).clamp_max(1)


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"ce": ce, "scaled_ce": scaled_ce, "damage": damage}
)
"""The losses by name."""


def attack_loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None = None) -> Tensor:
    """Return one of `LOSSES` per window, (n,).

    Raises:
        SpecError: the loss is unknown.
        AttackError: target classes are given.
    """
    return find_loss(LOSSES, "A language model", name, target_classes)(output, targets)


def all_positions(output: Tensor, ids: Tensor) -> Tensor:
    """Return the mean negative log-likelihood of all but the first character of windows with ids (n, length), (n,)."""
    return nn.functional.cross_entropy(output.transpose(1, 2), ids[:, 1:], reduction="none").mean(dim=1)


def bits(output: Tensor, targets: Tensor) -> Tensor:
    """Return the bits of each scored character, (n, scored)."""
    return surprise(output, targets) / torch.log(torch.tensor(2.0, dtype=torch.float64))
