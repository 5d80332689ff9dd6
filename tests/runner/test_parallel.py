"""Several processes store the same rows as a single one, and a failure in any of them is reported."""

import pytest

from suite.errors import DataError
from suite.runner.harness import Harness, plan, with_full_recipe
from suite.runner.parallel import run_in_processes
from suite.runner.settings import Settings
from suite.store import Store
from tests.stores import numbers

STRICT = '''
import numpy as np
from suite import Rejected, Sample, task


@task(kind="classification", classes=("a", "b"))
def broken(split, seed):
    """One record that cannot be read."""
    yield Rejected(f"{split}-lost.png", "the file is empty")
    for place in range(6):
        yield Sample(f"{split}-{place}", np.full((4, 4), place / 10 + len(split) / 100), place % 2)
'''


def test_two_processes_store_and_report_the_same_as_one(tmp_path, toy):
    cells = plan([toy("toy")], [toy("quick"), toy("dropping"), toy("unbuildable")], ["clean", "calibration(members=1)"])
    done, loaded = [], []
    settings = Settings(on_cell_done=lambda *cell: done.append(cell), on_task_loaded=loaded.append)
    parallel = run_in_processes(Store(tmp_path / "parallel"), settings, cells, 2)
    single = Harness(Store(tmp_path / "single"), Settings()).run(cells)
    assert sorted(map(repr, parallel.ran)) == sorted(map(repr, single.ran)) and parallel.keys == single.keys
    assert numbers(Store(tmp_path / "parallel")).equals(numbers(Store(tmp_path / "single")))
    assert sorted(map(repr, done)) == sorted(map(repr, single.ran))
    assert len(loaded) == 1  # both processes load the task, but it is reported once


def test_stored_cells_are_skipped_by_several_processes(tmp_path, toy):
    cells = plan([toy("toy")], [toy("quick"), toy("dropping")], ["clean"])
    run_in_processes(Store(tmp_path), Settings(), cells, 2)
    again = run_in_processes(Store(tmp_path), Settings(), cells, 2)
    assert (len(again.stored), len(again.ran)) == (2, 0)


def test_a_strict_run_stops_before_anything_is_measured(tmp_path, toy):
    (tmp_path / "strict.py").write_text(STRICT)
    cells = plan([f"{tmp_path}/strict.py:broken"], ["linear", "cnn"], ["clean"])
    for jobs in (1, 2):
        with pytest.raises(
            DataError, match=r"strict mode.*3 of 21 dropped, unreadable.*the file is empty.*without --strict"
        ):
            run_in_processes(Store(tmp_path / "store"), Settings(strict=True), cells, jobs)
    assert Store(tmp_path / "store").rows().empty
    lenient = Harness(Store(tmp_path / "store"), Settings()).run(cells[:1])
    assert lenient.ran or lenient.stored


def test_full_changes_only_models_with_a_full_recipe():
    assert with_full_recipe("unet") == "unet(full=True)" and with_full_recipe("unet(full=False)") == "unet(full=False)"
    assert with_full_recipe("cnn(width=8)") == "cnn(width=8)"
