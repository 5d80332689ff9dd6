"""A small U-Net: every pixel sees both its surroundings and its own place."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from suite.models.networks.blocks import block, joined, resized, started


def unet(classes: int, input_shape: tuple[int, ...], *, width: int = 16, depth: int = 1) -> UNet:
    """Return a U-Net for images (channels, height, width) of any size from 8 pixels on."""
    return UNet(classes, input_shape[0], width, depth)


class UNet(nn.Module):
    """A segmenter after Ronneberger et al. 2015, three levels deep, with group norms.

    Every level on the way up adds logits of its own, as Long et al. 2015 do: which object it is, is known below, and
    would otherwise have to squeeze through the few channels at the top.

    Args:
        classes: number of logits per pixel.
        channels: channels of the images.
        width: channels at half the image's size; half as many at its own size, four and six times as many below,
            where classes are told apart and a layer costs little.
        depth: further layers at the lowest level.
    """

    def __init__(self, classes: int, channels: int, width: int, depth: int) -> None:
        super().__init__()
        sizes = [width // 2, width, 4 * width, 6 * width]
        downs = pairwise(sizes)
        self.entry = block(channels, sizes[0])
        self.falling = nn.ModuleList([nn.Sequential(block(a, b, stride=2), block(b, b)) for a, b in downs])
        ups = zip(sizes[:0:-1], sizes[-2::-1], strict=True)
        self.bottom = nn.Sequential(*[block(sizes[-1], sizes[-1]) for _ in range(depth)])
        self.narrowing = nn.ModuleList([nn.Conv2d(a, b, 1) for a, b in ups])
        self.rising = nn.ModuleList([block(2 * b, b) for b in sizes[-2::-1]])
        self.logits = nn.ModuleList([nn.Conv2d(b, classes, 1) for b in sizes[::-1]])
        started(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes, height, width)."""
        maps = [self.entry(images)]
        for step in self.falling:
            maps.append(step(maps[-1]))
        rising = self.bottom(maps.pop())
        logits: Tensor = self.logits[0](rising)
        for narrow, step, output in zip(self.narrowing, self.rising, self.logits[1:], strict=True):
            rising = step(joined(narrow(rising), maps.pop()))
            logits = output(rising) + resized(logits, rising.shape[-2:])
        return logits
