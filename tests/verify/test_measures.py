"""Every number of every axis follows from what is stored; whatever does not is named."""

import dataclasses
import json

import numpy as np
import pytest

import suite
from suite.metrics.catalogue import Metric
from suite.records.writing import files
from suite.registry import REGISTRY, Entry
from suite.store import Store
from suite.types import Measure
from suite.verify.measures import derive
from tests.verify.tampering import (
    ATTRIBUTION,
    AXES,
    CALIBRATION,
    CORRUPTION,
    LINF,
    differing,
    store_with,
    stored,
    verifications,
    with_facts,
)


def changed(record, place, **changes):
    """Return the record with a changed row."""
    measures = list(record.measures)
    measures[place] = dataclasses.replace(measures[place], **changes)
    return dataclasses.replace(record, measures=tuple(measures))


def first_with(record, **fields):
    """Return the place of the first row with a number, an interval and these fields."""
    return next(
        place
        for place, row in enumerate(record.measures)
        if row.value is not None and row.lo is not None and all(getattr(row, n) == v for n, v in fields.items())
    )


def tampered_rows(record):
    """Yield what is changed of a row, the record, and what the sentence must contain."""
    place = first_with(record)
    row = record.measures[place]
    low = row.lo - 0.01
    middle = (row.lo + row.hi) / 2 if row.hi - row.lo > 1e-6 else None
    if middle is not None and abs(middle - row.value) > 1e-6:
        yield "value", changed(record, place, value=middle), f"value is {middle:.12g}, but {row.value:.12g} follows"
    yield "lo", changed(record, place, lo=low), f"lo is {low:.12g}, but {row.lo:.12g} follows"
    yield "hi", changed(record, place, hi=row.hi + 0.01), f"but {row.hi:.12g} follows"
    yield "n", changed(record, place, n=row.n + 1), f"n is {row.n + 1}, but {row.n} follows"
    yield "n_failed", changed(record, place, n_failed=1), "n_failed is 1, but 0 follows"
    yield "method", changed(record, place, method="guess"), f"method is 'guess', but '{row.method}' follows"
    yield "level", changed(record, place, level=0.9), "level is 0.9, but 0.95 follows"
    yield "unit", changed(record, place, unit="points"), f"unit is 'points', but '{row.unit}' follows"
    yield "control", changed(record, place, control=0.123), "control is 0.123, but"
    yield "reason", changed(record, place, reason="none"), "reason is 'none', but"
    yield "checks", changed(record, place, checks={**row.checks, "new": "pass"}), "the check new is pass, but no such"
    yield "params", changed(record, place, params={**row.params, "new": 1}), '"new": 1'
    rest = (*record.measures[:place], *record.measures[place + 1 :])
    yield "a row", dataclasses.replace(record, measures=rest), f"the row {row.metric}"
    undefined = dataclasses.replace(row, value=None, lo=None, hi=None, reason="unknown", checks={})
    yield (
        "status",
        changed(record, place, **{n: getattr(undefined, n) for n in ("value", "lo", "hi", "reason")}),
        "value",
    )


@pytest.mark.parametrize("spec", AXES)
def test_every_field_of_every_row_is_compared(measured, record_filter, tmp_path, spec):
    record = stored(measured, spec)
    kept = {metric.name for metric in record.catalogue}
    for number, (name, tampered, sentence) in enumerate(tampered_rows(record)):
        text = differing(measured, tmp_path / str(number), record_filter, tampered)
        title = f"the row {record.measures[first_with(record)].metric}"
        assert title in text and sentence in text, (name, text)
        assert "does not follow from the columns" in text or "is missing: it follows" in text
        assert {metric.name for metric in tampered.catalogue} == kept


def test_the_status_of_a_check_is_compared(measured, record_filter, tmp_path):
    record = stored(measured, LINF)
    checks = {**record.measures[0].checks, "random_does_less": "fail"}
    text = differing(measured, tmp_path, record_filter, changed(record, 0, checks=checks, reason="it failed"))
    was = record.measures[0].checks["random_does_less"]
    assert f"the check random_does_less is fail, but {was} follows" in text
    assert "status is 'suspect', but 'ok' follows" in text


def test_an_additional_row_is_named(measured, record_filter, tmp_path):
    record = stored(measured, "clean")
    extra = dataclasses.replace(record.measures[0], params={"class": "x"})
    text = differing(measured, tmp_path, record_filter, dataclasses.replace(record, measures=(*record.measures, extra)))
    assert 'the row accuracy {"class": "x"} does not follow from the columns: there is none like it' in text


READ = {
    "clean": ("correct", {}),
    LINF: ("quality", {"control": "random", "norm": "linf", "eps": 0.1}),
    CALIBRATION: ("log_likelihood", {"uncertainty": "softmax"}),
    CORRUPTION: ("quality", {"corruption": "fog", "severity": 3}),
    ATTRIBUTION: ("insertion_auc", {"method": "saliency", "baseline": "mean"}),
}
"""A column of each axis from which a row follows."""


def with_changed_entry(record, column):
    """Return the record with another value in one entry of a column."""
    values = column.values.copy()
    old = values[0]
    values[0] = ~old if values.dtype == bool else f"{old}x" if values.dtype == object else np.nan_to_num(old) + 1
    columns = [dataclasses.replace(one, values=values) if one is column else one for one in record.columns]
    return dataclasses.replace(record, columns=columns)


@pytest.mark.parametrize(("spec", "name", "params"), [(spec, *column) for spec, column in READ.items()])
def test_one_changed_entry_of_a_column_is_named(measured, record_filter, tmp_path, spec, name, params):
    record = stored(measured, spec)
    (column,) = (one for one in record.columns if (one.name, one.params) == (name, params))
    text = differing(measured, tmp_path, record_filter, with_changed_entry(record, column))
    # a value that a metric cannot have stops its summary
    assert "does not follow from the columns" in text or "within the declared bounds" in text, text


@pytest.mark.parametrize("spec", AXES)
def test_every_changed_entry_of_a_file_is_named(measured, record_filter, tmp_path, spec):
    """Write another value into the file of columns, whether or not a row follows from it."""
    record = stored(measured, spec)
    for number, column in enumerate(record.columns):
        store = store_with(measured, tmp_path / str(number), record)
        (folder,) = store.root.glob("records/*/*")
        name = f"columns.{column.population}.parquet"
        (folder / name).write_bytes(files(with_changed_entry(record, column))[name])
        (verification,) = verifications(store, record_filter)
        assert f"the SHA-256 of {name} is" in verification.differences[0], column


@pytest.mark.parametrize("spec", AXES)
def test_two_swapped_ids_are_named(measured, record_filter, tmp_path, spec):
    record = stored(measured, spec)
    (ids,) = (one.values for one in record.columns if (one.name, one.population) == ("id", "test"))
    ids[[0, 1]] = ids[[1, 0]]
    text = differing(measured, tmp_path, record_filter, record)
    few = spec.startswith("attribution")
    assert ("the ids of the per-sample outcomes differ from those of the evaluated samples" in text) is not few


@pytest.mark.parametrize(
    ("spec", "fact", "value"),
    [
        ("clean", "classes", ["a", "b", "d"]),
        ("clean", "seed", 7),
        (CALIBRATION, "bins", 3),
        (CORRUPTION, "names", ["x", "y", "z"]),
        (LINF, "workarounds", {"deterministic": "handled"}),
    ],
)
def test_a_changed_fact_is_named(measured, record_filter, tmp_path, spec, fact, value):
    record = stored(measured, spec)
    assert fact in record.facts
    text = differing(measured, tmp_path, record_filter, with_facts(record, **{fact: value}))
    assert "follow" in text, text


def test_a_changed_sentence_of_a_check_is_named(measured, record_filter, tmp_path):
    record = stored(measured, LINF)
    checks = {**record.facts["checks"], "falls_with_eps": ["pass", "all is well"]}
    text = differing(measured, tmp_path, record_filter, with_facts(record, checks=checks))
    assert "the fact checks.falls_with_eps is ['pass', 'all is well'], but" in text


def test_the_catalogue_and_the_task_are_compared(measured, record_filter, tmp_path):
    record = stored(measured, "clean")
    more = dataclasses.replace(record, catalogue=(*record.catalogue, Metric("rmse", "RMSE", "error")))
    text = differing(measured, tmp_path / "more", record_filter, more)
    assert text == "the catalogue declares rmse, but no row has it"
    fewer = dataclasses.replace(record, catalogue=record.catalogue[1:])
    text = differing(measured, tmp_path / "fewer", record_filter, fewer)
    assert text == f"the catalogue has no declaration of {record.catalogue[0].name}"
    graded = dataclasses.replace(record, about=dataclasses.replace(record.about, outcome="graded"))
    text = differing(measured, tmp_path / "about", record_filter, graded)
    assert text == "about: outcome is graded, but binary follows from the kind classification"


def test_columns_that_do_not_fit_the_axis_are_one_difference(measured, record_filter, tmp_path):
    record = stored(measured, "clean")
    columns = [one for one in record.columns if one.name != "correct"]
    text = differing(measured, tmp_path, record_filter, dataclasses.replace(record, columns=columns))
    assert text.startswith("the measures cannot be computed from the columns and facts: MeasureError: ")


def test_what_is_not_installed_is_noted(measured, tmp_path):
    record = stored(measured, "clean")
    row = Measure("rmse", 1.0, None, None, 3, "none")
    catalogue = (*record.catalogue, Metric("rmse", "RMSE", "error"))
    metric = dataclasses.replace(record, measures=(*record.measures, row), catalogue=catalogue)
    kind = dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, kind="regression"))
    axis = dataclasses.replace(record, provenance=dataclasses.replace(record.provenance, spec="fairness"))
    for name, changed_record, note in (
        ("metric", metric, "not recomputed: the metric rmse is not installed"),
        ("kind", kind, "measures were not recomputed, because a part of them is not installed"),
        ("axis", axis, "measures were not recomputed, because a part of them is not installed"),
    ):
        store = store_with(measured, tmp_path / name, changed_record)
        derived = derive(Store(store.root).record(store.rows()["record"].iloc[0]))
        assert derived.differences == () and derived.notes[0].startswith(note)
        assert derived.count == (len(record.measures) if name == "metric" else 0)


def test_metrics_that_were_installed_later_are_no_difference(measured, monkeypatch):
    metric = Metric("later", "later", "share of samples that are correct")

    def later(table):
        return [table.rate(metric, table["correct"])]

    meta = {"kind": "classification", "axis": "clean", "entries": (metric,), "measure": None, "per_method": False}
    entry = Entry("metric", "later", later, origin=__file__, meta=meta)
    record = measured.record(measured.rows().query("spec == 'clean'")["record"].iloc[0])
    monkeypatch.setitem(REGISTRY._entries, ("", "metric", "later"), entry)
    derived = derive(record)
    assert derived.differences == () and derived.count == len(record.measures)
    built_in = dataclasses.replace(entry, origin=suite.__file__)
    monkeypatch.setitem(REGISTRY._entries, ("", "metric", "later"), built_in)
    assert derive(record).differences == ("the row later is missing: it follows from the columns",)


@pytest.mark.parametrize("spec", AXES)
def test_a_value_that_is_changed_in_the_file_is_named(measured, record_filter, tmp_path, spec):
    """Change the text of the file, as an editor would, and not the record."""
    store = store_with(measured, tmp_path, stored(measured, spec))
    (path,) = store.root.glob("records/*/*/record.json")
    content = json.loads(path.read_text("utf-8"))
    row = content["measures"][first_with(stored(measured, spec))]
    lower, upper = (row["lo"] + row["value"]) / 2, (row["hi"] + row["value"]) / 2
    row["value"] = next((other for other in (lower, upper) if other != row["value"]), row["value"] + 1e-10)
    path.write_text(json.dumps(content), "utf-8")
    derived = derive(Store(tmp_path).record(path.parent.name))
    assert derived.differences and "value is" in derived.differences[0]
