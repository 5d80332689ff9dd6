"""What is stored of adversarial inputs: the gallery, a limited number of inputs, and a digest of every one."""

import hashlib

import numpy as np
import torch

from suite.axes.base import in_role
from suite.axes.robustness.sweep import AttackSweep
from suite.data.digests import in_digest_order
from suite.kinds.base import Array
from suite.types import Display

PER_SIZE = 256
"""Most adversarial inputs that are stored for each size."""

MOST_BYTES = 64 * 2**20
"""Most bytes of all adversarial inputs of a record."""


def gallery_arrays(sweep: AttackSweep) -> dict[str, Display]:
    """Return the gallery: inputs and predictions before and after the attack; for a failed attack, its largest size."""
    context, rows = sweep.context, sweep.context.gallery
    split, shown = context.test.take(rows), context.model.input.type
    largest = np.where(sweep.clean[rows] > 0, sweep.attack.sizes[-1], 0.0)  # samples wrong from the start: no attack
    moved, found_at = sweep.adversarial[rows], sweep.found_at[rows]
    predicted = context.kind.showing.output_arrays(context.outcomes.output[rows])
    arrays = {
        "ids": Display(np.array(split.ids), "id", "ids"),
        "clean": Display(context.pixels[rows].cpu().numpy(), shown, "input"),
        "adversarial": Display(moved.cpu().numpy(), shown, "changed"),
        "eps": Display(np.where(np.isnan(found_at), largest, found_at), "number", "size"),
        "label": Display(split.targets, context.kind.showing.truth, "truth"),
        **in_role(predicted, "prediction", "clean_{}"),
        **in_role(context.output_arrays(moved), "changed_prediction", "adversarial_{}"),
    }
    if patches := sweep.attack.patches():
        arrays["patch"] = Display(patches[sweep.reference].cpu().numpy(), "image", "patch", per_sample=False)
    return arrays


def stored_inputs(sweep: AttackSweep, *, shown: bool = True) -> tuple[dict[str, Display], dict[str, int]]:
    """Return adversarial inputs with sample id, size and stage, and how many there are and are stored.

    For each size the first samples in digest order are stored: at most `PER_SIZE`, fewer where all together would
    exceed `MOST_BYTES`, and none if the space of the attack is not `shown`.
    """
    limit = _limit(sweep, PER_SIZE if shown else 0)
    rows = _chosen(sweep, limit)
    chosen = torch.from_numpy(rows).to(sweep.adversarial.device)
    values, ids = sweep.adversarial[chosen].cpu().numpy(), [sweep.context.test.ids[row] for row in rows]
    arrays = {
        "found": Display(values, sweep.context.model.input.type, "changed", per_sample=False),
        "found_id": Display(np.array(ids, str), "id", "ids", per_sample=False),
        "found_size": Display(sweep.found_at[rows], "number", "size", per_sample=False),
        "found_rung": Display(sweep.found_by[rows].astype(str), "name", "stage", per_sample=False),
    }
    return arrays, {"stored": len(rows), "found": len(sweep.found), "limit": limit}


def digests(sweep: AttackSweep) -> Array:
    """Return the SHA-256 of every adversarial input, (n,) strings; empty where there is none."""
    result = np.full(len(sweep.clean), "", dtype=object)
    for row in sweep.found:
        result[row] = hashlib.sha256(sweep.adversarial[int(row)].cpu().numpy().tobytes()).hexdigest()
    return result


def _limit(sweep: AttackSweep, most: int) -> int:
    """Return how many inputs are stored for each size."""
    sample = sweep.context.pixels[:1]
    room = MOST_BYTES // max(1, sample.numel() * sample.element_size())
    _, counts = np.unique(sweep.found_at[sweep.found], return_counts=True)
    return next(limit for limit in range(most, -1, -1) if np.minimum(counts, limit).sum() <= room)


def _chosen(sweep: AttackSweep, limit: int) -> Array:
    """Return the rows of the first samples of each size in digest order, ascending."""
    order = np.array(in_digest_order(sweep.context.test.ids), int)
    sizes = sweep.found_at[order]
    chosen = [order[sizes == size][:limit] for size in sweep.attack.sizes]
    return np.sort(np.concatenate(chosen))
