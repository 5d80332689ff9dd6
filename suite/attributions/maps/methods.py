"""Attribution methods through captum.

Each returns raw attributions; see `suite.attributions.maps.base` for their reduction to maps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from suite.attributions.maps.cells import Grid
from suite.attributions.maps.explained import Explained, Scalar, captum_attr, gaussian
from suite.decorators import attribution
from suite.errors import ModelError, NotApplicableError

OCCLUSIONS_PER_CALL = 8
"""Windows per sample and call; fixed, since it determines the order of captum's sums."""


@attribution(name="saliency")
@dataclass(frozen=True)
class Saliency:
    """Explain by the gradient of the scalar with respect to the input (Simonyan et al. 2013)."""

    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = True

    def __call__(self, explained: Explained) -> Tensor:
        """Return the signed gradient, (n, c, h, w)."""
        return _by_chunk(explained, 1, lambda inputs, rows: _gradient(explained, inputs, rows))


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
        captum = captum_attr().IntegratedGradients(_differentiable(explained))
        return _by_chunk(
            explained,
            self.steps,
            lambda inputs, rows: _run(captum, inputs, rows, baselines=0.0, n_steps=self.steps),
        )


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
        return _by_chunk(explained, self.samples, lambda inputs, rows: self._mean_gradient(explained, inputs, rows))

    def _mean_gradient(self, explained: Explained, inputs: Tensor, rows: Tensor) -> Tensor:
        # captum's NoiseTunnel uses the global generator, so that the noise of a sample would depend on the batch.
        noise = self.sd * gaussian(explained, rows, self.samples, "smoothgrad")
        noisy = (inputs.unsqueeze(1) + noise).flatten(0, 1)
        gradients = _gradient(explained, noisy, rows.repeat_interleave(self.samples))
        return gradients.double().reshape(len(rows), self.samples, *inputs.shape[1:]).mean(1).to(inputs)


@attribution(name="occlusion")
@dataclass(frozen=True)
class Occlusion:
    """Explain by the drop of the scalar when a window is black (Zeiler & Fergus 2014).

    Attributes:
        window: side of the window in cells (`Grid`), at most the whole image.
        stride: how far it moves, in cells, at most `window`; a pixel gets the mean over the windows that cover it.
    """

    window: int = 2
    stride: int = 1
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return the fall of the scalar, (n, c, h, w), distributed evenly over the channels."""
        if not 1 <= self.stride <= self.window:
            raise ModelError(f"got {self}; expected 1 <= stride <= window, so that every pixel is occluded.")
        channels, height, width = explained.inputs.shape[1:]
        cell = Grid.fit(height, width).cell
        sides = [min(self.window * cell, side) for side in (height, width)]
        strides = [min(self.stride * cell, side) for side in sides]
        windows = {
            "sliding_window_shapes": (channels, *sides),
            "strides": (channels, *strides),
            "baselines": 0.0,
            "perturbations_per_eval": OCCLUSIONS_PER_CALL,
        }
        captum = captum_attr().Occlusion(explained.explain)
        fall = _by_chunk(explained, OCCLUSIONS_PER_CALL, lambda inputs, rows: _run(captum, inputs, rows, **windows))
        # captum sums the windows in float32 for any dtype of the inputs.
        return (fall / channels).to(explained.inputs)


@attribution(name="gradcam")
@dataclass(frozen=True)
class GradCam:
    """Explain by the activations of `Explained.layer`, weighted by their mean gradient (Selvaraju et al. 2017)."""

    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained: Explained) -> Tensor:
        """Return the rectified map, upsampled bilinearly and distributed evenly over the channels, (n, c, h, w).

        Raises:
            NotApplicableError: the model has no layer with a spatial output of more than one position.
        """
        if explained.layer is None:
            raise NotApplicableError(
                "gradcam: got a model without a convolution whose output is a spatial map. "
                "Leave gradcam out, or name the layer to read."
            )
        captum = captum_attr().LayerGradCam(_differentiable(explained), explained.layer)

        def upsampled(inputs: Tensor, rows: Tensor) -> Tensor:
            coarse = _require_spatial(_run(captum, inputs, rows, relu_attributions=True), explained.layer)
            # The target may pad its batches at the end; the layer output includes the padding.
            coarse = _require_rows(coarse, len(rows))[: len(rows)]
            size = tuple(inputs.shape[2:])
            fine: Tensor = captum.interpolate(coarse, size, interpolate_mode="bilinear")
            return (fine / inputs.shape[1]).expand_as(inputs)

        size = min(explained.max_batch or explained.batch_size, explained.batch_size)  # the layer is read once per call
        return _by_chunk(explained, math.ceil(explained.batch_size / size), upsampled)


def _by_chunk(explained: Explained, cost: int, explain: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    return torch.cat([explain(explained.inputs[rows], rows) for rows in explained.chunks(cost)])


def _gradient(explained: Explained, inputs: Tensor, rows: Tensor) -> Tensor:
    return _run(captum_attr().Saliency(_differentiable(explained)), inputs, rows, abs=False)


def _differentiable(explained: Explained) -> Scalar:
    # A gradient of zero is valid; a scalar that is detached from its input has none.
    def scalar(inputs: Tensor, rows: Tensor) -> Tensor:
        values = explained.explain(inputs, rows)
        if values.requires_grad:
            return values
        raise NotApplicableError(
            "got a scalar that is detached from its input, so that it has no gradient; expected a differentiable one. "
            "Do not detach or threshold it, or use a method without gradients (occlusion, rise)."
        )

    return scalar


def _run(captum: Any, inputs: Tensor, rows: Tensor, **options: Any) -> Tensor:
    # captum repeats tensors among the additional arguments like the inputs, so that rows stay aligned.
    # A new leaf keeps captum from enabling gradients of the caller's inputs, with a warning.
    leaf = inputs.detach().clone().requires_grad_()
    attributions: Tensor = captum.attribute(leaf, additional_forward_args=rows, **options)
    return attributions.detach()


def _require_spatial(coarse: Tensor, layer: nn.Module | None) -> Tensor:
    if coarse.dim() == 4 and coarse.shape[2] * coarse.shape[3] > 1:
        return coarse
    raise NotApplicableError(
        f"gradcam: the output of {type(layer).__name__} gives a map of shape {tuple(coarse.shape)}; expected "
        "(n, 1, h, w) with more than one position. Name a layer before the global pooling."
    )


def _require_rows(coarse: Tensor, count: int) -> Tensor:
    if len(coarse) < count:
        raise ModelError(
            f"gradcam: the layer processed {len(coarse)} inputs of a batch of {count}; expected all of them. "
            "The target function must call the model once for all its inputs."
        )
    return coarse


def _require_positive(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ModelError(f"got {name}={value} for an attribution method; expected a number above 0.")
