"""A fixed subset of test images: their evidence, and the gallery made of them."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data.digests import seed_of
from suite.kinds.base import Array, Outcomes
from suite.models.adapters.evidence import Evidence

DRAWS = 100
"""Codes per image of the importance-weighted bound."""

IMAGES = 200
"""Maximum number of test images for bounds, the same for every model; each costs one pass per draw."""

RECONSTRUCTED, PAIRS, STEPS, GENERATED = 12, 4, 9, 64
"""In the gallery: reconstructed images, interpolated pairs, images per interpolation, and generated images."""


def evidence_of(outcomes: Outcomes) -> tuple[Evidence, dict[str, Any]]:
    """Return the evidence for the subset of test images, and the params of its rows.

    Raises:
        NotApplicableError: there is no likelihood: codes are points, or pixels lie between 0 and 1.
    """
    rows = subset_rows(outcomes)
    seeds = [seed_of("evidence", outcomes.ids[row], str(outcomes.seed)) for row in rows]
    evidence: Evidence = outcomes.model.evidence(inputs_at(outcomes, rows), DRAWS, seeds)
    return evidence, {**likelihood(outcomes), "draws": DRAWS}


def subset_rows(outcomes: Outcomes) -> list[int]:
    """Return the rows of at most `IMAGES` test images, the same for every model and in every run."""
    return sorted(range(len(outcomes.ids)), key=lambda row: seed_of("order", outcomes.ids[row], "0"))[:IMAGES]


def inputs_at(outcomes: Outcomes, rows: list[int]) -> Tensor:
    """Return the inputs of some rows, (rows, c, h, w) on their device."""
    inputs: Tensor = outcomes.inputs
    return inputs[torch.tensor(rows, device=inputs.device)]


def binarized(outcomes: Outcomes) -> bool:
    """Return whether every pixel is 0 or 1."""
    return bool(np.isin(outcomes.targets, (0, 1)).all())


def likelihood(outcomes: Outcomes) -> dict[str, Any]:
    """Return the params that describe the likelihood of a row."""
    return {"likelihood": "bernoulli", "binarised": binarized(outcomes)}


def gallery(outcomes: Outcomes) -> dict[str, Array]:
    """Return images in uint8: ``images`` and ``reconstructed`` (k, c, h, w), ``interpolated`` (pairs, steps, c, h, w).

    A variational model adds ``generated`` (64, c, h, w): the pixel probabilities of codes from the prior.
    """
    inputs = inputs_at(outcomes, subset_rows(outcomes)[:RECONSTRUCTED])  # the first test images may be of one class
    model, pairs = outcomes.model, min(PAIRS, len(inputs) // 2)
    arrays = {"images": inputs, "reconstructed": model.reconstruct(inputs)}
    if pairs:
        arrays["interpolated"] = model.interpolate(inputs[:pairs], inputs[pairs : 2 * pairs], STEPS)
    if model.variational:
        arrays["generated"] = model.sample(GENERATED, seed_of("prior", "shown", str(outcomes.seed)))
    return {name: values.detach().mul(255).round().to(torch.uint8).cpu().numpy() for name, values in arrays.items()}
