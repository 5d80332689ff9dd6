"""Text models as they are trained: a network, the vocabulary of a task, and a recipe that takes seconds or minutes."""

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
"""Words that are read of a text at least and at most, where nobody says how many."""

CHARACTERS = 6
"""Characters that a word of English takes with the space behind it, about."""

STEPS = 300
"""Steps that a training has at least: fewer teach a network nothing, and small tables would give no more."""

KNOWN, ALL = 8000, 0.9
"""Words that are known at most, and the share of all: from the rest it is learnt what an unknown word is like."""

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
"""Name of a network, and whether it is trained for as long as it gains from, to how that is done."""


def text_model(
    task: TaskInfo, name: str, *, full: bool = False, weights: str | None = None, length: int | None = None
) -> TorchText:
    """Return a network with the vocabulary of a task's training texts, round which an adapter is put.

    Args:
        task: gives the words and the classes.
        name: of a network in `PLANS`.
        full: train it for as long as it gains from.
        weights: a file to take them from, after which nothing is trained.
        length: words that are read of a text; None for as many as the task's longest text may have, 48 to 256.

    Raises:
        ModelError: the task has no training texts, or the weights do not fit.
    """
    plan, words = PLANS[name, full], Words(task.words, min(KNOWN, math.ceil(ALL * len(task.words))))
    usual = min(LONGEST, max(SHORTEST, task.input_shape[0] // CHARACTERS))
    read = usual if length is None else length
    if read < 1:
        raise ModelError(f"length={length}; expected at least 1 word that is read of a text.")
    module = plan.build(len(words.vocabulary), len(task.classes), read)
    return TorchText(module, words, length=read, weights=weights, recipe=None if weights else plan.recipe)
