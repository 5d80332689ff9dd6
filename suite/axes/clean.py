"""Performance on clean samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from suite.axes.base import AxisResult, Context
from suite.axes.registered import entries_of, metrics_of, more_measured, summaries
from suite.axes.rounds import Round, State
from suite.data.digests import in_digest_order
from suite.kinds.base import Kind
from suite.kinds.logits import checked_headline
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Part, Table, collected, combined
from suite.registry import register
from suite.types import Measure

GENERATIVE_GALLERY = 64
"""Samples that the gallery of a generative model may start from: the first ones in digest order."""


@register("axis", name="clean")
@dataclass(frozen=True)
class Clean:
    """Accuracy and all other metrics of the kind on clean test samples."""

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all registered metrics of the kind, and its headline metric first."""
        return list(dict.fromkeys((kind.scoring.headline, *entries_of(metrics_of(kind, "clean")))))

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model, and run it for every metric that needs more than its outputs."""
        outputs = context.run(Round("outputs", measured_outputs, context.cohort))
        measured = combined([outputs, more_measured(context, "clean")])
        first = in_digest_order(context.test.ids)[:GENERATIVE_GALLERY]
        with context.model.frozen(), torch.no_grad():
            gallery = context.kind.showing.gallery(context.of(first).outcomes)
        report = context.data.report
        data = {"kept": report.kept, "dropped": report.dropped, "remarks": list(report.remarks)}
        data["source"] = context.data.info.source
        return AxisResult(
            [Column("id", context.ids), *measured.columns],
            {**context.facts, **measured.all_facts},
            {"data": data, "training": dict(context.history) or None},
            gallery,
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute every registered metric of the kind."""
        return checked_headline(summaries(metrics_of(kind, "clean"), table), table.facts, kind.logits)


def measured_outputs(context: Context, state: State) -> Part:
    """Return what the kind measures of the outputs of one cohort."""
    return collected([context.kind.scoring.measured(context.outcomes)])
