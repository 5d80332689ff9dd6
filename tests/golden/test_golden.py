"""The records of a small matrix equal the stored reference records, bit for bit."""

import json

import pytest

from tests.golden.matrix import MATRIX, RECORDS, machine, measure, summaries

pytestmark = pytest.mark.slow
REFERENCE = json.loads(RECORDS.read_text())


@pytest.mark.parametrize("task", MATRIX)
def test_records_equal_the_reference_bit_for_bit(task, tmp_path):
    if REFERENCE["machine"] != machine():
        pytest.skip(
            f"the reference was recorded on {REFERENCE['machine']}; this machine is {machine()}, and rounds differently"
        )
    results = summaries(measure(task, tmp_path))
    assert results.keys() == REFERENCE[task].keys()
    for name, expected in REFERENCE[task].items():
        assert results[name] == expected, name
