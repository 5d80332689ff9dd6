from __future__ import annotations

from pathlib import Path

import pytest

from suite.store import Store
from tests.reports import synthetic


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return synthetic.fill(tmp_path_factory.mktemp("filled") / "store")


@pytest.fixture(scope="session")
def folder(store: Store) -> Path:
    return store.root
