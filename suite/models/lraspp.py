"""A light segmentation head on any timm backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.blocks import resized
from suite.models.pyramid import Backbone, backbone_of


def lraspp(classes: int, input_shape: tuple[int, ...], *, backbone: str = "test_resnet", width: int = 64) -> LRASPP:
    """Return a light segmenter on the features of a timm architecture, with weights of its own.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it has no features at 2, 4 and 16 pixels a cell.
    """
    features = backbone_of(backbone, input_shape[0], strides=(2, 4, 16))
    return LRASPP(features, classes, width)


class LRASPP(nn.Module):
    """The reduced pyramid pooling head of Howard et al. 2019, "Searching for MobileNetV3".

    The paper joins features of 16 and of 8 pixels a cell. Here those of 4 and of 2 take the place of 8: the images are
    small, and a cell of 8 pixels would be wider than most strokes.

    Args:
        backbone: gives three maps, the finest first.
        classes: number of logits per pixel.
        width: channels of the pooled branch.
    """

    def __init__(self, backbone: Backbone, classes: int, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        finest, fine, coarse = backbone.channels
        self.pooled = nn.Sequential(nn.Conv2d(coarse, width, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarse, width, 1), nn.Sigmoid())
        self.outputs = nn.ModuleList([nn.Conv2d(channels, classes, 1) for channels in (finest, fine, width)])

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes, height / 2, width / 2), which the adapter brings to the images' size."""
        finest, fine, coarse = self.backbone(images)
        maps = [finest, fine, self.pooled(coarse) * self.gate(coarse)]
        size = finest.shape[-2:]
        logits = [output(features) for output, features in zip(self.outputs, maps, strict=True)]
        return torch.stack([resized(each, size) for each in logits]).sum(dim=0)
