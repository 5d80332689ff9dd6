"""What the small dense networks are made of."""

import torch
from torch import Tensor, nn


def block(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, a group norm and a rectifier.

    Groups have 4 channels, or the next larger divisor of `after`. The norm looks at one image alone, so that no
    statistic can leak between images, or move while a model is attacked.
    """
    groups = next(n for n in range(max(1, after // 4), 0, -1) if after % n == 0)
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    started(convolution)
    return nn.Sequential(convolution, nn.GroupNorm(groups, after), nn.ReLU())


def started(module: nn.Module) -> None:
    """Draw all weights of convolutions as He et al. 2015 do for rectifiers.

    PyTorch's own start is smaller. Before a norm that changes no answer, but steps of one size turn smaller weights
    further, and these networks then stay for hundreds of steps at telling objects from the background.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, nonlinearity="relu")


def joined(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return the channels of a coarse map, brought to the size of a fine one, beside the fine one's."""
    return torch.cat([enlarged(coarse, fine.shape[-2:]), fine], dim=1)


def enlarged(maps: Tensor, size: torch.Size) -> Tensor:
    """Return maps brought to (height, width) by repeating cells."""
    return nn.functional.interpolate(maps, size=size, mode="nearest")


def resized(maps: Tensor, size: torch.Size) -> Tensor:
    """Return maps brought to (height, width), bilinearly."""
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)
