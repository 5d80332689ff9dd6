"""Grad-CAM: attribution by the activations of a convolution."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from suite.attributions.maps.explained import Explained
from suite.attributions.maps.methods import differentiable, slopes
from suite.decorators import attribution
from suite.errors import ModelError, NotApplicableError


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
            ModelError: the layer processed another number of inputs.
        """
        if explained.layer is None:
            raise NotApplicableError(
                "gradcam: got a model without a convolution whose output is a spatial map. "
                "Leave gradcam out, or name the layer to read."
            )
        coarse = torch.cat([_coarse(explained, explained.layer, rows) for rows in explained.chunks()])
        size = tuple(explained.inputs.shape[2:])
        fine = nn.functional.interpolate(coarse, size, mode="bilinear")
        return (fine / explained.inputs.shape[1]).expand_as(explained.inputs)


def _coarse(explained: Explained, layer: nn.Module, rows: Tensor) -> Tensor:
    """Return the rectified maps of some samples at the size of the layer's output, (m, 1, height, width)."""
    with torch.enable_grad(), _outputs(layer) as outputs:
        inputs = explained.inputs[rows].detach().requires_grad_()
        gradients = slopes(differentiable(explained, inputs, rows), outputs)
    pairs = zip(outputs, gradients, strict=True)
    maps = [(slope.mean((2, 3), keepdim=True) * output.detach()).sum(1, keepdim=True).relu() for output, slope in pairs]
    return _without_padding(maps, len(rows))


@contextmanager
def _outputs(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the outputs of a layer in the order of its calls."""
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        _require_spatial(output, module)
        outputs.append(output)
        return output.clone()  # the next layer may work in place

    hook = layer.register_forward_hook(record)
    try:
        yield outputs
    finally:
        hook.remove()


def _without_padding(maps: list[Tensor], count: int) -> Tensor:
    """Return the maps of `count` inputs from those of all calls; each call is padded at the end of the inputs only."""
    done = sum(len(part) for part in maps)
    if done < count or done - count >= len(maps[-1]):
        raise ModelError(
            f"gradcam: the layer processed {done} inputs in {len(maps)} calls for a batch of {count}; expected each "
            "input once, with padding after the last. Name a layer that runs once per input."
        )
    return torch.cat(maps)[:count]


def _require_spatial(output: Tensor, layer: nn.Module) -> None:
    shape = tuple(output.shape) if isinstance(output, Tensor) else ()
    form = shape or type(output).__name__
    if len(shape) != 4 or shape[2] * shape[3] == 1:
        raise NotApplicableError(
            f"gradcam: the output of {type(layer).__name__} is {form}; expected a tensor (n, channels, h, w) with "
            "more than one position. Name a layer before the global pooling."
        )
