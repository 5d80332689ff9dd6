"""Constant models, networks without biases and blank images give numbers or true reasons, and no false blame."""

import math

import numpy as np
import pytest
from torch import nn

from suite.axes.attribution import Attribution
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.corruption import Corruption
from suite.axes.occlusion import Occlusion
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.setup import check_sizes
from suite.data.split import Split
from suite.errors import SpecError
from suite.models.base import TorchClassifier
from suite.registry import resolve
from suite.spec import parse
from tests.axes.contexts import finding_of, robust, split_context

BLANK = {"black": 0.0, "white": 1.0}
ATTACKS = (
    "fgsm(eps=[0.1])",
    "pgd(eps=[0.1], steps=2)",
    "pgd(eps=[0.1], steps=2, goal=1)",
    "pgd(eps=[0.5], norm=l2, steps=2)",
    "pgd(eps=[2.0], norm=l1, steps=2)",
    "pgd(eps=[3], norm=l0, steps=2)",
    "apgd(eps=[0.1], steps=3, goals=2)",
    "boundary(eps=[0.1], steps=2)",
    "square(eps=[0.1], queries=5)",
    "cascade(eps=[0.1], tier=quick)",
)
AXES = (
    Clean(),
    Calibration(members=1, dropout_samples=2),
    Corruption(names=("fog", "contrast"), severities=(3,)),
    Occlusion(fractions=(0.2,), places=1),
    Attribution(
        methods=("saliency", "integrated_gradients", "occlusion", "rise(masks=4)", "centre"), samples=4, steps=2
    ),
)


def network(weight):
    """Return a linear classifier of ten classes without biases, whose weights are all equal."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, bias=False))
    nn.init.constant_(module[1].weight, weight)
    return TorchClassifier(module.eval())


def context_of(color, weight=0.0, classes=10):
    """Return the context of a network on 20 blank images of 8x8 pixels."""
    pixels = np.full((20, 1, 8, 8), color, np.float32)
    split = Split(tuple(f"image {index}" for index in range(20)), pixels, np.arange(20) % classes)
    return split_context(split, network(weight))


@pytest.mark.parametrize("color", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize("weight", [0.0, 1e6], ids=["zero", "huge"])
@pytest.mark.parametrize("axis", AXES, ids=lambda axis: type(axis).__name__)
def test_equal_logits_give_finite_numbers_on_every_axis(axis, weight, color):
    measures = finding_of(axis, context_of(color, weight)).measures
    assert all(one.value is None or math.isfinite(one.value) for one in measures)
    assert not any("NaN" in (one.reason or "") or "not_logits" in one.checks for one in measures)
    accuracies = {
        one.value for one in measures if one.metric in ("accuracy", "corrupted_accuracy", "occluded_accuracy")
    }
    assert accuracies <= {0.1}  # ties go to the first class


@pytest.mark.parametrize("color", BLANK.values(), ids=BLANK)
@pytest.mark.parametrize("attack", ATTACKS)
def test_attacks_on_equal_logits_leave_the_accuracy_and_do_not_blame_the_model(attack, color):
    (row,) = robust(finding_of(Robustness(attack, audit=2), context_of(color)))
    assert row.value == 0.1
    assert not any(word in (row.reason or "") for word in ("NaN", "infinite", "probabilities"))


def sizes_of(text, limits=(0.0, 1.0), shape=(1, 8, 8)):
    """Check the sizes of an attack."""
    entry, spec = resolve("attack", text)
    check_sizes(entry.build(spec), parse(text), limits, shape)


@pytest.mark.parametrize(
    ("text", "largest"),
    [
        ("pgd(eps=[0.1, 8])", "1"),
        ("pgd(eps=[8.1], norm=l2)", "8"),
        ("pgd(eps=[65], norm=l1)", "64"),
        ("pgd(eps=[65], norm=l0)", "64"),
    ],
)
def test_a_size_beyond_the_range_of_inputs_is_refused(text, largest):
    with pytest.raises(SpecError, match=f"is more than the largest .* distance of two inputs, {largest}, since their"):
        sizes_of(text)


@pytest.mark.parametrize(
    "text", ["pgd(eps=[1.0])", "pgd(eps=[8.0], norm=l2)", "pgd(eps=[64], norm=l0)", "patch(area=[0.5])"]
)
def test_the_largest_size_is_allowed(text):
    sizes_of(text)


def test_a_range_of_latents_allows_larger_sizes():
    sizes_of("pgd(eps=[16.0])", (-8.0, 8.0))
    with pytest.raises(SpecError, match="since their values lie between -8 and 8"):
        sizes_of("pgd(eps=[17.0])", (-8.0, 8.0))


def test_a_model_whose_output_ignores_the_input_has_no_explanation_that_beats_chance():
    result = finding_of(Attribution(methods=("saliency",), samples=20, steps=2), context_of(0.0))
    assert all(status != "pass" for one in result.measures for status in one.checks.values())
