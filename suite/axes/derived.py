"""Measures of stored records, computed again from their columns and facts."""

from typing import Any

from suite.axes.base import Axis, Side, summarise
from suite.kinds.base import Kind
from suite.records.reading import StoredRecord
from suite.registry import REGISTRY, resolve
from suite.types import Measure


def axis_and_kind(record: StoredRecord) -> tuple[Axis, Kind]:
    """Return the axis with the configuration of a record, and the kind of its task.

    Raises:
        UnknownNameError, PluginError: the axis, a part of its spec, or the kind is not installed.
    """
    kind: Kind = REGISTRY.get("kind", record.provenance.kind).factory()
    entry, spec = resolve("axis", record.provenance.spec)
    axis: Axis = entry.build(spec)
    return axis, kind


def summarise_record(
    record: StoredRecord, *, rows: Any = None, level: float = 0.95, side: Side = "both"
) -> list[Measure]:
    """Return the measures of a stored record, of some of its samples, or at another level, without the model.

    Args:
        record: from `suite.Store.record`.
        rows: indices or a mask of the samples to use; None for all. ``record.table["id"]`` has their ids.
        level: confidence level of the intervals.
        side: ``both`` for two-sided intervals; ``lower`` or ``upper`` for a one-sided bound at this level.

    Raises:
        UnknownNameError: the axis or the kind is not installed.
        MeasureError: the level or the side is invalid, or no sample is left.
        StoreError: a column is damaged.
    """
    axis, kind = axis_and_kind(record)
    return summarise(axis, kind, record.columns, record.facts, rows=rows, level=level, side=side)
