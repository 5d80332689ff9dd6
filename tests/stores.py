"""Helpers to make and compare stores."""

import numpy as np

from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.table import Column
from suite.records.record import About, LabelSpace, Record
from suite.types import IMAGE, Capabilities, Display, Measure, Provenance, RunInfo

ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "share of test samples that are classified correctly",
    columns=(BoardColumn("accuracy"),),
    is_headline=True,
    outcome="correct",
)


def numbers(store):
    """Return the rows without the columns that differ between two runs of the same command."""
    table = store.rows().drop(columns=["run", "time", "wall_s", "peak_mb", "git", "record"])
    return table.sort_values(["model", "spec", "metric", "params"]).reset_index(drop=True)


def measures(store):
    """Return the rows without what the batch size changes besides: it is part of the key."""
    return numbers(store).drop(columns=["key", "batch_size"])


def small_record(key="a" * 64, status="ok", value=0.5, when="2026-01-01T00:00:00+00:00", **extra):
    """Return a record with one row, and the columns, facts, details and arrays in `extra`."""
    provenance = Provenance(
        key, "t", "1", "classification", "m", "clean", "clean", 3, 0, {"data": "d"}, "cpu", "float32", 64, "0"
    )
    run_info = RunInfo("run", when, 0.1, 10.0, "")
    if status != "ok":
        failed = Measure("-", None, None, None, 0, "none", reason="it broke")
        return Record(provenance, run_info, status, (failed,))
    measure = Measure("accuracy", value, None, None, 3, "none", params={"eps": 0.1}, checks={"x": "pass"})
    about = About("accuracy", "binary", "correct predictions", IMAGE, Capabilities(), LabelSpace(("a",), ("a",)))
    return Record(provenance, run_info, status, (measure,), about, (ACCURACY,), **extra)


def column(name, values, population="test", **params):
    """Return a column under a condition."""
    return Column(name, values if isinstance(values, np.ndarray) else np.array(values), params, population)


def ragged(parts):
    """Return arrays as an object array, (n,)."""
    result = np.empty(len(parts), dtype=object)
    for row, part in enumerate(parts):
        result[row] = np.asarray(part)
    return result


def full_record(**extra):
    """Return a record with every encoding, two conditions, two populations, facts, details and arrays."""
    generator = np.random.default_rng(0)
    return small_record(
        columns=(
            column("id", np.array(["a", "", "ü"], dtype=object)),
            column("correct", [True, False, True]),
            column("score", [0.1, np.nan, -0.0]),
            column("quality", [1.0, 0.0, 1.0]),
            column("quality", [1.0, 0.0, 0.0], norm="linf", eps=0.1),
            column("quality", [0.0, 0.0, 0.0], norm="linf", eps=0.2),
            column("output", generator.normal(size=(3, 2, 4)).astype(np.float32)),
            column("confusion", (generator.random((3, 20, 20)) < 0.05).astype(np.int64) * 7),
            column("boxes", ragged([np.zeros((0, 4)), np.ones((2, 4)), np.full((1, 4), np.nan)])),
            column("mask", ragged([np.zeros((2, 3), np.uint8), np.ones((1, 5), np.uint8), np.zeros((0, 2), np.uint8)])),
            column("features", generator.normal(size=(5, 3)), "generated"),
        ),
        facts={"classes": ["a"], "seed": 0, "names": ["t", "m"], "attack": {"norm": "linf"}},
        details={"confusion": [[1, 2], [3, 4]], "name": "ä <b>"},
        arrays={
            "ids": Display(np.array(["a", "ü"]), "id", "ids"),
            "clean": Display(generator.random((2, 1, 3, 3)).astype(np.float32), "image", "input"),
        },
        **extra,
    )


def as_record(stored):
    """Return a stored record as the record that was put, to store it again after a change."""
    return Record(
        stored.provenance,
        stored.run_info,
        stored.status,
        stored.measures,
        stored.about,
        tuple(stored.catalogue.values()),
        [Column(one.name, one.values.copy(), one.params, one.population) for one in stored.columns],
        stored.facts,
        stored.details,
        {
            name: Display(one.values, one.type, one.role, one.params, one.per_sample)
            for name, one in stored.arrays.items()
        },
    )
