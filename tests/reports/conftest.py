from __future__ import annotations

from pathlib import Path

import pytest

from suite.store import Store
from tests.reports import synthetic, synthetic_scenes

APP = Path(__file__).parents[2] / "reports" / "app.py"


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return synthetic_scenes.add(synthetic.fill(tmp_path_factory.mktemp("filled") / "store"))


@pytest.fixture(scope="session")
def folder(store: Store) -> Path:
    return store.root


@pytest.fixture
def visit(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that opens a page of the report, with a query, and checks that it shows no error."""
    testing = pytest.importorskip("streamlit.testing.v1", reason="the report needs the extra `report`")

    def run(store: Path = folder, **query: str):
        monkeypatch.setenv("SUITE_STORE", str(store))
        app = testing.AppTest.from_file(str(APP), default_timeout=60)
        app.query_params.update(query)
        app.run()
        assert [error.value for error in app.exception] == []
        return app

    return run
