"""The calibration axis: an inapplicable ensemble is skipped, an error in a member fails the cell."""

import pytest
import torch

from suite.axes.base import Context
from suite.axes.calibration import Calibration
from suite.data import DataReport, TaskData, TaskInfo
from suite.errors import ModelError, NotApplicableError, SpecError, TrainingError
from suite.kinds.classification.kind import Classification
from suite.runner.preparation import ModelProvider, prepare_task
from suite.runner.settings import silent
from suite.store import Store
from tests.attacks.digits import CLASSES, splits, trained


def measure(members):
    train, test = splits()
    info = TaskInfo("digits", "classification", "1", CLASSES, (1, 8, 8))
    nothing = train.take(range(0))
    data = TaskData(info, nothing, nothing, test.take(range(40)), DataReport({}), "d")
    context = Context(
        kind=Classification(),
        data=data,
        test=data.test,
        model=trained(),
        members=members,
        track=silent,
        device=torch.device("cpu"),
        names=("digits", "net", "calibration"),
    )
    return Calibration(members=2).measure(context)


def failing(error):
    def members(count):
        raise error

    return members


@pytest.mark.parametrize("option", ["bins", "dropout_samples", "members"])
def test_an_option_below_one_is_refused(option):
    with pytest.raises(SpecError, match=f"{option}=0.*at least 1"):
        Calibration(**{option: 0})


def test_an_ensemble_that_does_not_apply_is_a_skipped_row():
    result = measure(failing(NotApplicableError("it came with its weights")))
    (row,) = [m for m in result.measures if m.params.get("uncertainty") == "ensemble"]
    assert (row.status, row.reason) == ("skipped", "it came with its weights")


@pytest.mark.parametrize("error", [TrainingError("the loss is NaN"), ModelError("no such layer")])
def test_a_failing_ensemble_member_fails_the_cell(error):
    with pytest.raises(type(error), match=str(error)):
        measure(failing(error))


def test_a_model_with_given_weights_has_no_ensemble(tmp_path):
    provider = ModelProvider(Store(tmp_path), torch.device("cpu"), silent, given={"mine": trained()})
    with pytest.raises(NotApplicableError, match="comes with weights"):
        provider.members(2, "mine", prepare_task("digits", 0), 0)
