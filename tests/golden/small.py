"""Small versions of the built-in tasks and models: every kind, real data, and training runs of a few seconds."""

import re
from dataclasses import replace
from pathlib import Path

from suite import Sample, TorchClassifier, model, task
from suite.registry import REGISTRY

DIGITS = tuple("0123456789")
COUNTS = {"train": 256, "validation": 48, "test": 40}

GOOD = ("good", "great", "funny", "moving", "lovely")
BAD = ("awful", "poor", "dull", "boring", "tedious")
PROSE = (Path(__file__).parents[2] / "LICENSE").read_text("utf-8")
"""English text that ships with the project."""


def first_samples(name, split, seed, **options):
    """Yield the first samples of a built-in task."""
    samples = REGISTRY.get("task", name).factory(split, seed, **options)
    yield from (sample for sample, _ in zip(samples, range(COUNTS[split]), strict=False))


@task(kind="classification", classes=DIGITS)
def images(split, seed):
    """Handwritten digits of 8x8 pixels."""
    yield from first_samples("digits", split, seed)


@task(kind="detection", classes=DIGITS)
def boxes(split, seed):
    """Scenes with boxes."""
    yield from first_samples("digit-scenes-detection", split, seed)


@task(kind="segmentation", classes=("background", *DIGITS))
def masks(split, seed):
    """Scenes with masks."""
    yield from first_samples("digit-scenes-segmentation", split, seed)


@task(kind="sentiment", classes=("negative", "positive"))
def texts(split, seed):
    """Sentences of the license, each with two positive or two negative words."""
    parts = [part for part in re.split(r"[.;:,\n]+", PROSE) if len(part.split()) >= 4]
    for place in range({"train": 0, "validation": 1, "test": 2}[split], len(parts), 3):
        words, label = parts[place].split()[:9], place // 3 % 2
        chosen = GOOD if label else BAD
        words[1:1], words[3:3] = [chosen[place % 5]], [chosen[place // 5 % 5]]
        shares = (1 - 0.5 * label - 0.25, 0.5 * label + 0.25)
        if place // 3 < COUNTS[split]:
            yield Sample(f"text-{place:04d}", " ".join(words), label, shares)


@task(kind="language")
def characters(split, seed):
    """The text of the license, for character-level models."""
    path = Path(__file__).parents[2] / "LICENSE"
    options = {"path": str(path), "context": 24, "scored": 24, "validation": 12, "test": 24}
    yield from REGISTRY.get("task", "textfile").factory(split, seed, **options)


@task(kind="autoencoding")
def codes(split, seed):
    """Binarized digits."""
    yield from first_samples("mnist-codes", split, seed)


@task(kind="synthesis", classes=DIGITS)
def samples(split, seed):
    """Digits for image generation."""
    yield from first_samples("mnist-samples", split, seed)


def short_training(name, task, **changes):
    """Return a built-in model with a shortened training recipe."""
    built = REGISTRY.get("model", name).factory(task)
    built.recipe = replace(built.recipe, **changes)
    return built


@model(kind="classification")
def cnn(task):
    """A small convolutional network with dropout."""
    return short_training("cnn", task, epochs=3)


@model(kind="classification")
def adversarial(task):
    """The same network with adversarial training."""
    return short_training("cnn_adversarial", task, epochs=1)


@model(kind="classification")
def vit(task) -> TorchClassifier:
    """A tiny vision transformer."""
    return short_training("vit", task, epochs=3)


@model(kind="detection")
def centernet(task):
    """A CenterNet detector."""
    return short_training("centernet", task, epochs=3)


@model(kind="segmentation")
def unet(task):
    """A U-Net."""
    return short_training("unet", task, epochs=2)


@model(kind="sentiment")
def bag(task):
    """A linear classifier on mean word embeddings."""
    return short_training("bag", task, epochs=4, least_steps=0)


@model(kind="sentiment")
def bigru(task):
    """The recurrent network."""
    return short_training("bigru", task, epochs=2, least_steps=0)


@model(kind="sentiment")
def vader_rules(task):
    """The rule-based VADER model."""
    return REGISTRY.get("model", "vader_rules").factory(task)


@model(kind="language")
def ngram(task):
    """An n-gram baseline."""
    return REGISTRY.get("model", "ngram").factory(task)


@model(kind="language")
def char_gru(task):
    """The recurrent network."""
    return short_training("char_gru", task, epochs=1)


@model(kind="autoencoding")
def vae(task):
    """A variational autoencoder."""
    return short_training("vae", task, epochs=2)


@model(kind="synthesis")
def gan(task):
    """A GAN with spectral normalization."""
    return short_training("sn_hinge", task, steps=20, checkpoints=2)
