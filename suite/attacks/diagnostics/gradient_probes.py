"""Checks of a model's input gradient: that it exists, is finite, and points to where the loss increases."""

from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attacks.constraints.base import all_finite
from suite.attacks.diagnostics.straight_through import Forward
from suite.attacks.engine.problem import Probe
from suite.kinds.classification import losses as classification_losses

BLIND_SHARE = 0.02
"""Share of samples that may have a zero gradient in an honest network, because all their ReLUs are inactive."""

STEPS = (1e-3, 1e-2, 3e-2)
"""Step sizes per pixel, in units of the pixel range: below, at and above those of attacks."""

DIRECTIONS = 4
"""Number of random directions that the gradient must beat."""

AGREEING = 0.75
"""Share of samples whose loss must increase along the gradient. Measured on digits: at least 0.98 for honest networks,
at most 0.66 for a gradient of another function, 0.27 for a gradient of noise."""

UNEXPLAINED = 0.5
"""Allowed change of the margin in a random step beyond what the gradient explains, as a share of the change that the
gradient predicts for a step along it. Medians measured on digits: at most 0.05 for honest networks, 2 and more for
k-winners-take-all."""

FEWEST = 8
"""With fewer samples a share means nothing."""


@dataclass(frozen=True)
class Slope:
    """The gradient of the margin loss.

    Attributes:
        gradient: has the shape of the pixels; None if the output does not depend on them or the backward pass failed.
        correct: which samples the model classifies correctly, bool (n,).
        reason: why there is no gradient; empty if there is one.
    """

    gradient: Tensor | None
    correct: Tensor
    reason: str = ""


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the largest wrong logit minus the correct one, (n,) in float64."""
    return classification_losses.attack_loss(logits, targets, "margin")


def slope(forward: Forward, pixels: Tensor, targets: Tensor) -> Slope:
    """Return the gradient of the summed margin with respect to the pixels only; parameters receive none.

    An exception in the model is part of the result, not an error: a model may refuse to be differentiated.
    """
    with torch.no_grad():
        correct = forward(pixels.detach().clone()).argmax(dim=1) == targets
    point = pixels.detach().clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            total = margin(forward(point), targets).sum()
            if not total.requires_grad:
                return Slope(None, correct, "the output is detached from the pixels")
            gradient = torch.autograd.grad(total, point, allow_unused=True)[0]
    except Exception as error:  # part of the result: a model that refuses its backward pass hides its gradient
        first_line = (str(error).splitlines() or [""])[0][:120]
        return Slope(None, correct, f"the backward pass raised {type(error).__name__} ({first_line})")
    return Slope(gradient, correct, "" if gradient is not None else "the output does not depend on the pixels")


def gradient_finite(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that the gradient of the margin is finite; sign(NaN) moves no pixel, so an attack would do nothing."""
    name, result, count = "gradient_finite", slope(forward, pixels, targets), len(pixels)
    if result.gradient is None:
        return Probe(name, "n/a", f"there is no gradient: {result.reason}")
    bad = int((~all_finite(result.gradient)).sum())
    sentence = f"the gradient is finite on all {count} samples"
    if bad:
        sentence = f"the gradient is NaN or infinite on {bad} of {count} samples: gradient attacks do nothing there"
    return Probe(name, "fail" if bad else "pass", sentence, {"samples": count, "not_finite": bad})


def gradient_nonzero(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Check that correctly classified samples have a gradient above the smallest normal number of its dtype.

    If the model classifies no sample correctly, all samples are checked.
    """
    name, result = "gradient_nonzero", slope(forward, pixels, targets)
    if result.gradient is None:
        sentence = f"there is no gradient: {result.reason}; gradient attacks cannot run"
        return Probe(name, "fail", sentence, {"samples": len(pixels), "zero": len(pixels)})
    some = bool(result.correct.any())
    gradient = result.gradient[result.correct] if some else result.gradient
    largest = gradient.flatten(1).abs().amax(dim=1)
    zero, count = int((largest < torch.finfo(largest.dtype).tiny).sum()), len(largest)
    fails = zero > BLIND_SHARE * count
    sentence = f"the gradient is zero on {zero} of {count} {'correctly classified ' * some}samples"
    sentence += ": gradient attacks do nothing there" * fails
    return Probe(name, "fail" if fails else "pass", sentence, {"samples": count, "zero": zero})


def gradient_informative(forward: Forward, pixels: Tensor, targets: Tensor, *, seed: int = 0) -> Probe:
    """Check that the margin increases along its gradient as predicted, and changes little where the gradient is flat.

    Steps of one size in every pixel go along the sign of the gradient and along random signs. The check fails if too
    few samples increase at any size, or if random steps change the margin by more than the gradient can explain at
    both larger sizes: the gradient of a discontinuous function such as k-winners-take-all holds only between two jumps
    (the unstable predictions of Pintor et al. 2022 and shattered gradients of Athalye et al. 2018).
    """
    name, result = "gradient_informative", slope(forward, pixels, targets)
    if result.gradient is None:
        return Probe(name, "n/a", f"there is no gradient to check: {result.reason}")
    flat = result.gradient.flatten(1)
    usable = result.correct & torch.isfinite(flat).all(dim=1) & (flat.abs().amax(dim=1) > 0)
    count = int(usable.sum())
    if count < FEWEST:
        return Probe(name, "n/a", f"only {count} correctly classified samples have a gradient to check")
    trial = Trial(forward, pixels[usable].detach(), targets[usable], result.gradient[usable].double(), seed)
    if trial.random():
        return Probe(name, "n/a", "the model is randomized; average over draws before checking the gradient")
    steps = [trial.step(size) for size in STEPS]
    agreeing, unexplained = max(share for share, _ in steps), min(rest for _, rest in steps[1:])
    numbers = {"samples": count, "agreeing": agreeing, "unexplained": unexplained}
    if agreeing < AGREEING:
        sentence = (
            f"the margin increases along its gradient on at most {agreeing:.0%} of {count} samples: the gradient "
            "misleads attacks"
        )
        return Probe(name, "fail", sentence, numbers)
    if unexplained > UNEXPLAINED:
        sentence = (
            f"beyond what the gradient explains, random steps change the margin {unexplained:.1f} times as much as the "
            f"gradient predicts for a step along it (median of {count}): the model is discontinuous, and its gradient "
            "is useless"
        )
        return Probe(name, "fail", sentence, numbers)
    sentence = (
        f"the margin increases along its gradient, more than along random signs, on {agreeing:.0%} of {count} samples"
    )
    return Probe(name, "pass", sentence, numbers)


@dataclass(frozen=True)
class Trial:
    """A comparison of a gradient (float64) with how the margin changes in forward passes without gradients."""

    forward: Forward
    pixels: Tensor
    targets: Tensor
    gradient: Tensor
    seed: int

    def random(self) -> bool:
        """Return whether the margins of two passes over the same pixels differ by more than rounding."""
        return bool(((self.margin(self.pixels) - self.margin(self.pixels)).abs() > self.rounding()).any())

    def step(self, size: float) -> tuple[float, float]:
        """Return the share of samples that increase as predicted, and the median change that is left unexplained."""
        before = self.margin(self.pixels)
        predicted, gained = self.move(size * self.gradient.sign(), before)
        generator = torch.Generator().manual_seed(self.seed)
        signs = [torch.randint(2, self.pixels.shape, generator=generator) * 2 - 1 for _ in range(DIRECTIONS)]
        moves = [self.move(size * sign.to(self.gradient), before) for sign in signs]
        explained, changed = (torch.stack(column) for column in zip(*moves, strict=True))
        increases = (gained > predicted / 4) & (gained > changed.amax(dim=0))
        rest = ((changed - explained).abs().amax(dim=0) - self.rounding()).clamp_min(0)
        return float(increases.double().mean()), float((rest / predicted.clamp_min(1e-300)).median())

    def move(self, delta: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return the predicted and the actual change of the margin, both (n,), for a step clipped to [0, 1]."""
        there = (self.pixels.double() + delta).clamp(0, 1).to(self.pixels)
        taken = there.double() - self.pixels.double()
        return (taken * self.gradient).flatten(1).sum(dim=1), self.margin(there) - before

    @torch.no_grad()
    def margin(self, pixels: Tensor) -> Tensor:
        """Return the margin in a forward pass without gradients, (n,)."""
        return margin(self.forward(pixels.clone()), self.targets)

    @torch.no_grad()
    def rounding(self) -> Tensor:
        """Return how much rounding may change a margin, (n,)."""
        logits = self.forward(self.pixels.clone())
        return 16 * torch.finfo(logits.dtype).eps * logits.abs().amax(dim=1).double()
