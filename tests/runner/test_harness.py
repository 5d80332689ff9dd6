"""The harness: failures become rows, stored cells are skipped, and results are reproducible."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from suite.errors import SpecError, SuiteError
from suite.runner.harness import Harness, plan
from suite.runner.process import pick_device
from suite.runner.settings import Settings
from suite.store import Store
from tests.stores import measures, numbers

PGD = "robustness(attack=pgd(eps=[0.1, 0.2], steps=5))"


def run(store, cells, **settings):
    return Harness(Store(store), Settings(**settings)).run(cells)


FAILURES = {
    "broken(way=nan)": "NaN or infinite logits",
    "broken(way=raises)": "ZeroDivisionError: the model divides by nothing",
    "broken(way=memory)": "out of memory",
    "broken(way=python_memory)": "out of memory: MemoryError",
    "broken(way=shape)": "expected (images, classes)",
    "unbuildable": "RuntimeError: no such architecture",
    "diverges": "a lower learning rate",
}


def test_every_failure_becomes_a_row_and_other_cells_run(tmp_path, toy):
    models = [toy(name) for name in FAILURES]
    cells = plan([toy("toy")], [*models, toy("quick")], ["clean", PGD])
    outcome = run(tmp_path, cells)
    rows = Store(tmp_path).rows()
    assert len(outcome.failed) == 2 * len(FAILURES)
    for name, reason in FAILURES.items():
        names = [model for model in rows["model"].unique() if model.endswith(name)]
        failed = rows[rows["model"].isin(names)]
        assert failed["status"].tolist() == ["failed", "failed"], name
        assert failed["value"].isna().all()
        assert failed["reason"].str.contains(reason, regex=False).all(), failed["reason"].tolist()
    assert set(rows[rows["model"].str.endswith("quick")]["status"]) == {"ok", "skipped"}


def test_stored_cells_are_skipped_and_failed_ones_run_again(tmp_path, toy):
    cells = plan([toy("toy")], [toy("quick"), toy("unbuildable")], ["clean"])
    first, second = run(tmp_path, cells), run(tmp_path, cells)
    assert (len(first.stored), len(first.ran)) == (0, 2)
    assert (len(second.stored), len(second.ran)) == (1, 1)
    assert second.ran[0][1] == "failed"


def test_diverged_training_is_not_repeated_for_the_next_axis(tmp_path, toy):
    labels = []

    def track(items, label, total):
        labels.append(label)
        yield from items

    cells = plan([toy("toy")], [toy("diverges")], ["clean", PGD, "calibration"])
    outcome = run(tmp_path, cells, track=track)
    assert len(outcome.failed) == 3
    assert labels.count("training") == 1


AXES = ["clean", PGD, "robustness(attack=patch(area=[0.1], steps=10))", "calibration(members=2, dropout_samples=4)"]
AXES.append("attribution(samples=10, steps=5)")


@pytest.fixture(scope="module")
def reference(tmp_path_factory, toy):
    root = tmp_path_factory.mktemp("reference")
    run(root, plan([toy("toy")], [toy("dropping")], AXES))
    return Store(root)


def test_the_same_command_gives_identical_rows_and_outcomes(tmp_path, toy, reference):
    run(tmp_path, plan([toy("toy")], [toy("dropping")], AXES))
    again = Store(tmp_path)
    assert numbers(again).equals(numbers(reference))
    for axis in reference.rows()["axis"].unique():
        first, second = (s.rows()[s.rows()["axis"] == axis]["record"].iloc[0] for s in (reference, again))
        for one, other in zip(reference.record(first).columns, again.record(second).columns, strict=True):
            assert (one.name, one.params) == (other.name, other.params)
            np.testing.assert_array_equal(one.values, other.values)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_the_batch_size_does_not_change_a_result(tmp_path, toy, reference, batch_size):
    run(tmp_path, plan([toy("toy")], [toy("dropping")], AXES), batch_size=batch_size)
    # dropout draws its masks for a whole batch
    rows, expected = (
        table[~table["params"].str.contains("mc_dropout")].reset_index(drop=True)
        for table in map(measures, (Store(tmp_path), reference))
    )
    assert len(rows) > 60
    pd.testing.assert_frame_equal(rows, expected, rtol=1e-4, atol=1e-7)  # sums of one row are rounded otherwise
    assert set(Store(tmp_path).rows()["batch_size"]) == {batch_size}


def test_every_measure_has_an_interval_n_and_its_method(reference):
    rows = reference.rows()
    measured = rows[rows["value"].notna()]
    assert len(measured) > 50
    without_interval = measured[(measured["lo"].isna() | measured["hi"].isna())]
    assert without_interval.empty, without_interval[["metric", "params", "method"]].to_string()
    assert (measured["n"] > 0).all()
    assert measured["method"].str.len().min() > 3
    assert rows[rows["value"].isna()]["reason"].notna().all()


def test_every_attack_row_has_its_checks_and_a_random_control(reference):
    rows = reference.rows()
    attacked = rows[rows["metric"] == "robust_accuracy"]
    assert len(attacked) == 3
    assert attacked["control"].notna().all()
    for checks in attacked["checks"].map(json.loads):
        assert {"eps0_equals_clean", "falls_with_eps", "more_steps_never_help", "random_does_less"} <= checks.keys()


def test_every_attribution_row_has_a_random_control(reference):
    rows = reference.rows()
    explained = rows[(rows["axis"] == "attribution") & rows["value"].notna()]
    assert explained["control"].notna().all()
    assert explained["params"].map(lambda text: json.loads(text)["method"]).nunique() == 6


def test_samples_of_all_axes_join_on_their_ids(reference):
    rows = reference.rows()
    tables = {axis: reference.record(rows[rows["axis"] == axis]["record"].iloc[0]).table for axis in set(rows["axis"])}
    ids = {axis: set(table["id"]) for axis, table in tables.items()}
    assert ids["clean"] == ids["robustness"] == ids["calibration"]
    assert ids["attribution"] <= ids["clean"]
    np.testing.assert_array_equal(tables["clean"]["id"], tables["robustness"]["id"])
    np.testing.assert_array_equal(tables["clean"]["correct"], tables["robustness"]["quality"])


def test_subsets_of_samples_are_deterministic_and_nested(tmp_path, toy):
    for n in (5, 12):
        run(tmp_path / str(n), plan([toy("toy")], [toy("quick")], ["clean"], n=n))
    few, more = (Store(tmp_path / n) for n in ("5", "12"))
    small, large = (set(s.record(s.rows()["record"].iloc[0]).table["id"]) for s in (few, more))
    assert len(small) == 5 and len(large) == 12 and small < large


CHANGES = {
    "n": {"n": 5},
    "seed": {"seed": 1},
    "axis": {"axis": "robustness(attack=pgd(eps=[0.1, 0.2], steps=6))"},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_key_contains_everything_a_result_depends_on(tmp_path, toy, change):
    cell = plan([toy("toy")], [toy("quick")], [PGD])[0]
    run(tmp_path, [cell])
    assert run(tmp_path, [cell]).stored == [cell]
    assert run(tmp_path, [dataclasses.replace(cell, **change)]).stored == []


def test_the_key_does_not_depend_on_the_spelling_of_a_spec(tmp_path, toy):
    first = plan([toy("toy")], [toy("quick")], ["robustness(attack=pgd(eps=[1/5], steps=20))"])
    same = plan([toy("toy")], [toy("quick(epochs=5)")], ["robustness(attack=pgd(eps=0.2))"])
    run(tmp_path, first)
    outcome = run(tmp_path, same)
    assert len(outcome.ran) <= 1  # the displayed model name differs, but the model is trained only once
    assert len(list((tmp_path / "models").iterdir())) == 1


INVALID_PLANS = {
    "task": (["digitz"], ["linear"], ["clean"], "Did you mean 'digits'"),
    "model": (["digits"], ["liner"], ["clean"], "Did you mean 'linear'"),
    "axis": (["digits"], ["linear"], ["robustnes"], "Did you mean 'robustness'"),
    "attack": (["digits"], ["linear"], ["robustness(attack=pdg)"], "Did you mean 'pgd'"),
    "argument": (["digits"], ["linear"], ["robustness(attack=pgd(epz=[1]))"], "Did you mean 'eps'"),
    "model argument": (["digits"], ["cnn(wdith=3)"], ["clean"], "Did you mean 'width'"),
}


@pytest.mark.parametrize(("tasks", "models", "axes", "hint"), INVALID_PLANS.values(), ids=INVALID_PLANS)
def test_errors_in_the_plan_are_reported_before_anything_runs(tasks, models, axes, hint):
    with pytest.raises(SuiteError, match=hint):
        plan(tasks, models, axes)


def test_an_absent_device_is_an_error_with_advice():
    with pytest.raises(SuiteError, match="Try cpu or auto"):
        pick_device("cuda:7" if not torch.cuda.is_available() else "cuda:99")
    assert pick_device("auto").type in ("cpu", "cuda")


@pytest.mark.parametrize("way", ["more", "fewer"])
def test_a_wrong_number_of_logits_is_a_failed_row(tmp_path, toy, way):
    outcome = run(tmp_path, plan([toy("toy")], [toy(f"misfit(way={way})")], ["clean", PGD]))
    assert len(outcome.failed) == 2
    assert all(
        "logits per image, but the task has 3 classes (zero, one, two)" in reason for _, reason in outcome.failed
    )


def test_numbers_do_not_depend_on_the_spelling_of_a_spec(tmp_path, toy):
    tables = []
    for size in ("0.1", "1/10", "[0.1]"):
        axis = f"robustness(attack=pgd(eps={size}, steps=3, norm=linf), audit=8)"
        run(tmp_path / size.replace("/", "_"), plan([toy("toy")], [toy("dropping")], [axis]))
        tables.append(numbers(Store(tmp_path / size.replace("/", "_"))).drop(columns=["spec", "attack"]))
    assert tables[0].equals(tables[1]) and tables[0].equals(tables[2])


def test_n_equal_to_all_samples_is_the_same_cell(tmp_path, toy):
    outcome = run(tmp_path, plan([toy("toy")], [toy("quick"), toy("quick")], ["clean"]))
    assert len(outcome.ran) == 1
    n = int(Store(tmp_path).rows()["cell_n"].iloc[0])
    assert len(run(tmp_path, plan([toy("toy")], [toy("quick")], ["clean"], n=n)).stored) == 1
    assert len(run(tmp_path, plan([toy("toy")], [toy("quick")], ["clean"], n=n + 1)).stored) == 1


def test_a_result_that_cannot_be_stored_fails_only_its_cell(tmp_path, toy, monkeypatch):
    import numpy as np

    from suite.axes.clean import Clean

    measure = Clean.measure

    def with_detail(value):
        def changed(self, context):
            result = measure(self, context)
            return dataclasses.replace(result, details={**result.details, "extra": value})

        return changed

    cells = plan([toy("toy")], [toy("quick"), toy("dropping")], ["clean"])
    monkeypatch.setattr(Clean, "measure", with_detail(np.float32(0.5)))
    assert run(tmp_path / "numpy", cells).failed == []
    monkeypatch.setattr(Clean, "measure", with_detail(object()))
    outcome = run(tmp_path / "object", cells)
    assert len(outcome.failed) == 2 and "cannot be stored as JSON" in outcome.failed[0][1]
    assert set(Store(tmp_path / "object").rows()["status"]) == {"failed"}


def test_loaded_and_dropped_samples_are_reported_once(tmp_path, toy):
    messages = []
    run(tmp_path, plan([toy("toy")], [toy("quick")], ["clean", PGD]), on_task_loaded=messages.append)
    (message,) = messages
    assert message.startswith(
        "toy: 45 train, 18 validation, 27 test; nothing dropped; near-duplicates were not looked for"
    )


INVALID_VALUES = {
    "text for a number": ("robustness(attack=pgd(eps=abc))", "expected positive numbers"),
    "descending": ("robustness(attack=pgd(eps=[0.2, 0.1]))", "ascending order"),
    "eight instead of 8/255": ("robustness(attack=pgd(eps=8))", r"eps=8 is more than .* 1, .*Did you mean eps=8/255"),
    "one of several sizes": ("robustness(attack=fgsm(eps=[0.1, 8]))", "Did you mean eps=8/255"),
    "a size of no meaning": ("robustness(attack=square(eps=255))", r"values lie between 0 and 1\.$"),
    "negative": ("robustness(attack=pgd(eps=-0.1))", "expected positive numbers"),
    "zero": ("robustness(attack=pgd(eps=0))", "expected positive numbers"),
    "no steps": ("robustness(attack=pgd(steps=0))", "steps and restarts of at least 1"),
    "more than the image": ("robustness(attack=patch(area=1.5))", "covers the whole image"),
    "no samples": ("attribution(samples=0)", "samples=0, steps=None; expected numbers of at least 1"),
    "no bins": ("calibration(bins=0)", "bins=0"),
    "too many bins": ("calibration(bins=1000000000)", "bins=1000000000; expected at most 10,000"),
    "no such attack of the library": ("robustness(attack=spec('torchattacks:PGDD()'))", "Did you mean 'PGD'"),
}


@pytest.mark.parametrize(("axis", "hint"), INVALID_VALUES.values(), ids=INVALID_VALUES)
def test_invalid_values_are_reported_before_anything_runs(axis, hint):
    with pytest.raises(SuiteError, match=hint):
        plan(["digits"], ["linear"], [axis])


@pytest.mark.parametrize(
    ("numbers", "hint"),
    [
        *(({"n": n}, f"n={n}; expected the maximum number of test samples, at least 1") for n in (0, -3, 2.5)),
        *(({"seed": seed}, f"seed={seed}; expected a whole number from 0 to 2") for seed in (-1, 2**63, 1.5)),
    ],
)
def test_impossible_numbers_are_refused_in_plans_and_in_cells(tmp_path, toy, numbers, hint):
    with pytest.raises(SpecError, match=hint):
        plan([toy("toy")], [toy("quick")], ["clean"], **numbers)
    with pytest.raises(SpecError, match=hint):
        run(tmp_path, [dataclasses.replace(cell, **numbers) for cell in plan([toy("toy")], [toy("quick")], ["clean"])])
    assert Store(tmp_path).rows().empty
