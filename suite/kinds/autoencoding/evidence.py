"""A fixed subset of test images: their evidence, and the gallery made of them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data.digests import seed_of
from suite.kinds.base import Array, Outcomes
from suite.metrics.catalogue import Metric
from suite.metrics.table import Measured, Table
from suite.models.adapters.evidence import Evidence
from suite.types import Display, Measure

DRAWS = 100
"""Codes per image of the importance-weighted bound."""

IMAGES = 200
"""Maximum number of test images for bounds, the same for every model; each costs one pass per draw."""

RECONSTRUCTED, PAIRS, STEPS, GENERATED = 12, 4, 9, 64
"""In the gallery: reconstructed images, interpolated pairs, images per interpolation, and generated images."""


def evidence_of(outcomes: Outcomes) -> Measured:
    """Return the terms of the likelihood bounds of the subset of test images, in nats, NaN for other images.

    Returns:
        The columns evidence_reconstruction, evidence_divergence and evidence_importance, see
        `suite.models.adapters.evidence.Evidence`.

    Raises:
        NotApplicableError: there is no likelihood: codes are points, or pixels lie between 0 and 1.
    """
    rows = subset_rows(outcomes.ids)
    seeds = [seed_of("evidence", outcomes.ids[row], str(outcomes.seed)) for row in rows]
    evidence: Evidence = outcomes.model.evidence(inputs_at(outcomes, rows), DRAWS, seeds)
    parts = {name: getattr(evidence, name) for name in ("reconstruction", "divergence", "importance")}
    columns = {f"evidence_{name}": spread(part.cpu().numpy(), rows, len(outcomes.ids)) for name, part in parts.items()}
    return Measured(columns, {"evidence_draws": DRAWS})


def subset_rows(ids: Sequence[str]) -> list[int]:
    """Return the rows of at most `IMAGES` test images, the same for every model and in every run.

    The rows are in an order that depends on the ids alone, so that the subset of some of the images consists of images
    of the whole subset, and then of others.
    """
    return sorted(range(len(ids)), key=lambda row: seed_of("order", ids[row], "0"))[:IMAGES]


def spread(values: Array, rows: Sequence[int], count: int) -> Array:
    """Return the values of some rows as a column of all rows, (count,), NaN for the others."""
    column = np.full(count, np.nan)
    column[rows] = values
    return column


def known_rows(table: Table, name: str) -> Array:
    """Return the rows of the subset's images that have a value of a column, in the order of the subset, (k,)."""
    rows = np.array(subset_rows(table["id"].tolist()), dtype=np.int64)
    return rows[~np.isnan(table[name][rows])]


def subset_mean(table: Table, metric: Metric, values: Array, rows: Array, params: Mapping[str, Any]) -> Measure:
    """Return the mean of a column's values (n,) over rows (k,) with its interval; undefined without any."""
    if not len(rows):
        return table.undefined(metric, "none of these images belongs to the subset with bounds", params=params)
    return table.mean(metric, values[rows], rows=rows, params=params)


def evidence_params(table: Table) -> dict[str, Any]:
    """Return the params of rows about bounds."""
    return {**likelihood(table.facts), "draws": table.facts["evidence_draws"]}


def inputs_at(outcomes: Outcomes, rows: list[int]) -> Tensor:
    """Return the inputs of some rows, (rows, c, h, w) on their device."""
    inputs: Tensor = outcomes.inputs
    return inputs[torch.tensor(rows, device=inputs.device)]


def binarized(outcomes: Outcomes) -> bool:
    """Return whether every pixel of all test images is 0 or 1."""
    images = outcomes.targets if outcomes.data is None else outcomes.data.test.targets
    return bool(np.isin(images, (0, 1)).all())


def likelihood(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params that describe the likelihood of a row, from the facts of the kind."""
    return {name: facts[name] for name in ("likelihood", "binarised")}


def gallery(outcomes: Outcomes) -> dict[str, Display]:
    """Return images in uint8: ``images`` and ``reconstructed`` (k, c, h, w), ``interpolated`` (pairs, steps, c, h, w).

    A variational model adds ``generated`` (64, c, h, w): the pixel probabilities of codes from the prior.
    """
    inputs = inputs_at(outcomes, subset_rows(outcomes.ids)[:RECONSTRUCTED])  # the first test images may be of one class
    model, pairs = outcomes.model, min(PAIRS, len(inputs) // 2)
    arrays = {
        "images": _display(inputs, "input"),
        "reconstructed": _display(model.reconstruct(inputs), "reconstructed"),
    }
    if pairs:
        lines = model.interpolate(inputs[:pairs], inputs[pairs : 2 * pairs], STEPS)
        arrays["interpolated"] = _display(lines, "interpolated", per_sample=False)
    if model.variational:
        images = model.sample(GENERATED, seed_of("prior", "shown", str(outcomes.seed)))
        arrays["generated"] = _display(images, "generated", per_sample=False)
    return arrays


def _display(images: Tensor, role: str, *, per_sample: bool = True) -> Display:
    pixels = images.detach().mul(255).round().to(torch.uint8).cpu().numpy()
    return Display(pixels, "image", role, per_sample=per_sample)
