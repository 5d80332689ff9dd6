"""FCOS with a small pyramid on any timm backbone."""

from collections.abc import Sequence

from torch import Tensor, nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.fcos import FCOSHead
from torchvision.ops import FeaturePyramidNetwork

from suite.models.adapters.detections import LIMIT, THRESHOLD
from suite.models.libraries.torchvision_stages import OneStage
from suite.models.networks.blocks import Backbone, backbone_of, he_init

FIRST_SIDE = 2.0
"""Initial distance from a location to each side of its box, in strides; from 0 the final ReLU might never activate."""


def fcos(
    classes: int,
    input_shape: tuple[int, ...],
    *,
    backbone: str = "test_resnet",
    strides: Sequence[int] = (8, 16),
    width: int = 64,
) -> OneStage:
    """Return the detector of Tian et al. 2019 on an untrained timm backbone.

    Args:
        classes: number of classes.
        input_shape: (channels, height, width) of the images; they are resized to this size, keeping the aspect ratio.
        backbone: timm's name of a convolutional architecture.
        strides: stride of each pyramid level in pixels.
        width: channels of the pyramid and of the heads, a multiple of 32.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it has no feature maps at one of the strides.
    """
    channels, height, across = input_shape
    head = FCOSHead(width, 1, classes, num_convs=2)
    for part in (head.classification_head.conv, head.regression_head.conv):
        he_init(part)
    nn.init.constant_(head.regression_head.bbox_reg.bias, FIRST_SIDE)
    net = FCOS(
        Pyramid(backbone_of(backbone, channels, strides), width),
        classes,
        min_size=min(height, across),
        max_size=max(height, across),
        image_mean=[0.5] * channels,
        image_std=[0.25] * channels,
        anchor_generator=AnchorGenerator(tuple((s,) for s in strides), ((1.0,),) * len(strides)),
        head=head,
        score_thresh=THRESHOLD,
        detections_per_img=LIMIT,
    )
    return OneStage(net, range(classes))


class Pyramid(nn.Module):
    """A feature pyramid (Lin et al. 2017) with the interface of torchvision's backbones."""

    def __init__(self, backbone: Backbone, width: int) -> None:
        super().__init__()
        self.backbone, self.out_channels = backbone, width
        self.fpn = FeaturePyramidNetwork(list(backbone.channels), width)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return maps of `out_channels` channels, finest first."""
        maps: dict[str, Tensor] = self.fpn({str(i): each for i, each in enumerate(self.backbone(images))})
        return maps
