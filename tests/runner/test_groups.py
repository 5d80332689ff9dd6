"""Samples in groups, from the task to the board: every interval, test and published row follows the groups."""

import textwrap

import pandas as pd
import pytest

from suite import Harness, Store, plan
from suite.leaderboard import board
from suite.leaderboard.publishing import publish
from suite.verify.records import RecordFilter
from tests.runner.test_registered_metrics import AXES as EVERY_AXIS
from tests.verify.tampering import verifications

AXES = (*EVERY_AXIS[:-1], "attribution(methods=[saliency], samples=20, steps=4)")  # enough samples for groups
OF_OTHERS = {"temperature"}  # measured on validation samples, which are in other groups

FILE = """
    import numpy as np
    from sklearn.datasets import load_digits
    from torch import nn

    from suite import Recipe, Sample, TorchClassifier, model, task

    PARTS = {"train": range(0, 60), "validation": range(60, 90), "test": range(90, 130)}

    @task(kind="classification", classes=tuple("0123456789"))
    def written(split, seed):
        images, labels = load_digits(return_X_y=True)
        for row in PARTS[split]:
            yield Sample(f"{row}", images[row].reshape(8, 8) / 16, int(labels[row]), group=f"writer {row // 4}")

    @model(task="written")
    def small(*, epochs=20):
        return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), recipe=Recipe(epochs=epochs))
"""


def models_of(file):
    return f"{file}:small", f"{file}:small(epochs=2)"


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return the file of the task, and the store with the records of two models."""
    folder = tmp_path_factory.mktemp("groups")
    file = folder / "written.py"
    file.write_text(textwrap.dedent(FILE))
    store = Store(folder / "store")
    assert not Harness(store).run(plan([f"{file}:written"], models_of(file), AXES)).failed
    return file, store


def test_every_row_of_test_samples_says_its_number_of_groups(measured):
    rows = measured[1].rows()
    rows = rows[rows["lo"].notna() & ~rows["metric"].isin(OF_OTHERS)]
    assert set(rows["axis"]) == {axis.partition("(")[0] for axis in AXES}
    without = rows[rows["groups"].isna()]
    assert (
        set(without["metric"]) <= {"recall"} and (without["n"] < 6).all()
    )  # each of these samples is of another group
    whole = rows[rows["n"] == 40]
    assert set(whole["groups"]) == {11}  # rows 90 to 129 belong to writers 22 to 32


def test_models_are_compared_by_groups_and_records_verify(measured, tmp_path):
    store, task = measured[1], f"{measured[0].name}:written"
    made = board(store, task)
    assert any("random swaps of the groups" in note or "all swaps of the groups" in note for note in made.notes)
    found = verifications(store, RecordFilter((f"{measured[0]}:written",), models_of(measured[0])))
    assert found and not [one for one in found if one.differences]
    (path,) = publish(store, task, tmp_path)
    assert set(pd.read_csv(path).query("metric == 'accuracy' and axis == 'clean'")["groups"]) == {11}
