"""Attribution methods by gradients of the input.

Each returns raw attributions; see `suite.attributions.maps.base` for their reduction to maps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from suite.attributions.maps.batches import Piece, full_batches
from suite.attributions.maps.explained import Explained, gaussian
from suite.decorators import attribution
from suite.errors import ModelError, NotApplicableError

DETACHED = (
    "got a scalar that is detached from its input, so that it has no gradient; expected a differentiable one. "
    "Do not detach or threshold it, or use a method without gradients (occlusion, rise)."
)
"""What is said where no gradient leads from the scalar to the input."""


@attribution(name="saliency")
@dataclass(frozen=True)
class Saliency:
    """Explain by the gradient of the scalar with respect to the input (Simonyan et al. 2013)."""

    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __call__(self, explained: Explained) -> Tensor:
        """Return the signed gradient, (n, c, h, w)."""
        return torch.cat([gradient(explained, explained.inputs[rows], rows) for rows in explained.chunks()])


@attribution(name="integrated_gradients")
@dataclass(frozen=True)
class IntegratedGradients:
    """Explain by the gradient along the straight path from black, times the input (Sundararajan et al. 2017).

    Attributes:
        steps: points of the Gauss-Legendre rule on the path, 1 or more.
    """

    steps: int = 32
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return attributions (n, c, h, w) whose sum approaches scalar(input) - scalar(black)."""
        _require_positive(steps=self.steps)
        nodes, weights = gauss_legendre(self.steps)
        place = nodes.to(explained.inputs)[:, None, None, None]
        path = ((place * image, row) for row, image in enumerate(explained.inputs))
        slope = _weighted_gradients(explained, path, weights)
        return (slope * explained.inputs).to(explained.inputs)


@attribution(name="smoothgrad")
@dataclass(frozen=True)
class SmoothGrad:
    """Explain by the mean gradient of noisy copies of the input (Smilkov et al. 2017).

    Attributes:
        samples: noisy copies, 1 or more.
        sd: standard deviation of the Gaussian noise, in units of the input; noisy copies are not clipped.
    """

    samples: int = 16
    sd: float = 0.1
    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __call__(self, explained: Explained) -> Tensor:
        """Return the signed mean gradient, (n, c, h, w)."""
        _require_positive(samples=self.samples, sd=self.sd)
        noisy = (
            (image + self.sd * gaussian(explained, row, self.samples, "smoothgrad"), row)
            for row, image in enumerate(explained.inputs)
        )
        weights = torch.full((self.samples,), 1 / self.samples, dtype=torch.float64)
        return _weighted_gradients(explained, noisy, weights).to(explained.inputs)


def gauss_legendre(steps: int) -> tuple[Tensor, Tensor]:
    """Return the points of the Gauss-Legendre rule on 0..1 and their weights, both (steps,), float64."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    return torch.from_numpy((1 + nodes) / 2), torch.from_numpy(weights / 2)


def gradient(explained: Explained, inputs: Tensor, rows: Tensor) -> Tensor:
    """Return the gradient of the scalar with respect to some inputs, (m, c, h, w).

    Raises:
        NotApplicableError: the scalar is detached from its input.
    """
    leaf = inputs.detach().requires_grad_()
    with torch.enable_grad():
        (slope,) = slopes(differentiable(explained, leaf, rows), [leaf])
    return slope


def differentiable(explained: Explained, inputs: Tensor, rows: Tensor) -> Tensor:
    """Return the scalar of some inputs, (m,), with its graph.

    Raises:
        NotApplicableError: it is detached from its input. A gradient of zero is valid; a detached scalar has none.
    """
    values = explained.explain(inputs, rows)
    if values.requires_grad:
        return values
    raise NotApplicableError(DETACHED)


def slopes(scalars: Tensor, sources: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of the sum of scalars with respect to some tensors.

    Raises:
        NotApplicableError: the scalars do not depend on one of them, as behind a quantised layer.
    """
    gradients = torch.autograd.grad(scalars.sum(), list(sources), allow_unused=True)
    if any(one is None for one in gradients):
        raise NotApplicableError(DETACHED)
    return gradients


def _weighted_gradients(explained: Explained, pieces: Iterable[Piece], weights: Tensor) -> Tensor:
    """Return the weighted sum of the gradients at the inputs of each sample, (n, c, h, w), float64.

    Args:
        explained: the samples.
        pieces: for each sample, as many inputs as there are weights.
        weights: (k,), float64.
    """
    weights = weights.to(explained.inputs.device)
    total = torch.zeros_like(explained.inputs, dtype=torch.float64)
    done = 0
    for inputs, rows in full_batches(pieces, explained.batch_size):
        slopes = gradient(explained, inputs, rows)
        for place, (slope, row) in enumerate(zip(slopes, rows.tolist(), strict=True), start=done):
            total[row].add_(slope, alpha=float(weights[place % len(weights)]))
        done += len(rows)
    return total


def _require_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ModelError(f"got {name}={value} for an attribution method; expected a number above 0.")
