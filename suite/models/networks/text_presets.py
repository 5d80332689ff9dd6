"""Text models with their vocabulary and with recipes that take seconds or minutes."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import nn

from suite.data import TaskInfo
from suite.errors import ModelError
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.networks.text import Bag, BiGRU, TextCNN, TextTransformer
from suite.models.recipe import Recipe

SHORTEST, LONGEST = 48, 256
"""Range of the default number of words per text."""

CHARACTERS = 6
"""Approximate characters per English word, including the space."""

STEPS = 300
"""Minimum number of training steps, which matters for small training splits."""

KNOWN, ALL = 8000, 0.9
"""Maximum size of the vocabulary, absolute and as a fraction of all words; the others train the unknown word."""

Build = Callable[[int, int, int], nn.Module]
"""(size of the vocabulary, classes, words of a text) to a network."""


class Plan(NamedTuple):
    """A network and how it is trained."""

    build: Build
    recipe: Recipe


PLANS: Mapping[tuple[str, bool], Plan] = MappingProxyType(
    {
        ("bag", False): Plan(
            lambda words, classes, _: Bag(words, classes, dropout=0.4),
            Recipe(least_steps=STEPS, epochs=6, batch_size=128, learning_rate=4e-3, weight_decay=0.1),
        ),
        ("bag", True): Plan(
            lambda words, classes, _: Bag(words, classes, width=128, dropout=0.5),
            Recipe(least_steps=STEPS, epochs=8, batch_size=64, learning_rate=2e-3, weight_decay=0.1),
        ),
        ("textcnn", False): Plan(
            lambda words, classes, _: TextCNN(words, classes),
            Recipe(least_steps=STEPS, epochs=4, batch_size=64, learning_rate=2e-3),
        ),
        ("textcnn", True): Plan(
            lambda words, classes, _: TextCNN(words, classes, width=128),
            Recipe(least_steps=STEPS, epochs=8, batch_size=64, learning_rate=1e-3),
        ),
        ("bigru", False): Plan(
            lambda words, classes, _: BiGRU(words, classes),
            Recipe(least_steps=STEPS, epochs=3, batch_size=64, learning_rate=2e-3),
        ),
        ("bigru", True): Plan(
            lambda words, classes, _: BiGRU(words, classes),
            Recipe(least_steps=STEPS, epochs=5, batch_size=32, learning_rate=1e-3),
        ),
        ("text_transformer", False): Plan(
            lambda words, classes, length: TextTransformer(words, classes, length, depth=1, dropout=0.5),
            Recipe(least_steps=STEPS, epochs=4, batch_size=64, learning_rate=2e-3),
        ),
        ("text_transformer", True): Plan(
            lambda words, classes, length: TextTransformer(words, classes, length, depth=2, dropout=0.5),
            Recipe(least_steps=STEPS, epochs=8, batch_size=64, learning_rate=1e-3, warmup=0.1),
        ),
    }
)
"""(name of the network, full recipe or not) to network and recipe."""


def text_model(
    task: TaskInfo, name: str, *, full: bool = False, weights: str | None = None, length: int | None = None
) -> TorchText:
    """Return a text model with the vocabulary of a task's training texts.

    Args:
        task: sets the words and the classes.
        name: name of a network in `PLANS`.
        full: train it with the full recipe.
        weights: a file of weights; the model is then not trained.
        length: words per text; None to estimate it from the task's longest text, between 48 and 256.

    Raises:
        ModelError: the task has no training texts, or the weights do not fit.
    """
    plan, words = PLANS[name, full], Words(task.words, min(KNOWN, math.ceil(ALL * len(task.words))))
    if length is None:
        length = min(LONGEST, max(SHORTEST, task.input_shape[0] // CHARACTERS))
    if length < 1:
        raise ModelError(f"length={length}; expected at least 1 word per text.")
    module = plan.build(len(words.vocabulary), len(task.classes), length)
    return TorchText(module, words, length=length, weights=weights, recipe=None if weights else plan.recipe)
