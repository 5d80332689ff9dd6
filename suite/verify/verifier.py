"""Verify stored robustness afresh: what was said of every adversarial input is found out again, by other code.

Nothing of `suite.attacks` is used, so that a mistake there cannot excuse itself here. Sizes are computed in float64 by
numpy; labels come from a clean forward pass of the model with its stored weights. Nothing is ever trained.
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
from suite.verify.records import Archive, LoadedTask, RecordFilter, StoredRecord, Task, said, selected, those
from suite.verify.sizes import EDITS, SIZES, finite, limit, readable

PARTS = {"found_id": 1, "found_size": 1, "found_rung": 1}
"""Arrays that a record keeps beside its adversarial inputs, with their number of dimensions."""

ROUNDING = 1e-4
"""Difference in a quality between two runs in other batches: the last bits of a box's corners move its overlap."""


@dataclass(frozen=True)
class Verdict:
    """What verifying one record found.

    Attributes:
        record: its folder's name.
        subject: the record in words.
        inputs: how many adversarial inputs it keeps; None where it keeps none to verify.
        differences: what is not as it was stored, in sentences.
        notes: what was not checked, and why.
    """

    record: str
    subject: str
    inputs: int | None
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return one line, or one for every difference."""
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
) -> Iterator[Verdict]:
    """Yield a verdict on every current robustness record of a store; see `Archive` for the arguments.

    Raises:
        StoreError: no robustness is stored.
        UnknownNameError: a filter names what is not stored.
        SuiteError: there is no such device.
    """
    chosen = wanted or RecordFilter()
    rows = selected(store, chosen)
    archive = Archive(store, chosen, device, batch_size, given)
    for _, part in rows.groupby(["task", "model", "spec", "cell_n", "seed", "record"]):
        yield verdict(archive, part)


def verdict(archive: Archive, rows: pd.DataFrame) -> Verdict:
    """Return what verifying one record finds."""
    about = rows.iloc[0]
    record = str(about["record"])
    subject = f"{about['task']} {about['model']} {about['spec']} (n={about['cell_n']}, seed={about['seed']})"
    try:
        stored = StoredRecord.read(archive.store, record, rows)
        if "found" not in stored.arrays:
            return Verdict(record, subject, None)
        found, notes = tuple(differences(archive, stored)), tuple(_unchecked(archive, stored))
    except Exception as error:  # a damaged file raises many types; all mean that the record cannot be trusted
        return Verdict(record, subject, None, (f"record {record} cannot be read: {said(error)}",))
    return Verdict(record, subject, len(stored.arrays["found"]), found, notes)


def differences(archive: Archive, stored: StoredRecord) -> Iterator[str]:
    """Yield whatever is not as it was stored, in sentences."""
    yield from _seal(stored)
    yield from rates(stored)
    misfits = list(_misfits(stored))
    yield from misfits
    if misfits:  # what does not fit together cannot be compared with anything
        return
    yield from columns(stored)
    try:
        task = archive.task(stored.about["task"], int(stored.about["seed"]))
    except Exception as error:  # a task is a stranger's code and raises what it likes
        yield from _values(stored, None)
        yield f"sizes and labels cannot be checked, because the task cannot be read: {said(error)}{_where(stored)}"
        return
    asked = archive.asked(stored, task)
    yield from _values(stored, asked)
    strangers = list(_strangers(stored, asked))
    yield from strangers
    if not strangers:
        yield from _sizes(stored, asked, archive.batch_size)
        yield from _labels(archive, stored, asked)


def _unchecked(archive: Archive, stored: StoredRecord) -> Iterator[str]:
    """Yield what is not checked of a record, and why."""
    if stored.details.get("stochastic"):
        yield "labels were not checked, because the model answers at random"
    if stored.graded:
        yield "the headline measure was not computed again, because it is no mean over samples"
    if stored.norm not in (known := EDITS if stored.is_text else SIZES):
        yield f"sizes were not checked, because the norm {stored.norm} is none of {', '.join(known)}"
    if stored.about["device"] != archive.device.type:
        yield f"measured on {stored.about['device']}, verified on {archive.device.type}"


def _seal(stored: StoredRecord) -> Iterator[str]:
    content = hashlib.sha256(np.ascontiguousarray(stored.arrays["found"]).tobytes()).hexdigest()
    if (expected := stored.details.get("sha256")) != content:
        yield f"the SHA-256 of the stored inputs is {content[:12]}, but the record says {str(expected)[:12]}"


def _misfits(stored: StoredRecord) -> Iterator[str]:
    """Yield what keeps the parts of a record from being compared."""
    arrays, count = stored.arrays, len(stored.arrays["found"])
    if arrays["found"].ndim < 2:
        yield f"the array found has shape {arrays['found'].shape}; expected an entry per input, each of some numbers"
    for name, dimensions in PARTS.items():
        if name not in arrays or arrays[name].ndim != dimensions or len(arrays[name]) != count:
            got = arrays[name].shape if name in arrays else "nothing"
            yield f"the array {name} has shape {got}; expected {dimensions} dimensions and {count} entries"
    if arrays["found"].dtype not in (np.float32, np.int32):
        yield f"the stored inputs are {arrays['found'].dtype}; expected float32, or int32 for texts"
    if missing := sorted({"id", "correct_clean"} - set(stored.samples.columns)):
        yield f"the per-sample outcomes have no column {' and '.join(missing)}"
    elif ids_digest(stored.samples["id"]) != stored.digests.get("samples"):
        yield "the per-sample outcomes are not those of the samples that were measured"
    names = arrays["found_id"] if "found_id" in arrays else np.zeros(0)
    if len(np.unique(names)) != names.size:
        yield "an id stands twice among the stored inputs"


def _values(stored: StoredRecord, asked: LoadedTask | None) -> Iterator[str]:
    """Yield which inputs are none: what is no text, and numbers that the model cannot be shown."""
    found, ids = stored.arrays["found"], stored.ids
    if stored.is_text:
        if (bad := ~readable(found)).any():
            yield f"what is no text in {those(ids, bad)}"
        return
    if (bad := ~finite(found)).any():
        yield f"NaN or infinite pixels in {those(ids, bad)}"
    low, high = asked.limits if asked is not None else LoadedTask.PIXELS
    if (outside := np.asarray((found < low) | (found > high)).any(axis=tuple(range(1, found.ndim)))).any():
        yield f"pixels outside [{low:g}, {high:g}] in {those(ids, outside)}"


def _strangers(stored: StoredRecord, asked: LoadedTask) -> Iterator[str]:
    """Yield what does not belong to the task as it is read now."""
    task, found = asked.task, stored.arrays["found"]
    if (digest := stored.digests.get("data")) != task.data.digest:
        yield f"the task's data have changed: their digest is {task.data.digest[:12]}, it was {str(digest)[:12]}"
    clean = asked.clean(np.zeros(min(1, len(task.data.test)), dtype=int))
    if found.shape[1:] != clean.shape[1:]:
        yield f"the stored inputs have shape {found.shape[1:]}, but the task's have {clean.shape[1:]}"
    elif stored.is_text != (clean.dtype == np.int32):
        yield f"the stored inputs are {found.dtype}, but the task's are {clean.dtype}"
    if (bad := task.places(stored.ids) < 0).any():
        yield f"not among the test samples of the task: {those(stored.ids, bad)}"


def _sizes(stored: StoredRecord, asked: LoadedTask, batch_size: int) -> Iterator[str]:
    norm, found = stored.norm, stored.arrays["found"]
    if norm not in (EDITS if stored.is_text else SIZES):
        return
    limits = limit(norm, stored.arrays["found_size"].astype(np.float64), found.shape[-2:])
    places, sizes = asked.task.places(stored.ids), np.zeros((len(EDITS.get(norm, [0])), len(found)))
    forbidden, usable = np.zeros(len(found), dtype=bool), readable(found) if stored.is_text else finite(found)
    for start in range(0, len(found), batch_size):
        part = slice(start, start + batch_size)
        clean = asked.clean(places[part])
        if stored.is_text:
            changed = np.where(usable[part, None], found[part], 0)
            pairs = zip(texts_of(clean), texts_of(changed), strict=True)
            sizes[:, part] = np.array([[rule(*pair, clean.shape[1]) for rule in EDITS[norm]] for pair in pairs]).T
            forbidden[part] = _forbidden(asked.task, clean, changed, places[part])
        else:
            sizes[:, part] = SIZES[norm](found[part].astype(np.float64) - clean.astype(np.float64))
    if (forbidden & usable).any():
        yield f"characters changed that may not be, in {those(stored.ids, forbidden & usable)}"
    over = ~(sizes <= limits) & usable
    kind = int(over.sum(axis=1).argmin())
    if (bad := over[kind]).any():
        worst = float((sizes[kind] - limits)[bad].max())
        yield f"a perturbation of norm {norm} over the size, by up to {worst:.3g}, in {those(stored.ids, bad)}"


def _forbidden(task: Task, clean: Array, changed: Array, places: Array) -> Array:
    """Return which texts differ where the kind lets nothing be changed, or in length where it fixes any character."""
    targets = torch.from_numpy(task.data.test.targets[places])
    fixed = ~task.kind.editable(torch.from_numpy(clean), targets).numpy() & (clean != 0)
    as_long = (clean != 0).sum(axis=1) == (changed != 0).sum(axis=1)
    return np.asarray(np.where(as_long, ((clean != changed) & fixed).any(axis=1), fixed.any(axis=1)))


def _labels(archive: Archive, stored: StoredRecord, asked: LoadedTask) -> Iterator[str]:
    """Ask the model about the stored inputs, and about the clean samples that the columns speak of."""
    if stored.details.get("stochastic"):
        return
    task, model, whole = asked.task, asked.model, stored.arrays["found"]
    if model is None:
        yield f"labels cannot be checked, because the model cannot be asked: {asked.why}{_where(stored)}"
        return
    usable, places = readable(whole) if stored.is_text else finite(whole), task.places(stored.ids)
    measured = task.places(stored.samples["id"].to_numpy())
    try:
        kind = archive.fitted_on_validation(model, task).for_attack_loss(stored.details.get("loss"))
        found, targets = whole[usable], task.data.test.targets[places[usable]]
        if stored.norm == "patch":
            targets = _unhidden(kind, targets, found != asked.clean(places[usable]))
        damage = archive.damage(model, task, kind, found, targets)
        quality = 1 - archive.damage(model, task, kind, asked.clean(measured), task.data.test.targets[measured])
    except Exception as error:  # a model is a stranger's code and raises what it likes
        yield f"labels cannot be checked, because the model cannot be asked: {said(error)}{_where(stored)}"
        return
    if stored.graded:
        wrong = np.abs(1 - damage - _quality_left(stored)[usable]) < ROUNDING
    else:
        wrong = damage > 0.5
    if not wrong.all():
        yield f"the model is right about {those(stored.ids[usable], ~wrong)}"
    if (bad := np.abs(quality - stored.samples["correct_clean"].to_numpy().astype(np.float64)) > ROUNDING).any():
        yield f"correct_clean is not what the model answers for {those(stored.samples['id'].to_numpy(), bad)}"


def _quality_left(stored: StoredRecord) -> Array:
    """Return what the columns say of the answers to the stored inputs, (n,)."""
    last = stored.samples.set_index("id")[stored.columns[max(stored.columns)]]
    return last[stored.ids].to_numpy().astype(np.float64)


def _unhidden(kind: Kind, targets: Array, changed: Array) -> Array:
    """Return the targets that are left to be answered beside the box round changed pixels (n, c, h, w)."""
    marked = np.asarray(changed.any(axis=1))
    covered = np.zeros_like(marked)
    for box, image in zip(covered, marked, strict=True):
        rows, columns = np.nonzero(image)
        if len(rows):
            box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return kind.hidden(torch.from_numpy(targets), torch.from_numpy(covered)).numpy()


def _where(stored: StoredRecord) -> str:
    """Return what to do about files by path: of them the store knows the names only."""
    by_path = ".py:" in stored.about["task"] or ".py:" in stored.about["model"]
    return " Name task and model as they were run: suite verify PATH.py:TASK --model PATH.py:MODEL" if by_path else ""
