"""Outputs that are no logits are noticed, on every axis whose numbers depend on their scale."""

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.images.cascade import Cascade
from suite.attacks.images.gradient import FGSM, PGD
from suite.axes.attribution import Attribution
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.corruption import Corruption
from suite.kinds.autoencoding.kind import autoencoding
from suite.kinds.classification.kind import classification
from suite.kinds.language.kind import language
from suite.kinds.logits import CHECK, NOT_LOGITS, why_not_logits
from suite.kinds.segmentation.kind import segmentation
from suite.models.base import TorchClassifier
from tests.attacks.digits import trained
from tests.axes.contexts import context_of, finding_of, robust

LOGITS = torch.randn(40, 5, generator=torch.Generator().manual_seed(0)) * 4


def why(outputs, kind=None):
    """Return why some outputs do not look like logits."""
    return why_not_logits((kind or classification()).logits, [np.asarray(outputs, np.float32)])


def ends_in(end):
    """Return a trained classifier of digits with a further layer."""
    return TorchClassifier(nn.Sequential(trained().module, end))


@pytest.mark.parametrize(
    "outputs",
    [
        LOGITS,
        LOGITS.log_softmax(dim=1),
        LOGITS * 1e6,
        LOGITS + 1000,
        LOGITS.relu(),
        torch.zeros(40, 5),
        torch.ones(40, 5),
        torch.tensor([1.0, 0, 0, 0, 0]).repeat(40, 1),
        LOGITS[:1].softmax(dim=1).repeat(40, 1),
        LOGITS[:7].sigmoid(),
        0.2 + 0.01 * LOGITS.sigmoid(),
    ],
    ids=[
        *("logits", "log-softmax", "huge", "shifted", "relu", "zero", "one"),
        *("constant class", "constant", "seven samples", "untrained"),
    ],
)
def test_outputs_that_may_be_logits_are_not_suspected(outputs):
    assert why(outputs) is None


@pytest.mark.parametrize(
    ("outputs", "total"),
    [
        (LOGITS.softmax(dim=1), "1"),
        (LOGITS.softmax(dim=1).half(), "1"),
        (100 * LOGITS.softmax(dim=1), "100"),
        (LOGITS[:2].softmax(dim=1), "1"),
        (nn.functional.one_hot(LOGITS.argmax(dim=1), 5), "1"),
    ],
    ids=["softmax", "half precision", "percent", "two samples", "one-hot"],
)
def test_probabilities_are_noticed_with_their_sum(outputs, total):
    assert why(outputs) == (
        "the outputs are probabilities, not logits: none is negative, and those of every prediction add up to "
        f"{total}. Return the logits before the softmax, or torch.log of the probabilities"
    )


def test_a_sigmoid_is_suspected_with_the_number_of_predictions():
    assert why(LOGITS.sigmoid()) == (
        "the outputs look like those of a sigmoid, not like logits: all of 40 predictions lie in [0, 1]. Return the "
        "values before the sigmoid, or torch.logit of the outputs"
    )


def test_the_classes_of_pixels_and_characters_are_found():
    maps, texts = torch.randn(6, 3, 4, 5), torch.randn(6, 9, 3)
    for kind, logits, axis in ((segmentation(), maps, 1), (language(), texts, 2)):
        assert why(logits, kind) is None
        assert "add up to 1" in why(logits.softmax(dim=axis), kind)
        assert "sigmoid" in why(logits.sigmoid(), kind)


def test_a_decoder_that_ends_in_a_sigmoid_is_noticed():
    shape = type(autoencoding().scoring)((1, 4, 4))
    code = torch.randn(12, 6)
    pixels = torch.randn(12, 16, generator=torch.Generator().manual_seed(0)) * 3
    assert why(torch.cat([pixels, code], dim=1), shape.kind()) is None
    assert "sigmoid" in why(torch.cat([pixels.sigmoid(), code], dim=1), shape.kind())


def test_later_batches_are_not_asked_for_once_outputs_are_logits():
    asked = []

    def batches():
        for number in range(3):
            asked.append(number)
            yield LOGITS.numpy()

    assert why_not_logits(classification().logits, batches()) is None
    assert asked == [0]


def test_kinds_without_logits_are_never_suspected():
    assert why_not_logits(None, [LOGITS.softmax(dim=1).numpy()]) is None


@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid()], ids=["softmax", "sigmoid"])
def test_calibration_of_probabilities_is_suspect_and_accuracy_is_not(end):
    result = finding_of(Calibration(members=1, dropout_samples=2), context_of(ends_in(end)))
    statuses = {(one.metric, one.status) for one in result.measures if one.value is not None}
    assert ("accuracy", "ok") in statuses
    assert {status for metric, status in statuses if metric != "accuracy"} == {"suspect"}
    assert all(NOT_LOGITS not in one.checks for one in result.measures)


@pytest.mark.parametrize("attack", [FGSM(eps=(0.05,)), FGSM(eps=(0.05,), goal=1), PGD(eps=(0.05,), steps=2)])
@pytest.mark.parametrize("end", [nn.Softmax(1), nn.Sigmoid()], ids=["softmax", "sigmoid"])
def test_attacks_on_probabilities_are_suspect_on_every_tier(measured, attack, end):
    result = measured(attack, context_of(ends_in(end), count=60), audit=16)
    (row,) = robust(result)
    assert row.checks[CHECK] == "fail"
    assert row.status == "suspect"
    assert result.facts[NOT_LOGITS] in row.reason
    for one in result.measures:
        assert (CHECK in one.checks) == (one.metric in ("robust_accuracy", "targeted_success")), one


def test_an_attack_that_handles_a_softmax_is_not_suspect_for_it(measured):
    result = measured(Cascade(eps=(0.05,), tier="quick"), context_of(ends_in(nn.Softmax(1)), count=60), audit=8)
    assert CHECK in result.facts["workarounds"]
    assert [row.checks[CHECK] for row in robust(result)] == ["pass"]


def test_explanations_of_probabilities_are_suspect():
    result = finding_of(Attribution(methods=("saliency",), samples=4, steps=2), context_of(ends_in(nn.Softmax(1))))
    assert {one.status for one in result.measures} == {"suspect"}


def test_accuracies_are_right_whatever_the_scale():
    context = context_of(ends_in(nn.Softmax(1)))
    for axis in (Clean(), Corruption(names=("fog",), severities=(1,))):
        result = finding_of(axis, context)
        assert NOT_LOGITS in result.facts
        assert all(CHECK not in one.checks for one in result.measures)


def test_measures_of_some_samples_stay_suspect():
    result = finding_of(Calibration(members=1, dropout_samples=2), context_of(ends_in(nn.Softmax(1))))
    part = result.summarised(rows=range(30))
    assert {one.status for one in part if one.metric == "ece" and one.value is not None} == {"suspect"}


def test_facts_of_logits_say_nothing_of_them():
    assert NOT_LOGITS not in context_of().facts
    assert all(CHECK not in one.checks for one in finding_of(Calibration(members=1), context_of()).measures)
