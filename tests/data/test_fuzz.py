"""500 damaged files of all formats: nothing but samples, rejections and our own errors, and nothing hangs.

The script `tests.benchmarks.fuzz` reads 20,000.
"""

import warnings

from tests.benchmarks.fuzz import fuzz
from tests.benchmarks.fuzz_sets import FORMATS


def test_damaged_files_are_read_rejected_or_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged metadata
        tally = fuzz(sorted(FORMATS), 500, 1, tmp_path)
    assert not tally.faults, "\n".join(f"{name} number {number}: {end}" for name, number, end in tally.faults)
    assert sum(ends.total() for ends in tally.ends.values()) == 500
    assert all(ends["refused"] + ends["rejected some"] for ends in tally.ends.values()), "some damage must be noticed"
