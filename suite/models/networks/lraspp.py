"""A light segmentation head on any timm backbone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from suite.models.networks.blocks import block, joined, resized
from suite.models.networks.feature_pyramid import Backbone, backbone_of


def lraspp(classes: int, input_shape: tuple[int, ...], *, backbone: str = "test_resnet", width: int = 64) -> LRASPP:
    """Return a light segmenter on the features of a timm architecture, with weights of its own.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it has no features at 2, 4, 8 and 16 pixels a cell.
    """
    features = backbone_of(backbone, input_shape[0], strides=(2, 4, 8, 16))
    net = LRASPP(features, classes, width)
    return net.to(memory_format=torch.channels_last)  # a seventh faster on a processor


class LRASPP(nn.Module):
    """The reduced pyramid pooling head of Howard et al. 2019, "Searching for MobileNetV3".

    The paper adds logits of features of 16 and of 8 pixels a cell. Here the two are mixed first, since a class is told
    best from both, and logits of 4 and of 2 pixels are added: on small images a stroke is narrower than 8.

    Args:
        backbone: gives four maps, the finest first.
        classes: number of logits per pixel.
        width: channels of the pooled branch and of the mixture, a multiple of 8.
    """

    def __init__(self, backbone: Backbone, classes: int, width: int) -> None:
        super().__init__()
        self.backbone = backbone
        finest, fine, middle, coarse = backbone.channels
        self.pooled = nn.Sequential(nn.Conv2d(coarse, width, 1, bias=False), nn.GroupNorm(8, width), nn.ReLU())
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(coarse, width, 1), nn.Sigmoid())
        self.mixed = block(width + middle, width)
        self.outputs = nn.ModuleList([nn.Conv2d(channels, classes, 1) for channels in (width, width, fine, finest)])

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes, height / 2, width / 2), which the adapter brings to the images' size."""
        finest, fine, middle, coarse = self.backbone(images)
        pooled = self.pooled(coarse) * self.gate(coarse)
        maps = [pooled, self.mixed(joined(pooled, middle)), fine, finest]
        logits: Tensor = self.outputs[0](pooled)
        for output, features in zip(self.outputs[1:], maps[1:], strict=True):
            logits = output(features) + resized(logits, features.shape[-2:])
        return logits
