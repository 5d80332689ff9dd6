"""Contexts for tests of the axes, what an axis finds on them, and the base class of their faulty attacks."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from suite.attacks.images.gradient import PGD, NormAttack
from suite.axes.base import Axis, AxisResult, Context, measure, summarise
from suite.axes.robustness.cohorts import AttackRounds
from suite.data import DataReport, TaskData, TaskInfo
from suite.kinds.base import Kind
from suite.kinds.classification.kind import Classification
from suite.metrics.table import Table
from suite.models.base import TorchClassifier
from suite.runner.settings import silent
from tests.attacks.digits import CLASSES, splits, trained

EPS = (0.05, 0.1, 0.15)


@dataclass(frozen=True)
class Finding:
    """What an axis measured on a context, and the measures that follow from it.

    Attributes:
        axis: with its configuration.
        kind: the kind of the task.
        result: columns, facts, details and arrays.
    """

    axis: Axis
    kind: Kind
    result: AxisResult

    @cached_property
    def measures(self):
        """The measures."""
        return self.summarised()

    def summarised(self, **options):
        """Return the measures on some rows, at another level, or as one-sided bounds."""
        return summarise(self.axis, self.kind, self.result.columns, self.result.facts, **options)

    @property
    def table(self):
        """The columns and facts as a table."""
        return Table(tuple(self.result.columns), self.result.facts, seed=self.result.facts["seed"])

    @property
    def facts(self):
        """The facts."""
        return self.result.facts

    @cached_property
    def details(self):
        """The details, with those drawn from the measures."""
        return {**self.result.details, **self.result.drawn(self.measures)}

    @cached_property
    def arrays(self):
        """The values of the arrays by name."""
        return {name: display.values for name, display in self.result.arrays.items()}

    def column(self, name, population="test", **params):
        """Return the values of a column under exactly this condition."""
        (values,) = (
            column.values
            for column in self.result.columns
            if (column.name, column.population, dict(column.params)) == (name, population, params)
        )
        return values

    def quality(self, size=0.0, control=""):
        """Return the outcomes under an attack or a control at a size."""
        attack = self.facts["attack"]
        where: dict[str, Any] = {"norm": attack["norm"], attack["size_name"]: size} if size else {}
        return self.column("quality", **where, **({"control": control} if control else {}))


def finding_of(axis, context):
    """Evaluate an axis on a context."""
    return Finding(axis, context.kind, measure(axis, context))


def with_width(model, rows):
    """Return a model that shares its module with another one and runs it on `rows` samples at a time."""
    model = copy(model)
    model.width = rows
    return model


def context_of(model=None, count=120, batch_size=64, **fields):
    """Return the context of a model on `count` digits."""
    train, test = splits()
    info = TaskInfo("digits", "classification", "1", CLASSES, (1, 8, 8))
    data = TaskData(info, train.take(range(128)), train.take(range(0)), test.take(range(count)), DataReport({}), "d")
    return Context(
        kind=Classification().kind(),
        data=data,
        test=data.test,
        model=with_width(model or trained(), batch_size),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=("digits", "robustness"),
        **fields,
    )


def fitted_sweep(attack, context):
    """Return a finished sweep of an attack that is fitted first, on a frozen model."""
    rounds = AttackRounds(attack)
    state, _ = rounds.prepared(context)
    with context.model.frozen():
        sweep = rounds._sweep(context, state)
        sweep.run()
    return sweep


def robust(finding):
    """Return the measures of the headline metric under attack."""
    return [m for m in finding.measures if m.metric.startswith("robust_")]


def split_context(test, model=None, batch_size=64):
    """Return the context of a model on a given test split, without training samples."""
    info = TaskInfo("digits", "classification", "1", CLASSES, test.inputs.shape[1:])
    nothing = test.take(range(0))
    data = TaskData(info, nothing, nothing, test, DataReport({}), "d")
    return Context(
        kind=Classification().kind(),
        data=data,
        test=test,
        model=with_width(model or trained(), batch_size),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=("digits", "corruption"),
    )


@dataclass(frozen=True)
class Fake(NormAttack):
    """PGD as a base class: each subclass adds one fault."""

    eps: tuple[float, ...] = EPS
    loss: str | None = "margin"
    share: float = 1.0

    def perturb(self, problem, pixels, targets, size, seeds):
        return PGD(steps=5).perturb(problem, pixels, targets, size * self.share, seeds)


class NoisyInput(nn.Module):
    """Adds Gaussian noise to its input, so that outputs differ from call to call."""

    def __init__(self, noise=0.3):
        super().__init__()
        self.inner, self.noise = trained().module, noise

    def forward(self, x):
        return self.inner(x + self.noise * torch.randn_like(x))


def noisy_context(count=60, **fields):
    """Return the context of a stochastic model."""
    return context_of(TorchClassifier(NoisyInput()), count=count, **fields)
