"""Images of black and white alone, of which a likelihood of Bernoulli pixels means something."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from suite.errors import SpecError
from suite.types import Rejected, Sample

WAYS = ("random", "threshold", "no")
"""``random``: a pixel is white with the probability that it is bright, drawn once for each sample, as is usual for
binarised MNIST; ``threshold``: it is white from half brightness on; ``no``: it is left as it is."""


def binarised(pixels: npt.ArrayLike, name: str, way: str) -> npt.NDArray[np.uint8]:
    """Return an image in black and white, uint8 0 or 255.

    Args:
        pixels: of any shape, uint8 in 0..255 or floating point in 0..1.
        name: the sample's id; nothing else decides what is drawn.
        way: ``random`` or ``threshold``.

    Raises:
        SpecError: an unknown way.
    """
    if way not in WAYS[:2]:
        raise SpecError(f"binarise={way!r}; expected one of {', '.join(WAYS)}.")
    bright = np.asarray(pixels)
    bright = bright / 255 if bright.dtype == np.uint8 else bright
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    limit = np.random.default_rng(seed).random(bright.shape) if way == "random" else np.nextafter(0.5, 0)
    return np.where(bright > limit, 255, 0).astype(np.uint8)


def as_codes(samples: Iterable[Sample | Rejected], way: str) -> Iterator[Sample | Rejected]:
    """Yield samples with their images in black and white, or as they are where the way is ``no``."""
    if way not in WAYS:
        raise SpecError(f"binarise={way!r}; expected one of {', '.join(WAYS)}.")
    for sample in samples:
        if way == "no" or isinstance(sample, Rejected):
            yield sample
        else:
            yield replace(sample, input=binarised(sample.input, sample.id, way))
