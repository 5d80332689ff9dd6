"""The evidence for a task's test images: which of them, with how many draws, and under which likelihood."""

from typing import Any

import numpy as np
import torch

from suite.data.digests import seed_of
from suite.kinds.base import Outcomes
from suite.models.adapters.evidence import Evidence

DRAWS = 100
"""Codes per image of the importance-weighted bound."""

IMAGES = 200
"""Test images that bounds are taken on, the same of every model: each costs as many passes as it has draws."""


def evidence_of(outcomes: Outcomes) -> tuple[Evidence, dict[str, Any]]:
    """Return the evidence for the chosen test images, and what distinguishes the rows.

    Raises:
        NotApplicableError: there is no likelihood: codes are points, or pixels lie between 0 and 1.
    """
    rows = chosen(outcomes)
    seeds = [seed_of("evidence", outcomes.ids[row], str(outcomes.seed)) for row in rows]
    images = outcomes.inputs[torch.tensor(rows, device=outcomes.inputs.device)]
    found: Evidence = outcomes.model.evidence(images, DRAWS, seeds)
    return found, {**likelihood(outcomes), "draws": DRAWS}


def chosen(outcomes: Outcomes) -> list[int]:
    """Return the rows of at most `IMAGES` test images, the same of every model and in every run."""
    return sorted(range(len(outcomes.ids)), key=lambda row: seed_of("order", outcomes.ids[row], "0"))[:IMAGES]


def binarised(outcomes: Outcomes) -> bool:
    """Return whether every pixel is 0 or 1."""
    return bool(np.isin(outcomes.targets, (0, 1)).all())


def likelihood(outcomes: Outcomes) -> dict[str, Any]:
    """Return which likelihood numbers are of, as params of a row."""
    return {"likelihood": "bernoulli", "binarised": binarised(outcomes)}
