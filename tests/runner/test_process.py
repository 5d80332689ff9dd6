"""A process that runs out of memory or gets an invalid thread setting."""

import subprocess
import sys

import pytest
import torch

from suite.errors import SuiteError
from suite.runner.process import use_threads
from suite.store import Store

RUN = """
import sys
from suite.runner.harness import Harness, plan
from suite.runner.process import limit_memory
from suite.store import Store
store, toy = sys.argv[1:]
limit_memory(2**30)
cells = plan([f"{toy}:toy"], [f"{toy}:hoarder", f"{toy}:quick"], ["clean"])
Harness(Store(store)).run(cells)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux overcommits memory")
def test_a_model_that_needs_too_much_memory_is_a_failed_row(tmp_path, toy):
    file = toy("").removesuffix(":")
    done = subprocess.run([sys.executable, "-c", RUN, tmp_path, file], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    rows = Store(tmp_path).rows()
    out_of_memory = rows[rows["model"].str.endswith("hoarder")]
    assert out_of_memory["status"].tolist() == ["failed"]
    assert out_of_memory["reason"].iloc[0].startswith("out of memory")
    assert "ok" in set(rows[rows["model"].str.endswith("quick")]["status"])


@pytest.mark.parametrize("count", ["0", "-1", "many", ""])
def test_an_invalid_number_of_threads_is_an_error(monkeypatch, count):
    monkeypatch.setenv("SUITE_THREADS", count)
    with pytest.raises(SuiteError, match="positive number"):
        use_threads()


def test_threads_come_from_the_environment_and_are_one_by_default(monkeypatch):
    monkeypatch.setenv("SUITE_THREADS", "2")
    use_threads()
    assert torch.get_num_threads() == 2
    monkeypatch.delenv("SUITE_THREADS")
    use_threads()
    assert torch.get_num_threads() == 1
