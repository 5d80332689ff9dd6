"""The interface of attribution methods, the reduction of attributions to pixel maps, and the random control.

A method returns raw attributions in the shape of the inputs. `pixel_map` reduces them to the map that is drawn and
ranked: magnitudes summed over channels for gradients (whose sign is the direction of a change, not its importance),
the signed sum for methods that distribute the output over the pixels.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from suite.attributions.maps.draws import generator
from suite.attributions.maps.explained import Explained, require_finite
from suite.errors import ModelError


class Method(Protocol):
    """An attribution method: its fields are the configuration, its call takes the data.

    A method that needs something the model does not have raises `suite.errors.NotApplicableError`.
    """

    magnitude: ClassVar[bool]
    """Whether the map sums magnitudes over channels instead of signed values."""

    local: ClassVar[bool]
    """Whether an attribution is the effect of a unit change of a pixel, as a gradient is. An attribution that is the
    total contribution of a pixel against a baseline cannot be multiplied by a change, as infidelity does."""

    def __call__(self, explained: Explained) -> Tensor:
        """Return raw attributions, (n, c, h, w), in the dtype of the inputs."""


@dataclass(frozen=True)
class RandomAttribution:
    """Random attributions: the control that every method has to beat.

    Attributes:
        stream: name of the random stream; controls of different streams are independent.
    """

    stream: str = "random"
    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = True

    def __call__(self, explained: Explained) -> Tensor:
        """Return uniform numbers in -1..1 per pixel, the same in each channel, (n, c, h, w)."""
        shape = tuple(explained.inputs.shape[2:])
        maps = [torch.rand(shape, generator=generator(seed, "map:" + self.stream)) for seed in explained.seeds]
        flat = (torch.stack(maps) * 2 - 1).unsqueeze(1).to(explained.inputs)
        return (flat / explained.inputs.shape[1]).expand_as(explained.inputs)


def attribute(method: Method, explained: Explained) -> Tensor:
    """Return the raw attributions of a method, (n, c, h, w); raise `ModelError` if the shape is wrong or not finite."""
    raw = method(explained).detach()
    if raw.shape != explained.inputs.shape:
        raise ModelError(
            f"{method}: returned attributions of shape {tuple(raw.shape)}; expected that of the inputs, "
            f"{tuple(explained.inputs.shape)}. Distribute a map without channels over them."
        )
    require_finite(raw, f"the attributions of {method}")
    return raw


def pixel_map(method: Method, raw: Tensor) -> Tensor:
    """Reduce raw attributions (n, c, h, w) to one number per pixel, (n, h, w), by `method.magnitude`."""
    return (raw.abs() if method.magnitude else raw).double().sum(1)
