"""Verification: unmodified records pass, every manipulation is reported, and no attack code is imported."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from suite.cli import main
from suite.data.digests import in_digest_order
from suite.errors import StoreError, SuiteError, UnknownNameError
from suite.models.base import TorchClassifier
from suite.records.record import Record
from suite.runner.harness import Harness, plan
from suite.runner.settings import Settings
from suite.store import Store
from suite.types import Measure
from suite.verify.records import RecordFilter
from suite.verify.sizes import SIZES, limit
from suite.verify.verifier import Verification, verify
from tests.verify.tampering import (
    AXES,
    L2,
    LINF,
    PATCH,
    array,
    at,
    differing,
    first_row,
    store_with,
    stored,
    values,
    verifications,
    with_arrays,
    with_attack,
    with_column,
    with_example,
    with_facts,
    with_row,
    with_rows,
)

NOISY = '''"""A stochastic model."""

import torch
from torch import nn

from suite import Recipe, TorchClassifier, model


class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

    def forward(self, pixels):
        return self.inner(pixels + 0.2 * torch.randn_like(pixels))


@model()
def noisy():
    """A linear model on noisy inputs."""
    return TorchClassifier(Noisy(), recipe=Recipe(epochs=10, batch_size=16, learning_rate=0.02))
'''


# -- unmodified records


def test_real_records_of_every_axis_and_norm_are_verified(measured, record_filter):
    results = verifications(measured, record_filter)
    assert [v.differences for v in results] == [()] * len(AXES)
    assert [v.subject.split(" ", 2)[2].split(" (n=")[0] for v in results] == sorted(AXES)
    assert all(v.measures > 0 for v in results), "a record without a measure is no test"
    with_inputs = [v for v in results if v.inputs is not None]
    assert len(with_inputs) == 3
    assert all(v.inputs > 3 and v.notes == () for v in with_inputs), "too few inputs for a meaningful test"
    first = with_inputs[0]
    assert first.lines() == [
        f"ok   {first.subject}: {first.measures} measures derived again; {first.inputs} inputs verified"
    ]


def test_only_axes_that_take_a_few_samples_have_a_note(measured, record_filter):
    notes = {v.subject.split()[2].split("(")[0]: v.notes for v in verifications(measured, record_filter)}
    few = "which samples were evaluated was not checked, because the axis takes a few of them"
    assert {axis: note for axis, note in notes.items() if note} == {"attribution": (few,)}


def test_the_model_runs_with_the_batch_size_of_the_record(measured, record_filter, tmp_path, monkeypatch):
    unmodified = stored(measured, LINF)
    few = dataclasses.replace(unmodified, provenance=dataclasses.replace(unmodified.provenance, batch_size=5))
    rows, raw = [], TorchClassifier.shaped

    def shaped(self, output, pixels):
        rows.append(len(pixels))
        return raw(self, output, pixels)

    monkeypatch.setattr(TorchClassifier, "shaped", shaped)
    (verification,) = verifications(store_with(measured, tmp_path, few), record_filter)
    assert verification.differences == () and verification.inputs > 5
    assert rows[-1] == 5 and rows.count(5) >= verification.inputs / 5


def test_only_the_current_record_is_verified(measured, record_filter, tmp_path):
    unmodified = stored(measured, LINF)
    manipulated = with_row(unmodified, 0.1, value=0.5, lo=0.0, hi=1.0)
    (verification,) = verifications(store_with(measured, tmp_path, manipulated, unmodified), record_filter)
    assert (verification.differences, verification.inputs) == ((), len(array(unmodified, "found")))


def test_measures_of_a_record_without_inputs_are_verified(measured, record_filter, tmp_path):
    unmodified = stored(measured, LINF)
    rest = {name: display for name, display in unmodified.arrays.items() if not name.startswith("found")}
    record = dataclasses.replace(unmodified, arrays=rest)
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    assert (verification.differences, verification.inputs) == ((), None)
    assert verification.lines()[0].endswith(f": {len(unmodified.measures)} measures derived again")


def test_a_failed_record_has_nothing_to_verify(measured, record_filter, tmp_path):
    unmodified = stored(measured, LINF)
    failed = Measure("-", None, None, None, 0, "none", reason="it broke")
    record = Record(unmodified.provenance, unmodified.run_info, "failed", (failed,))
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    assert verification.lines()[0].endswith(": nothing stored to verify")


def test_a_skipped_record_is_verified(tmp_path, toy):
    store = Store(tmp_path)
    assert Harness(store, Settings(device="cpu")).run(plan([toy("toy")], [toy("quick")], ["rationale"])).failed == []
    (verification,) = verifications(store, RecordFilter((toy("toy"),)))
    assert (verification.differences, verification.measures) == ((), 1)


def test_a_record_without_adversarial_examples_is_verified(measured, record_filter, tmp_path):
    record = stored(measured, LINF)
    record = with_arrays(record, **{name: array(record, name)[:0] for name in record.arrays if "found" in name})
    clean = values(record, "quality")
    for size in (0.1, 0.2):
        record = with_column(record, "quality", lambda robust: np.copyto(robust, clean), **at(record, size))
    for name, nothing in {"found_size": np.nan, "found_by": "", "sha256": ""}.items():
        record = with_column(record, name, lambda column, nothing=nothing: column.fill(nothing))
    record = with_rows(with_facts(record, inputs={"stored": 0, "found": 0, "limit": 256}))
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    assert (verification.differences, verification.inputs) == ((), 0)


def test_inputs_of_a_size_beyond_the_first_256_are_not_needed(measured, record_filter, tmp_path):
    """Store only the first two inputs of each size in digest order, as if 64 MiB were full."""
    record = stored(measured, LINF)
    order = in_digest_order(array(record, "found_id").tolist())
    sizes = array(record, "found_size")
    kept = sorted(row for size in np.unique(sizes) for row in [row for row in order if sizes[row] == size][:2])
    record = with_arrays(record, **{name: array(record, name)[kept] for name in record.arrays if "found" in name})
    record = with_facts(record, inputs={"stored": len(kept), "found": len(sizes), "limit": 2})
    text = differing(measured, tmp_path, record_filter, record)
    assert text == "2 inputs of each size are stored; expected 256, or fewer if they exceed 64 MiB"
    others = with_arrays(record, **{name: array(record, name)[1:] for name in record.arrays if "found" in name})
    text = differing(measured, tmp_path / "others", record_filter, others)
    assert "the stored inputs are not the first 2 of each size" in text


def verified(tmp_path, toy, source):
    """Attack the model `noisy` of a file with this source; return the store, the filter and the verification."""
    (tmp_path / "noisy.py").write_text(source)
    record_filter = RecordFilter((toy("toy"),), (f"{tmp_path / 'noisy.py'}:noisy",))
    store = Store(tmp_path / "store")
    assert (
        Harness(store, Settings(device="cpu")).run(plan(record_filter.tasks, record_filter.models, [LINF])).failed == []
    )
    (verification,) = verifications(store, record_filter)
    return store, record_filter, verification


def test_only_outcomes_of_a_stochastic_model_are_not_checked(tmp_path, toy):
    store, record_filter, verification = verified(tmp_path, toy, NOISY)
    assert verification.differences == ()
    assert verification.inputs > 3
    assert verification.notes == ("outcomes were not checked, because the model is stochastic",)
    unmodified = stored(store, LINF)
    size = float(array(unmodified, "found_size")[0])
    manipulated = with_column(
        unmodified, "quality", lambda share: np.put(share, first_row(unmodified), 1.0), **at(unmodified, size)
    )
    (verification,) = verifications(store_with(store, tmp_path / "manipulated", with_rows(manipulated)), record_filter)
    assert any(f"quality at eps={size!r} disagrees with" in difference for difference in verification.differences)
    assert not any("outcomes" in difference for difference in verification.differences)


def test_outcomes_that_depend_on_the_batch_are_not_checked(tmp_path, toy):
    source = NOISY.replace("pixels + 0.2 * torch.randn_like(pixels)", "pixels - pixels.mean(0)")
    *_, verification = verified(tmp_path, toy, source)
    assert verification.differences == ()
    assert verification.notes == ("outcomes were not checked, because outputs depend on the rest of the batch",)


# -- manipulated records


def outside(record, clean):
    dark = np.argwhere(array(record, "found")[0] == 0)[0]
    return with_example(record, tuple(dark), -1e-7)


def too_far(record, clean):
    """Move one pixel past eps by 1 % in the direction of its perturbation, so that the model stays wrong."""
    original, size = clean[array(record, "found_id")[0]][0], array(record, "found_size")[0]
    free = np.argwhere((array(record, "found")[0] > original + 0.9 * size) & (original < 1 - 1.1 * size))[0]
    return with_example(record, tuple(free), original[tuple(free)] + 1.01 * size)


def clean_input(record, clean):
    return with_example(record, (), clean[array(record, "found_id")[0]][0])


def smaller_size(record, clean):
    """Store an adversarial example of size 0.2 as one of size 0.1, with matching columns and rows."""
    index = int(np.flatnonzero(array(record, "found_size") == 0.2)[0])
    sizes = array(record, "found_size").copy()
    sizes[index] = 0.1
    row = values(record, "id").tolist().index(array(record, "found_id")[index])
    record = with_column(with_arrays(record, found_size=sizes), "found_size", lambda column: np.put(column, row, 0.1))
    return with_rows(with_column(record, "quality", lambda robust: np.put(robust, row, False), **at(record, 0.1)))


def flipped(record, clean):
    """Store a sample with an adversarial example as robust, in the column and in the rows."""
    row = first_row(record)
    return with_rows(with_column(record, "quality", lambda robust: np.put(robust, row, True), **at(record, 0.2)))


def wrong_clean(record, clean):
    """Store a robust sample as misclassified without an attack; columns and rows agree, the model does not."""
    row = int(np.flatnonzero(values(record, "quality", **at(record, 0.2)))[0])
    for params in ({}, at(record, 0.1), at(record, 0.2)):
        record = with_column(record, "quality", lambda column: np.put(column, row, False), **params)
    return with_rows(record)


def with_id(name):
    def change(record, clean):
        names = array(record, "found_id").astype(object)
        names[0] = name or names[1]
        return with_arrays(record, found_id=names.astype(str))

    return change


def with_digest(**digests):
    def change(record, clean):
        changed = {**record.provenance.digests, **digests}
        return dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, digests=changed))

    return change


def with_provenance(**fields):
    return lambda record, clean: dataclasses.replace(
        record, provenance=dataclasses.replace(record.provenance, **fields)
    )


def with_value(name, value):
    """Return a manipulation of the first adversarial example's entry of a column."""
    return lambda record, clean: with_column(record, name, lambda column: np.put(column, first_row(record), value))


def fewer_samples(record, clean):
    """Leave out a sample without adversarial example; the rows follow from the others."""
    found = values(record, "found_size")
    kept = np.arange(len(found)) != int(np.flatnonzero(np.isnan(found))[-1])
    columns = [
        dataclasses.replace(one, values=one.values[kept]) if one.population == "test" else one for one in record.columns
    ]
    return with_rows(dataclasses.replace(record, columns=columns))


MANIPULATIONS = {
    "a pixel outside the bounds": (outside, "pixels outside [0, 1] in 1 of {k} ({first})"),
    "a perturbation larger than eps": (too_far, "a perturbation of norm linf exceeds its size by up to 0.00"),
    "an input that is classified correctly": (clean_input, "the model still classifies correctly 1 of {k} ({first})"),
    "a wrong digest": (
        with_value("sha256", "0" * 64),
        "the column sha256 disagrees with the stored inputs for 1 of {k} ({first})",
    ),
    "no digest": (with_value("sha256", ""), "sha256"),
    "another stage": (with_value("found_by", "x"), "the column found_by disagrees with the stored inputs for 1 of {k}"),
    "a flipped outcome": (
        flipped,
        "the column quality at eps=0.2 disagrees with the column found_size for 1 of {n} ({first})",
    ),
    "a clean outcome": (wrong_clean, "the column quality without attack disagrees with the model for 1 of {n}"),
    "a smaller size": (smaller_size, "a perturbation of norm linf exceeds its size by up to 0.1"),
    "NaN pixels": (lambda record, clean: with_example(record, (0, 0, 0), np.nan), "NaN or infinite pixels in 1 of {k}"),
    "a duplicate id": (with_id(None), "an id occurs twice"),
    "inputs stored as float64": (
        lambda record, clean: with_arrays(record, found=array(record, "found").astype(float)),
        "the stored inputs are float64; expected float32",
    ),
    "a missing size": (
        lambda record, clean: with_arrays(record, found_size=array(record, "found_size")[1:]),
        "the array found_size has shape",
    ),
    "a missing sample": (
        fewer_samples,
        "the ids of the per-sample outcomes differ from those of the evaluated samples",
    ),
    "different data": (with_digest(data="0" * 64), "the data of the task have changed"),
    "a missing model": (
        with_digest(model="f" * 64),
        "WeightsError: the store has no weights ffffffffffff",
    ),
    "an unknown model": (with_provenance(model="quick2"), "There is no model 'quick2'"),
    "an unknown task": (with_provenance(task="toy2"), "There is no task 'toy2'"),
}


@pytest.mark.parametrize(("manipulate", "sentence"), MANIPULATIONS.values(), ids=MANIPULATIONS)
def test_every_manipulation_is_reported(measured, toy, clean, tmp_path, manipulate, sentence):
    unmodified = stored(measured, LINF)
    record = manipulate(unmodified, clean)
    known = {role: getattr(record.provenance, role).startswith("toy.py") for role in ("task", "model")}
    record_filter = RecordFilter([toy("toy")] * known["task"], [toy("quick")] * known["model"])
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    expected = sentence.format(
        k=len(array(unmodified, "found")), n=len(values(unmodified, "id")), first=array(unmodified, "found_id")[0]
    )
    others = [text for text in verification.differences if expected not in text]
    assert len(verification.differences) - len(others) >= 1, verification.differences
    assert any(expected in text for text in verification.differences), verification.differences
    assert others == [], others
    assert all(line.startswith(f"FAIL {verification.subject}: ") for line in verification.lines())


def test_several_manipulations_are_all_reported(measured, record_filter, tmp_path):
    record = with_attack(with_row(stored(measured, LINF), 0.2, value=0.987, lo=0.5, hi=1.0), space="latent")
    record = with_example(record, (0, 0, 0), 2.0)
    text = differing(measured, tmp_path, record_filter, record)
    assert "the row robust_accuracy" in text and "value is 0.987" in text
    assert "pixels outside [0, 1]" in text
    assert "a perturbation of norm linf exceeds its size" in text


def test_an_unknown_sample_is_reported(measured, record_filter, tmp_path):
    text = differing(measured, tmp_path, record_filter, with_id("toy-9999")(stored(measured, LINF), None))
    assert "not among the evaluated samples: 1 of" in text
    assert "not among the test samples of the task: 1 of" in text
    assert "toy-9999" in text.splitlines()[0]


@pytest.mark.parametrize("spec", [L2, PATCH])
def test_a_distant_change_exceeds_the_size(measured, record_filter, clean, tmp_path, spec):
    """Scale the whole perturbation (L2), or change one pixel far from the patch by the smallest float step."""
    record = stored(measured, spec)
    original, example = clean[array(record, "found_id")[0]][0], array(record, "found")[0]
    if spec == L2:
        scale = 1.001 * array(record, "found_size")[0] / np.sqrt(((example - original).astype(float) ** 2).sum())
        manipulated = with_example(record, (), original + (example - original) * np.float32(scale))
    else:
        rows, columns = np.nonzero((example != original).any(axis=0))
        corner = (0 if rows.min() > 3 else 7, 0 if columns.min() > 3 else 7)
        manipulated = with_example(record, (0, *corner), np.nextafter(original[(0, *corner)], np.float32(0.5)))
    (verification,) = verifications(store_with(measured, tmp_path, manipulated), record_filter)
    norm = "l2" if spec == L2 else "patch"
    assert any(f"a perturbation of norm {norm} exceeds its size" in text for text in verification.differences)


def test_an_unknown_norm_is_noted(measured, record_filter, tmp_path):
    record = stored(measured, LINF)
    columns = [
        dataclasses.replace(one, params={**one.params, "norm": "visual"}) if "norm" in one.params else one
        for one in record.columns
    ]
    record = with_rows(with_attack(dataclasses.replace(record, columns=columns), norm="visual"))
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    assert verification.differences == ()
    assert verification.notes == (
        "sizes were not checked, because the norm visual is not one of linf, l2, l1, l0, patch",
    )


def test_a_damaged_file_is_reported(measured, record_filter, tmp_path):
    store = store_with(measured, tmp_path, stored(measured, LINF), stored(measured, L2))
    path = next(store.root.glob("records/*/*/arrays.npz"))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    damaged, intact = sorted(verifications(store, record_filter), key=lambda verification: not verification.differences)
    assert "cannot be read" in damaged.differences[0]
    assert intact.differences == ()


def test_a_model_in_memory_is_verified_if_given(tmp_path, toy):
    torch.manual_seed(1)
    model, store = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))), Store(tmp_path)
    cells = plan([toy("toy")], ["mine"], [LINF], given=("mine",))
    assert Harness(store, Settings(device="cpu"), given={"mine": model}).run(cells).failed == []
    record_filter = RecordFilter((toy("toy"),))
    (verification,) = verifications(store, record_filter, given={"mine": model})
    assert (verification.differences, verification.inputs > 0) == ((), True)
    (verification,) = verifications(store, record_filter)
    assert "There is no model 'mine'" in verification.differences[0]
    with torch.no_grad():
        model.module[1].bias += 0.01
    (verification,) = verifications(store, record_filter, given={"mine": model})
    assert "not the model that was evaluated" in verification.differences[0]


# -- sizes against a brute-force computation


def brute_force_size(norm, perturbation):
    """Return the size of one perturbation (channels, height, width), computed pixel by pixel."""
    values = [float(value) for value in perturbation.ravel()]
    if norm == "linf":
        return max(abs(value) for value in values)
    if norm in ("l2", "l1"):
        power = 2 if norm == "l2" else 1
        return sum(abs(value) ** power for value in values) ** (1 / power)
    changed = [
        (r, c) for r in range(perturbation.shape[1]) for c in range(perturbation.shape[2]) if any(perturbation[:, r, c])
    ]
    if norm == "l0" or not changed:
        return len(changed)
    sides = range(1, max(perturbation.shape[1:]) + 1)
    fits = [s for s in sides for r, c in changed if _inside(changed, s)]
    return min(fits)


def _inside(changed, side):
    """Return whether some square with the given side contains all changed pixels (tries every corner)."""
    return any(
        all(row <= r < row + side and column <= c < column + side for r, c in changed)
        for row in range(-8, 8)
        for column in range(-8, 8)
    )


@pytest.mark.parametrize("norm", SIZES)
def test_sizes_match_a_brute_force_computation(norm):
    generator = np.random.default_rng(3)
    changed = generator.random((40, 1, 5, 7)) < generator.choice([0, 0.05, 0.3], (40, 1, 1, 1))
    perturbations = generator.normal(size=(40, 3, 5, 7)) * changed
    assert SIZES[norm](perturbations) == pytest.approx(
        [brute_force_size(norm, perturbation) for perturbation in perturbations], rel=1e-12
    )
    assert SIZES[norm](perturbations[:0]).shape == (0,)


def test_limits_allow_only_for_rounding():
    assert limit("l2", np.array([2.0]), (8, 8)) == pytest.approx([2 * (1 + 1e-5) + 1e-6], rel=1e-15)
    assert limit("l0", np.array([0.29 * 100, 5.9]), (8, 8)).tolist() == [29, 5]
    assert limit("patch", np.array([25 / 144, 0.1, 0.99]), (12, 12)).tolist() == [5, 3, 11]
    assert limit("patch", np.array([0.5]), (2, 100)).tolist() == [2]


# -- the command


@pytest.fixture
def run_command(capsys):
    """Return a function that runs a command and returns exit status, standard output and standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_command_exits_with_0_for_correct_records(run_command, measured, toy):
    status, out, err = run_command(
        "verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", measured.root
    )
    assert (status, err) == (0, "")
    assert [line[:5] for line in out.splitlines()] == ["ok   "] * len(AXES) + [f"{len(AXES)} rec"]
    counts = verifications(measured, RecordFilter((toy("toy"),), (toy("quick"),)))
    measures, inputs = sum(v.measures for v in counts), sum(v.inputs or 0 for v in counts)
    assert out.splitlines()[-1] == (
        f"{len(AXES)} records, {measures} measures derived again, {inputs} inputs verified, no records differ."
    )


def test_the_command_filters_and_exits_with_1_for_differences(run_command, measured, toy, clean, tmp_path):
    store_with(measured, tmp_path, stored(measured, L2), clean_input(stored(measured, LINF), clean))
    arguments = ("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    status, out, _ = run_command(*arguments)
    assert (status, out.count("FAIL"), out.count("ok   ")) == (1, 1, 1)
    assert out.endswith("1 record differs.\n")
    status, out, _ = run_command(*arguments, "--axis", L2)
    assert (status, out.count("ok   "), out.count("FAIL")) == (0, 1, 0)
    assert run_command(*arguments, "--axis", "robustness")[0] == 1


def test_a_missing_file_is_reported_with_advice(run_command, measured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = run_command("verify", "--axis", LINF, "--device", "cpu", "--store", measured.root)
    assert status == 1
    assert "the task cannot be loaded: PluginError: There is no file" in out
    assert "Give the paths of task and model: suite verify PATH.py:TASK" in out


def test_a_record_whose_rows_cannot_be_read_is_a_difference(run_command, measured, toy, tmp_path):
    store = store_with(measured, tmp_path, stored(measured, LINF), stored(measured, L2))
    next(store.root.glob("records/*/*/record.json")).write_text("{", "utf-8")
    status, out, _ = run_command("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    assert (status, out.count("ok   "), out.count("FAIL record")) == (1, 1, 1)


def test_filters_without_matches_and_empty_stores_are_errors(measured, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no results for 'toy.py:quck'.*Did you mean 'toy.py:quick'"):
        verifications(measured, RecordFilter(models=("toy.py:quck",)))
    with pytest.raises(UnknownNameError, match="no results for 'attributions'"):
        verifications(measured, RecordFilter(axes=("attributions",)))
    with pytest.raises(StoreError, match="suite demo"):
        verifications(Store(tmp_path), RecordFilter())
    with pytest.raises(SuiteError, match="'tpu9' cannot be used"):
        list(verify(measured, device="tpu9"))


BLOCKED = """
import sys
from suite.cli import main

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("suite.attacks"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
assert not any(name.startswith("suite.attacks") for name in sys.modules)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_inputs_are_verified_without_attack_code(tmp_path):
    cells = plan(["digits"], ["linear"], ["robustness(attack=fgsm(eps=[0.1]), audit=4)"], n=60)
    assert Harness(Store(tmp_path), Settings(device="cpu")).run(cells).failed == []
    command = [sys.executable, "-c", BLOCKED, "verify", "--device", "cpu", "--store", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    line, total = done.stdout.splitlines()  # measures are derived by the axis, which needs its attack; inputs are not
    assert line.startswith("FAIL digits linear") and "the measures cannot be computed: " in line
    assert "ImportError: suite.attacks" in line
    assert total.endswith("1 record differs.")


def test_a_verification_prints_one_line_per_difference():
    assert Verification("r", "s", 3, ("a", "b")).lines() == ["FAIL s: a", "FAIL s: b"]
    assert Verification("r", "s", 3, (), ("c",)).lines() == ["ok   s: 3 inputs verified; c"]
    assert Verification("r", "s", None, (), (), 4).lines() == ["ok   s: 4 measures derived again"]
    assert Verification("r", "s", None).lines() == ["-    s: nothing stored to verify"]
