"""Building blocks of the small detection and segmentation networks."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from suite.errors import ModelError, UnknownNameError, did_you_mean


def block(before: int, after: int, *, stride: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution, a group norm and a ReLU.

    Groups have 4 channels, or the next larger divisor of `after`. Group norm is computed per image, so no statistics
    leak between images or change while a model is attacked.
    """
    groups = next(n for n in range(max(1, after // 4), 0, -1) if after % n == 0)
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    he_init(convolution)
    return nn.Sequential(convolution, nn.GroupNorm(groups, after), nn.ReLU())


def he_init(module: nn.Module) -> None:
    """Initialize all convolutions as in He et al. 2015.

    PyTorch's default weights are smaller. Before a norm their scale does not change the output, but a step of the same
    size rotates smaller weights more, and these networks then need hundreds of steps to separate objects from the
    background.
    """
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, nonlinearity="relu")


def concat_upsampled(coarse: Tensor, fine: Tensor) -> Tensor:
    """Return the concatenation of a coarse map, upsampled to the size of a fine one, and the fine one."""
    return torch.cat([upsample(coarse, fine.shape[-2:]), fine], dim=1)


def upsample(maps: Tensor, size: torch.Size) -> Tensor:
    """Return maps resized to (height, width) by nearest-neighbor interpolation."""
    return nn.functional.interpolate(maps, size=size, mode="nearest")


def resize_bilinear(maps: Tensor, size: torch.Size) -> Tensor:
    """Return maps resized to (height, width) bilinearly."""
    return nn.functional.interpolate(maps, size=size, mode="bilinear", align_corners=False)


class Backbone(nn.Module):
    """A network that returns feature maps, finest first.

    Args:
        net: returns the maps in this order.
        channels: channels of each map.
    """

    def __init__(self, net: nn.Module, channels: Sequence[int]) -> None:
        super().__init__()
        self.net, self.channels = net, tuple(channels)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the maps of images (n, channels, height, width)."""
        maps: list[Tensor] = self.net(images)
        return maps


def backbone_of(name: str, channels: int, strides: Sequence[int]) -> Backbone:
    """Build an untrained timm architecture that returns its feature maps.

    Args:
        name: timm's name.
        channels: channels of the images.
        strides: stride of each map in pixels, ascending.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it has no feature maps, or none at one of the strides.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UnknownNameError(f"timm has no model {name!r}.{did_you_mean(name, timm.list_models())}")
    try:
        info: Any = timm.create_model(name, features_only=True, in_chans=channels).feature_info
        available = list(info.reduction())
        net: Any = timm.create_model(
            name, features_only=True, in_chans=channels, out_indices=[available.index(stride) for stride in strides]
        )
    except ValueError:
        raise ModelError(
            f"{name} has feature maps at strides {available}; expected all of {list(strides)}. "
            "Use a convolutional architecture such as mobilenetv3_small_050 or resnet10t."
        ) from None
    except Exception as error:  # timm raises many types of errors
        raise ModelError(f"{name} has no feature maps: {type(error).__name__}: {error}.") from error
    return Backbone(net, net.feature_info.channels())
