"""Checks of stored adversarial inputs against the task and the model, without the code of the attacks.

Sizes are computed in float64 with numpy; outcomes come from a forward pass of the model with its stored weights.
Nothing is trained.
"""

from collections.abc import Iterator

import numpy as np
import torch

from suite.data.text import texts_of
from suite.errors import described
from suite.kinds.base import Array, Kind, required
from suite.verify.records import LoadedTask, Loader, Task, named
from suite.verify.sizes import EDITS, SIZES, finite, limit, readable
from suite.verify.stored_inputs import StoredInputs, agreement, columns, facts, misfits

ROUNDING = 1e-3
"""Tolerance for a quality: the last bits of outputs depend on the batch, and with them the corners of boxes, and the
class of a pixel whose two best classes tie."""

CHUNK = 64
"""Inputs that are checked together."""

PIXELS = (0.0, 1.0)
"""The range of pixel values."""


def differences(loader: Loader, stored: StoredInputs) -> Iterator[str]:
    """Yield a sentence on everything about the inputs that differs from the record."""
    yield from facts(stored)
    yield from columns(stored)
    if not stored.is_stored:
        return
    wrong = list(misfits(stored))
    yield from wrong
    if wrong:  # nothing else can be compared
        return
    yield from agreement(stored)
    provenance = stored.record.provenance
    try:
        task = loader.task(provenance.task, provenance.seed)
    except Exception as error:  # third-party code may raise anything
        yield from _values(stored, None)
        yield f"sizes and outcomes were not checked: the task cannot be loaded: {described(error)}{_where(stored)}"
        return
    loaded = loader.load(stored.record, task)
    yield from _values(stored, loaded)
    mismatches = list(_mismatches(stored, loaded))
    yield from mismatches
    if not mismatches:
        yield from _sizes(stored, loaded)
        yield from _outcomes(loader, stored, loaded)


def unchecked(loader: Loader, stored: StoredInputs) -> Iterator[str]:
    """Yield a sentence on everything about the inputs that is not checked."""
    if stored.is_stochastic:
        yield "outcomes were not checked, because the model is stochastic"
    elif stored.depends_on_batch:
        yield "outcomes were not checked, because outputs depend on the rest of the batch"
    if stored.norm not in (known := EDITS if stored.is_text else SIZES):
        yield f"sizes were not checked, because the norm {stored.norm} is not one of {', '.join(known)}"
    if (device := stored.record.provenance.device) != loader.device.type:
        yield f"measured on {device}, verified on {loader.device.type}"


def _values(stored: StoredInputs, loaded: LoadedTask | None) -> Iterator[str]:
    """Yield which inputs are invalid: not a text, not finite, or out of range."""
    found, ids = stored.found, stored.ids
    if stored.is_text:
        if (bad := ~readable(found)).any():
            yield f"invalid text in {named(ids, bad)}"
        return
    if (bad := ~finite(found)).any():
        yield f"NaN or infinite pixels in {named(ids, bad)}"
    limits = loaded.limits if loaded is not None else None
    is_image = stored.record.about is not None and stored.record.about.input.type == "image"
    if (limits := limits or (PIXELS if is_image else None)) is None:
        return
    low, high = limits
    if (outside := np.asarray((found < low) | (found > high)).any(axis=tuple(range(1, found.ndim)))).any():
        yield f"pixels outside [{low:g}, {high:g}] in {named(ids, outside)}"


def _mismatches(stored: StoredInputs, loaded: LoadedTask) -> Iterator[str]:
    """Yield how the stored inputs disagree with the task as it is now."""
    task, found = loaded.task, stored.found
    if (digest := stored.record.provenance.digests.get("data")) != task.data.digest:
        yield f"the data of the task have changed: the digest is {task.data.digest[:12]}, it was {str(digest)[:12]}"
    clean = loaded.clean(np.zeros(min(1, len(task.data.test)), dtype=int))
    if found.shape[1:] != clean.shape[1:]:
        yield f"the stored inputs have shape {found.shape[1:]}, but those of the task have {clean.shape[1:]}"
    elif found.dtype != clean.dtype:
        yield f"the stored inputs are {found.dtype}, but those of the task are {clean.dtype}"
    if (bad := task.places(stored.ids) < 0).any():
        yield f"not among the test samples of the task: {named(stored.ids, bad)}"


def _sizes(stored: StoredInputs, loaded: LoadedTask) -> Iterator[str]:
    norm, found = stored.norm, stored.found
    if norm not in (EDITS if stored.is_text else SIZES):
        return
    limits = limit(norm, stored.sizes, found.shape[-2:])
    places, sizes = loaded.task.places(stored.ids), np.zeros((len(EDITS.get(norm, [0])), len(found)))
    forbidden, usable = np.zeros(len(found), dtype=bool), readable(found) if stored.is_text else finite(found)
    for start in range(0, len(found), CHUNK):
        part = slice(start, start + CHUNK)
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
    fixed = ~required(task.kind.attacks).editable(torch.from_numpy(clean), targets).numpy() & (clean != 0)
    same_length = (clean != 0).sum(axis=1) == (changed != 0).sum(axis=1)
    return np.asarray(np.where(same_length, ((clean != changed) & fixed).any(axis=1), fixed.any(axis=1)))


def _outcomes(loader: Loader, stored: StoredInputs, loaded: LoadedTask) -> Iterator[str]:
    """Yield where the model is right about stored inputs, or disagrees with the clean outcomes of the columns."""
    if stored.is_stochastic or stored.depends_on_batch:
        return
    task, model, inputs = loaded.task, loaded.model, stored.found
    if model is None:
        yield f"outcomes were not checked: the model cannot be evaluated: {loaded.why}{_where(stored)}"
        return
    usable, places = readable(inputs) if stored.is_text else finite(inputs), task.places(stored.ids)
    evaluated = task.places(stored.evaluated)
    try:
        kind = loader.fit_to_model(model, task).for_attack_loss(stored.attack["loss"])
        found, targets = inputs[usable], task.data.test.targets[places[usable]]
        if stored.norm == "patch":
            targets = _uncovered(kind, targets, found != loaded.clean(places[usable]))
        damage = loader.damage(model, task, kind, found, targets)
        quality = 1 - loader.damage(model, task, kind, loaded.clean(evaluated), task.data.test.targets[evaluated])
    except Exception as error:  # third-party code may raise anything
        yield f"outcomes were not checked: the model cannot be evaluated: {described(error)}{_where(stored)}"
        return
    if stored.is_graded:
        wrong = np.abs(1 - damage - stored.stored_quality()[usable]) < ROUNDING
    else:
        wrong = damage > 0.5
    if not wrong.all():
        yield f"the model still classifies correctly {named(stored.ids[usable], ~wrong)}"
    if (bad := np.abs(quality - stored.clean) > ROUNDING).any():
        yield f"the column quality without attack disagrees with the model for {named(stored.evaluated, bad)}"


def _uncovered(kind: Kind, targets: Array, changed: Array) -> Array:
    """Return the targets outside the bounding box of changed pixels (n, c, h, w)."""
    marked = np.asarray(changed.any(axis=1))
    covered = np.zeros_like(marked)
    for box, image in zip(covered, marked, strict=True):
        rows, columns = np.nonzero(image)
        if len(rows):
            box[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
    return kind.scoring.mask_covered_targets(torch.from_numpy(targets), torch.from_numpy(covered)).numpy()


def _where(stored: StoredInputs) -> str:
    """Return advice for tasks and models from files: the store keeps only the names of files."""
    by_path = any(".py:" in text for text in (stored.record.provenance.task, stored.record.provenance.model))
    return " Give the paths of task and model: suite verify PATH.py:TASK --model PATH.py:MODEL" if by_path else ""
