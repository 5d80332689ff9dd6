"""The robustness axis on a kind of its own: regression of two numbers from a vector, with graded outcomes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from suite.axes.base import Context
from suite.axes.robustness.axis import Robustness
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.kinds.base import Kind, NotApplicable, Outcome
from suite.kinds.defaults import Graded, KindDefaults
from suite.metrics.catalogue import Metric
from suite.metrics.stats import average
from suite.metrics.table import Measured
from suite.models.base import TorchModel
from suite.runner.settings import silent
from suite.types import VECTOR, Display
from tests.axes.contexts import finding_of, robust

ERROR = Metric("squared_error", "squared error", "mean squared error", unit="square", higher_is_better=False)
NONE = NotApplicable("regression has no such thing")


class VectorModel(TorchModel):
    """A linear map of vectors in [0, 1]."""

    input = VECTOR

    def shaped(self, output, pixels):
        return output


@dataclass(frozen=True)
class Regression(Graded, KindDefaults):
    """Two numbers per vector; the damage grows with the squared error."""

    adapter: Any = VectorModel
    headline = ERROR
    outcome = Outcome("graded", "closeness")
    truth = "vector"

    def kind(self):
        return Kind(
            "regression",
            VECTOR,
            samples=self,
            models=self,
            scoring=self,
            showing=self,
            fitting=self,
            training=NONE,
            attacks=self,
            probabilities=NONE,
            maps=NONE,
            features=NONE,
            presets={},
        )

    def attack_loss(self, output, targets, *, name, target_classes=None):
        return ((output - targets) ** 2).sum(dim=1).double()

    def damage(self, output, targets):
        return 1 - torch.exp(-((output - targets) ** 2).sum(dim=1)).double()

    def tally(self, output, targets):
        return (output - targets).astype(np.float64) ** 2

    def statistic(self, tally):
        return average(tally.sum(axis=1))

    def measured(self, outcomes):
        return Measured({"prediction": outcomes.output})

    def output_arrays(self, output):
        return {"numbers": Display(output, "vector")}


@pytest.fixture(scope="module")
def finding():
    generator = np.random.default_rng(0)
    vectors = generator.uniform(0.3, 0.7, (30, 5)).astype(np.float32)
    linear = nn.Linear(5, 2, bias=False)
    linear.weight.data = torch.from_numpy(generator.normal(size=(2, 5)).astype(np.float32))
    targets = vectors @ linear.weight.data.numpy().T + generator.normal(0, 0.1, (30, 2)).astype(np.float32)
    test = Split(tuple(f"vector-{row}" for row in range(30)), vectors, targets.astype(np.float32))
    info = TaskInfo("lines", "regression", "1", (), (5,))
    context = Context(
        kind=Regression().kind(),
        data=TaskData(info, test.take([]), test.take([]), test, DataReport({}), "d"),
        test=test,
        model=VectorModel(linear),
        members=lambda count: [],
        track=silent,
        device=torch.device("cpu"),
        names=("lines", "linear", "robustness"),
    )
    return finding_of(Robustness("pgd(eps=[0.05, 0.1], steps=10, restarts=1, loss=squared)", audit=8), context)


def test_attacks_raise_the_error_more_than_random_perturbations(finding):
    small, large = robust(finding)
    assert small.control < small.value < large.value and large.control < large.value
    assert small.status == large.status == "ok" and small.checks["random_does_less"] == "pass"


def test_the_tally_of_every_sample_is_stored_and_gives_the_measure(finding):
    tally = finding.column("tally", norm="linf", eps=0.1)
    assert tally.shape == (30, 2)
    assert robust(finding)[1].value == pytest.approx(tally.sum(axis=1).mean())
    assert finding.facts["attack"]["input"]["type"] == "vector"


def test_vectors_are_shown_as_vectors(finding):
    assert finding.result.arrays["clean"].type == finding.result.arrays["adversarial"].type == "vector"
    assert finding.result.arrays["found"].values.shape[1:] == (5,)
    assert finding.facts["audit"]["not_run"]["fgsm"].startswith("applies only to")
