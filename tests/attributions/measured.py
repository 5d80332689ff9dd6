"""The measures of maps, as the axis computes them from stored columns."""

from suite.attributions.maps.measures import faithfulness_measures
from suite.metrics.table import Column, Table


def measures_of(result, rows=slice(None)):
    """Return the faithfulness measures of the given samples of a result."""
    columns = [
        Column(metric, values, {"method": method, "baseline": baseline})
        for (method, metric, baseline), values in result.values.items()
    ]
    return faithfulness_measures(Table(tuple(columns), {"methods": list(result.maps)}).take(rows))
