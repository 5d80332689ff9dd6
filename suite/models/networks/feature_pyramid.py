"""Feature maps of any timm architecture, at chosen strides."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from suite.errors import ModelError, UnknownNameError, did_you_mean


class Backbone(nn.Module):
    """The maps of a network, the finest first.

    Args:
        net: returns its maps in order.
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
    """Build a timm architecture, with weights of its own, that returns its features.

    Args:
        name: timm's name.
        channels: channels of the images.
        strides: pixels on a side of a cell for each map that is wanted, ascending.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it gives no features, or none at one of the strides.
    """
    import timm

    if not timm.is_model(name.split(".")[0]):
        raise UnknownNameError(f"timm has no model {name!r}.{did_you_mean(name, timm.list_models())}")
    try:
        info: Any = timm.create_model(name, features_only=True, in_chans=channels).feature_info
        found = list(info.reduction())
        net: Any = timm.create_model(
            name, features_only=True, in_chans=channels, out_indices=[found.index(stride) for stride in strides]
        )
    except ValueError:
        raise ModelError(
            f"{name} has features at {found} pixels a cell; expected all of {list(strides)}. "
            "Take a convolutional architecture such as mobilenetv3_small_050 or resnet10t."
        ) from None
    except Exception as error:  # timm raises many types; all mean that there are no features
        raise ModelError(f"{name} gives no feature maps: {type(error).__name__}: {error}.") from error
    return Backbone(net, net.feature_info.channels())
