"""Performance on clean samples."""

from dataclasses import dataclass

import torch

from suite.axes.base import AxisResult, Context
from suite.registry import REGISTRY, register


@register("axis", name="clean")
@dataclass(frozen=True)
class Clean:
    """Accuracy and all other metrics of the kind on clean test samples."""

    def measure(self, context: Context) -> AxisResult:
        """Compute every registered metric of the kind."""
        outcomes, kind = context.outcomes, context.kind
        kinds = (kind.name, *kind.inherits_metrics_from)
        metrics = [e for e in REGISTRY.names("metric") if e.meta["kind"] in kinds and e.meta["axis"] == "clean"]
        with context.model.frozen(), torch.no_grad():
            measures = [measure for entry in metrics for measure in entry.factory(outcomes)]
            gallery = kind.gallery(outcomes)
        report = context.data.report
        data = {"kept": report.kept, "dropped": report.dropped, "source": context.data.info.source}
        return AxisResult(
            measures=measures,
            samples={"id": list(outcomes.ids), **kind.columns(outcomes)},
            details={**kind.details(outcomes), "data": data, "training": dict(context.history) or None},
            arrays=gallery,
        )
