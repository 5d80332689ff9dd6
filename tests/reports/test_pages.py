"""Pages add themselves, records of kinds that are not installed are shown, and no metric or kind is known by name."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from suite.decorators import page
from suite.leaderboard import board
from suite.registry import REGISTRY
from suite.store import Store
from suite.types import DisplayType
from tests.reports import synthetic as s
from tests.reports import synthetic_vectors as v
from tests.reports.declared import METRICS
from tests.reports.pages import captions, words

pytest.importorskip("streamlit", reason="the report needs the extra `report`")
import streamlit as st

from suite.reports import about_view, frames, pages

REPORTS = Path(__file__).parents[2] / "reports"
REST = ["interval coverage", "R2"]
KINDS = {"classification", "detection", "segmentation", "sentiment", "language", "autoencoding", "synthesis"}


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return v.add(Store(tmp_path_factory.mktemp("vectors") / "store"))


@pytest.fixture
def added():
    """Register a page, and remove it after the test."""

    @page(title="Hardest samples", needs="model", name="hardest", rank=50)
    def hardest(context: pages.PageContext) -> None:
        st.header("Hardest samples")
        first = context.record(str(context.model_rows["record"].iloc[0]))
        st.write(f"{context.task} {context.model}: {len(context.model_rows)} rows, {first.provenance.axis}")

    yield
    REGISTRY._entries.pop(("", "page", "hardest"))


def test_the_pages_of_the_suite_register_themselves() -> None:
    assert list(pages.installed()) == ["Board", "Model", "Gallery", "About the numbers"]


def test_a_page_is_added_by_the_decorator_alone(visit, added) -> None:
    assert list(pages.installed())[-1] == "Hardest samples"
    app = visit(page="Hardest samples", task=s.TASK, model=s.GOOD)
    assert app.radio(key="page").options[-1] == "Hardest samples"
    assert f"{s.TASK} {s.GOOD}: " in words(app)


def test_pages_of_the_same_title_are_both_listed(added) -> None:
    page(title="Board", name="other")(lambda context: None)
    try:
        assert list(pages.installed())[-1] == "Board (other)"
    finally:
        REGISTRY._entries.pop(("", "page", "other"))


def test_listing_what_is_installed_does_not_load_the_report() -> None:
    script = "import sys; from suite.listing import listing; listing('attack'); print('streamlit' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_board_of_an_unknown_kind_has_its_columns(visit, vectors: Store) -> None:
    table = frames.board_frame(board(vectors, v.TASK))
    heads = list(dict.fromkeys(head for head, _ in table.columns if head))
    assert heads == ["RMSE ↓", "R2 ↑", "pgd linf 0.1 ↓", "CRPS ↓"]
    text = words(visit(vectors.root))
    assert "**RMSE**: root mean squared error. **Lower is better.**" in text
    assert "Overview: RMSE (target units), clean and under each attack" in text


def test_the_model_page_of_an_unknown_kind_is_complete(visit, vectors: Store) -> None:
    app = visit(vectors.root, page="Model")
    text, tables = words(app), [table.value for table in app.dataframe]
    assert "RMSE on the test samples: **54.3 target units (95 % interval 53.2 to 55.4)**, n = 300." in text
    assert "Robust RMSE against perturbation size" in text
    calibration = next(table for table in tables if "normal" in table)
    assert calibration["normal"].tolist() == ["30.2 target units (29.6 to 30.8)", "91.0 % (89.2 to 92.8)"]
    assert "**Deletion drop**: drop of the score without the features." in text
    assert "`occlusion` **✓ beats random** in 1 of 1 comparison" in text
    assert "Drift" in text and any(
        "drift (week 4)" in table["metric"].tolist() for table in tables if "metric" in table
    )


def test_the_gallery_of_an_unknown_kind_shows_vectors(visit, vectors: Store) -> None:
    app = visit(vectors.root, page="Gallery")
    assert "clean, true value 151: `prediction` 140; attacked: `prediction` 180" in words(app)
    table = app.dataframe[0].value
    assert table["feature"].tolist() == list(v.FEATURES)
    assert table["change"].tolist() == pytest.approx([0.1] * 3, abs=1e-6)
    app.radio(key=f"pictures {v.TASK} {v.MODEL}").set_value("Feature attributions").run()
    assert not app.exception and "Supporting: `age` +0.5; opposing: `bmi` -0.3." in words(app)
    assert "<img" not in captions(app)


def test_the_list_of_metrics_contains_those_of_the_store(vectors: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(about_view, "installed", lambda: [METRICS["ece"]])
    table = frames.catalogue_frame(about_view.catalogue(vectors.rows()))
    assert [name for name in table["metric"] if "RMSE" not in name] == ["CRPS", "deletion drop", "drift", "ECE", *REST]
    assert table["better"].tolist()[:2] == ["lower", "higher"] and table["stored as"].tolist()[0] == "crps"


def strings(path: Path) -> set[str]:
    """Return the strings in a source file that are no docstrings."""
    tree = ast.parse(path.read_text("utf-8"))
    documented: Any = (ast.Module, ast.FunctionDef, ast.ClassDef)
    commented = [node for node in ast.walk(tree) if isinstance(node, documented) and ast.get_docstring(node)]
    docs = {id(node.body[0].value) for node in commented}
    constants = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs]
    return {str(node.value) for node in constants if isinstance(node.value, str)}


@pytest.mark.parametrize("path", sorted(REPORTS.glob("*.py")), ids=lambda path: path.stem)
def test_no_metric_and_no_kind_is_known_by_name(path: Path) -> None:
    # A reliability diagram has an accuracy per bin, a record a fitted temperature; a display may be of the type map.
    assert strings(path) & {*METRICS, *KINDS} <= {"accuracy", "temperature", *get_args(DisplayType)}
