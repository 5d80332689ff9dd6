"""Crops of 224 pixels from the two photographs that scikit-learn ships."""

import functools

import torch
from sklearn.datasets import load_sample_image

CROPS = {"china.jpg": (100, 150), "flower.jpg": (100, 200)}
SIDE = 224


@functools.cache
def photo(name):
    """Return the crop (1, 3, 224, 224) in [0, 1] that the golden statistics were measured on."""
    top, left = CROPS[name]
    pixels = load_sample_image(name)[top : top + SIDE, left : left + SIDE].copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255


def small_photos(side, channels):
    """Return four crops of the photographs, downscaled to a side: (4, channels, side, side)."""
    whole = torch.cat([photo(name) for name in CROPS])
    crops = torch.cat([whole[..., :160, :160], whole[..., 64:, 64:]])
    small = torch.nn.functional.interpolate(crops, size=(side, side), mode="area").clamp(0, 1)
    return small if channels == 3 else small.mean(dim=1, keepdim=True)
