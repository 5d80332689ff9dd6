"""The calibration axis: an inapplicable ensemble is skipped, an error in a member fails the cell."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.axes.calibration import Calibration
from suite.errors import ModelError, NotApplicableError, SpecError, TrainingError
from suite.runner.preparation import ModelProvider, prepare_task
from suite.runner.settings import silent
from suite.store import Store
from tests.attacks.digits import splits, trained
from tests.axes.contexts import finding_of, split_context


def calibrated(members, rows=range(40), validation=0, groups=None):
    """Return what the axis finds on some digits; the validation samples of groups are digits that were not trained."""
    train, test = splits()
    context = split_context(test.take(rows))
    data = replace(context.data, validation=replace((test if groups else train).take(range(validation)), groups=groups))
    context = replace(context, data=data, members=members, names=("digits", "net", "calibration"))
    return finding_of(Calibration(members=2), context)


def failing(error):
    def members(count):
        raise error

    return members


@pytest.mark.parametrize("option", ["bins", "dropout_samples", "members"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(SpecError, match=f"{option}=0.*at least 1"):
        Calibration(**{option: 0})


def test_an_ensemble_that_does_not_apply_is_a_skipped_row():
    result = calibrated(failing(NotApplicableError("it came with its weights")))
    (row,) = [m for m in result.measures if m.params.get("uncertainty") == "ensemble"]
    assert (row.status, row.reason) == ("skipped", "it came with its weights")


def test_measures_of_some_samples_are_those_of_a_run_on_these_samples():
    rows = list(range(3, 90, 2))
    whole, part = (calibrated(lambda count: [trained()] * count, chosen, 50) for chosen in (range(90), rows))
    for summary, direct in zip(whole.summarised(rows=rows), part.measures, strict=True):
        if summary.params.get("uncertainty") == "mc_dropout":
            continue  # the masks of a sample depend on the samples that it is evaluated with
        assert (summary.metric, summary.params, summary.status) == (direct.metric, direct.params, direct.status)
        numbers = [[getattr(one, name) for name in ("value", "lo", "hi")] for one in (summary, direct)]
        np.testing.assert_allclose(*np.array(numbers, float), rtol=1e-6)


def test_a_higher_level_widens_the_intervals():
    result = calibrated(lambda count: [trained()] * count, range(90), 50)
    assert "temperature" in {row.metric for row in result.measures}
    for row, wide in zip(result.measures, result.summarised(level=0.99), strict=True):
        assert row.value == wide.value
        if row.lo is not None:
            assert wide.lo <= row.lo <= row.hi <= wide.hi
            assert (wide.lo, wide.hi) != (row.lo, row.hi) or row.lo == row.hi


def temperature_of(validation, groups=None):
    """Return the temperature fitted on some digits."""
    result = calibrated(lambda count: [trained()] * count, validation=validation, groups=groups)
    return next(row for row in result.measures if row.metric == "temperature")


def test_a_temperature_that_no_sample_determines_is_inconclusive():
    row = temperature_of(2)
    assert (row.value, row.status, row.n) == (None, "inconclusive", 2)
    assert row.reason.startswith("no temperature is best on 2 validation samples")
    assert temperature_of(0).status == "skipped"


def test_the_interval_of_a_temperature_follows_the_groups_of_the_validation_samples():
    writers = tuple(f"writer {row // 10}" for row in range(199))
    single, grouped = (temperature_of(200, (*own, None)) for own in (tuple(map(str, range(199))), writers))
    assert (single.groups, grouped.groups, grouped.n) == (None, 21, 200)
    assert (single.value, single.method) == (grouped.value, grouped.method)
    assert (single.lo, single.hi) != (grouped.lo, grouped.hi)


@pytest.mark.parametrize("error", [TrainingError("the loss is NaN"), ModelError("no such layer")])
def test_a_failing_ensemble_member_fails_the_cell(error):
    with pytest.raises(type(error), match=str(error)):
        calibrated(failing(error))


def test_a_model_with_given_weights_has_no_ensemble(tmp_path):
    provider = ModelProvider(Store(tmp_path), torch.device("cpu"), silent, given={"mine": trained()})
    with pytest.raises(NotApplicableError, match="comes with weights"):
        provider.members(2, "mine", prepare_task("digits", 0), 0)
