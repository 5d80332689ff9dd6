"""Contexts for tests of the axes, and the base class of their faulty attacks."""

from dataclasses import dataclass

import torch

from suite.attacks.images.gradient import PGD, NormAttack
from suite.axes.base import Context
from suite.data import DataReport, TaskData, TaskInfo
from suite.kinds.classification.kind import Classification
from suite.runner.settings import silent
from tests.attacks.digits import CLASSES, splits, trained

EPS = (0.05, 0.1, 0.15)


def context_of(model=None, count=120, **fields):
    """Return the context of a model on `count` digits."""
    train, test = splits()
    info = TaskInfo("digits", "classification", "1", CLASSES, (1, 8, 8))
    data = TaskData(info, train.take(range(128)), train.take(range(0)), test.take(range(count)), DataReport({}), "d")
    return Context(
        kind=Classification(),
        data=data,
        test=data.test,
        model=model or trained(),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=("digits", "net", "robustness"),
        **fields,
    )


def robust(result):
    """Return the measures of robust accuracy."""
    return [m for m in result.measures if m.metric == "robust_accuracy"]


def split_context(test, model=None, batch_size=64):
    """Return the context of a model on a given test split, without training samples."""
    info = TaskInfo("digits", "classification", "1", CLASSES, test.inputs.shape[1:])
    nothing = test.take(range(0))
    data = TaskData(info, nothing, nothing, test, DataReport({}), "d")
    return Context(
        kind=Classification(),
        data=data,
        test=test,
        model=model or trained(),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=("digits", "net", "corruption"),
        batch_size=batch_size,
    )


@dataclass(frozen=True)
class Fake(NormAttack):
    """PGD as a base class: each subclass adds one fault."""

    eps: tuple[float, ...] = EPS
    loss: str | None = "margin"
    share: float = 1.0

    def perturb(self, problem, pixels, targets, size, seeds):
        return PGD(steps=5).perturb(problem, pixels, targets, size * self.share, seeds)
