"""The records of a small matrix equal the stored reference records, bit for bit, and their rows follow from them."""

import json

import numpy as np
import pytest

from suite.axes.base import summarise
from suite.registry import REGISTRY, resolve
from tests.golden.matrix import MATRIX, RECORDS, machine, measure, summaries
from tests.records.validation import validate

pytestmark = pytest.mark.slow
REFERENCE = json.loads(RECORDS.read_text())


@pytest.fixture(scope="module", params=MATRIX)
def measured(request, tmp_path_factory):
    """Return a task of the matrix and the store with its records."""
    return request.param, measure(request.param, tmp_path_factory.mktemp(request.param))


def test_records_equal_the_reference_bit_for_bit(measured):
    if REFERENCE["machine"] != machine():
        pytest.skip(
            f"the reference was recorded on {REFERENCE['machine']}; this machine is {machine()}, and rounds differently"
        )
    task, store = measured
    results = summaries(store)
    assert results.keys() == REFERENCE[task].keys()
    for name, expected in REFERENCE[task].items():
        assert results[name]["measures"] == expected["measures"], name
        assert results[name] == expected, name


def records(store):
    """Return every record with its axis and kind."""
    for name in store.rows()["record"].unique():
        record = store.record(name)
        entry, spec = resolve("axis", record.provenance.spec)
        yield record, entry.build(spec), REGISTRY.get("kind", record.provenance.kind).factory()


def test_every_measure_follows_from_stored_columns_and_facts(measured):
    for record, axis, kind in records(measured[1]):
        assert tuple(summarise(axis, kind, record.columns, record.facts)) == record.measures, record.name


def test_every_measure_can_be_computed_for_some_of_the_samples(measured):
    for record, axis, kind in records(measured[1]):
        n, title = len(record.table), f"{record.provenance.model} {record.provenance.spec}"
        rows = np.sort(np.random.default_rng(0).permutation(n)[: n // 2])
        whole = {(one.metric, str(one.params)): one.n for one in record.measures}
        others = {count for name, count in record.populations.items() if name != "test"}
        for one in summarise(axis, kind, record.columns, record.facts, rows=rows, level=0.9):
            assert one.level == 0.9 or one.value is None, (title, one)
            # Passes are counted for all samples together; other populations stay whole.
            if whole.get((one.metric, str(one.params))) == n and n not in others and one.metric != "queries":
                assert one.n == len(rows), (title, one)


def test_every_record_fits_the_schema(measured):
    for path in measured[1].root.glob("records/*/*/record.json"):
        validate(json.loads(path.read_text("utf-8")))
