"""Verification: unmodified records pass, every manipulation is reported, and no attack code is imported."""

import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from suite.cli import main
from suite.errors import StoreError, SuiteError, UnknownNameError
from suite.models.base import TorchClassifier
from suite.models.weights import to_bytes
from suite.runner.harness import Harness, plan
from suite.runner.identity import ids_digest
from suite.runner.preparation import prepare_task
from suite.runner.settings import Settings
from suite.store import Store
from suite.types import Measure, Provenance, Record, RunInfo
from suite.verify.records import RecordFilter
from suite.verify.sizes import SIZES, limit
from suite.verify.verifier import Verification, verify

LINF = "robustness(attack=fgsm(eps=[0.1, 0.2]), audit=4)"
L2 = "robustness(attack=fgsm(eps=[0.5, 1.0], norm=l2), audit=4)"
PATCH = "robustness(attack=image_patch(area=[0.1, 0.2], steps=3, tries=2), audit=4)"

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


@pytest.fixture(scope="module")
def measured(tmp_path_factory, toy):
    """Return a store with attacks in three norms on the tiny model, and a record of the clean axis."""
    store = Store(tmp_path_factory.mktemp("verify") / "store")
    outcome = Harness(store, Settings(device="cpu")).run(plan([toy("toy")], [toy("quick")], ["clean", LINF, L2, PATCH]))
    assert outcome.failed == []
    return store


@pytest.fixture(scope="module")
def record_filter(toy):
    return RecordFilter((toy("toy"),), (toy("quick"),))


@pytest.fixture(scope="module")
def clean(toy):
    """Return the clean test pixels and targets by sample id."""
    test = prepare_task(toy("toy"), 0).data.test
    return {name: (test.pixels()[row], test.targets[row]) for row, name in enumerate(test.ids)}


def verifications(store, record_filter, **settings):
    return list(verify(store, record_filter, device="cpu", **settings))


def stored(store, spec):
    """Return the stored record of a spec."""
    rows = store.rows()
    name = rows[rows["spec"] == spec]["record"].iloc[0]
    (folder,) = store.root.glob(f"records/*/{name}")
    content = json.loads((folder / "rows.json").read_text("utf-8"))
    measures = [Measure(**{key: value for key, value in row.items() if key != "status"}) for row in content["measures"]]
    samples = {str(column): values.to_numpy().copy() for column, values in store.samples(name).items()}
    return Record(
        Provenance(**content["provenance"]),
        RunInfo(**content["occasion"]),
        content["status"],
        tuple(measures),
        samples,
        store.details(name),
        store.arrays(name),
    )


def with_arrays(record, **arrays):
    """Return the record with other arrays and their digest: a manipulation with a matching checksum."""
    changed = {**record.arrays, **arrays}
    details = {**record.details, "sha256": hashlib.sha256(changed["found"].tobytes()).hexdigest()}
    return dataclasses.replace(record, arrays=changed, details=details)


def with_example(record, index, value):
    """Return the record with other pixel values in its first adversarial example, and a matching checksum."""
    examples = record.arrays["found"].copy()
    examples[(0, *index)] = value
    return with_arrays(record, found=examples)


def with_column(record, name, change):
    values = record.samples[name].copy()
    change(values)
    return dataclasses.replace(record, samples={**record.samples, name: values})


def with_row(record, size, **changes):
    """Return the record with a changed row of robust accuracy at one size."""
    measures = [
        dataclasses.replace(measure, **changes)
        if measure.metric == "robust_accuracy" and measure.params.get("eps") == size
        else measure
        for measure in record.measures
    ]
    return dataclasses.replace(record, measures=tuple(measures))


def store_with(measured, root, *records):
    """Return a new store with the models of `measured` and the given records."""
    store = Store(root)
    shutil.copytree(measured.root / "models", store.root / "models")
    for record in records:
        store.put(record)
    return store


# -- unmodified records


def test_real_records_of_every_norm_are_verified(measured, record_filter):
    results = verifications(measured, record_filter)
    assert [v.differences for v in results] == [(), (), ()]
    assert [v.subject.split(" ", 2)[2].split(" (n=")[0] for v in results] == sorted([LINF, L2, PATCH])
    assert all(v.inputs > 3 and v.notes == () for v in results), "too few inputs for a meaningful test"
    assert results[0].lines() == [f"ok   {results[0].subject}: {results[0].inputs} inputs verified"]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_verification_does_not_depend_on_the_batch_size(measured, record_filter, batch_size):
    assert verifications(measured, record_filter, batch_size=batch_size) == verifications(measured, record_filter)


def test_only_the_current_record_is_verified(measured, record_filter, tmp_path):
    unmodified = stored(measured, LINF)
    manipulated = dataclasses.replace(unmodified, details={**unmodified.details, "sha256": "0" * 64})
    (verification,) = verifications(store_with(measured, tmp_path, manipulated, unmodified), record_filter)
    assert (verification.differences, verification.inputs) == ((), len(unmodified.arrays["found"]))


def test_a_record_without_inputs_has_nothing_to_verify(measured, record_filter, tmp_path):
    unmodified = stored(measured, LINF)
    arrays_without_examples = {name: array for name, array in unmodified.arrays.items() if not name.startswith("found")}
    (verification,) = verifications(
        store_with(measured, tmp_path, dataclasses.replace(unmodified, arrays=arrays_without_examples)), record_filter
    )
    assert (verification.differences, verification.inputs) == ((), None)
    assert verification.lines()[0].endswith(": nothing stored to verify")


def test_a_record_without_adversarial_examples_is_verified(measured, record_filter, tmp_path):
    record = stored(measured, LINF)
    empty = {name: record.arrays[name][:0] for name in ("found", "found_id", "found_size", "found_rung")}
    record = with_arrays(record, **empty)
    clean = record.samples["correct_clean"]
    for size in (0.1, 0.2):
        record = with_column(record, f"robust@{size!r}", lambda values: np.copyto(values, clean))
        record = with_row(record, size, value=float(clean.mean()), lo=0.0, hi=1.0)
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    assert (verification.differences, verification.inputs) == ((), 0)


def test_only_outcomes_of_a_stochastic_model_are_not_checked(tmp_path, toy):
    (tmp_path / "noisy.py").write_text(NOISY)
    record_filter = RecordFilter((toy("toy"),), (f"{tmp_path / 'noisy.py'}:noisy",))
    store = Store(tmp_path / "store")
    assert (
        Harness(store, Settings(device="cpu")).run(plan(record_filter.tasks, record_filter.models, [LINF])).failed == []
    )
    (verification,) = verifications(store, record_filter)
    assert verification.differences == ()
    assert verification.inputs > 3
    assert verification.notes == ("outcomes were not checked, because the model is stochastic",)
    unmodified = stored(store, LINF)
    row = list(unmodified.samples["id"]).index(unmodified.arrays["found_id"][0])
    size = float(unmodified.arrays["found_size"][0])
    manipulated = with_column(unmodified, f"robust@{size!r}", lambda values: np.put(values, row, 1.0))
    (verification,) = verifications(store_with(store, tmp_path / "manipulated", manipulated), record_filter)
    assert any(f"robust@{size!r} disagrees with" in difference for difference in verification.differences)
    assert not any("outcomes" in difference for difference in verification.differences)


# -- manipulated records


def outside(record, clean):
    dark = np.argwhere(record.arrays["found"][0] == 0)[0]
    return with_example(record, tuple(dark), -1e-7)


def too_far(record, clean):
    """Move one pixel past eps by 1 % in the direction of its perturbation, so that the model stays wrong."""
    original, size = clean[record.arrays["found_id"][0]][0], record.arrays["found_size"][0]
    free = np.argwhere((record.arrays["found"][0] > original + 0.9 * size) & (original < 1 - 1.1 * size))[0]
    return with_example(record, tuple(free), original[tuple(free)] + 1.01 * size)


def clean_input(record, clean):
    return with_example(record, (), clean[record.arrays["found_id"][0]][0])


def smaller_size(record, clean):
    """Store an adversarial example of size 0.2 as one of size 0.1, with matching columns and rows."""
    index = int(np.flatnonzero(record.arrays["found_size"] == 0.2)[0])
    sizes = record.arrays["found_size"].copy()
    sizes[index] = 0.1
    row = list(record.samples["id"]).index(record.arrays["found_id"][index])
    record = with_column(with_arrays(record, found_size=sizes), "robust@0.1", lambda values: np.put(values, row, False))
    return with_row(record, 0.1, value=float(record.samples["robust@0.1"].mean()), lo=0.0, hi=1.0)


def flipped(record, clean):
    """Store a sample with an adversarial example as robust, in the column and in the row."""
    row = list(record.samples["id"]).index(record.arrays["found_id"][0])
    record = with_column(record, "robust@0.2", lambda values: np.put(values, row, True))
    return with_row(record, 0.2, value=float(record.samples["robust@0.2"].mean()), lo=0.0, hi=1.0)


def wrong_clean(record, clean):
    """Store a robust sample as misclassified without an attack; columns and rows agree, the model does not."""
    row = int(np.flatnonzero(record.samples["robust@0.2"])[0])
    for name in ("correct_clean", "robust@0.1", "robust@0.2"):
        record = with_column(record, name, lambda values: np.put(values, row, False))
    for size in (0.1, 0.2):
        mean = float(record.samples[f"robust@{size!r}"].mean())
        record = with_row(record, size, value=mean, lo=0.0, hi=1.0)
    return record


def with_id(name):
    def change(record, clean):
        names = record.arrays["found_id"].astype(object)
        names[0] = name or names[1]
        return with_arrays(record, found_id=names.astype(str))

    return change


def with_details(**details):
    return lambda record, clean: dataclasses.replace(record, details={**record.details, **details})


def with_digest(**digests):
    def change(record, clean):
        changed = {**record.provenance.digests, **digests}
        return dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, digests=changed))

    return change


def with_provenance(**fields):
    return lambda record, clean: dataclasses.replace(
        record, provenance=dataclasses.replace(record.provenance, **fields)
    )


def without_column(record, clean):
    samples = {name: values for name, values in record.samples.items() if name != "robust@0.2"}
    return dataclasses.replace(record, samples=samples)


def fewer_samples(record, clean):
    samples = {name: values[:-1] for name, values in record.samples.items()}
    return dataclasses.replace(record, samples=samples)


MANIPULATIONS = {
    "a pixel outside the bounds": (outside, "pixels outside [0, 1] in 1 of {k} ({first})"),
    "a perturbation larger than eps": (too_far, "a perturbation of norm linf exceeds its size by up to 0.00"),
    "an input that is classified correctly": (clean_input, "the model still classifies correctly 1 of {k} ({first})"),
    "a wrong digest": (with_details(sha256="0" * 64), "the SHA-256 of the stored inputs is"),
    "a flipped outcome": (flipped, "robust@0.2 disagrees with the stored inputs for 1 of {n} ({first})"),
    "a clean outcome": (wrong_clean, "correct_clean disagrees with the model for 1 of {n}"),
    "a smaller size": (smaller_size, "a perturbation of norm linf exceeds its size by up to 0.1"),
    "a wrong mean": (
        lambda record, clean: with_row(record, 0.2, value=0.987, lo=0.5, hi=1.0),
        "the row of robust_accuracy at eps 0.2 has value 0.987, but the mean of its column is",
    ),
    "NaN pixels": (lambda record, clean: with_example(record, (0, 0, 0), np.nan), "NaN or infinite pixels in 1 of {k}"),
    "a duplicate id": (with_id(None), "an id occurs twice"),
    "inputs stored as float64": (
        lambda record, clean: with_arrays(record, found=record.arrays["found"].astype(float)),
        "the stored inputs are float64; expected float32",
    ),
    "a missing size": (
        lambda record, clean: with_arrays(record, found_size=record.arrays["found_size"][1:]),
        "the array found_size has shape",
    ),
    "images of a different size": (
        lambda record, clean: with_arrays(record, found=record.arrays["found"][..., 1:]),
        "the stored inputs have shape (1, 8, 7), but those of the task have (1, 8, 8)",
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
        k=len(unmodified.arrays["found"]), n=len(unmodified.samples["id"]), first=unmodified.arrays["found_id"][0]
    )
    # If the manipulation also changes the mean of a column, its row is reported too; nothing else is.
    others = [
        text for text in verification.differences if expected not in text and "the mean of its column" not in text
    ]
    assert len(verification.differences) - len(others) >= 1, verification.differences
    assert any(expected in text for text in verification.differences), verification.differences
    assert others == [], others
    assert all(line.startswith(f"FAIL {verification.subject}: ") for line in verification.lines())


def test_several_manipulations_are_all_reported(measured, record_filter, tmp_path):
    record = without_column(stored(measured, LINF), None)
    record = dataclasses.replace(record, details={**record.details, "norm": "l2"})
    (verification,) = verifications(store_with(measured, tmp_path, record), record_filter)
    text = "\n".join(verification.differences)
    assert "the row of robust_accuracy at eps 0.2 has no column" in text
    assert "the row of robust_accuracy at eps 0.1 has norm linf, but the inputs have norm l2" in text
    assert "a perturbation of norm l2 exceeds its size" in text


def test_an_unknown_sample_is_reported(measured, record_filter, tmp_path):
    (verification,) = verifications(
        store_with(measured, tmp_path, with_id("toy-9999")(stored(measured, LINF), None)), record_filter
    )
    assert "not among the evaluated samples: 1 of" in "\n".join(verification.differences)
    assert "not among the test samples of the task: 1 of" in "\n".join(verification.differences)
    assert "toy-9999" in verification.differences[0]


@pytest.mark.parametrize("spec", [L2, PATCH])
def test_a_distant_change_exceeds_the_size(measured, record_filter, clean, tmp_path, spec):
    """Scale the whole perturbation (L2), or change one pixel far from the patch by the smallest float step."""
    record = stored(measured, spec)
    original, example = clean[record.arrays["found_id"][0]][0], record.arrays["found"][0]
    if spec == L2:
        scale = 1.001 * record.arrays["found_size"][0] / np.sqrt(((example - original).astype(float) ** 2).sum())
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
    measures = [dataclasses.replace(m, params={**m.params, "norm": "visual"}) for m in record.measures]
    record = dataclasses.replace(record, measures=tuple(measures), details={**record.details, "norm": "visual"})
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
    assert [line[:5] for line in out.splitlines()] == ["ok   ", "ok   ", "ok   ", "3 rec"]
    assert out.splitlines()[-1].endswith("inputs verified, no records differ.")


def test_the_command_filters_and_exits_with_1_for_differences(run_command, measured, toy, clean, tmp_path):
    store_with(measured, tmp_path, stored(measured, L2), clean_input(stored(measured, LINF), clean))
    arguments = ("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    status, out, _ = run_command(*arguments)
    assert (status, out.count("FAIL"), out.count("ok   ")) == (1, 1, 1)
    assert out.endswith("1 records differ.\n")
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
    next(store.root.glob("records/*/*/rows.json")).write_text("{", "utf-8")
    status, out, _ = run_command("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    assert (status, out.count("ok   "), out.count("FAIL record")) == (1, 1, 1)


def test_filters_without_matches_and_empty_stores_are_errors(measured, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no robustness results for 'toy.py:quck'.*Did you mean 'toy.py:quick'"):
        verifications(measured, RecordFilter(models=("toy.py:quck",)))
    with pytest.raises(UnknownNameError, match="no robustness results for 'clean'"):
        verifications(measured, RecordFilter(axes=("clean",)))
    with pytest.raises(StoreError, match="suite demo"):
        verifications(Store(tmp_path), RecordFilter())
    with pytest.raises(SuiteError, match="'tpu9' cannot be used"):
        list(verify(measured, device="tpu9"))


def store_handmade_record(root):
    """Store a hand-built digits classifier and the FGSM examples that fool it."""
    task = prepare_task("digits", 0)
    test = task.data.test.take(range(200))
    pixels, targets = torch.from_numpy(test.pixels()), torch.from_numpy(test.targets)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():  # nearest class mean
        net[1].weight.copy_(torch.stack([pixels[targets == label].mean(0).flatten() for label in range(10)]))
        net[1].bias.copy_(-net[1].weight.square().sum(1) / 2)
        correct = net(pixels).argmax(1) == targets
    point = pixels.clone().requires_grad_(True)
    nn.functional.cross_entropy(net(point), targets).backward()
    adversarial = (pixels + 0.1 * point.grad.sign()).clamp(0, 1)
    misclassified = correct & (net(adversarial).argmax(1) != targets)
    assert 3 < misclassified.sum() < correct.sum() < 200
    store = Store(root)
    store.put_model("a" * 64, to_bytes(net), {})
    digests = {"data": task.data.digest, "model": "a" * 64, "samples": ids_digest(test.ids)}
    names = ("k" * 64, "digits", "1", "classification", "linear", "robustness", LINF)
    provenance = Provenance(*names, 200, 0, digests, "cpu", "float32", "0")
    store.put(handmade_record(provenance, test.ids, correct.numpy(), misclassified.numpy(), adversarial.numpy()))
    return store


def handmade_record(provenance, ids, correct, misclassified, adversarial):
    robust, examples = correct & ~misclassified, adversarial[misclassified]
    row = Measure("robust_accuracy", robust.mean(), 0, 1, 200, "wilson", params={"norm": "linf", "eps": 0.1})
    details = {"norm": "linf", "size_name": "eps", "sha256": hashlib.sha256(examples.tobytes()).hexdigest()}
    arrays = {
        "found": examples,
        "found_id": np.array(ids)[misclassified],
        "found_size": np.full(len(examples), 0.1),
        "found_rung": np.full(len(examples), "by hand"),
    }
    columns = {"id": list(ids), "correct_clean": correct, "robust@0.1": robust}
    run_info = RunInfo("r", "2026-01-01T00:00:00+00:00", 0, 0, "")
    return Record(provenance, run_info, "ok", (row,), columns, details, arrays)


def test_no_attack_code_is_loaded(tmp_path):
    store_handmade_record(tmp_path)
    code = (
        "import sys\nfrom suite.cli import main\n"
        f"status = main(['verify', '--device', 'cpu', '--store', {str(tmp_path)!r}])\n"
        "print('LOADED', status, sorted(name for name in sys.modules if name.startswith('suite.attacks')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ok   digits linear")
    assert done.stdout.endswith("LOADED 0 []\n")


def test_a_verification_prints_one_line_per_difference():
    assert Verification("r", "s", 3, ("a", "b")).lines() == ["FAIL s: a", "FAIL s: b"]
    assert Verification("r", "s", 3, (), ("c",)).lines() == ["ok   s: 3 inputs verified; c"]
