"""Shared fixtures; all tests run on one thread, so that results do not depend on the load of the machine."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import suite  # noqa: F401  # pins the rounding of matrix products before any computation

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def _one_thread():
    torch = __import__("sys").modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy():
    """Return a function from a name in fixtures/toy.py to its spec, as in toy("quick")."""
    return lambda name: f"{FIXTURES / 'toy.py'}:{name}"
