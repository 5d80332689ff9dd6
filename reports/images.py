"""Images from stored arrays: pure functions, no Streamlit."""

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[Any]
WIDTH = 240
"""Width in pixels that small images are enlarged to."""

GAP = 2
"""Pixels between the images of a grid."""


def rgb(image: Array) -> NDArray[np.uint8]:
    """Return an image (c, h, w) in [0, 1] as (h, w, 3); if it does not have 3 channels, their mean is shown."""
    image = np.nan_to_num(np.asarray(image, dtype=float))
    planes = image if len(image) == 3 else np.repeat(image.mean(axis=0, keepdims=True), 3, axis=0)
    scaled = np.clip(planes, 0, 1) * 255
    return np.ascontiguousarray(scaled.round().astype(np.uint8).transpose(1, 2, 0))


def in_unit(image: Array) -> NDArray[np.float64]:
    """Return images of any shape in [0, 1]: uint8 is divided by 255, floating point is clipped."""
    image = np.asarray(image)
    values = image / 255 if image.dtype == np.uint8 else np.nan_to_num(image.astype(float))
    return np.clip(values, 0, 1)


def grid(pictures: Array, columns: int, width: int) -> Image.Image:
    """Return images (n, c, h, w) side by side, each enlarged to about a width, with gray lines between them."""
    count = len(pictures)
    columns = max(1, min(columns, count))
    rows = -(-count // columns)
    padded = np.full((rows * columns, *np.shape(pictures)[1:]), 0.5)
    padded[:count] = in_unit(pictures)
    return strips(padded.reshape(rows, columns, *padded.shape[1:]), width)


def strips(pictures: Array, width: int) -> Image.Image:
    """Return rows of images (rows, columns, c, h, w), each enlarged to about a width, with gray lines between them."""
    rows, columns = np.shape(pictures)[:2]
    tiles = [[enlarged(rgb(image), width) for image in row] for row in in_unit(pictures)]
    wide, high = (side + GAP for side in tiles[0][0].size)
    sheet = Image.new("RGB", (columns * wide - GAP, rows * high - GAP), (128, 128, 128))
    for down, row in enumerate(tiles):
        for across, tile in enumerate(row):
            sheet.paste(tile, (across * wide, down * high))
    return sheet


def amplified(clean: Array, adversarial: Array) -> tuple[NDArray[np.uint8], float]:
    """Return the difference of two images (c, h, w) as (h, w, 3), and the factor by which it was amplified.

    Mid-gray is no change, brighter is an increase, darker a decrease. The factor is the largest round number that does
    not clip.
    """
    delta = np.nan_to_num(np.asarray(adversarial, dtype=float) - np.asarray(clean, dtype=float))
    largest = float(np.abs(delta).max(initial=0.0))
    factor = _round_down(0.5 / largest) if largest > 0 else 1.0
    return rgb(0.5 + factor * delta), factor


def _round_down(number: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, ... not above a number; a number below 1 is returned as it is."""
    if number < 1:
        return number
    power = 10.0 ** np.floor(np.log10(number))
    return float(max(step * power for step in (1, 2, 5) if step * power <= number * (1 + 1e-9)))


def heat(values: Array, width: int = WIDTH) -> Image.Image:
    """Return a signed map (h, w) enlarged: orange supports the class, striped blue opposes it, white is neutral."""
    values = np.nan_to_num(np.asarray(values, dtype=float))
    strength = values / (np.abs(values).max(initial=0.0) or 1.0)
    towards = np.where(strength[..., None] > 0, np.array([178, 70, 0]), np.array([0, 70, 140]))
    color = 255 + np.abs(strength)[..., None] * (towards - 255)
    large = np.asarray(enlarged(color.round().astype(np.uint8), width)).copy()
    against = np.asarray(enlarged((strength < -0.1).astype(np.uint8)[..., None].repeat(3, axis=2), width))[..., 0] > 0
    row, column = np.indices(against.shape)
    large[against & ((row + column) % 8 < 2)] = 255
    return Image.fromarray(large)


def enlarged(image: NDArray[np.uint8], width: int = WIDTH) -> Image.Image:
    """Return (h, w, 3) enlarged by a whole factor; every pixel becomes a square."""
    factor = max(1, width // image.shape[1])
    size = (image.shape[1] * factor, image.shape[0] * factor)
    return Image.fromarray(image).resize(size, Image.Resampling.NEAREST)


def png(image: Image.Image) -> bytes:
    """Return an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
