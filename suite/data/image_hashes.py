"""Images that nearly equal an image of another split: perceptual hashes, confirmed on thumbnails.

Copies that are found of 403 crops of 23 photographs, 128 pixels wide (95 % Clopper-Pearson intervals): saved as JPEG of
quality 50, 96 % (94 to 98); scaled to 0.9 and back, 100 % (99 to 100); 10 % brighter, 99 % (98 to 100); without 2 % of
their width, 86 % (82 to 89). The same crops at 32 pixels: 66, 99, 99 and 10 %; 500 MNIST digits: 99.8, 98.6, 100 and
0.2 %. Mirrored and rotated copies are not looked for.

Pairs of different images that are taken for copies: none of 86,736 pairs of these crops (at most 43 in a million), none
of 19,216,900 pairs of scenes, 1 of 12,497,500 pairs of MNIST digits, and 6 of 1,525,131 pairs of crops of 64 pixels,
which show nothing but sky or a smooth change of color.

50,000 and 20,000 images of 64 pixels take 4 to 7 s on one core of a busy machine after they are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from suite.data.split import Split

Floats = npt.NDArray[np.float32]

SMALLEST = 16
"""Pixels of the shorter side from which images are compared.

At 8 pixels, 17 of 500 scaled copies of digits are found, and 15 pairs of different ones among 1,797.
"""

SIDE, FREQUENCIES, CELLS = 32, 8, 16
"""Side of the thumbnail that is hashed, of the block of low frequencies, and of the thumbnail that confirms."""

MOST_BITS = 6
"""Bits of the 63 in which hashes of near-duplicates differ."""

FURTHEST = 0.75
"""Largest difference of a cell of the confirming thumbnails, in standard deviations of the image's grey values.

A correlation does not tell: 127 of 1,000 MNIST test images have one of .95 or more with one of 3,500 training images,
as have only 95 % of crops of 64 pixels with their copies saved as JPEG.
"""

FAINT = 0.01
"""Standard deviation of grey values in [0, 1] below which an image is blank: its hash would be that of the noise."""

NOISE = 0.25
"""Frequencies of a standardised thumbnail with amplitudes below this count as positive, so that noise in frequencies
that an image lacks does not change its hash."""

BATCH, BATCH_BYTES, CACHED_BYTES = 256, 2**24, 2**19
"""Most images that are read at a time, the size of their pixels, and of those that are made grey at a time."""


@dataclass(frozen=True, eq=False)
class Hashes:
    """What is kept of images.

    Attributes:
        bits: signs of low frequencies, -1 or 1, (n, 63); 0 for a blank image, which is therefore far from all others.
        cells: standardised grey thumbnails, (n, 256).
    """

    bits: Floats
    cells: Floats


def image_matches(splits: Mapping[str, Split]) -> dict[tuple[str, str], dict[int, int]]:
    """Return the near-duplicates that each split has in each later one, reading every image once.

    What stays in memory is 1.3 kB for each image of all splits but the last, so the largest should be last.

    Returns:
        For each two splits, the positions in the first, each with the first position in the second that it equals.
    """
    known: dict[str, Hashes] = {}
    found: dict[tuple[str, str], dict[int, int]] = {}
    for name, split in splits.items():
        own = []
        for start, hashes in _in_batches(split):
            for earlier, others in known.items():
                _match(others, hashes, start, found.setdefault((earlier, name), {}))
            if name != list(splits)[-1]:
                own.append(hashes)
        if own:
            known[name] = Hashes(
                np.concatenate([each.bits for each in own]), np.concatenate([each.cells for each in own])
            )
    return found


def hashes_of(images: npt.NDArray[np.generic]) -> Hashes:
    """Return the hashes of images (n, channels, height, width), uint8 or float in [0, 1]."""
    parts = np.array_split(images, 1 + images.nbytes // CACHED_BYTES)
    thumbnails = np.concatenate([_thumbnails(part) for part in parts])
    waves = _waves()
    frequencies = (waves @ _standardised(thumbnails) @ waves.T).reshape(len(images), -1)[:, 1:]
    bits = np.where(frequencies > -NOISE, np.float32(1), np.float32(-1))
    bits[thumbnails.std(axis=(1, 2)) < FAINT] = 0
    half = _averaging(SIDE, CELLS)
    return Hashes(bits, _standardised(half @ thumbnails @ half.T).reshape(len(images), -1))


def _in_batches(split: Split) -> Iterator[tuple[int, Hashes]]:
    size = min(BATCH, 1 + BATCH_BYTES // (int(np.prod(split.shape)) * split.dtype.itemsize))
    for number, batch in enumerate(split.batches(size)):
        yield number * size, hashes_of(batch.inputs)


def _match(known: Hashes, hashes: Hashes, start: int, found: dict[int, int]) -> None:
    """Add the known images that nearly equal one of a batch, each with the position of the first such image."""
    agreement = known.bits @ hashes.bits.T
    rows, others = np.divmod(np.flatnonzero(agreement >= known.bits.shape[1] - 2 * MOST_BITS), len(hashes.bits))
    for part in np.array_split(np.arange(len(rows)), len(rows) // 2**14 + 1):
        distance = np.abs(known.cells[rows[part]] - hashes.cells[others[part]]).max(axis=1)
        for place in part[distance <= FURTHEST]:
            found.setdefault(int(rows[place]), start + int(others[place]))


def _thumbnails(images: npt.NDArray[np.generic]) -> Floats:
    is_bytes = images.dtype == np.uint8
    images = np.ascontiguousarray(images)  # adding channels that are interleaved in memory takes thirty times as long
    totals = images.sum(axis=1, dtype=np.uint16 if is_bytes else np.float32).astype(np.float32)
    grey = totals / np.float32(images.shape[1] * (255 if is_bytes else 1))
    height, width = grey.shape[1:]
    return np.asarray(_averaging(height, SIDE) @ grey @ _averaging(width, SIDE).T, np.float32)


def _standardised(thumbnails: Floats) -> Floats:
    centred = thumbnails - thumbnails.mean(axis=(1, 2), keepdims=True)
    deviations = centred.std(axis=(1, 2), keepdims=True)
    return np.asarray(centred / np.maximum(deviations, np.float32(1e-6)), np.float32)


@lru_cache(maxsize=8)
def _averaging(size: int, cells: int) -> Floats:
    """Return the matrix (cells, size) that averages pixels over equal intervals, with parts of pixels at their ends."""
    ends = np.linspace(0, size, cells + 1)[:, None]
    pixels = np.arange(size)
    shares = np.minimum(ends[1:], pixels + 1) - np.maximum(ends[:-1], pixels)
    return np.asarray(np.maximum(shares, 0) * cells / size, np.float32)


@lru_cache(maxsize=1)
def _waves() -> Floats:
    """Return the cosines of the lowest frequencies, orthonormal, (8, 32): the first rows of the DCT-II."""
    pixels, frequencies = np.arange(SIDE) + 0.5, np.arange(FREQUENCIES)[:, None]
    waves = np.cos(np.pi * frequencies * pixels / SIDE) * np.sqrt(2 / SIDE)
    waves[0] /= np.sqrt(2)
    return np.asarray(waves, np.float32)
