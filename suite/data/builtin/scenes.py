"""Scenes composed of real handwritten digits on real photographs, with boxes and masks that are exact by construction.

A scene depends only on seed, split and index. Its digits come from the split's share of 5,000 MNIST digits, and its
background from the split's part of two photographs, so that no pixel of a test scene occurs in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.builtin.mnist import mnist, mnist_positions
from suite.data.formats.image_files import tight_box
from suite.data.splitting import SPLITS
from suite.types import Sample

Array = npt.NDArray[Any]

BAND = 128
"""Width of the vertical bands that the photographs (427 x 640 pixels) are cut into; no background spans two bands."""

BANDS = {"train": (0, 2, 4), "validation": (3,), "test": (1,)}
"""Bands that each split's backgrounds are cropped from; interleaved, so that all splits have the same textures."""

INK = 0.5
"""Coverage from which a pixel belongs to the digit; the fainter edge of a stroke belongs to the background."""

MAX_OCCLUSION = 0.3
"""Share of a digit's pixels that later digits may cover; a digit that would cover more of another one is moved."""

DIMMING = 0.5
"""Factor of the photographs' brightness, which makes light digits stand out."""

BRIGHTNESS = (0.7, 1.0)
"""Range of a digit's brightness; small networks learn light strokes on any texture in a minute, but not dark strokes as
well."""

TRIES = 10
"""Positions that are tried for a digit before it is left out."""


@dataclass(frozen=True)
class Layout:
    """What the scenes of a task have in common.

    Attributes:
        side: height and width in pixels.
        most: largest number of digits; every number from 1 to this is equally likely.
        lengths: range of a digit's longer side in pixels.
        stream: number that makes the random draws of two layouts differ.
    """

    side: int
    most: int
    lengths: tuple[int, int]
    stream: int


BOXED = Layout(side=96, most=4, lengths=(24, 44), stream=0)
"""Scenes for detection."""

MASKED = Layout(side=64, most=3, lengths=(24, 40), stream=1)
"""Scenes for segmentation."""


@dataclass(frozen=True)
class Scene:
    """An image and the digits in it.

    Attributes:
        pixels: (3, side, side) uint8.
        digits: 0 to 9, in the order in which they were placed, later ones on top.
        inks: pixels of each digit, including those that another digit covers, (k, side, side) bool.
        sources: position of each digit among the 5,000.
    """

    pixels: npt.NDArray[np.uint8]
    digits: tuple[int, ...]
    inks: npt.NDArray[np.bool_]
    sources: tuple[int, ...]

    def boxes(self) -> Array:
        """Return the tightest box around each digit, including its covered pixels, (k, 4) in pixels."""
        return np.array([tight_box(ink) for ink in self.inks], dtype=np.float64).reshape(-1, 4)

    def mask(self) -> npt.NDArray[np.uint8]:
        """Return the class of every pixel, (side, side): 0 for the background, 1 + d for the digit d."""
        mask = np.zeros(self.pixels.shape[1:], dtype=np.uint8)
        for digit, ink in zip(self.digits, self.inks, strict=True):
            mask[ink] = 1 + digit
        return mask


def boxed_scenes(split: str, *, seed: int, count: int) -> Iterator[Sample]:
    """Yield scenes of 96x96 pixels with 1 to 4 digits and their boxes, which include covered pixels.

    Args:
        split: train, validation or test.
        seed: seed of all random draws; a scene does not depend on `count`.
        count: number of scenes.
    """
    for index in range(count):
        scene = compose(BOXED, split, seed=seed, index=index)
        labels = [str(digit) for digit in scene.digits]
        target = {"boxes": scene.boxes(), "labels": labels, "ignore": np.zeros(len(labels), dtype=bool)}
        yield Sample(f"scene-{split}-{index:05d}", scene.pixels, target)


def masked_scenes(split: str, *, seed: int, count: int) -> Iterator[Sample]:
    """Yield scenes of 64x64 pixels with 1 to 3 digits and a mask with the class of each pixel.

    Args:
        split: train, validation or test.
        seed: seed of all random draws; a scene does not depend on `count`.
        count: number of scenes.
    """
    for index in range(count):
        scene = compose(MASKED, split, seed=seed, index=index)
        yield Sample(f"scene-{split}-{index:05d}", scene.pixels, scene.mask())


def compose(layout: Layout, split: str, *, seed: int, index: int) -> Scene:
    """Return one scene, which depends on nothing but the arguments.

    Digits are placed one after the other at random positions inside the image. A digit that would cover more of another
    one than `MAX_OCCLUSION` is tried at other positions, and then left out; the first digit is always kept.
    """
    generator = np.random.default_rng([seed, layout.stream, SPLITS.index(split), index])
    canvas = _background(generator, split, layout.side)
    images, labels = mnist()
    pool = _pool(seed, split)
    sources: list[int] = []
    inks: list[npt.NDArray[np.bool_]] = []
    for _ in range(int(generator.integers(1, layout.most + 1))):
        source = int(pool[generator.integers(len(pool))])
        digit = _scaled(images[source], int(generator.integers(layout.lengths[0], layout.lengths[1] + 1)))
        coverage = _placed(generator, digit, inks, layout.side)
        if coverage is not None:
            canvas = _painted(generator, canvas, coverage)
            sources.append(source)
            inks.append(coverage >= INK)
    pixels = np.rint(np.moveaxis(canvas, -1, 0) * 255).astype(np.uint8)
    return Scene(pixels, tuple(int(labels[source]) for source in sources), np.stack(inks), tuple(sources))


@lru_cache(maxsize=1)
def _photographs() -> list[Array]:
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


@lru_cache(maxsize=8)
def _pool(seed: int, split: str) -> Array:
    return np.array(mnist_positions(split, seed))


def _background(generator: np.random.Generator, split: str, side: int) -> Array:
    """Return a square crop of a photograph, at least half the scene's side, enlarged to it, (side, side, 3) in 0..1."""
    from PIL import Image

    photographs = _photographs()
    photograph = photographs[generator.integers(len(photographs))]
    length = int(generator.integers(side // 2, side + 1))
    row = generator.integers(photograph.shape[0] - length + 1)
    column = BAND * BANDS[split][generator.integers(len(BANDS[split]))] + generator.integers(BAND - length + 1)
    crop = Image.fromarray(photograph[row : row + length, column : column + length])
    pixels = np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR)) * (DIMMING / 255)
    return pixels[:, ::-1] if generator.random() < 0.5 else pixels


def _scaled(image: Array, length: int) -> Array:
    """Return a digit cropped to its ink, with its longer side scaled to a length, as coverage in 0..1."""
    from PIL import Image

    left, top, right, bottom = (int(edge) for edge in tight_box(image >= 255 * INK))
    tight = image[top:bottom, left:right]
    height, width = (max(3, round(length * edge / max(tight.shape))) for edge in tight.shape)
    return np.asarray(Image.fromarray(tight).resize((width, height), Image.Resampling.BILINEAR)) / 255


def _placed(
    generator: np.random.Generator, digit: Array, earlier: list[npt.NDArray[np.bool_]], side: int
) -> Array | None:
    """Return the coverage (side, side) of a digit at a position where it covers no other digit too much, or None."""
    covered = [np.any(earlier[index + 1 :], axis=0) for index in range(len(earlier))]
    for _ in range(TRIES):
        row, column = (int(generator.integers(side - length + 1)) for length in digit.shape)
        coverage = np.zeros((side, side))
        coverage[row : row + digit.shape[0], column : column + digit.shape[1]] = digit
        ink = coverage >= INK
        shares = [((over | ink) & under).sum() / under.sum() for over, under in zip(covered, earlier, strict=True)]
        if max(shares, default=0.0) <= MAX_OCCLUSION:
            return coverage
    return None


def _painted(generator: np.random.Generator, canvas: Array, coverage: Array) -> Array:
    """Return the canvas with a digit painted on it in one light, slightly transparent color."""
    tint = generator.uniform(-0.2, 0.2, size=3)
    color = np.clip(generator.uniform(*BRIGHTNESS) + tint - tint.mean(), 0, 1)
    alpha = (coverage * generator.uniform(0.85, 1.0))[..., None]
    return np.asarray(canvas * (1 - alpha) + color * alpha)
