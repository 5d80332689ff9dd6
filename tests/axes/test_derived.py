"""Measures of stored records follow from their columns: of all samples, of some, at another level, on one side."""

import numpy as np
import pytest
from pytest import approx

from suite import Harness, Store, plan, summarise_record
from suite.errors import MeasureError

AXES = (
    "clean",
    "robustness(attack=pgd(eps=[0.1, 0.2], steps=3), audit=4)",
    "corruption(names=[fog, contrast], severities=[2])",
    "occlusion(fractions=[0.2], places=2)",
    "calibration(members=1, dropout_samples=3)",
)
COHORTS = ("mc_dropout",)
"""What depends on the samples that were evaluated together."""


@pytest.fixture(scope="module")
def stores(tmp_path_factory, toy):
    """Return a store of 12 samples, and one of 5 of them."""
    made = []
    for n in (12, 5):
        store = Store(tmp_path_factory.mktemp(f"n{n}"))
        Harness(store).run(plan([toy("toy")], [toy("dropping")], AXES, n=n))
        made.append(store)
    return made


def records(store):
    rows = store.rows().drop_duplicates("record").sort_values("spec")
    return [store.record(name) for name in rows["record"]]


def numbers(measures):
    return [
        (one.metric, {**one.params, "draws": None}, one.value, one.lo, one.hi, one.control, one.n, one.n_failed)
        for one in measures
        if one.params.get("uncertainty") not in COHORTS
    ]


def test_all_samples_give_the_stored_measures(stores):
    for record in records(stores[0]):
        assert tuple(summarise_record(record)) == record.measures


def test_some_samples_give_what_a_run_on_them_gives(stores):
    for many, few in zip(*map(records, stores), strict=True):
        rows = np.isin(many.table["id"], few.table["id"])
        assert rows.sum() == 5
        assert numbers(summarise_record(many, rows=rows)) == numbers(few.measures)
        indices = numbers(summarise_record(many, rows=np.flatnonzero(rows)))
        assert indices == numbers(few.measures)


def test_a_one_sided_bound_is_an_end_of_a_two_sided_interval(stores):
    for record in records(stores[0]):
        wide, lower, upper = (
            summarise_record(record, level=level, side=side)
            for level, side in ((0.9, "both"), (0.95, "lower"), (0.95, "upper"))
        )
        for both, low, high in zip(wide, lower, upper, strict=True):
            assert (low.lo, low.hi, low.level) == (approx(both.lo), None, 0.95)
            assert (high.lo, high.hi, high.level) == (None, approx(both.hi), 0.95)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": 1.0}, "got level=1.0"),
        ({"level": 0.4, "side": "lower"}, "between 0.5 and 1"),
        ({"side": "left"}, "expected a side of both, lower, upper"),
        ({"rows": []}, "No sample is left"),
    ],
)
def test_wrong_arguments_are_refused(stores, options, message):
    with pytest.raises(MeasureError, match=message):
        summarise_record(records(stores[0])[0], **options)
