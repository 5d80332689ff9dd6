"""A task of synthetic reviews, models that learn it, and a rule-based model."""

import re

import numpy as np
import torch
from torch import nn

from suite import Recipe, Sample, model, task
from suite.data.text import texts_of
from suite.errors import NotApplicableError
from suite.models.adapters.text import Token, TorchText

GOOD = ("good", "great", "nice", "fine", "lovely")
BAD = ("awful", "poor", "dull", "boring", "tedious")
OTHER = ("the", "film", "story", "plot", "actor", "scene", "music", "camera", "ending", "quite", "very", "again")
COUNTS = {"train": 400, "validation": 60, "test": 80}


@task(kind="sentiment", classes=("negative", "positive"))
def reviews(split, seed):
    """Texts of neutral words and two that determine the class."""
    source = np.random.default_rng({"train": 0, "validation": 1, "test": 2}[split])
    for number in range(COUNTS[split]):
        label = int(source.integers(2))
        words = [*source.choice(OTHER, source.integers(3, 7)), *source.choice(GOOD if label else BAD, 2)]
        source.shuffle(words)
        yield Sample(f"{split}-{number:03d}", f"{' '.join(words).capitalize()}.", label)


class Words:
    pad, unknown = 0, 1

    def __init__(self, words):
        self.vocabulary = ("", "<unk>", *words)
        self.ids = {word: place for place, word in enumerate(self.vocabulary) if place > 1}

    def tokens(self, text):
        matches = re.finditer(r"\w+", text)
        return [Token(self.ids.get(m.group().lower(), 1), m.start(), m.end()) for m in matches] or [Token(1, 0, 0)]


class Bag(nn.Module):
    def __init__(self, words, classes):
        super().__init__()
        self.embedding, self.head = nn.Embedding(words, 16), nn.Linear(16, classes)

    def forward(self, embedded, mask):
        return self.head((embedded * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))


def learning(network, task):
    words = Words(task.words)
    module = network(len(words.vocabulary), len(task.classes))
    return TorchText(module, words, length=16, recipe=Recipe(epochs=12, batch_size=32, learning_rate=0.02))


@model(kind="sentiment")
def bag(task):
    """The mean of the embeddings."""
    return learning(Bag, task)


class Hidden(Bag):
    """Predicts like the bag, with zero gradients after training."""

    def forward(self, embedded, mask):
        output = super().forward(embedded, mask)
        return output if self.training else output.detach() + 0 * output


@model(kind="sentiment")
def hidden(task):
    """The mean of the embeddings, with masked gradients."""
    return learning(Hidden, task)


class Rules(TorchText):
    def raw(self, pixels):
        texts = [text.lower().rstrip(".").split() for text in texts_of(pixels.cpu().numpy())]
        return torch.tensor([[float(sum(w in group for w in words)) for group in (BAD, GOOD)] for words in texts])

    @property
    def table(self):
        raise NotApplicableError("the model has no word embedding, so a text has no gradient")


@model(kind="sentiment")
def rules(task):
    """A rule-based model that counts good and bad words."""
    return Rules(nn.Identity(), Words(task.words), length=16)


@task(kind="language")
def rounds(split, seed):
    """Cyclic sequences of the letters a to e with different starts: twelve letters of context, twelve to predict."""
    for number in range({"train": 8, "validation": 4, "test": 10}[split]):
        start = number + {"train": 0, "validation": 1, "test": 2}[split]
        text = "".join("abcde"[(start + place) % 5] for place in range(23))
        yield Sample(f"{split}-{number}", f"{text}{'abcde'[number % 5]}", 12)


class Round(nn.Module):
    """A model that predicts the successor of the last letter, with a smaller weight on that of the mean letter."""

    def __init__(self, classes):
        super().__init__()
        self.embedding = nn.Embedding(classes, classes)
        self.embedding.weight.data = torch.eye(classes)
        self.register_buffer("next", torch.roll(torch.eye(classes - 1), 1, dims=1))

    def forward(self, embedded, mask):
        places = torch.arange(1, embedded.shape[1] + 1)[None, :, None]
        features = 3 * embedded + 6 * embedded.cumsum(dim=1) / places
        return torch.cat([features[..., :1] - 9, features[..., 1:] @ self.next], dim=2)


@model(kind="language")
def turns(task):
    """A model that predicts the next letter of the cycle."""
    from suite.models.adapters.language import TorchLanguage

    return TorchLanguage(Round(len(task.classes)), task.classes, length=task.input_shape[0])
