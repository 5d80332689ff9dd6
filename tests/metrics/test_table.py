"""Tables of per-sample columns: conditions, subsets, levels, and what travels with a metric."""

import json
from dataclasses import replace

import numpy as np
import pytest

from suite.errors import MeasureError
from suite.metrics.catalogue import BoardColumn, Metric
from suite.metrics.stats import average, mean_measure, rate
from suite.metrics.table import Column, Measured, Table, collected

LENGTH = Metric("length", "length", "mean length of a fish", unit="cm", higher_is_better=None)
CAUGHT = Metric("caught", "caught", "share of fish that were caught")
VALUES = np.random.default_rng(0).normal(10, 2, 60)


def table(**fields):
    columns = (
        Column("length", VALUES),
        Column("caught", VALUES > 10),
        Column("length", VALUES + 1, {"lake": "deep"}),
        Column("length", VALUES + 2, {"lake": "deep", "year": 2}),
        Column("weight", np.arange(3.0), population="nets"),
    )
    return Table(columns, {"lakes": 2}, seed=3, **fields)


def test_a_column_is_found_by_name_under_a_condition():
    assert np.array_equal(table()["length"], VALUES)
    assert np.array_equal(table().at(lake="deep")["length"], VALUES + 1)
    assert np.array_equal(table().at(lake="deep", year=2)["length"], VALUES + 2)
    assert np.array_equal(table().at(lake="deep")["caught"], VALUES > 10), "columns without the param stay"
    assert np.array_equal(table().of("nets", "weight"), np.arange(3.0))
    assert table().conditions("length") == [{}, {"lake": "deep"}, {"lake": "deep", "year": 2}]


def test_a_missing_column_names_those_that_exist():
    with pytest.raises(MeasureError, match=r"no column 'depth'.*there are: caught, length"):
        table()["depth"]
    assert "depth" not in table()
    assert "length" in table()


def test_measures_have_the_fields_of_the_metric_and_the_params_of_the_condition():
    measure = table().at(lake="deep").mean(LENGTH, VALUES, params={"method": "rod"})
    assert (measure.metric, measure.unit, measure.higher_is_better) == ("length", "cm", None)
    assert measure.params == {"lake": "deep", "method": "rod"}
    assert measure.lo == mean_measure("length", VALUES, seed=3).lo


def test_a_subset_is_the_table_of_these_rows():
    chosen = np.flatnonzero(VALUES > 9)
    few = table().take(chosen)
    assert len(few) == len(chosen)
    assert np.array_equal(few.of("nets", "weight"), np.arange(3.0)), "other populations stay whole"
    assert few.rate(CAUGHT, few["caught"]) == rate("caught", VALUES[chosen] > 10)
    same = table().take(VALUES > 9).resampled(LENGTH, average(few["length"]))
    assert same.value == pytest.approx(VALUES[chosen].mean())


def test_the_level_widens_every_interval():
    for measured in (
        lambda t: t.rate(CAUGHT, t["caught"]),
        lambda t: t.mean(LENGTH, t["length"]),
        lambda t: t.resampled(LENGTH, average(t["length"])),
    ):
        narrow, wide = measured(table(level=0.8)), measured(table(level=0.99))
        assert narrow.value == wide.value
        assert wide.lo < narrow.lo < narrow.hi < wide.hi
        assert (narrow.level, wide.level) == (0.8, 0.99)


def test_parts_are_collected_under_one_condition():
    parts = [{"a": [1, 2]}, Measured({"a": [3, 4], "b": [5, 6]}, {"fact": 1}), Measured({"c": [7]}, population="nets")]
    part = collected(parts, lake="deep")
    found = {(column.population, column.name): column.values.tolist() for column in part.columns}
    assert found == {("test", "a"): [1, 2], ("test", "b"): [5, 6], ("nets", "c"): [7]}
    assert all(column.params == {"lake": "deep"} for column in part.columns)
    assert part.facts == {"fact": 1}


def test_a_declaration_survives_json():
    shown = BoardColumn("{attack} {size}", {"reference": True}, "method", ("random",), {"baseline": "mean"})
    metric = Metric("m", "M", "what it measures", "cm", None, "random", (shown,), descriptive=("runs",))
    assert Metric.from_json(json.loads(json.dumps(metric.to_json()))) == metric
    assert len({metric, Metric.from_json(metric.to_json())}) == 1


def test_a_metric_under_attack_is_a_headline_with_a_control():
    attacked = Metric("accuracy", "accuracy", "share right", outcome="correct", is_headline=True).under_attack()
    assert (attacked.name, attacked.control, attacked.upper_bound) == ("robust_accuracy", "random", True)
    assert attacked.outcome == "quality"
    errors = Metric("rmse", "RMSE", "error", unit="kg", higher_is_better=False).under_attack()
    assert (errors.name, errors.unit, errors.upper_bound) == ("robust_rmse", "kg", False)


def test_measures_resampled_together_equal_single_ones():
    stored, other = table(), replace(LENGTH, name="width")
    values, params = stored["length"], {"side": "left"}

    def together(counts):
        return np.stack([average(values)(counts), average(values**2)(counts)], axis=1)

    both = stored.resampled_together([LENGTH, other], together, each=[{}, {"params": params}], seed=3)
    assert both == [
        stored.resampled(LENGTH, average(values), seed=3),
        stored.resampled(other, average(values**2), seed=3, params=params),
    ]
    with pytest.raises(ValueError, match="zip"):
        stored.resampled_together([LENGTH], together)


def test_measures_follow_the_groups_of_their_rows():
    whole = table()
    grouped = replace(whole, columns=(*whole.columns, Column("group", np.repeat([f"boat {i}" for i in range(12)], 5))))
    every = grouped.mean(LENGTH, VALUES)
    assert (every.n, every.groups) == (60, 12)
    few = VALUES > 10
    assert grouped.rate(CAUGHT, VALUES[few] > 11, rows=few).groups == len(np.unique(np.flatnonzero(few) // 5))
    assert grouped.take(few).mean(LENGTH, VALUES[few]).groups == grouped.mean(LENGTH, VALUES[few], rows=few).groups
    assert grouped.resampled(LENGTH, average(VALUES[:30]), 30, rows=np.arange(30)).groups == 6
    assert grouped.mean(LENGTH, [1.0, 2.0, 4.0]).groups is None, "another population has no groups"
    assert whole.mean(LENGTH, VALUES).groups is None
    with pytest.raises(MeasureError, match="2 values for 3 rows"):
        grouped.mean(LENGTH, [1.0, 2.0], rows=[0, 1, 2])
