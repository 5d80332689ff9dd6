"""The measures of registered metrics on outcomes, as the axes compute them."""

import numpy as np

from suite.axes.registered import measured_by, summaries
from suite.metrics.table import Column, Table, collected
from suite.registry import REGISTRY


def metrics_named(*names):
    """Return registered metrics by name, in their order."""
    return [entry for entry in REGISTRY.names("metric") if entry.name in names]


def table_of(outcomes, *names):
    """Return the columns and facts that some registered metrics need, and those of the kind if there are outputs."""
    own = [] if outcomes.output is None else [outcomes.kind.scoring.measured(outcomes)]
    whole = collected([*own, *measured_by(metrics_named(*names), outcomes)])
    columns, facts = whole.columns, whole.all_facts
    ids = Column("id", np.array(outcomes.ids, dtype=object))
    return Table((ids, *columns), facts, seed=outcomes.seed)


def measures_of(outcomes, *names, rows=None):
    """Return the measures of some registered metrics, of some rows."""
    table = table_of(outcomes, *names)
    return summaries(metrics_named(*names), table if rows is None else table.take(rows))
