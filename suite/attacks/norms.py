"""Norms that limit a perturbation: size, projection, steepest step, random direction."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from suite.attacks.engine import gaussian, generators, uniform
from suite.errors import SpecError

NORMS = ("linf", "l2")


def known(norm: str) -> str:
    """Return the norm's name.

    Raises:
        SpecError: it is not one of `NORMS`.
    """
    if norm not in NORMS:
        raise SpecError(f"norm={norm!r}; expected one of {', '.join(NORMS)}.")
    return norm


def size(delta: Tensor, norm: str) -> Tensor:
    """Return the norm of each sample's perturbation, (n,) in float64."""
    flat = delta.detach().double().flatten(1)
    return flat.abs().amax(dim=1) if norm == "linf" else flat.norm(dim=1)


def project(delta: Tensor, norm: str, eps: float) -> Tensor:
    """Return the nearest perturbation of norm at most eps."""
    if norm == "linf":
        return delta.clamp(-eps, eps)
    length = _length(delta)
    return delta * (eps / length.clamp_min(torch.finfo(delta.dtype).tiny)).clamp(max=1.0)


def steepest(gradient: Tensor, norm: str) -> Tensor:
    """Return the perturbation of norm one along which a linear loss rises fastest; zero where the gradient is zero."""
    if norm == "linf":
        return gradient.sign()
    # Scaling by the largest entry first keeps the square of a tiny gradient from rounding to zero.
    largest = gradient.flatten(1).abs().amax(dim=1).view(-1, *(1,) * (gradient.ndim - 1))
    scaled = gradient / torch.where(largest > 0, largest, torch.ones_like(largest))
    return scaled / _length(scaled).clamp_min(1e-12)


def start(pixels: Tensor, norm: str, eps: float, seeds: Sequence[int]) -> Tensor:
    """Return a random perturbation inside the ball, uniform for linf and of uniform radius for l2."""
    sources = generators(seeds)
    if norm == "linf":
        return (uniform(pixels, sources) * 2 - 1) * eps
    direction = gaussian(pixels, sources)
    radius = torch.stack([torch.rand((), generator=source) for source in sources]).to(pixels)
    return direction / _length(direction) * eps * radius.view(-1, *(1,) * (pixels.ndim - 1))


def random_perturbation(pixels: Tensor, norm: str, eps: float, seeds: Sequence[int]) -> Tensor:
    """Return pixels with a random perturbation of exactly size eps before clipping: the control of an attack."""
    sources = generators(seeds)
    if norm == "linf":
        delta = (uniform(pixels, sources) - 0.5).sign() * eps
    else:
        direction = gaussian(pixels, sources)
        delta = direction / _length(direction) * eps
    moved: Tensor = (pixels + delta).clamp(0.0, 1.0)
    return moved


def excess(clean: Tensor, adversarial: Tensor, norm: str, eps: float) -> Tensor:
    """Return by how much each perturbation exceeds eps, (n,) in float64; float32 rounding is allowed for."""
    return size(adversarial.double() - clean.double(), norm) - (eps * (1 + 1e-5) + 1e-6)


def _length(delta: Tensor) -> Tensor:
    lengths: Tensor = delta.flatten(1).norm(dim=1)
    return lengths.view(-1, *(1,) * (delta.ndim - 1))
