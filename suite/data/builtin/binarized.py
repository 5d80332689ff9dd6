"""Black-and-white images, for which a Bernoulli likelihood of the pixels is meaningful."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt

from suite.errors import SpecError
from suite.types import ClassNames, Deferred, Rejected, Remark, Sample

MODES = ("random", "threshold", "no")
"""``random``: a pixel is white with a probability equal to its brightness, drawn once per sample, as is usual for
binarized MNIST; ``threshold``: it is white if its brightness is at least one half; ``no``: it is not changed."""


def binarize(pixels: npt.ArrayLike, name: str, mode: str) -> npt.NDArray[np.uint8]:
    """Return an image in black and white, uint8 0 or 255.

    Args:
        pixels: of any shape, uint8 in 0..255 or floating point in 0..1.
        name: the sample's id, which alone seeds the random draws.
        mode: ``random`` or ``threshold``.

    Raises:
        SpecError: an unknown mode.
    """
    if mode not in MODES[:2]:
        raise SpecError(f"binarise={mode!r}; expected one of {', '.join(MODES)}.")
    bright = np.asarray(pixels)
    bright = bright / 255 if bright.dtype == np.uint8 else bright
    seed = int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:16], "big")
    limit = np.random.default_rng(seed).random(bright.shape) if mode == "random" else np.nextafter(0.5, 0)
    return np.where(bright > limit, 255, 0).astype(np.uint8)


def binarize_samples(
    samples: Iterable[Sample | Rejected | Remark | ClassNames], mode: str
) -> Iterator[Sample | Rejected | Remark]:
    """Yield samples with their images in black and white, or unchanged if the mode is ``no``; without class names.

    Raises:
        SpecError: an unknown mode.
    """
    if mode not in MODES:
        raise SpecError(f"binarise={mode!r}; expected one of {', '.join(MODES)}.")
    for sample in samples:
        if isinstance(sample, ClassNames):
            continue
        if mode == "no" or not isinstance(sample, Sample):
            yield sample
        elif isinstance(sample.input, Deferred):
            image = sample.input.then(partial(binarize, name=sample.id, mode=mode), f"{mode} binarization")
            yield replace(sample, input=image)
        else:
            yield replace(sample, input=binarize(sample.input, sample.id, mode))
