"""Performance on clean samples."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from suite.axes.base import AxisResult, Context
from suite.axes.registered import entries_of, measured_by, metrics_of, summaries
from suite.kinds.base import Kind
from suite.metrics.catalogue import Metric
from suite.metrics.table import Column, Table, collected
from suite.registry import register
from suite.types import Measure


@register("axis", name="clean")
@dataclass(frozen=True)
class Clean:
    """Accuracy and all other metrics of the kind on clean test samples."""

    def entries(self, kind: Kind) -> Sequence[Metric]:
        """Return the declarations of all registered metrics of the kind, and its headline metric first."""
        return list(dict.fromkeys((kind.scoring.headline, *entries_of(metrics_of(kind, "clean")))))

    def measure(self, context: Context) -> AxisResult:
        """Evaluate the model, and run it for every metric that needs more than its outputs."""
        outcomes, kind = context.outcomes, context.kind
        with context.model.frozen(), torch.no_grad():
            parts = [kind.scoring.measured(outcomes), *measured_by(metrics_of(kind, "clean"), outcomes)]
            gallery = kind.showing.gallery(outcomes)
        columns, facts = collected(parts)
        report = context.data.report
        data = {"kept": report.kept, "dropped": report.dropped, "source": context.data.info.source}
        return AxisResult(
            [Column("id", context.ids), *columns],
            {**context.facts, **facts},
            {"data": data, "training": dict(context.history) or None},
            gallery,
        )

    def summarise(self, table: Table, kind: Kind) -> list[Measure]:
        """Compute every registered metric of the kind."""
        return summaries(metrics_of(kind, "clean"), table)
