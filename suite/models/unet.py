"""A small U-Net: every pixel sees both its surroundings and its own place."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from suite.models.blocks import block, joined, started


def unet(classes: int, input_shape: tuple[int, ...], *, width: int = 16) -> UNet:
    """Return a U-Net for images (channels, height, width) of any size from 8 pixels on."""
    return UNet(classes, input_shape[0], width)


class UNet(nn.Module):
    """A segmenter after Ronneberger et al. 2015, three levels deep, with group norms.

    Args:
        classes: number of logits per pixel.
        channels: channels of the images.
        width: channels at the image's own size; twice as many at each level below.
    """

    def __init__(self, classes: int, channels: int, width: int) -> None:
        super().__init__()
        sizes = [width * 2**level for level in range(4)]
        downs = pairwise(sizes)
        self.entry = block(channels, width)
        self.falling = nn.ModuleList([nn.Sequential(block(a, b, stride=2), block(b, b)) for a, b in downs])
        ups = zip(sizes[:0:-1], sizes[-2::-1], strict=True)
        self.narrowing = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in ups])
        self.rising = nn.ModuleList([block(2 * b, b) for b in sizes[-2::-1]])
        self.logits = nn.Conv2d(width, classes, 1)
        started(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes, height, width)."""
        maps = [self.entry(images)]
        for step in self.falling:
            maps.append(step(maps[-1]))
        rising = maps.pop()
        for narrow, step in zip(self.narrowing, self.rising, strict=True):
            rising = step(joined(narrow(rising), maps.pop()))
        return self.logits(rising)  # type: ignore[no-any-return]  # nn.Module returns Any
