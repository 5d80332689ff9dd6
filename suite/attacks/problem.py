"""A model under attack: what an attack may ask it, and the count of what that cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from torch import Tensor

from suite.attacks.gradient_probes import Probe
from suite.errors import AttackError
from suite.kinds.base import Kind

BATCH = 256
"""Samples per forward pass where nobody says otherwise."""


@dataclass
class Passes:
    """Passes so far; one pass is one sample through the model once, forward or backward.

    Attributes:
        broken: samples that the model itself gave an output for that is not finite; a tensor as soon as anything was
            asked, because reading it would mean waiting for an accelerator.
    """

    forward: int = 0
    backward: int = 0
    broken: int | Tensor = 0

    @property
    def total(self) -> int:
        """Forward and backward passes together."""
        return self.forward + self.backward


@dataclass(frozen=True)
class Problem:
    """A model under attack.

    Attributes:
        model: pixels (n, ...) in `bounds` to the model's output. An output that is not finite is not an error here:
            the engine marks such samples, the gate refuses to count them, and `refuse_broken` to forget them.
        loss: (output, targets, loss name, goals or None) to the loss per sample (n,).
        fooled: (output, targets) to which samples the model is wrong about, bool (n,).
        rivals: (output, targets, count) to the goals that are nearest, (n, count), the nearest first.
        yardstick: name of the loss by which points are compared, whatever loss found them; above zero is fooled.
        bounds: the range of a pixel.
        batch_size: samples per forward pass; results do not depend on it.
        guide: what gradients are taken of, where the model's own are of no use; what it leads to is judged by the
            model itself.
        average: fresh draws that a gradient is the mean of; more than one for a model that answers at random.
        draws: fresh draws that an outcome is the mean of.
        probes: what is known about the ways the model has of hiding, by name; empty where nobody asked.
        passes: the count, shared by all problems made from this one.
    """

    model: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, str, Tensor | None], Tensor]
    fooled: Callable[[Tensor, Tensor], Tensor]
    rivals: Callable[[Tensor, Tensor, int], Tensor]
    yardstick: str = "margin"
    bounds: tuple[float, float] = (0.0, 1.0)
    batch_size: int = BATCH
    guide: Callable[[Tensor], Tensor] | None = None
    average: int = 1
    draws: int = 1
    probes: Mapping[str, Probe] = field(default_factory=dict)
    passes: Passes = field(default_factory=Passes)

    @classmethod
    def of(cls, kind: Kind, model: Callable[[Tensor], Tensor], *, batch_size: int = BATCH) -> Self:
        """Return the kind's questions about a model."""

        def loss(output: Tensor, targets: Tensor, name: str, goals: Tensor | None) -> Tensor:
            return kind.attack_loss(output, targets, name=name, goals=goals)

        return cls(model, loss, kind.fooled, kind.rivals, batch_size=batch_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the model's output, counted."""
        self.passes.forward += len(pixels)
        output = self.model(pixels)
        if not torch.is_grad_enabled():  # probes ask in grad mode what the model does there, and answer for it
            self._count_broken(output)
        return output

    def gradient(
        self, pixels: Tensor, targets: Tensor, loss: str, goals: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the summed loss at some pixels, and the output there.

        Samples are summed, never averaged, so that no sample's gradient depends on its company.

        Raises:
            AttackError: the loss does not depend on the pixels by any differentiable path.
        """
        gradient, output = self._once(pixels, targets, loss, goals)
        for _ in range(self.average - 1):
            gradient = gradient + self._once(pixels, targets, loss, goals)[0]
        return gradient, output

    def _once(self, pixels: Tensor, targets: Tensor, loss: str, goals: Tensor | None) -> tuple[Tensor, Tensor]:
        point = pixels.detach().requires_grad_(True)
        self.passes.forward += len(pixels)
        with torch.enable_grad():
            output = (self.guide or self.model)(point)
            if self.guide is None:
                self._count_broken(output.detach())
            total = self.loss(output, targets, loss, goals).sum()
            gradient = torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise AttackError(
                "The output does not depend on the pixels by any differentiable path; no gradient exists. "
                "Use an attack without gradients, such as square, or cascade, which finds its way round."
            )
        self.passes.backward += len(pixels)
        return gradient, output.detach()

    def outcome(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return how often the model is wrong about each sample, (n,) in [0, 1], by clean forward passes.

        Raises:
            AttackError: an output is not finite; such a sample is neither robust nor broken.
        """
        shares = torch.zeros(len(pixels), device=pixels.device)
        with torch.no_grad():
            for chunk in self.chunks(len(pixels)):
                for _ in range(self.draws):
                    output = self.forward(pixels[chunk].detach().clone())
                    self._refuse(output)
                    shares[chunk] += self.fooled(output, targets[chunk])
        return shares / self.draws

    def refuse_broken(self) -> None:
        """Raise AttackError where the model ever gave an output that is not finite, whatever an attack made of it.

        An attack that gets NaN finds nothing there, so that the sample would pass for robust.
        """
        if int(self.passes.broken):
            raise AttackError(
                f"The model returned NaN or infinite output {int(self.passes.broken)} times under attack; such samples "
                "are neither robust nor broken, and nothing is reported."
            )

    def _count_broken(self, output: Tensor) -> None:
        self.passes.broken = self.passes.broken + (~torch.isfinite(output).flatten(1).all(dim=1)).sum()

    def _refuse(self, output: Tensor) -> None:
        bad = ~torch.isfinite(output).flatten(1).all(dim=1)
        if bad.any():
            raise AttackError(
                f"The model returned NaN or infinite output for {int(bad.sum())} of {len(output)} samples; they are "
                "neither robust nor broken, and nothing is reported."
            )

    def chunks(self, count: int) -> Iterator[slice]:
        """Yield slices of at most `batch_size`."""
        for begin in range(0, count, self.batch_size):
            yield slice(begin, min(begin + self.batch_size, count))
