"""What every test shares: one thread, so that results and times do not depend on what else the machine does."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

import suite  # noqa: F401  # fixes how products round, before anything is computed

FIXTURES = Path(__file__).parent / "fixtures"


@pytest.fixture(autouse=True)
def _one_thread():
    torch = __import__("sys").modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


@pytest.fixture(scope="session")
def toy():
    """Return the spec of something in the toy file: toy("quick")."""
    return lambda name: f"{FIXTURES / 'toy.py'}:{name}"
