"""What is stored of adversarial inputs: the gallery, a limited number of inputs, and a digest of every one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.attacks.engine.base import Attack
from suite.axes.base import in_role
from suite.axes.context import Context
from suite.axes.robustness.sweep import AttackSweep
from suite.data.digests import in_digest_order
from suite.kinds.base import Array
from suite.metrics.table import Column, Table
from suite.types import Display

PER_SIZE = 256
"""Most adversarial inputs that are stored for each size."""

MOST_BYTES = 64 * 2**20
"""Most bytes of all adversarial inputs of a record."""

GALLERY = "gallery"
"""The population of the samples of the gallery."""


@dataclass(frozen=True)
class FoundInputs:
    """The adversarial inputs that are stored, and how many were found at each size.

    For each size these are the first samples in digest order: at most `PER_SIZE`, fewer where all sizes together would
    exceed `MOST_BYTES`. Two collections add up to the one of all their samples.

    Attributes:
        counts: number of samples by size of their adversarial input.
        ids, sizes, stages: of each input, (k,).
        values: the inputs, (k, ...).
        size: bytes of an input.
        per_size: most inputs of each size.
    """

    counts: dict[float, int]
    ids: Array
    sizes: Array
    stages: Array
    values: Array
    size: int
    per_size: int = PER_SIZE

    @classmethod
    def of(cls, sweep: AttackSweep, *, shown: bool) -> FoundInputs:
        """Return the inputs that an attack found on one cohort; only their number if they are not `shown`."""
        rows, per_size = sweep.found, PER_SIZE if shown else 0
        sizes, counts = np.unique(sweep.found_at[rows], return_counts=True)
        by_size = dict(zip(sizes.tolist(), counts.tolist(), strict=True))
        size = sweep.adversarial[:1].numel() * sweep.adversarial.element_size()
        kept = rows[_first(sweep.context.ids[rows], sweep.found_at[rows], _room(by_size, size, per_size))]
        values = sweep.adversarial[torch.from_numpy(kept).to(sweep.adversarial.device)].cpu().numpy()
        stages = sweep.found_by[kept].astype(str)
        return cls(by_size, sweep.context.ids[kept], sweep.found_at[kept], stages, values, size, per_size)

    def __add__(self, other: FoundInputs) -> FoundInputs:
        """Return the collection of both."""
        counts = {size: self.counts.get(size, 0) + other.counts.get(size, 0) for size in self.counts | other.counts}
        ids, sizes, stages, values = (
            np.concatenate([getattr(self, name), getattr(other, name)]) for name in ("ids", "sizes", "stages", "values")
        )
        kept = _first(ids, sizes, _room(counts, self.size, self.per_size))
        return FoundInputs(counts, ids[kept], sizes[kept], stages[kept], values[kept], self.size, self.per_size)

    def to_json(self) -> dict[str, int]:
        """Return how many inputs are stored and were found, and the most of one size."""
        limit = _room(self.counts, self.size, self.per_size)
        return {"stored": len(self.ids), "found": sum(self.counts.values()), "limit": limit}

    def displays(self, kind: Any) -> dict[str, Display]:
        """Return the inputs with sample id, size and stage, as arrays of a record.

        Args:
            kind: the type of an input.
        """
        return {
            "found": Display(self.values, kind, "changed", per_sample=False),
            "found_id": Display(self.ids.astype(str), "id", "ids", per_sample=False),
            "found_size": Display(self.sizes, "number", "size", per_sample=False),
            "found_rung": Display(self.stages, "name", "stage", per_sample=False),
        }


def gallery_columns(sweep: AttackSweep) -> list[Column]:
    """Return the adversarial inputs of the cohort's samples that the gallery shows."""
    rows = sweep.context.gallery
    values = {"id": sweep.context.ids[rows], "adversarial": sweep.adversarial[rows].cpu().numpy()}
    return [Column(name, of_samples, {}, GALLERY) for name, of_samples in values.items()]


def gallery_arrays(context: Context, table: Table, attack: Attack, reference: float) -> dict[str, Display]:
    """Return the gallery: inputs and predictions before and after the attack; for a failed attack, its largest size.

    Args:
        context: gives the model and the samples.
        table: columns of all samples, and of the population `GALLERY`.
        attack: the attack, fitted if it needs to be.
        reference: the size of the patch that is shown.
    """
    rows = context.gallery
    clean, type_ = context.of(rows), context.model.input.type
    names = table.of(GALLERY, "id").tolist()
    moved = table.of(GALLERY, "adversarial")[[names.index(name) for name in clean.test.ids]]
    # samples wrong from the start: no attack
    largest, found_at = np.where(table["quality"][rows] > 0, attack.sizes[-1], 0.0), table["found_size"][rows]
    arrays = {
        "ids": Display(np.array(clean.test.ids), "id", "ids"),
        "clean": Display(clean.pixels.cpu().numpy(), type_, "input"),
        "adversarial": Display(moved, type_, "changed"),
        "eps": Display(np.where(np.isnan(found_at), largest, found_at), "number", "size"),
        "label": Display(clean.test.targets, context.kind.showing.truth, "truth"),
        **in_role(context.kind.showing.output_arrays(clean.output), "prediction", "clean_{}"),
        **in_role(
            context.output_arrays(torch.from_numpy(moved).to(context.device)), "changed_prediction", "adversarial_{}"
        ),
    }
    if patches := attack.patches():
        arrays["patch"] = Display(patches[reference].cpu().numpy(), "image", "patch", per_sample=False)
    return arrays


def digests(sweep: AttackSweep) -> Array:
    """Return the SHA-256 of every adversarial input, (n,) strings; empty where there is none."""
    result = np.full(len(sweep.clean), "", dtype=object)
    for row in sweep.found:
        result[row] = hashlib.sha256(sweep.adversarial[int(row)].cpu().numpy().tobytes()).hexdigest()
    return result


def _room(counts: dict[float, int], size: int, per_size: int) -> int:
    """Return how many inputs of `size` bytes are stored for each size of perturbation."""
    room = MOST_BYTES // max(1, size)
    return next(n for n in range(per_size, -1, -1) if sum(min(count, n) for count in counts.values()) <= room)


def _first(ids: Sequence[str] | Array, sizes: Array, limit: int) -> Array:
    """Return the rows of the first samples of each size in digest order, ascending."""
    order = np.array(in_digest_order(ids), int)
    chosen = [order[sizes[order] == size][:limit] for size in np.unique(sizes)]
    return np.sort(np.concatenate([np.zeros(0, int), *chosen]))
