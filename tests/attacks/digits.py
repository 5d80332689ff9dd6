"""A small problem for attacks: 8x8 digits, a network trained on them in a second, and models with known margins."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from suite.attacks.engine.problem import Problem
from suite.data import Split
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier

CLASSES = tuple("0123456789")


@functools.cache
def splits() -> tuple[Split, Split]:
    """Return 1,200 training and 400 test digits."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    inputs = (data.images[order, None] / 16).astype(np.float32)
    ids = tuple(f"digit-{number}" for number in order)
    data_split = Split(ids, inputs, data.target[order].astype(np.int64))
    return data_split.take(range(1200)), data_split.take(range(1200, 1600))


def network() -> nn.Sequential:
    """Return an untrained network; batch norm and dropout make a wrong mode visible."""
    return nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(256, 10),
    )


@functools.cache
def trained_state() -> dict[str, Tensor]:
    """Train the network, which takes a second on one thread, and return its state."""
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net, (train, _) = network(), splits()
        pixels, targets = torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)
        optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
        for _ in range(12):
            for rows in torch.randperm(len(pixels)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(pixels[rows]), targets[rows]).backward()
                optimizer.step()
    return net.state_dict()


def trained() -> TorchClassifier:
    """Return a new copy of the trained network, in training mode as after training."""
    net = network()
    net.load_state_dict(trained_state())
    return TorchClassifier(net.train())


def problem_of(forward) -> Problem:
    """Return the problem of attacking a classifier."""
    return Problem.of(Classification().kind(), forward)


def first(count: int) -> tuple[Tensor, Tensor]:
    """Return the first test digits and their labels."""
    small = splits()[1].take(range(count))
    return torch.from_numpy(small.pixels()), torch.from_numpy(small.targets)


@dataclass(frozen=True)
class Linear:
    """A two-class linear model with a known margin: class 1 where w.x + b > 0."""

    weight: Tensor
    bias: float

    def __call__(self, pixels: Tensor) -> Tensor:
        score = (pixels.flatten(1) * self.weight).sum(dim=1) + self.bias
        return torch.stack([-score / 2, score / 2], dim=1)


class Counting:
    """A model that counts its passes itself, to check the counts of a problem."""

    def __init__(self, model):
        self.model, self.forward, self.backward, self.sizes = model, 0, 0, []

    def __call__(self, pixels):
        self.forward += len(pixels)
        self.sizes.append(len(pixels))
        if pixels.requires_grad:
            pixels.register_hook(self._count_backward)
        return self.model(pixels)

    def _count_backward(self, gradient):
        self.backward += len(gradient)


def change_gradient(values: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the same values, whose gradient is replaced by a function of it in the backward pass."""
    values = values.clone()
    if values.requires_grad:
        values.register_hook(change)
    return values


class NanBackward(torch.autograd.Function):
    """The identity, with a NaN gradient for the first sample."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        corrupted = gradient.clone()
        corrupted[0] = torch.nan
        return corrupted
