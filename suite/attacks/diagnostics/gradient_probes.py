"""Questions about a model's gradient: whether it is there, is finite, and points to where the loss rises."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from suite.attacks.engine.problem import Probe
from suite.kinds.classification import losses as classification_losses

Forward = Callable[[Tensor], Tensor]
"""Pixels (n, ...) in [0, 1] to logits (n, classes)."""

BLIND_SHARE = 0.02
"""Share of samples without any gradient that an honest network may have, all of whose units sleep on them."""

STEPS = (1e-3, 1e-2, 3e-2)
"""Steps per pixel, in units of the pixel range: below, at and above what attacks take."""

DIRECTIONS = 4
"""Random directions that a gradient must beat."""

AGREEING = 0.75
"""Share of samples whose loss must rise along the gradient. Honest networks: at least 0.98; a gradient of another
function: 0.66 at most; a gradient of noise: 0.27 (measured on digits)."""

UNEXPLAINED = 0.5
"""What a random step may do beyond what the gradient explains, as a share of what a step along the gradient promises.
Honest networks: 0.05 at most; k-winners-take-all: 2 and more (medians, measured on digits)."""

FEWEST = 8
"""With fewer samples a share says nothing."""


@dataclass(frozen=True)
class Slope:
    """The gradient of the margin loss.

    Attributes:
        gradient: in the shape of the pixels, or None where the output does not depend on them or backward failed.
        right: which samples the model is right about, bool (n,).
        trouble: why there is no gradient; empty where there is one.
    """

    gradient: Tensor | None
    right: Tensor
    trouble: str = ""

    def counted(self) -> Tensor:
        """Return the samples that count, bool (n,): the right ones, since only they can fall; without any, all."""
        return self.right if self.right.any() else torch.ones_like(self.right)


def margin(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the largest wrong logit minus the right one, (n,) in float64."""
    return classification_losses.attack_loss(logits, targets, "margin")


def slope(forward: Forward, pixels: Tensor, targets: Tensor) -> Slope:
    """Return the gradient of the summed margin, taken at the pixels alone: no parameter receives any.

    Whatever goes wrong on the way is an answer, not an error: a model may well refuse to be differentiated.
    """
    with torch.no_grad():
        right = forward(pixels.detach().clone()).argmax(dim=1) == targets
    point = pixels.detach().clone().requires_grad_(True)
    try:
        with torch.enable_grad():
            total = margin(forward(point), targets).sum()
            if not total.requires_grad:
                return Slope(None, right, "the output is cut off from the pixels")
            gradient = torch.autograd.grad(total, point, allow_unused=True)[0]
    except Exception as error:  # recorded in the probe: a model that refuses its backward pass hides its gradient
        return Slope(None, right, f"the backward pass raised {type(error).__name__} ({_first_line(error)})")
    return Slope(gradient, right, "" if gradient is not None else "the output does not depend on the pixels")


def gradient_finite(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether the gradient of the margin is finite; sign(NaN) moves no pixel, so that an attack does nothing."""
    name, found = "gradient_finite", slope(forward, pixels, targets)
    if found.gradient is None:
        return Probe(name, "n/a", f"there is no gradient: {found.trouble}")
    bad = int((~torch.isfinite(found.gradient).flatten(1).all(dim=1)).sum())
    numbers = {"samples": len(pixels), "not_finite": bad}
    if bad:
        sentence = (
            f"the gradient is NaN or infinite on {bad} of {len(pixels)} samples: gradient attacks do nothing there"
        )
        return Probe(name, "fail", sentence, numbers)
    return Probe(name, "pass", f"the gradient is finite on all {len(pixels)} samples", numbers)


def gradient_nonzero(forward: Forward, pixels: Tensor, targets: Tensor) -> Probe:
    """Ask whether right samples have a gradient; zero, or so small that it is lost in the type, is none."""
    name, found = "gradient_nonzero", slope(forward, pixels, targets)
    if found.gradient is None:
        sentence = f"there is no gradient: {found.trouble}; gradient attacks cannot run"
        return Probe(name, "fail", sentence, {"samples": len(pixels), "zero": len(pixels)})
    judged = found.counted()
    largest = found.gradient[judged].flatten(1).abs().amax(dim=1)
    zero, count = int((largest < torch.finfo(largest.dtype).tiny).sum()), len(largest)
    fails = zero > BLIND_SHARE * count
    which = "right samples" if found.right.any() else "samples"
    sentence = f"the gradient is zero on {zero} of {count} {which}" + (": gradient attacks are blind there" * fails)
    return Probe(name, "fail" if fails else "pass", sentence, {"samples": count, "zero": zero})


def gradient_informative(forward: Forward, pixels: Tensor, targets: Tensor, *, seed: int = 0) -> Probe:
    """Ask whether the margin rises along its gradient as promised, and moves little where the gradient says nothing.

    Steps of one size in every pixel go along the sign of the gradient and along random signs. The question is failed
    where too few samples rise at any size, or where random steps move the margin by more than the gradient can
    explain at both larger sizes: a function that jumps, like k-winners-take-all, has a gradient that holds only
    between two jumps (the unstable predictions of Pintor et al. 2022 and shattered gradients of Athalye et al. 2018).
    """
    name, found = "gradient_informative", slope(forward, pixels, targets)
    if found.gradient is None:
        return Probe(name, "n/a", f"there is no gradient to judge: {found.trouble}")
    flat = found.gradient.flatten(1)
    usable = found.right & torch.isfinite(flat).all(dim=1) & (flat.abs().amax(dim=1) > 0)
    if int(usable.sum()) < FEWEST:
        return Probe(name, "n/a", f"only {int(usable.sum())} right samples have a gradient to judge")
    trial = Trial(forward, pixels[usable].detach(), targets[usable], found.gradient[usable].double(), seed)
    if trial.random():
        return Probe(name, "n/a", "the answers are random; average over them before judging the gradient")
    seen = [trial.step(size) for size in STEPS]
    agreeing, unexplained = max(share for share, _ in seen), min(rest for _, rest in seen[1:])
    count = len(trial.pixels)
    numbers = {"samples": count, "agreeing": agreeing, "unexplained": unexplained}
    if agreeing < AGREEING:
        sentence = (
            f"the margin rises along its gradient on at most {agreeing:.0%} of {count} samples: it misleads attacks"
        )
    elif unexplained > UNEXPLAINED:
        sentence = (
            f"beyond what the gradient explains, random steps move the margin {unexplained:.1f} times as far as a step "
            f"along the gradient promises (median of {count}): the model jumps, and its gradient leads nowhere"
        )
    else:
        sentence = (
            f"the margin rises along its gradient, more than along random steps, on {agreeing:.0%} of {count} samples"
        )
        return Probe(name, "pass", sentence, numbers)
    return Probe(name, "fail", sentence, numbers)


@dataclass(frozen=True)
class Trial:
    """A gradient (float64) on trial: what it promises against what the margin does without grad mode."""

    forward: Forward
    pixels: Tensor
    targets: Tensor
    gradient: Tensor
    seed: int

    def random(self) -> bool:
        """Return whether two answers to the same pixels differ by more than rounding."""
        return bool(((self.margin(self.pixels) - self.margin(self.pixels)).abs() > self.rounding()).any())

    def step(self, size: float) -> tuple[float, float]:
        """Return the share of samples that rise as promised, and the median of what the gradient leaves unexplained."""
        before = self.margin(self.pixels)
        promised, gained = self.move(size * self.gradient.sign(), before)
        sources = torch.Generator().manual_seed(self.seed)
        signs = [torch.randint(2, self.pixels.shape, generator=sources) * 2 - 1 for _ in range(DIRECTIONS)]
        trials = [self.move(size * sign.to(self.gradient), before) for sign in signs]
        explained, moved = (torch.stack(column) for column in zip(*trials, strict=True))
        rises = (gained > promised / 4) & (gained > moved.amax(dim=0))
        rest = ((moved - explained).abs().amax(dim=0) - self.rounding()).clamp_min(0)
        return float(rises.double().mean()), float((rest / promised.clamp_min(1e-300)).median())

    def move(self, delta: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """Return what the gradient promises of a step that keeps to the bounds, and what the margin does, both (n,)."""
        there = (self.pixels.double() + delta).clamp(0, 1).to(self.pixels)
        taken = there.double() - self.pixels.double()
        return (taken * self.gradient).flatten(1).sum(dim=1), self.margin(there) - before

    @torch.no_grad()
    def margin(self, pixels: Tensor) -> Tensor:
        """Return the margin of a clean forward pass."""
        return margin(self.forward(pixels.clone()), self.targets)

    @torch.no_grad()
    def rounding(self) -> Tensor:
        """Return what rounding may do to a margin, (n,)."""
        logits = self.forward(self.pixels.clone())
        return 16 * torch.finfo(logits.dtype).eps * logits.abs().amax(dim=1).double()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:120]
