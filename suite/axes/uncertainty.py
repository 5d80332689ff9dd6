"""Uncertainty methods: from a model and its samples to predictive distributions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from suite.axes.base import Context
from suite.data.digests import seed_of
from suite.decorators import uncertainty
from suite.errors import NotApplicableError
from suite.kinds.base import Array, NotApplicable, Prediction, Rescaling, required
from suite.models.training.trainer import seeded

GROUP = 64
"""Batch size of Monte Carlo dropout; fixed, because a dropout layer draws the masks of a whole batch together."""


@dataclass(frozen=True)
class Options:
    """What an uncertainty method gets besides the context.

    Attributes:
        label: the name of the method in rows.
        bins: number of equal-width confidence bins.
        dropout_samples: number of forward passes of Monte Carlo dropout.
        members: size of a deep ensemble, the model itself included.
        rescaling: the recalibration fitted on validation samples, or the reason why there is none.
    """

    label: str
    bins: int
    dropout_samples: int
    members: int
    rescaling: Rescaling | NotApplicable


def prediction(
    context: Context, options: Options, predicted: Array, output: Array | None = None, **params: Any
) -> Prediction:
    """Return distributions (n, ...) as the prediction of an uncertainty method.

    Args:
        context: gives the targets.
        options: gives the label.
        predicted: in the form of `Probabilistic.probabilities`.
        output: the raw output they were computed from, if there is one.
        params: what else identifies the rows.
    """
    return Prediction(
        options.label, predicted, output, context.test.targets, params, bins=options.bins, kind=context.kind
    )


@uncertainty(label="{output}", rank=0)
def output(context: Context, options: Options) -> Prediction:
    """The predictive distributions of the model itself."""
    raw = context.outcomes.output
    return prediction(context, options, required(context.kind.probabilities).probabilities(raw), raw)


@uncertainty(label="{output}+temperature", rank=1)
def temperature(context: Context, options: Options) -> Prediction:
    """The same, recalibrated on validation samples (Guo et al. 2017)."""
    raw = required(options.rescaling).apply(context.outcomes.output)
    return prediction(context, options, required(context.kind.probabilities).probabilities(raw), raw)


@uncertainty(rank=2)
def mc_dropout(context: Context, options: Options) -> Prediction:
    """The mean distribution over forward passes with active dropout (Gal and Ghahramani 2016)."""
    probabilities = _averaged(context)
    if not context.model.capabilities.dropout:
        raise NotApplicableError("the model has no dropout layer")
    parts, count = [], options.dropout_samples
    with context.model.frozen(dropout=True), torch.no_grad():
        for batch in context.batches(np.arange(len(context.test)), GROUP):
            pixels = context.pixels[torch.from_numpy(batch).to(context.device)]
            with seeded(seed_of(*context.names, "dropout", context.test.ids[batch[0]]), context.device):
                total = sum(probabilities(context.model(pixels).float().cpu().numpy()) for _ in range(count))
            parts.append(np.asarray(total / count))
    return prediction(context, options, np.concatenate(parts), samples=count)


@uncertainty(rank=3)
def ensemble(context: Context, options: Options) -> Prediction:
    """The mean distribution of several models that were trained with different seeds (Lakshminarayanan et al. 2017)."""
    probabilities = _averaged(context)
    if options.members < 2:
        raise NotApplicableError(f"members={options.members}: no ensemble was requested")
    members = context.once("members", lambda: context.members(options.members))
    total = sum(probabilities(context.forward(context.test, member)) for member in members)
    return prediction(context, options, np.asarray(total / len(members)), members=options.members)


def _averaged(context: Context) -> Any:
    """Return the function from outputs to distributions; raise NotApplicableError if these cannot be averaged."""
    facet = required(context.kind.probabilities)
    if facet.no_ensemble_reason:
        raise NotApplicableError(facet.no_ensemble_reason)
    return facet.probabilities
