"""Small text models whose outputs can be computed by hand."""

import dataclasses
import re

import torch
from torch import nn

from suite.attacks.engine.problem import Problem
from suite.attacks.rng import as_seeds
from suite.data.text import packed, texts_of
from suite.errors import NotApplicableError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import Token, TorchText

WORDS = (
    "the good great nice fine lovely bad awful poor sad dull film story plot actor scene music camera ending begin"
    " quite very rather never always often seldom perhaps again today"
).split()

SIGNS = "abcdefg "

ROOM = 32


class ByWord:
    """A tokenizer: words of letters and digits in lower case."""

    pad, unknown = 0, 1

    def __init__(self, words):
        self.vocabulary = ("", "<unk>", *words)
        self._ids = {word: place for place, word in enumerate(self.vocabulary) if place > 1}

    def tokens(self, text):
        matches = re.finditer(r"\w+", text)
        return [Token(self._ids.get(m.group().lower(), 1), m.start(), m.end()) for m in matches] or [Token(1, 0, 0)]


class ByCharacter:
    """A tokenizer: one token per character."""

    pad, unknown = 0, 1

    def __init__(self, characters):
        self.vocabulary = ("", "<unk>", *characters)
        self._ids = {character: place for place, character in enumerate(self.vocabulary) if place > 1}

    def tokens(self, text):
        return [Token(self._ids.get(c, 1), i, i + 1) for i, c in enumerate(text)] or [Token(1, 0, 0)]


class Sum(nn.Module):
    """A linear map of the sum of the embeddings, for which the first-order estimate of a replacement is exact."""

    def __init__(self, words, classes=2, width=6, seed=0):
        super().__init__()
        source = torch.Generator().manual_seed(seed)
        self.embedding = nn.Embedding(words, width)
        self.head = nn.Linear(width, classes)
        for values in self.parameters():
            values.data = torch.randn(values.shape, generator=source)
        self.embedding.weight.data[0] = 0

    def forward(self, embedded, mask):
        return self.head((embedded * mask[..., None]).sum(dim=1))


class Weighted(nn.Module):
    """`Sum` with a weight for each position, so that the order of characters matters."""

    def __init__(self, characters, length, seed=0):
        super().__init__()
        self.inner = Sum(characters, seed=seed)
        self.embedding = self.inner.embedding
        self.register_buffer("weights", torch.linspace(0.5, 2.0, length)[None, :, None])

    def forward(self, embedded, mask):
        return self.inner(embedded * self.weights, mask)


class Rules(TorchText):
    """Counts words of two lists; it has no embeddings."""

    def __init__(self, good, bad, length=16):
        super().__init__(nn.Identity(), ByWord(WORDS), length=length)
        self.good, self.bad = good, bad

    def raw(self, pixels):
        counts = [
            [sum(w in group for w in text.split()) for group in (self.bad, self.good)]
            for text in texts_of(pixels.cpu().numpy())
        ]
        return torch.tensor(counts, dtype=torch.float32).reshape(-1, 2)

    @property
    def table(self):
        raise NotApplicableError("the model has no word embedding, so a text has no gradient")


def linear(seed=0, length=16, words=WORDS):
    return TorchText(Sum(len(words) + 2, seed=seed), ByWord(words), length=length).to("cpu")


def texts(count, seed=0, least=3, most=9):
    source = torch.Generator().manual_seed(seed + 100)
    lengths = torch.randint(least, most, (count,), generator=source).tolist()
    drawn = [[WORDS[i] for i in torch.randint(len(WORDS), (k,), generator=source).tolist()] for k in lengths]
    return [" ".join([words[0].capitalize(), *words[1:]]) + "." for words in drawn]


def coded(written, width=None):
    return torch.from_numpy(packed(written, width or max(map(len, written)) + ROOM))


def problem_of(model, **settings):
    model.module.eval()
    for parameter in model.module.parameters():
        parameter.requires_grad_(False)
    return Problem.of(Sentiment().kind(), model.raw, adapter=model, **settings)


def predictions(model, codes):
    """Return the model's predictions, to be used as targets that are all predicted correctly."""
    with torch.no_grad():
        return model.raw(codes).argmax(dim=1)


def margins(model, codes, targets):
    """Return the highest wrong logit minus the correct one."""
    with torch.no_grad():
        logits = model.raw(codes).double()
    rows = torch.arange(len(codes))
    own = logits[rows, targets].clone()
    logits[rows, targets] = -torch.inf
    return logits.max(dim=1).values - own


def fitted(attack, problem, codes, targets, seed=0):
    return attack.fit(problem, lambda: (codes, targets), seed=seed)


def characters(count=12, length=10):
    """Return a model that reads characters, its problem with six editable characters, texts and targets."""
    source = torch.Generator().manual_seed(5)
    drawn = torch.randint(len(SIGNS), (count, length), generator=source).tolist()
    model = TorchText(Weighted(len(SIGNS) + 2, length), ByCharacter(SIGNS), length=length)
    codes = coded(["".join(SIGNS[i] for i in row) for row in drawn], length)
    problem = dataclasses.replace(problem_of(model), editable=lambda c, t: (c != 0) & (torch.arange(c.shape[1]) < 6))
    return model, problem, codes, predictions(model, codes)


def seeds(count):
    return as_seeds(list(range(count)))


def written(codes):
    return texts_of(codes.numpy())
