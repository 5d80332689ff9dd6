"""Small segmentation networks: a U-Net and an LR-ASPP head on any timm backbone."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from suite.models.networks.blocks import Backbone, backbone_of, block, concat_upsampled, he_init, resize_bilinear


def unet(classes: int, input_shape: tuple[int, ...], *, width: int = 16, depth: int = 1) -> UNet:
    """Return a U-Net for images (channels, height, width) of at least 8 pixels per side."""
    return UNet(classes, input_shape[0], width, depth)


class UNet(nn.Module):
    """A segmenter after Ronneberger et al. 2015, three levels deep, with group norms.

    Every decoder level adds logits of its own, as in Long et al. 2015: the class of an object is known at low
    resolution and would otherwise have to pass through the few channels at full resolution.

    Args:
        classes: number of logits per pixel.
        channels: channels of the images.
        width: channels at stride 2; half as many at stride 1, and four and six times as many at larger strides, where
            layers are cheap.
        depth: further layers at the lowest resolution.
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
        he_init(self)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (n, classes, height, width)."""
        maps = [self.entry(images)]
        for step in self.falling:
            maps.append(step(maps[-1]))
        rising = self.bottom(maps.pop())
        logits: Tensor = self.logits[0](rising)
        for narrow, step, output in zip(self.narrowing, self.rising, self.logits[1:], strict=True):
            rising = step(concat_upsampled(narrow(rising), maps.pop()))
            logits = output(rising) + resize_bilinear(logits, rising.shape[-2:])
        return logits


def lraspp(classes: int, input_shape: tuple[int, ...], *, backbone: str = "test_resnet", width: int = 64) -> LRASPP:
    """Return a light segmenter on an untrained timm backbone.

    Raises:
        UnknownNameError: timm has no such architecture.
        ModelError: it lacks feature maps at strides 2, 4, 8 and 16.
    """
    features = backbone_of(backbone, input_shape[0], strides=(2, 4, 8, 16))
    return LRASPP(features, classes, width).to(memory_format=torch.channels_last)  # 14 % faster on a CPU


class LRASPP(nn.Module):
    """The reduced pyramid pooling head of Howard et al. 2019, "Searching for MobileNetV3".

    The paper adds logits of the features at strides 16 and 8. Here these features are fused first, since both help to
    classify, and logits at strides 4 and 2 are added, since strokes in small images are narrower than 8 pixels.

    Args:
        backbone: returns four maps, finest first.
        classes: number of logits per pixel.
        width: channels of the pooled branch and of the fused features, a multiple of 8.
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
        """Return logits (n, classes, height / 2, width / 2), which the adapter resizes to the images' size."""
        finest, fine, middle, coarse = self.backbone(images)
        pooled = self.pooled(coarse) * self.gate(coarse)
        maps = [pooled, self.mixed(concat_upsampled(pooled, middle)), fine, finest]
        logits: Tensor = self.outputs[0](pooled)
        for output, features in zip(self.outputs[1:], maps[1:], strict=True):
            logits = output(features) + resize_bilinear(logits, features.shape[-2:])
        return logits
