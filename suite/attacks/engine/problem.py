"""A model under attack: its losses, gradients and outcomes, and the number of passes that they cost."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, Self, cast

import numpy as np
import torch
from torch import Tensor

from suite.attacks.constraints.base import all_finite
from suite.errors import AttackError, NotApplicableError
from suite.kinds.base import Array, Kind, Objective, required
from suite.models.adapters.text import Reading, TorchText
from suite.models.base import TorchModel
from suite.types import IMAGE, Check, Input

BATCH = 256
"""Number of rows per forward pass of a model without an adapter."""


@dataclass
class Passes:
    """The number of passes so far; one pass is one row through the model once, forward or backward.

    Attributes:
        forward: forward passes, padding included.
        backward: backward passes, padding included.
        padding: passes of padding among these, see `TorchModel.width`.
        nonfinite_outputs: forward passes of the model itself that returned NaN or infinity. A tensor after the first
            pass, because reading it would force a synchronization on an accelerator.
    """

    forward: int = 0
    backward: int = 0
    padding: int = 0
    nonfinite_outputs: int | Tensor = 0

    @property
    def total(self) -> int:
        """Number of forward and backward passes."""
        return self.forward + self.backward


class TokenGradient(NamedTuple):
    """The gradient of a loss with respect to the token embeddings of some texts.

    Attributes:
        reading: the tokens that the model reads of the texts.
        embedded: embeddings of the tokens, (n, length, d).
        gradient: gradient of the loss, (n, length, d); zero where it is not finite and at padding.
        output: the model's output.
    """

    reading: Reading
    embedded: Tensor
    gradient: Tensor
    output: Tensor


@dataclass(frozen=True)
class Probe:
    """The result of one check of whether a model hides from attacks.

    Attributes:
        name: name of the check.
        status: whether the model passes; n/a where the check does not apply to it.
        sentence: what was measured, with counts, and what it means for an attack.
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
        model: maps pixels (n, ...) in `bounds` to the model's output. A non-finite output raises no error here: the
            search marks such samples, validation raises on them, and `refuse_nonfinite_outputs` raises if any occurred.
        loss: maps (output, targets, loss name, target classes or None) to the loss per sample (n,).
        misclassified: maps (output, targets) to which samples the model gets wrong, bool (n,).
        rivals: maps (output, targets, count) to the nearest target classes, (n, count), nearest first.
        objective: maps (pixels, targets, loss name, share of the steps done) to the loss that is maximized, (n,), and
            the output; None where that is `loss` of the output of `model`. Does not support target classes.
        input: what the inputs of the model are.
        outcome_type: ``binary`` if a prediction is right or wrong, ``graded`` if it is better or worse.
        damage: maps (output, targets) to how wrong the model is about each sample, (n,) in [0, 1]; None where that is
            `misclassified` as 0 or 1.
        tally: maps (output, targets) to what each sample contributes to the headline measure; None where that is
            1 - damage.
        mask_covered_targets: maps (targets, covered pixels (n, h, w)) to the targets that remain to be predicted when
            a patch covers those pixels.
        editable: maps (texts (n, length), targets) to which characters may be changed, bool (n, length).
        ranking_loss: name of the loss that ranks points, whichever loss produced them; positive means misclassified.
        bounds: range of pixel values.
        batch_size: rows per forward pass; results do not depend on it. With an adapter it is best the adapter's width.
        adapter: the model's adapter, for attacks on texts, which need its tokens, and for the number of padding rows.
        guide: a differentiable surrogate (as in BPDA), used only for gradients, for models whose own gradients are
            useless; candidates are evaluated on the model itself.
        average: number of draws that a gradient is summed over; more than one for a randomized model.
        draws: number of draws that an outcome is the mean of.
        probes: results of the checks for hidden gradients by name; empty if none were run.
        passes: the pass counts, shared by all problems made from this one.
    """

    model: Callable[[Tensor], Tensor]
    loss: Callable[[Tensor, Tensor, str, Tensor | None], Tensor]
    misclassified: Callable[[Tensor, Tensor], Tensor]
    rivals: Callable[[Tensor, Tensor, int], Tensor]
    objective: Objective | None = None
    input: Input = IMAGE
    outcome_type: Literal["binary", "graded"] = "binary"
    damage: Callable[[Tensor, Tensor], Tensor] | None = None
    tally: Callable[[Array, Array], Array] | None = None
    mask_covered_targets: Callable[[Tensor, Tensor], Tensor] = lambda targets, covered: targets
    editable: Callable[[Tensor, Tensor], Tensor] = lambda codes, targets: codes != 0
    ranking_loss: str = "margin"
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
        batch_size: int | None = None,
        adapter: TorchModel | None = None,
    ) -> Self:
        """Return the problem of attacking a model of a kind.

        Args:
            kind: kind of the task.
            model: maps inputs (n, ...) to outputs.
            batch_size: rows per forward pass; None for the width of the adapter, or `BATCH` without one.
            adapter: the model's adapter; it allows losses beyond those of the output.

        Raises:
            NotApplicableError: models of the kind cannot be attacked.
        """
        attacks, scoring = required(kind.attacks), kind.scoring

        def loss(output: Tensor, targets: Tensor, name: str, target_classes: Tensor | None) -> Tensor:
            return attacks.attack_loss(output, targets, name=name, target_classes=target_classes)

        problem = cls(
            model,
            loss,
            lambda output, targets: attacks.damage(output, targets) >= 1,
            attacks.rivals,
            input=adapter.input if adapter is not None else kind.input,
            outcome_type=scoring.outcome.type,
            editable=attacks.editable,
            ranking_loss=attacks.ranking_loss,
            bounds=adapter.limits if adapter is not None else (0.0, 1.0),
            batch_size=batch_size or (BATCH if adapter is None else adapter.width),
            adapter=adapter,
        )
        if not problem.is_graded:
            return problem
        return replace(
            problem,
            objective=attacks.objective(adapter) if adapter is not None else None,
            damage=attacks.damage,
            tally=scoring.tally,
            mask_covered_targets=scoring.mask_covered_targets,
        )

    @property
    def is_graded(self) -> bool:
        """Whether a prediction is better or worse, instead of right or wrong."""
        return self.outcome_type == "graded"

    @property
    def device(self) -> torch.device:
        """The device of the model; the CPU without an adapter."""
        return torch.device("cpu") if self.adapter is None else self.adapter.device

    @property
    def text_model(self) -> TorchText:
        """The adapter, with its tokens.

        Raises:
            NotApplicableError: it exposes no tokens.
        """
        if self.adapter is None or not self.adapter.capabilities.tokens:
            raise NotApplicableError("the model does not expose its tokens")
        return cast(TorchText, self.adapter)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the model's output for any number of rows, and count the passes."""
        parts = [self._forward(pixels[rows]) for rows in self.chunks(len(pixels))]
        return torch.cat(parts) if len(parts) > 1 else parts[0] if parts else self.model(pixels)

    def _forward(self, pixels: Tensor) -> Tensor:
        self.passes.forward += self._rows(len(pixels))
        output = self.model(pixels)
        if not torch.is_grad_enabled():  # in grad mode only the probes call this, and they handle it themselves
            self._count_nonfinite(output)
        return output

    def _rows(self, count: int) -> int:
        """Return how many rows the model sees for a call with some rows, and count the padding among them."""
        padding = self.adapter.padding(count) if self.adapter is not None else 0
        self.passes.padding += padding
        return count + padding

    def count_backward(self, count: int) -> None:
        """Count the backward pass of a call with some rows."""
        self.passes.backward += self._rows(count)

    def gradient(
        self, pixels: Tensor, targets: Tensor, loss: str, target_classes: Tensor | None = None, progress: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the gradient of the summed loss with respect to the pixels, and the output, for any number of rows.

        Losses are summed, not averaged, so that the gradient of a sample does not depend on the rest of the batch.

        Args:
            pixels: where the gradient is taken, (n, ...).
            targets: the targets, (n, ...).
            loss: name of the loss.
            target_classes: the classes to aim at, (n,); None for any wrong one.
            progress: share of the attack's steps that are done, for losses that change during an attack.

        Raises:
            AttackError: no differentiable path leads from the pixels to the loss.
        """
        parts = []
        for rows in self.chunks(len(pixels)):
            classes = None if target_classes is None else target_classes[rows]
            gradient, output = self._gradient(pixels[rows], targets[rows], loss, classes, progress)
            for _ in range(self.average - 1):
                gradient = gradient + self._gradient(pixels[rows], targets[rows], loss, classes, progress)[0]
            parts.append((gradient, output))
        if len(parts) == 1:
            return parts[0]
        gradients, outputs = zip(*parts, strict=True) if parts else ((pixels,), (self.model(pixels),))
        return torch.cat(gradients), torch.cat(outputs)

    def _gradient(
        self, pixels: Tensor, targets: Tensor, loss: str, target_classes: Tensor | None, progress: float
    ) -> tuple[Tensor, Tensor]:
        point = pixels.detach().requires_grad_(True)
        self.passes.forward += self._rows(len(pixels))
        with torch.enable_grad():
            if self.objective is not None and self.guide is None:
                losses, output = self.objective(point, targets, loss, progress)
            else:
                output = (self.guide or self.model)(point)
                losses = self.loss(output, targets, loss, target_classes)
            if self.guide is None:
                self._count_nonfinite(output.detach())
            gradient = _input_gradient(losses, point)
        if gradient is None:
            raise AttackError(
                "No differentiable path leads from the pixels to the output, so no gradient exists. Use a "
                "gradient-free attack such as square, or cascade, which works without gradients where it has to."
            )
        self.count_backward(len(pixels))
        return gradient, output.detach()

    def token_gradient(self, codes: Tensor, targets: Tensor, loss: str) -> TokenGradient:
        """Return the gradient of the summed loss with respect to the embeddings of texts (n, characters).

        Passes are counted as in `gradient`.

        Raises:
            NotApplicableError: the model exposes no tokens.
            AttackError: the loss does not depend on the embeddings.
        """
        parts = [self._token_gradient(codes[rows], targets[rows], loss) for rows in self.chunks(len(codes))]
        if len(parts) == 1:
            return parts[0]
        readings, *others = zip(*parts, strict=True)
        reading = Reading(*(torch.cat(column) for column in zip(*readings, strict=True)))
        return TokenGradient(reading, *(torch.cat(column) for column in others))

    def _token_gradient(self, codes: Tensor, targets: Tensor, loss: str) -> TokenGradient:
        model = self.text_model
        reading = model.read(codes)
        embedded = model.embed(reading.ids).detach()
        point = embedded.clone().requires_grad_(True)
        self.passes.forward += self._rows(len(codes))
        with torch.enable_grad():
            output = model.forward_embedded(point, reading.mask)
            self._count_nonfinite(output.detach())
            gradient = _input_gradient(self.loss(output, targets, loss, None), point)
        if gradient is None:
            raise AttackError("No differentiable path leads from the embeddings to the output; use typos.")
        self.count_backward(len(codes))
        usable = torch.isfinite(gradient) & reading.mask[..., None]
        return TokenGradient(reading, embedded, torch.where(usable, gradient, 0.0), output.detach())

    def outcome(self, pixels: Tensor, targets: Tensor) -> Tensor:
        """Return how wrong the model is about each sample, (n,) in [0, 1], from forward passes without gradients.

        For a randomized model it is the mean over `draws` passes.

        Raises:
            AttackError: an output is not finite; such a sample counts neither as robust nor as misclassified.
        """
        return self.outcome_and_tally(pixels, targets)[0]

    def outcome_and_tally(self, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Array]:
        """Return the same as `outcome`, and what each sample contributes to the headline measure, (n, ...).

        Raises:
            AttackError: as in `outcome`, or the model is randomized and its tallies cannot be averaged.
        """
        shares, tallies = torch.zeros(len(pixels), device=pixels.device), []
        if self.tally is not None and self.draws > 1:
            raise AttackError("The model is randomized; boxes and masks of several predictions have no common score.")
        with torch.no_grad():
            for chunk in self.chunks(len(pixels)):
                for _ in range(self.draws):
                    output = self.forward(pixels[chunk].detach().clone())
                    if bad := int((~all_finite(output)).sum()):
                        raise AttackError(
                            f"The model returned NaN or infinite output for {bad} of {len(output)} samples; they are "
                            "neither robust nor misclassified, and nothing is reported."
                        )
                    shares[chunk] += (self.damage or self.misclassified)(output, targets[chunk])
                if self.tally is not None:
                    tallies.append(self.tally(output.cpu().numpy(), targets[chunk].cpu().numpy()))
        shares /= self.draws
        if self.tally is None:
            return shares, 1 - shares.double().cpu().numpy()
        return shares, np.concatenate(tallies) if tallies else np.zeros(0)

    def judged(self, output: Tensor, targets: Tensor) -> tuple[Tensor, Array]:
        """Return how wrong outputs are, (n,) in [0, 1], and what each sample contributes to the headline measure."""
        damage = (self.damage or self.misclassified)(output, targets).float()
        if self.tally is None:
            return damage, 1 - damage.double().cpu().numpy()
        return damage, self.tally(output.cpu().numpy(), targets.cpu().numpy())

    def refuse_nonfinite_outputs(self) -> None:
        """Raise AttackError if the model returned a non-finite output in any pass so far.

        An attack that gets NaN finds no adversarial example there, so the sample would count as robust.
        """
        if count := int(self.passes.nonfinite_outputs):
            raise AttackError(
                f"The model returned NaN or infinite output {count} times under attack; such samples are neither "
                "robust nor misclassified, and nothing is reported."
            )

    def _count_nonfinite(self, output: Tensor) -> None:
        self.passes.nonfinite_outputs = self.passes.nonfinite_outputs + (~all_finite(output)).sum()

    def chunks(self, count: int, *, batches: int = 1) -> Iterator[slice]:
        """Yield slices of at most `batches` times `batch_size` rows that cover `count` rows in order."""
        size = batches * self.batch_size
        for begin in range(0, count, size):
            yield slice(begin, min(begin + size, count))


def _input_gradient(losses: Tensor, point: Tensor) -> Tensor | None:
    """Return the gradient of summed losses at a point; None if no differentiable path leads to them."""
    total = losses.sum()
    return torch.autograd.grad(total, point, allow_unused=True)[0] if total.requires_grad else None
