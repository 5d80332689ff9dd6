"""No number moves: the records of a small matrix are those that were kept, bit for bit."""

import json

import pytest

from tests.golden.matrix import MATRIX, RECORDS, machine, measure, summaries

pytestmark = pytest.mark.slow
KEPT = json.loads(RECORDS.read_text())


@pytest.mark.parametrize("task", MATRIX)
def test_records_equal_the_kept_ones_bit_for_bit(task, tmp_path):
    if KEPT["machine"] != machine():
        pytest.skip(f"the records were kept on {KEPT['machine']}; this machine is {machine()}, and rounds differently")
    found = summaries(measure(task, tmp_path))
    assert found.keys() == KEPT[task].keys()
    for name, kept in KEPT[task].items():
        assert found[name] == kept, name
