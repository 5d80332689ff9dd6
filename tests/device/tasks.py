"""Tasks with a few small samples: enough to run every operator on a device."""

from pathlib import Path

import numpy as np

from suite import Sample, task
from suite.registry import REGISTRY
from tests.golden.small import texts as sentences

LICENSE = Path(__file__).parents[2] / "LICENSE"
COUNTS = {"train": 24, "validation": 12, "test": 12}
COLORS = ("red", "green", "blue")


def scenes(split, seed, side):
    """Yield a number, a gray image (3, side, side) with one colored square, its class and its corners."""
    generator = np.random.default_rng([seed, list(COUNTS).index(split)])
    for place in range(COUNTS[split]):
        image, label = generator.uniform(0.3, 0.5, (3, side, side)), place % len(COLORS)
        x, y = generator.integers(0, side // 2, 2)
        image[label, y : y + side // 2, x : x + side // 2] += 0.4
        yield f"{split}-{place:02d}", (image * 255).astype(np.uint8), label, (x, y, x + side // 2, y + side // 2)


@task(kind="classification", classes=COLORS)
def images(split, seed):
    """Images of 8x8 pixels with a square, whose color is the class."""
    for name, image, label, _ in scenes(split, seed, 8):
        yield Sample(name, image, COLORS[label])


@task(kind="detection", classes=COLORS)
def boxes(split, seed):
    """Images of 32x32 pixels with a square and its box."""
    for name, image, label, box in scenes(split, seed, 32):
        yield Sample(name, image, {"boxes": [box], "labels": [COLORS[label]], "ignore": [False]})


@task(kind="segmentation", classes=("background", *COLORS))
def masks(split, seed):
    """Images of 32x32 pixels with a square and its mask."""
    for name, image, label, (x1, y1, x2, y2) in scenes(split, seed, 32):
        mask = np.zeros((32, 32), np.uint8)
        mask[y1:y2, x1:x2] = label + 1
        yield Sample(name, image, mask)


@task(kind="sentiment", classes=("negative", "positive"))
def texts(split, seed):
    """Short sentences."""
    yield from (sample for sample, _ in zip(sentences(split, seed), range(COUNTS[split]), strict=False))


@task(kind="language")
def characters(split, seed):
    """Windows of a text."""
    options = {"context": 12, "scored": 12, "train": 1200, "validation": 4, "test": 12}
    yield from REGISTRY.get("task", "textfile").factory(split, seed, path=str(LICENSE), **options)


@task(kind="autoencoding")
def codes(split, seed):
    """Black-and-white images of 12x12 pixels with a square."""
    for name, image, label, _ in scenes(split, seed, 12):
        yield Sample(name, np.where(image[label : label + 1] > 150, 255, 0).astype(np.uint8), None)


@task(kind="synthesis", classes=COLORS)
def samples(split, seed):
    """Images of 16x16 pixels to imitate."""
    for name, image, label, _ in scenes(split, seed, 16):
        yield Sample(name, image, COLORS[label])
