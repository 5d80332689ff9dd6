"""Metrics of autoencoders under attack: the parts of the code length, and the shift of the code."""

import math

import torch

from suite.decorators import metric
from suite.kinds.autoencoding import losses
from suite.kinds.base import Array, Outcomes
from suite.metrics.catalogue import Metric
from suite.metrics.table import Table
from suite.models.adapters.autoencoder import split_output
from suite.types import Measure

ROBUST_RECONSTRUCTION = Metric(
    "robust_reconstruction",
    "robust reconstruction",
    "the part of the code length that is due to reconstruction errors, after an attack within the given size",
    unit="bit per dimension",
    higher_is_better=False,
    control="random",
)
ROBUST_DIVERGENCE = Metric(
    "robust_divergence",
    "robust divergence",
    "the part of the code length that is due to the code, after an attack within the given size",
    unit="bit per dimension",
    higher_is_better=False,
    control="random",
)
LATENT_SHIFT = Metric(
    "latent_shift",
    "latent shift",
    "symmetric divergence between the distributions of an image's code before and after an attack",
    unit="nat",
    bounds=(0.0, None),
    higher_is_better=False,
    control="random",
)


@metric(
    kind="autoencoding",
    axis="robustness",
    entries=[ROBUST_RECONSTRUCTION, ROBUST_DIVERGENCE],
    name="code_length_parts",
)
def code_length_parts(table: Table) -> list[Measure]:
    """The two parts of the code length: that of the pixels, and that of the code."""
    if "tally" not in table:
        return []
    tally = table["tally"]
    return [table.mean(one, tally[:, part]) for part, one in enumerate((ROBUST_RECONSTRUCTION, ROBUST_DIVERGENCE))]


def shifts(before: Outcomes, after: Outcomes) -> dict[str, Array]:
    """Return the symmetric divergence between the distributions of the two codes, in nats, (n,); nothing for points."""
    pixels = math.prod(before.targets.shape[1:])
    first, second = (split_output(torch.from_numpy(one.output), pixels) for one in (before, after))
    return {LATENT_SHIFT.name: losses.shift(first, second).numpy()} if bool(first.is_gaussian.all()) else {}


@metric(kind="autoencoding", axis="robustness", entries=[LATENT_SHIFT], measure=shifts)
def latent_shift(table: Table) -> list[Measure]:
    """How far an attack shifts the distribution of the code."""
    return [table.mean(LATENT_SHIFT, table[LATENT_SHIFT.name])] if LATENT_SHIFT.name in table else []
