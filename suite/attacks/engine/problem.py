"""A model under attack: what an attack may ask it, and the count of what that cost."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from suite.errors import AttackError
from suite.kinds.base import Array, Kind, Objective
from suite.models.adapters.text import Reading, TorchText
from suite.models.base import TorchModel
from suite.types import Check

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


class TokenGradient(NamedTuple):
    """Which way the embedding of each token of some texts would have to go to raise a loss.

    Attributes:
        reading: what the model reads of the texts.
        embedded: the embeddings of their tokens, (n, length, d).
        gradient: of the loss by them, (n, length, d); zero where it is not finite and where there is no token.
        output: what the model answers.
    """

    reading: Reading
    embedded: Tensor
    gradient: Tensor
    output: Tensor


@dataclass(frozen=True)
class Probe:
    """The answer to one question about a model.

    Attributes:
        name: the question.
        status: whether the model passes; n/a where the question has no meaning for it.
        sentence: what was seen, with counts, and what it means for an attack.
        numbers: the counts and shares behind the sentence.
    """

    name: str
    status: Check
    sentence: str
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A model under attack.

    Attributes:
        model: pixels (n, ...) in `bounds` to the model's output. An output that is not finite is not an error here:
            the engine marks such samples, the gate refuses to count them, and `refuse_broken` to forget them.
        loss: (output, targets, loss name, target_classes or None) to the loss per sample (n,).
        misclassified: (output, targets) to which samples the model is wrong about, bool (n,).
        rivals: (output, targets, count) to the target_classes that are nearest, (n, count), the nearest first.
        objective: (pixels, targets, loss name, share of the steps done) to the loss that is raised, (n,), and the
            output; None where that is `loss` of the output of `model`. Not for target_classes.
        damage: (output, targets) to how wrong the model is about each sample, (n,) in [0, 1]; None for 0 and 1 as
            `misclassified` has it.
        tally: (output, targets) to what each sample contributes to the headline measure; None where that is 1 - damage.
        editable: (texts (n, length), targets) to which of their characters may be changed, bool (n, length).
        hidden: (targets, covered pixels (n, h, w)) to the targets that a patch there leaves to be answered.
        selection_loss: name of the loss by which points are compared, whatever loss found them; above zero is fooled.
        bounds: the range of a pixel.
        batch_size: samples per forward pass; results do not depend on it.
        adapter: the model's adapter, for attacks that change words: it knows what the model reads of a text.
        guide: what gradients are taken of, where the model's own are of no use; what it leads to is judged by the
            model itself.
        average: fresh draws that a gradient is the mean of; more than one for a model that answers at random.
        draws: fresh draws that an outcome is the mean of.
        probes: what is known about the ways the model has of hiding, by name; empty where nobody asked.
        passes: the count, shared by all problems made from this one.
    """

    model: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, str, Tensor | None], Tensor]
    misclassified: Callable[[Tensor, Tensor], Tensor]
    rivals: Callable[[Tensor, Tensor, int], Tensor]
    objective: Objective | None = None
    damage: Callable[[Tensor, Tensor], Tensor] | None = None
    tally: Callable[[Array, Array], Array] | None = None
    hidden: Callable[[Tensor, Tensor], Tensor] = lambda targets, covered: targets
    editable: Callable[[Tensor, Tensor], Tensor] = lambda codes, targets: codes != 0
    selection_loss: str = "margin"
    bounds: tuple[float, float] = (0.0, 1.0)
    batch_size: int = BATCH
    adapter: TorchModel | None = None
    guide: Callable[[Tensor], Tensor] | None = None
    average: int = 1
    draws: int = 1
    probes: Mapping[str, Probe] = field(default_factory=dict)
    passes: Passes = field(default_factory=Passes)

    @classmethod
    def of(
        cls,
        kind: Kind,
        model: Callable[[Tensor], Tensor],
        *,
        batch_size: int = BATCH,
        adapter: TorchModel | None = None,
    ) -> Self:
        """Return the kind's questions about a model; its adapter is asked for objectives beyond the output."""

        def loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None) -> Tensor:
            return kind.attack_loss(output, targets, name=name, target_classes=target_classes)

        questions = cls(
            model,
            loss,
            kind.misclassified,
            kind.rivals,
            editable=kind.editable,
            selection_loss=kind.selection_loss,
            bounds=adapter.limits if adapter is not None else (0.0, 1.0),
            batch_size=batch_size,
            adapter=adapter,
        )
        if kind.single_label:
            return questions
        objective = kind.objective(adapter) if adapter is not None else None
        return replace(questions, objective=objective, damage=kind.damage, tally=kind.tally, hidden=kind.hidden)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the model's output, counted."""
        self.passes.forward += len(pixels)
        output = self.model(pixels)
        if not torch.is_grad_enabled():  # probes ask in grad mode what the model does there, and answer for it
            self._count_broken(output)
        return output

    def gradient(
        self, pixels: Tensor, targets: Tensor, loss: str, target_classes: Tensor | None = None, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the summed loss at some pixels, and the output there.

        Samples are summed, never averaged, so that no sample's gradient depends on its company. `progress` is the
        share of the attack's steps that are done, for losses that change on the way.

        Raises:
            AttackError: the loss does not depend on the pixels by any differentiable path.
        """
        asked = partial(self._once, pixels, targets, loss, target_classes, progress)
        gradient, output = asked()
        for _ in range(self.average - 1):
            gradient = gradient + asked()[0]
        return gradient, output

    def _once(
        self, pixels: Tensor, targets: Tensor, loss: str, target_classes: Tensor | None, progress: float
    ) -> tuple[Tensor, Tensor]:
        point = pixels.detach().requires_grad_(True)
        self.passes.forward += len(pixels)
        with torch.enable_grad():
            if self.objective is not None and self.guide is None:
                losses, output = self.objective(point, targets, loss, progress)
            else:
                output = (self.guide or self.model)(point)
                losses = self.loss(output, targets, loss, target_classes)
            if self.guide is None:
                self._count_broken(output.detach())
            total = losses.sum()
            gradient = torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise AttackError(
                "The output does not depend on the pixels by any differentiable path; no gradient exists. "
                "Use an attack without gradients, such as square, or cascade, which finds its way round."
            )
        self.passes.backward += len(pixels)
        return gradient, output.detach()

    def token_gradient(self, codes: Tensor, targets: Tensor, loss: str) -> TokenGradient:
        """Return the gradient of the summed loss at the embeddings of texts (n, characters), counted as `gradient` is.

        Raises:
            AttackError: the model is no text model, or the loss does not depend on its embeddings.
        """
        if not isinstance(self.adapter, TorchText):
            raise AttackError("Only a TorchText tells what it reads of a text; this attack needs to know that.")
        reading = self.adapter.read(codes)
        embedded = self.adapter.embed(reading.ids).detach()
        point = embedded.clone().requires_grad_(True)
        self.passes.forward += len(codes)
        with torch.enable_grad():
            output = self.adapter.answer(point, reading.mask)
            self._count_broken(output.detach())
            total = self.loss(output, targets, loss, None).sum()
            gradient = torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
        if gradient is None:
            raise AttackError("The output does not depend on the embeddings by any differentiable path; use typos.")
        self.passes.backward += len(codes)
        usable = torch.isfinite(gradient) & reading.mask[..., None]
        return TokenGradient(reading, embedded, torch.where(usable, gradient, 0.0), output.detach())

    def outcome(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the model is about each sample, (n,) in [0, 1], by clean forward passes.

        Where an answer is right or wrong and random, that is how often it is wrong.

        Raises:
            AttackError: an output is not finite; such a sample is neither robust nor broken.
        """
        return self.outcome_and_tally(pixels, targets)[0]

    def outcome_and_tally(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Array]:
        """Return the same as `outcome`, and what each sample contributes to the headline measure, (n, ...).

        Raises:
            AttackError: as `outcome`, or the answers are random where one tally cannot stand for several.
        """
        shares, tallies = torch.zeros(len(pixels), device=pixels.device), []
        if self.tally is not None and self.draws > 1:
            raise AttackError("The model answers at random; boxes and masks of several answers have no common score.")
        with torch.no_grad():
            for chunk in self.chunks(len(pixels)):
                for _ in range(self.draws):
                    output = self.forward(pixels[chunk].detach().clone())
                    self._refuse(output)
                    shares[chunk] += (self.damage or self.misclassified)(output, targets[chunk])
                if self.tally is not None:
                    tallies.append(self.tally(output.cpu().numpy(), targets[chunk].cpu().numpy()))
        shares /= self.draws
        if self.tally is None:
            return shares, 1 - shares.double().cpu().numpy()
        return shares, np.concatenate(tallies) if tallies else np.zeros(0)

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
