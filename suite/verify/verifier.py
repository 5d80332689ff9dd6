"""Verification of stored robustness results: every adversarial example is checked again by independent code.

No code of `suite.attacks` is used, so that an error there cannot hide itself here. Sizes are computed in float64 with
numpy; outcomes come from a forward pass of the model with its stored weights. Nothing is trained.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from suite.data.text import texts_of
from suite.kinds.base import Array, Kind
from suite.models.base import TorchModel
from suite.runner.identity import ids_digest
from suite.store import Store
from suite.verify.columns import columns, rates
from suite.verify.records import LoadedTask, Loader, RecordFilter, StoredRecord, Task, error_text, named, select
from suite.verify.sizes import EDITS, SIZES, finite, limit, readable

PARTS = {"found_id": 1, "found_size": 1, "found_rung": 1}
"""Arrays that a record stores in addition to its adversarial examples, with their number of dimensions."""

ROUNDING = 1e-4
"""Tolerance for a quality: the last bits of box corners, and so overlaps, depend on the batch."""


@dataclass(frozen=True)
class Verification:
    """The result of verifying one record.

    Attributes:
        record: the name of its folder.
        subject: task, model, axis spec, n and seed.
        inputs: number of stored adversarial examples; None if the record stores no inputs.
        differences: sentences on everything that differs from the record.
        notes: sentences on what was not checked, with the reason.
    """

    record: str
    subject: str
    inputs: int | None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one line, or one line per difference."""
        if self.differences:
            return [f"FAIL {self.subject}: {difference}" for difference in self.differences]
        if self.inputs is None:
            return [f"-    {self.subject}: nothing stored to verify"]
        return [f"ok   {self.subject}: {'; '.join((f'{self.inputs} inputs verified', *self.notes))}"]


def verify(
    store: Store,
    wanted: RecordFilter | None = None,
    *,
    device: str = "auto",
    batch_size: int = 64,
    given: Mapping[str, TorchModel] | None = None,
) -> Iterator[Verification]:
    """Verify every current robustness record of a store; see `Loader` for the arguments.

    Raises:
        StoreError: the store contains no robustness results.
        UnknownNameError: the filter names a task, model or axis that is not stored.
        SuiteError: the device cannot be used.
    """
    chosen = wanted or RecordFilter()
    rows = select(store, chosen)
    loader = Loader(store, chosen, device, batch_size, given)
    for _, part in rows.groupby(["task", "model", "spec", "cell_n", "seed", "record"]):
        yield verify_record(loader, part)


def verify_record(loader: Loader, rows: pd.DataFrame) -> Verification:
    """Verify one record."""
    about = rows.iloc[0]
    store, record = loader.store, str(about["record"])
    subject = f"{about['task']} {about['model']} {about['spec']} (n={about['cell_n']}, seed={about['seed']})"
    try:
        stored = StoredRecord(about, rows, store.samples(record), store.details(record), store.arrays(record))
        if "found" not in stored.arrays:
            return Verification(record, subject, None)
        differing, notes = tuple(differences(loader, stored)), tuple(_unchecked(loader, stored))
    except Exception as error:  # a damaged file may raise anything
        return Verification(record, subject, None, (f"record {record} cannot be read: {error_text(error)}",))
    return Verification(record, subject, len(stored.arrays["found"]), differing, notes)


def differences(loader: Loader, stored: StoredRecord) -> Iterator[str]:
    """Yield a sentence on everything that differs from the record."""
    yield from _checksum(stored)
    yield from rates(stored)
    misfits = list(_misfits(stored))
    yield from misfits
    if misfits:  # nothing else can be compared
        return
    yield from columns(stored)
    try:
        task = loader.task(stored.about["task"], int(stored.about["seed"]))
    except Exception as error:  # third-party code may raise anything
        yield from _values(stored, None)
        yield f"sizes and outcomes were not checked: the task cannot be loaded: {error_text(error)}{_where(stored)}"
        return
    loaded = loader.load(stored, task)
    yield from _values(stored, loaded)
    mismatches = list(_mismatches(stored, loaded))
    yield from mismatches
    if not mismatches:
        yield from _sizes(stored, loaded, loader.batch_size)
        yield from _outcomes(loader, stored, loaded)


def _unchecked(loader: Loader, stored: StoredRecord) -> Iterator[str]:
    """Yield a sentence on everything that is not checked."""
    if stored.details.get("stochastic"):
        yield "outcomes were not checked, because the model is stochastic"
    if stored.is_graded:
        yield "the headline measure was not recomputed, because it is not a mean over samples"
    if stored.norm not in (known := EDITS if stored.is_text else SIZES):
        yield f"sizes were not checked, because the norm {stored.norm} is not one of {', '.join(known)}"
    if stored.about["device"] != loader.device.type:
        yield f"measured on {stored.about['device']}, verified on {loader.device.type}"


def _checksum(stored: StoredRecord) -> Iterator[str]:
    content = hashlib.sha256(np.ascontiguousarray(stored.arrays["found"]).tobytes()).hexdigest()
    if (expected := stored.details.get("sha256")) != content:
        yield f"the SHA-256 of the stored inputs is {content[:12]}, but the record says {str(expected)[:12]}"


def _misfits(stored: StoredRecord) -> Iterator[str]:
    """Yield why the parts of a record cannot be compared."""
    arrays, count = stored.arrays, len(stored.arrays["found"])
    if arrays["found"].ndim < 2:
        yield f"the array found has shape {arrays['found'].shape}; expected at least two dimensions"
    for name, dimensions in PARTS.items():
        if name not in arrays or arrays[name].ndim != dimensions or len(arrays[name]) != count:
            got = arrays[name].shape if name in arrays else "nothing"
            yield f"the array {name} has shape {got}; expected {dimensions} dimensions and {count} entries"
    if arrays["found"].dtype not in (np.float32, np.int32):
        yield f"the stored inputs are {arrays['found'].dtype}; expected float32, or int32 for texts"
    if missing := sorted({"id", "correct_clean"} - set(stored.samples.columns)):
        yield f"the per-sample outcomes have no column {' and '.join(missing)}"
    elif ids_digest(stored.samples["id"]) != stored.digests.get("samples"):
        yield "the ids of the per-sample outcomes differ from those of the evaluated samples"
    names = arrays["found_id"] if "found_id" in arrays else np.zeros(0)
    if len(np.unique(names)) != names.size:
        yield "an id occurs twice among the stored inputs"


def _values(stored: StoredRecord, loaded: LoadedTask | None) -> Iterator[str]:
    """Yield which inputs are invalid: not a text, not finite, or out of range."""
    found, ids = stored.arrays["found"], stored.ids
    if stored.is_text:
        if (bad := ~readable(found)).any():
            yield f"invalid text in {named(ids, bad)}"
        return
    if (bad := ~finite(found)).any():
        yield f"NaN or infinite pixels in {named(ids, bad)}"
    low, high = loaded.limits if loaded is not None else LoadedTask.PIXELS
    if (outside := np.asarray((found < low) | (found > high)).any(axis=tuple(range(1, found.ndim)))).any():
        yield f"pixels outside [{low:g}, {high:g}] in {named(ids, outside)}"


def _mismatches(stored: StoredRecord, loaded: LoadedTask) -> Iterator[str]:
    """Yield how the stored inputs disagree with the task as it is now."""
    task, found = loaded.task, stored.arrays["found"]
    if (digest := stored.digests.get("data")) != task.data.digest:
        yield f"the data of the task have changed: the digest is {task.data.digest[:12]}, it was {str(digest)[:12]}"
    clean = loaded.clean(np.zeros(min(1, len(task.data.test)), dtype=int))
    if found.shape[1:] != clean.shape[1:]:
        yield f"the stored inputs have shape {found.shape[1:]}, but those of the task have {clean.shape[1:]}"
    elif stored.is_text != (clean.dtype == np.int32):
        yield f"the stored inputs are {found.dtype}, but those of the task are {clean.dtype}"
    if (bad := task.places(stored.ids) < 0).any():
        yield f"not among the test samples of the task: {named(stored.ids, bad)}"


def _sizes(stored: StoredRecord, loaded: LoadedTask, batch_size: int) -> Iterator[str]:
    norm, found = stored.norm, stored.arrays["found"]
    if norm not in (EDITS if stored.is_text else SIZES):
        return
    limits = limit(norm, stored.arrays["found_size"].astype(np.float64), found.shape[-2:])
    places, sizes = loaded.task.places(stored.ids), np.zeros((len(EDITS.get(norm, [0])), len(found)))
    forbidden, usable = np.zeros(len(found), dtype=bool), readable(found) if stored.is_text else finite(found)
    for start in range(0, len(found), batch_size):
        part = slice(start, start + batch_size)
        clean = loaded.clean(places[part])
        if stored.is_text:
            changed = np.where(usable[part, None], found[part], 0)
            pairs = zip(texts_of(clean), texts_of(changed), strict=True)
            sizes[:, part] = np.array([[rule(*pair, clean.shape[1]) for rule in EDITS[norm]] for pair in pairs]).T
            forbidden[part] = _forbidden(loaded.task, clean, changed, places[part])
        else:
            sizes[:, part] = SIZES[norm](found[part].astype(np.float64) - clean.astype(np.float64))
    if (forbidden & usable).any():
        yield f"changes of characters that must not be edited in {named(stored.ids, forbidden & usable)}"
    over = ~(sizes <= limits) & usable
    kind = int(over.sum(axis=1).argmin())
    if (bad := over[kind]).any():
        worst = float((sizes[kind] - limits)[bad].max())
        yield f"a perturbation of norm {norm} exceeds its size by up to {worst:.3g} in {named(stored.ids, bad)}"


def _forbidden(task: Task, clean: Array, changed: Array, places: Array) -> Array:
    """Return which texts differ in characters that must not be edited, or in length if there are such characters."""
    targets = torch.from_numpy(task.data.test.targets[places])
    fixed = ~task.kind.editable(torch.from_numpy(clean), targets).numpy() & (clean != 0)
    same_length = (clean != 0).sum(axis=1) == (changed != 0).sum(axis=1)
    return np.asarray(np.where(same_length, ((clean != changed) & fixed).any(axis=1), fixed.any(axis=1)))


def _outcomes(loader: Loader, stored: StoredRecord, loaded: LoadedTask) -> Iterator[str]:
    """Yield where the model is right about stored inputs, or disagrees with the clean outcomes of the columns."""
    if stored.details.get("stochastic"):
        return
    task, model, inputs = loaded.task, loaded.model, stored.arrays["found"]
    if model is None:
        yield f"outcomes were not checked: the model cannot be evaluated: {loaded.why}{_where(stored)}"
        return
    usable, places = readable(inputs) if stored.is_text else finite(inputs), task.places(stored.ids)
    evaluated = task.places(stored.samples["id"].to_numpy())
    try:
        kind = loader.fit_to_model(model, task).for_attack_loss(stored.details.get("loss"))
        found, targets = inputs[usable], task.data.test.targets[places[usable]]
        if stored.norm == "patch":
            targets = _uncovered(kind, targets, found != loaded.clean(places[usable]))
        damage = loader.damage(model, task, kind, found, targets)
        quality = 1 - loader.damage(model, task, kind, loaded.clean(evaluated), task.data.test.targets[evaluated])
    except Exception as error:  # third-party code may raise anything
        yield f"outcomes were not checked: the model cannot be evaluated: {error_text(error)}{_where(stored)}"
        return
    if stored.is_graded:
        wrong = np.abs(1 - damage - _stored_quality(stored)[usable]) < ROUNDING
    else:
        wrong = damage > 0.5
    if not wrong.all():
        yield f"the model still classifies correctly {named(stored.ids[usable], ~wrong)}"
    if (bad := np.abs(quality - stored.samples["correct_clean"].to_numpy().astype(np.float64)) > ROUNDING).any():
        yield f"correct_clean disagrees with the model for {named(stored.samples['id'].to_numpy(), bad)}"


def _stored_quality(stored: StoredRecord) -> Array:
    """Return the quality of the predictions for the stored inputs according to the columns, (n,)."""
    last = stored.samples.set_index("id")[stored.columns[max(stored.columns)]]
    return last[stored.ids].to_numpy().astype(np.float64)


def _uncovered(kind: Kind, targets: Array, changed: Array) -> Array:
    """Return the targets outside the bounding box of changed pixels (n, c, h, w)."""
    marked = np.asarray(changed.any(axis=1))
    covered = np.zeros_like(marked)
    for box, image in zip(covered, marked, strict=True):
        rows, columns = np.nonzero(image)
        if len(rows):
            box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return kind.mask_covered_targets(torch.from_numpy(targets), torch.from_numpy(covered)).numpy()


def _where(stored: StoredRecord) -> str:
    """Return advice for tasks and models from files: the store keeps only the names of files."""
    by_path = ".py:" in stored.about["task"] or ".py:" in stored.about["model"]
    return " Give the paths of task and model: suite verify PATH.py:TASK --model PATH.py:MODEL" if by_path else ""
