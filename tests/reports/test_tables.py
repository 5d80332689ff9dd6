"""Tables of the report can be downloaded as CSV: no cell is a formula; names are neither markup nor HTML."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from suite.decorators import page
from suite.leaderboard.spreadsheets import FORMULA
from suite.registry import REGISTRY
from suite.store import Store
from tests.reports import synthetic as s

pytest.importorskip("streamlit", reason="the report needs the extra `report`")

from suite.reports import figures, frames
from suite.reports.text import with_interval

REPORTS = Path(__file__).parents[2] / "reports"
MODEL, FAILED, CLASS, REASON = "=1+1", "@model", "+class", "-2+3+cmd|' /C calc'!A0"


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("-0.5", "-0.5"),
        ("-1,234.5 bits/char (-1.2e+03 to -0.4)", "-1,234.5 bits/char (-1.2e+03 to -0.4)"),
        ("-96.0 % (-97.0 to -95.0)", "-96.0 % (-97.0 to -95.0)"),
        ("-2+3", "'-2+3"),
        ("-2 +SUM(A1)", "'-2 +SUM(A1)"),
        ("-cmd|x", "'-cmd|x"),
        ("=1", "'=1"),
        ("– skipped", "– skipped"),
        (-0.5, -0.5),
    ],
)
def test_numbers_with_units_are_no_formulas(value: object, cell: object) -> None:
    table = frames.without_formulas(pd.DataFrame({"=a": [value], "n": [-1]}))
    assert table.columns.tolist() == ["'=a", "n"]
    assert table["'=a"].tolist() == [cell]
    assert table["n"].dtype == "int64"


@pytest.fixture(scope="module")
def formulas(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("formulas") / "store")
    store.put(s.clean(MODEL, 0.9, [CLASS, "=b", "@c"]))
    robust = s.robustness(MODEL, "pgd", 0.9)
    store.put(replace(robust, measures=tuple(replace(one, reason=REASON) for one in robust.measures)))
    store.put(s.calibration(MODEL, 0.9))
    store.put(s.attribution(MODEL))
    store.put(s.failed(FAILED, "clean", REASON))
    return store


@pytest.mark.parametrize("name", ["Board", "Model", "Gallery", "About the numbers"])
def test_no_cell_of_a_page_is_a_formula(visit, formulas: Store, name: str) -> None:
    tables = [table.value for table in visit(formulas.root, page=name, model=MODEL).dataframe]
    for table in tables:
        heads = [part for column in table.columns for part in (column if isinstance(column, tuple) else (column,))]
        for cell in (*heads, *table.to_numpy().ravel()):
            if isinstance(cell, str):
                assert not FORMULA.match(cell) or frames.QUANTITY.fullmatch(cell), cell
    if name == "Board":
        assert tables[0]["", "model"].tolist() == [f"'{MODEL}", f"'{FAILED}"]


def test_every_table_of_a_page_is_without_formulas() -> None:
    calls = {path.name for path in REPORTS.glob("*.py") if re.search(r"\.(dataframe|table)\(", path.read_text("utf-8"))}
    assert calls == {"parts.py"}


def test_no_page_renders_html_of_its_own() -> None:
    for path in REPORTS.glob("*.py"):
        assert "unsafe_allow_html" not in path.read_text("utf-8")


def test_the_title_of_a_metric_is_text_in_the_overview() -> None:
    points = pd.DataFrame(
        {"model": ["m"], "metric": ["<b>x</b>"], "bound": [False], "value": [50.0], "lo": [40.0], "hi": [60.0]}
    )
    figure = figures.overview(points, ["<b>x</b>"], "<a href='x'>$y$</a> (%)")
    assert figure.layout.xaxis.title.text == "&lt;a href='x'&gt;&#36;y&#36;&lt;/a&gt; (%)"
    assert figure.data[0].y == ("&lt;b&gt;x&lt;/b&gt;",)


def test_the_unit_of_a_metric_is_text_in_a_sentence(formulas: Store) -> None:
    row = formulas.rows().iloc[0].to_dict() | {"value": 0.5, "lo": None, "hi": None, "status": "ok"}
    assert with_interval(row | {"unit": "**bits** [x](javascript:y)"}) == "0.5 `**bits** [x](javascript:y)`"
    assert with_interval(row | {"unit": "bits/char"}) == "0.5 bits/char"
    assert with_interval(row | {"unit": ""}) == "0.5"
    assert with_interval(row | {"unit": "fraction"}) == "50.0 %"


def test_the_title_of_a_page_is_text(visit) -> None:
    page(title=":red[x] **y**", name="odd")(lambda context: None)
    try:
        assert visit().radio(key="page").options[-1] == "`:red[x] **y**`"
    finally:
        REGISTRY._entries.pop(("", "page", "odd"))
