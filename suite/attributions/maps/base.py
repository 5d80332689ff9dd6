"""What an attribution method is, how its answer is checked and reduced to a map, and the random control.

A method returns raw attributions of the inputs' shape, signed where the method is. `pixel_map` reduces them to what
is drawn and ranked, by the field's convention: the magnitudes summed over channels for gradients (their sign says
which way to change a pixel, not how much rests on it), the signed sum for methods that share out the output itself.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from suite.attributions.maps.explained import Explained, generator, require_finite
from suite.errors import ModelError


class Method(Protocol):
    """An attribution method: configuration in its fields, data in the call.

    A method that asks for something this model does not have raises `suite.errors.NotApplicableError`.
    """

    magnitude: ClassVar[bool]
    """Whether the map is the sum of magnitudes over channels, instead of the signed sum."""

    local: ClassVar[bool]
    """Whether an attribution says what one unit of change in a pixel does, as a gradient does. Where it says what a
    pixel makes up in all (its fall against a baseline), it cannot be multiplied by a change, as infidelity does."""

    def __call__(self, explained: Explained) -> Tensor:
        """Return raw attributions, (n, c, h, w), in the dtype of the inputs."""


@dataclass(frozen=True)
class RandomAttribution:
    """Explain by chance: the control that every method has to beat.

    Attributes:
        stream: a name for the draw; controls of different streams are independent.
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
    """Return the raw attributions of a method, (n, c, h, w); raise `ModelError` unless they fit and are finite."""
    raw = method(explained).detach()
    if raw.shape != explained.inputs.shape:
        raise ModelError(
            f"{method}: returned attributions of shape {tuple(raw.shape)}; expected that of the inputs, "
            f"{tuple(explained.inputs.shape)}. A map without channels is to be shared out over them."
        )
    require_finite(raw, f"the attributions of {method}")
    return raw


def pixel_map(method: Method, raw: Tensor) -> Tensor:
    """Reduce raw attributions (n, c, h, w) to one number per pixel, (n, h, w), as `method.magnitude` says."""
    return (raw.abs() if method.magnitude else raw).double().sum(1)
