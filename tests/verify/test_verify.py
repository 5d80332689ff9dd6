"""Verification: what is stored honestly passes, every single lie is named, and no attack code has a hand in it."""

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

NOISY = '''"""A model that answers at random."""

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
    """Linear, behind noise."""
    return TorchClassifier(Noisy(), recipe=Recipe(epochs=10, batch_size=16, learning_rate=0.02))
'''


@pytest.fixture(scope="module")
def measured(tmp_path_factory, toy):
    """Return a store with real attacks on the tiny model, in three norms, and a row of another axis."""
    store = Store(tmp_path_factory.mktemp("verify") / "store")
    outcome = Harness(store, Settings(device="cpu")).run(plan([toy("toy")], [toy("quick")], ["clean", LINF, L2, PATCH]))
    assert outcome.failed == []
    return store


@pytest.fixture(scope="module")
def wanted(toy):
    return RecordFilter((toy("toy"),), (toy("quick"),))


@pytest.fixture(scope="module")
def clean(toy):
    """Return the clean test pixels and targets by sample id."""
    test = prepare_task(toy("toy"), 0).data.test
    return {name: (test.pixels()[row], test.targets[row]) for row, name in enumerate(test.ids)}


def verdicts(store, wanted, **settings):
    return list(verify(store, wanted, device="cpu", **settings))


def stored(store, spec):
    """Return the record of a spec as it was put."""
    rows = store.rows()
    name = rows[rows["spec"] == spec]["record"].iloc[0]
    (folder,) = store.root.glob(f"records/*/{name}")
    whole = json.loads((folder / "rows.json").read_text("utf-8"))
    measures = [Measure(**{key: value for key, value in row.items() if key != "status"}) for row in whole["measures"]]
    samples = {str(column): values.to_numpy().copy() for column, values in store.samples(name).items()}
    return Record(
        Provenance(**whole["provenance"]),
        RunInfo(**whole["occasion"]),
        whole["status"],
        tuple(measures),
        samples,
        store.details(name),
        store.arrays(name),
    )


def sealed(record, **arrays):
    """Return the record with other arrays, and the digest that belongs to them: a lie by somebody who knows how."""
    whole = {**record.arrays, **arrays}
    details = {**record.details, "sha256": hashlib.sha256(whole["found"].tobytes()).hexdigest()}
    return dataclasses.replace(record, arrays=whole, details=details)


def with_found(record, place, value):
    found = record.arrays["found"].copy()
    found[(0, *place)] = value
    return sealed(record, found=found)


def with_column(record, name, change):
    values = record.samples[name].copy()
    change(values)
    return dataclasses.replace(record, samples={**record.samples, name: values})


def with_row(record, size, **changes):
    """Return the record with another row of robust accuracy at a size."""
    measures = [
        dataclasses.replace(measure, **changes)
        if measure.metric == "robust_accuracy" and measure.params.get("eps") == size
        else measure
        for measure in record.measures
    ]
    return dataclasses.replace(record, measures=tuple(measures))


def kept(measured, root, *records):
    """Return a store of its own with the same models and other records."""
    store = Store(root)
    shutil.copytree(measured.root / "models", store.root / "models")
    for record in records:
        store.put(record)
    return store


# -- what is honest


def test_real_records_of_every_norm_are_verified(measured, wanted):
    found = verdicts(measured, wanted)
    assert [v.differences for v in found] == [(), (), ()]
    assert [v.subject.split(" ", 2)[2].split(" (n=")[0] for v in found] == sorted([LINF, L2, PATCH])
    assert all(v.inputs > 3 and v.notes == () for v in found), "too few inputs to mean anything"
    assert found[0].lines() == [f"ok   {found[0].subject}: {found[0].inputs} inputs verified"]


@pytest.mark.parametrize("batch_size", [1, 7])
def test_verification_does_not_depend_on_the_batch_size(measured, wanted, batch_size):
    assert verdicts(measured, wanted, batch_size=batch_size) == verdicts(measured, wanted)


def test_only_the_current_record_is_verified(measured, wanted, tmp_path):
    honest = stored(measured, LINF)
    lie = dataclasses.replace(honest, details={**honest.details, "sha256": "0" * 64})
    (verdict,) = verdicts(kept(measured, tmp_path, lie, honest), wanted)
    assert (verdict.differences, verdict.inputs) == ((), len(honest.arrays["found"]))


def test_a_record_without_inputs_has_nothing_to_verify(measured, wanted, tmp_path):
    honest = stored(measured, LINF)
    older = {name: array for name, array in honest.arrays.items() if not name.startswith("found")}
    (verdict,) = verdicts(kept(measured, tmp_path, dataclasses.replace(honest, arrays=older)), wanted)
    assert (verdict.differences, verdict.inputs) == ((), None)
    assert verdict.lines()[0].endswith(": nothing stored to verify")


def test_a_record_without_adversarial_examples_is_verified(measured, wanted, tmp_path):
    record = stored(measured, LINF)
    none = {name: record.arrays[name][:0] for name in ("found", "found_id", "found_size", "found_rung")}
    record = sealed(record, **none)
    right = record.samples["correct_clean"]
    for size in (0.1, 0.2):
        record = with_column(record, f"robust@{size!r}", lambda values: np.copyto(values, right))
        record = with_row(record, size, value=float(right.mean()), lo=0.0, hi=1.0)
    (verdict,) = verdicts(kept(measured, tmp_path, record), wanted)
    assert (verdict.differences, verdict.inputs) == ((), 0)


def test_only_outcomes_of_a_stochastic_model_are_not_checked(tmp_path, toy):
    (tmp_path / "noisy.py").write_text(NOISY)
    names = RecordFilter((toy("toy"),), (f"{tmp_path / 'noisy.py'}:noisy",))
    store = Store(tmp_path / "store")
    assert Harness(store, Settings(device="cpu")).run(plan(names.tasks, names.models, [LINF])).failed == []
    (verdict,) = verdicts(store, names)
    assert verdict.differences == ()
    assert verdict.inputs > 3
    assert verdict.notes == ("outcomes were not checked, because the model is stochastic",)
    honest = stored(store, LINF)
    place = list(honest.samples["id"]).index(honest.arrays["found_id"][0])
    size = float(honest.arrays["found_size"][0])
    lie = with_column(honest, f"robust@{size!r}", lambda values: np.put(values, place, 1.0))
    (verdict,) = verdicts(kept(store, tmp_path / "lie", lie), names)
    assert any(f"robust@{size!r} disagrees with" in difference for difference in verdict.differences)
    assert not any("outcomes" in difference for difference in verdict.differences)


# -- what is not


def outside(record, clean):
    dark = np.argwhere(record.arrays["found"][0] == 0)[0]
    return with_found(record, tuple(dark), -1e-7)


def too_far(record, clean):
    """Push one pixel a hundredth of eps further the way it went, so that the model stays wrong."""
    before, size = clean[record.arrays["found_id"][0]][0], record.arrays["found_size"][0]
    free = np.argwhere((record.arrays["found"][0] > before + 0.9 * size) & (before < 1 - 1.1 * size))[0]
    return with_found(record, tuple(free), before[tuple(free)] + 1.01 * size)


def harmless(record, clean):
    return with_found(record, (), clean[record.arrays["found_id"][0]][0])


def smaller_size(record, clean):
    """Claim that what was found at 0.2 had been found at 0.1, in the columns and rows as well."""
    place = int(np.flatnonzero(record.arrays["found_size"] == 0.2)[0])
    sizes = record.arrays["found_size"].copy()
    sizes[place] = 0.1
    row = list(record.samples["id"]).index(record.arrays["found_id"][place])
    record = with_column(sealed(record, found_size=sizes), "robust@0.1", lambda values: np.put(values, row, False))
    return with_row(record, 0.1, value=float(record.samples["robust@0.1"].mean()), lo=0.0, hi=1.0)


def flipped(record, clean):
    """Claim that a sample that was found still stands, in the column and in the row."""
    row = list(record.samples["id"]).index(record.arrays["found_id"][0])
    record = with_column(record, "robust@0.2", lambda values: np.put(values, row, True))
    return with_row(record, 0.2, value=float(record.samples["robust@0.2"].mean()), lo=0.0, hi=1.0)


def wrong_clean(record, clean):
    """Claim that a sample was wrong without an attack: all columns and rows agree, but the model does not."""
    row = int(np.flatnonzero(record.samples["robust@0.2"])[0])
    for name in ("correct_clean", "robust@0.1", "robust@0.2"):
        record = with_column(record, name, lambda values: np.put(values, row, False))
    for size in (0.1, 0.2):
        mean = float(record.samples[f"robust@{size!r}"].mean())
        record = with_row(record, size, value=mean, lo=0.0, hi=1.0)
    return record


def renamed(name):
    def change(record, clean):
        names = record.arrays["found_id"].astype(object)
        names[0] = name or names[1]
        return sealed(record, found_id=names.astype(str))

    return change


def other(**details):
    return lambda record, clean: dataclasses.replace(record, details={**record.details, **details})


def digest(**digests):
    def change(record, clean):
        changed = {**record.provenance.digests, **digests}
        return dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, digests=changed))

    return change


def provenance(**fields):
    return lambda record, clean: dataclasses.replace(
        record, provenance=dataclasses.replace(record.provenance, **fields)
    )


def without_column(record, clean):
    samples = {name: values for name, values in record.samples.items() if name != "robust@0.2"}
    return dataclasses.replace(record, samples=samples)


def fewer_samples(record, clean):
    samples = {name: values[:-1] for name, values in record.samples.items()}
    return dataclasses.replace(record, samples=samples)


LIES = {
    "a pixel outside the bounds": (outside, "pixels outside [0, 1] in 1 of {k} ({first})"),
    "a perturbation over eps": (too_far, "a perturbation of norm linf exceeds its size by up to 0.00"),
    "an input that fools nobody": (harmless, "the model predicts correctly for 1 of {k} ({first})"),
    "another digest": (other(sha256="0" * 64), "the SHA-256 of the stored inputs is"),
    "a flipped outcome": (flipped, "robust@0.2 disagrees with the stored inputs for 1 of {n} ({first})"),
    "a clean outcome": (wrong_clean, "correct_clean disagrees with the model for 1 of {n}"),
    "a smaller size": (smaller_size, "a perturbation of norm linf exceeds its size by up to 0.1"),
    "another mean": (
        lambda record, clean: with_row(record, 0.2, value=0.987, lo=0.5, hi=1.0),
        "the row of robust_accuracy at eps 0.2 has value 0.987, but the mean of its column is",
    ),
    "not a number": (lambda record, clean: with_found(record, (0, 0, 0), np.nan), "NaN or infinite pixels in 1 of {k}"),
    "an id twice": (renamed(None), "an id occurs twice"),
    "float64": (
        lambda record, clean: sealed(record, found=record.arrays["found"].astype(float)),
        "the stored inputs are float64; expected float32",
    ),
    "a size too few": (
        lambda record, clean: sealed(record, found_size=record.arrays["found_size"][1:]),
        "the array found_size has shape",
    ),
    "images of another size": (
        lambda record, clean: sealed(record, found=record.arrays["found"][..., 1:]),
        "the stored inputs have shape (1, 8, 7), but those of the task have (1, 8, 8)",
    ),
    "a sample left out": (fewer_samples, "the per-sample outcomes have other ids than the evaluated samples"),
    "other data": (digest(data="0" * 64), "the data of the task have changed"),
    "a missing model": (
        digest(model="f" * 64),
        "WeightsError: the store has no weights ffffffffffff",
    ),
    "an unknown model": (provenance(model="quick2"), "There is no model 'quick2'"),
    "an unknown task": (provenance(task="toy2"), "There is no task 'toy2'"),
}


@pytest.mark.parametrize(("lie", "sentence"), LIES.values(), ids=LIES)
def test_every_manipulation_is_reported(measured, toy, clean, tmp_path, lie, sentence):
    honest = stored(measured, LINF)
    told = lie(honest, clean)
    own = {role: getattr(told.provenance, role).startswith("toy.py") for role in ("task", "model")}
    names = RecordFilter([toy("toy")] * own["task"], [toy("quick")] * own["model"])
    (verdict,) = verdicts(kept(measured, tmp_path, told), names)
    expected = sentence.format(
        k=len(honest.arrays["found"]), n=len(honest.samples["id"]), first=honest.arrays["found_id"][0]
    )
    # Where a mean of its own changes with the lie, its row is named beside it; nothing else is.
    others = [text for text in verdict.differences if expected not in text and "the mean of its column" not in text]
    assert len(verdict.differences) - len(others) >= 1, verdict.differences
    assert any(expected in text for text in verdict.differences), verdict.differences
    assert others == [], others
    assert all(line.startswith(f"FAIL {verdict.subject}: ") for line in verdict.lines())


def test_several_manipulations_are_all_reported(measured, wanted, tmp_path):
    record = without_column(stored(measured, LINF), None)
    record = dataclasses.replace(record, details={**record.details, "norm": "l2"})
    (verdict,) = verdicts(kept(measured, tmp_path, record), wanted)
    text = "\n".join(verdict.differences)
    assert "the row of robust_accuracy at eps 0.2 has no column" in text
    assert "the row of robust_accuracy at eps 0.1 has norm linf, but the inputs have norm l2" in text
    assert "a perturbation of norm l2 exceeds its size" in text


def test_an_unknown_sample_is_reported(measured, wanted, tmp_path):
    (verdict,) = verdicts(kept(measured, tmp_path, renamed("toy-9999")(stored(measured, LINF), None)), wanted)
    assert "not among the evaluated samples: 1 of" in "\n".join(verdict.differences)
    assert "not among the test samples of the task: 1 of" in "\n".join(verdict.differences)
    assert "toy-9999" in verdict.differences[0]


@pytest.mark.parametrize("spec", [L2, PATCH])
def test_a_distant_change_exceeds_the_size(measured, wanted, clean, tmp_path, spec):
    """For L2 the whole perturbation is stretched; for a patch one pixel far away from it changes by the least step."""
    record = stored(measured, spec)
    before, found = clean[record.arrays["found_id"][0]][0], record.arrays["found"][0]
    if spec == L2:
        stretched = 1.001 * record.arrays["found_size"][0] / np.sqrt(((found - before).astype(float) ** 2).sum())
        lie = with_found(record, (), before + (found - before) * np.float32(stretched))
    else:
        rows, columns = np.nonzero((found != before).any(axis=0))
        corner = (0 if rows.min() > 3 else 7, 0 if columns.min() > 3 else 7)
        lie = with_found(record, (0, *corner), np.nextafter(before[(0, *corner)], np.float32(0.5)))
    (verdict,) = verdicts(kept(measured, tmp_path, lie), wanted)
    norm = "l2" if spec == L2 else "patch"
    assert any(f"a perturbation of norm {norm} exceeds its size" in text for text in verdict.differences)


def test_an_unknown_norm_is_noted(measured, wanted, tmp_path):
    record = stored(measured, LINF)
    measures = [dataclasses.replace(m, params={**m.params, "norm": "visual"}) for m in record.measures]
    record = dataclasses.replace(record, measures=tuple(measures), details={**record.details, "norm": "visual"})
    (verdict,) = verdicts(kept(measured, tmp_path, record), wanted)
    assert verdict.differences == ()
    assert verdict.notes == ("sizes were not checked, because the norm visual is not one of linf, l2, l1, l0, patch",)


def test_a_damaged_file_is_reported(measured, wanted, tmp_path):
    store = kept(measured, tmp_path, stored(measured, LINF), stored(measured, L2))
    path = next(store.root.glob("records/*/*/arrays.npz"))
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    damaged, sound = sorted(verdicts(store, wanted), key=lambda verdict: not verdict.differences)
    assert "cannot be read" in damaged.differences[0]
    assert sound.differences == ()


def test_a_model_in_memory_is_verified_if_given(tmp_path, toy):
    torch.manual_seed(1)
    mine, store = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 3))), Store(tmp_path)
    cells = plan([toy("toy")], ["mine"], [LINF], given=("mine",))
    assert Harness(store, Settings(device="cpu"), given={"mine": mine}).run(cells).failed == []
    names = RecordFilter((toy("toy"),))
    (verdict,) = verdicts(store, names, given={"mine": mine})
    assert (verdict.differences, verdict.inputs > 0) == ((), True)
    (verdict,) = verdicts(store, names)
    assert "There is no model 'mine'" in verdict.differences[0]
    with torch.no_grad():
        mine.module[1].bias += 0.01
    (verdict,) = verdicts(store, names, given={"mine": mine})
    assert "not the model that was evaluated" in verdict.differences[0]


# -- sizes, computed twice


def slowly(norm, moved):
    """Return the size of one perturbation (channels, height, width), pixel by pixel."""
    values = [float(value) for value in moved.ravel()]
    if norm == "linf":
        return max(abs(value) for value in values)
    if norm in ("l2", "l1"):
        power = 2 if norm == "l2" else 1
        return sum(abs(value) ** power for value in values) ** (1 / power)
    changed = [(r, c) for r in range(moved.shape[1]) for c in range(moved.shape[2]) if any(moved[:, r, c])]
    if norm == "l0" or not changed:
        return len(changed)
    sides = range(1, max(moved.shape[1:]) + 1)
    fits = [s for s in sides for r, c in changed if _inside(changed, s)]
    return min(fits)


def _inside(changed, side):
    """Return whether some square of a side holds all places: every corner is tried."""
    return any(
        all(row <= r < row + side and column <= c < column + side for r, c in changed)
        for row in range(-8, 8)
        for column in range(-8, 8)
    )


@pytest.mark.parametrize("norm", SIZES)
def test_sizes_match_a_brute_force_computation(norm):
    draws = np.random.default_rng(3)
    touched = draws.random((40, 1, 5, 7)) < draws.choice([0, 0.05, 0.3], (40, 1, 1, 1))
    moved = draws.normal(size=(40, 3, 5, 7)) * touched
    assert SIZES[norm](moved) == pytest.approx([slowly(norm, one) for one in moved], rel=1e-12)
    assert SIZES[norm](moved[:0]).shape == (0,)


def test_limits_allow_only_for_rounding():
    assert limit("l2", np.array([2.0]), (8, 8)) == pytest.approx([2 * (1 + 1e-5) + 1e-6], rel=1e-15)
    assert limit("l0", np.array([0.29 * 100, 5.9]), (8, 8)).tolist() == [29, 5]
    assert limit("patch", np.array([25 / 144, 0.1, 0.99]), (12, 12)).tolist() == [5, 3, 11]
    assert limit("patch", np.array([0.5]), (2, 100)).tolist() == [2]


# -- the command


@pytest.fixture
def said(capsys):
    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_the_command_exits_with_0_for_correct_records(said, measured, toy):
    status, out, err = said("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", measured.root)
    assert (status, err) == (0, "")
    assert [line[:5] for line in out.splitlines()] == ["ok   ", "ok   ", "ok   ", "3 rec"]
    assert out.splitlines()[-1].endswith("inputs verified, no records differ.")


def test_the_command_filters_and_exits_with_1_for_differences(said, measured, toy, clean, tmp_path):
    kept(measured, tmp_path, stored(measured, L2), harmless(stored(measured, LINF), clean))
    which = ("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    status, out, _ = said(*which)
    assert (status, out.count("FAIL"), out.count("ok   ")) == (1, 1, 1)
    assert out.endswith("1 records differ.\n")
    status, out, _ = said(*which, "--axis", L2)
    assert (status, out.count("ok   "), out.count("FAIL")) == (0, 1, 0)
    assert said(*which, "--axis", "robustness")[0] == 1


def test_a_missing_file_is_reported_with_advice(said, measured, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = said("verify", "--axis", LINF, "--device", "cpu", "--store", measured.root)
    assert status == 1
    assert "the task cannot be loaded: PluginError: There is no file" in out
    assert "Give the paths of task and model: suite verify PATH.py:TASK" in out


def test_a_record_whose_rows_cannot_be_read_is_a_difference(said, measured, toy, tmp_path):
    store = kept(measured, tmp_path, stored(measured, LINF), stored(measured, L2))
    next(store.root.glob("records/*/*/rows.json")).write_text("{", "utf-8")
    status, out, _ = said("verify", toy("toy"), "--model", toy("quick"), "--device", "cpu", "--store", tmp_path)
    assert (status, out.count("ok   "), out.count("FAIL record")) == (1, 1, 1)


def test_filters_without_matches_and_empty_stores_are_errors(measured, tmp_path):
    with pytest.raises(UnknownNameError, match=r"no robustness results for 'toy.py:quck'.*Did you mean 'toy.py:quick'"):
        verdicts(measured, RecordFilter(models=("toy.py:quck",)))
    with pytest.raises(UnknownNameError, match="no robustness results for 'clean'"):
        verdicts(measured, RecordFilter(axes=("clean",)))
    with pytest.raises(StoreError, match="suite demo"):
        verdicts(Store(tmp_path), RecordFilter())
    with pytest.raises(SuiteError, match="'tpu9' cannot be used"):
        list(verify(measured, device="tpu9"))


def by_hand(root):
    """Put a model of the digits that nobody trained, and what a step along its gradient fools it with."""
    task = prepare_task("digits", 0)
    test = task.data.test.take(range(200))
    pixels, targets = torch.from_numpy(test.pixels()), torch.from_numpy(test.targets)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():  # the class whose mean is nearest
        net[1].weight.copy_(torch.stack([pixels[targets == label].mean(0).flatten() for label in range(10)]))
        net[1].bias.copy_(-net[1].weight.square().sum(1) / 2)
        right = net(pixels).argmax(1) == targets
    point = pixels.clone().requires_grad_(True)
    nn.functional.cross_entropy(net(point), targets).backward()
    moved = (pixels + 0.1 * point.grad.sign()).clamp(0, 1)
    fell = right & (net(moved).argmax(1) != targets)
    assert 3 < fell.sum() < right.sum() < 200
    store = Store(root)
    store.put_model("a" * 64, to_bytes(net), {})
    digests = {"data": task.data.digest, "model": "a" * 64, "samples": ids_digest(test.ids)}
    names = ("k" * 64, "digits", "1", "classification", "linear", "robustness", LINF)
    about = Provenance(*names, 200, 0, digests, "cpu", "float32", "0")
    store.put(by_hand_record(about, test.ids, right.numpy(), fell.numpy(), moved.numpy()))
    return store


def by_hand_record(about, ids, right, fell, moved):
    held, found = right & ~fell, moved[fell]
    row = Measure("robust_accuracy", held.mean(), 0, 1, 200, "wilson", params={"norm": "linf", "eps": 0.1})
    details = {"norm": "linf", "size_name": "eps", "sha256": hashlib.sha256(found.tobytes()).hexdigest()}
    arrays = {
        "found": found,
        "found_id": np.array(ids)[fell],
        "found_size": np.full(len(found), 0.1),
        "found_rung": np.full(len(found), "by hand"),
    }
    columns = {"id": list(ids), "correct_clean": right, "robust@0.1": held}
    occasion = RunInfo("r", "2026-01-01T00:00:00+00:00", 0, 0, "")
    return Record(about, occasion, "ok", (row,), columns, details, arrays)


def test_no_attack_code_is_loaded(tmp_path):
    by_hand(tmp_path)
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
