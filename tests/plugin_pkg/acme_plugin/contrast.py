"""A model-independent attribution method."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Contrast:
    """The difference of each pixel from the mean of its image."""

    magnitude: ClassVar[bool] = True
    local: ClassVar[bool] = False

    def __call__(self, explained):
        """Return one attribution per pixel, (n, c, h, w)."""
        inputs = explained.inputs
        return inputs - inputs.mean(dim=(1, 2, 3), keepdim=True)
