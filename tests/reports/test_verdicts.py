"""The report shows verdicts by word and sign, and never by color alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from suite.leaderboard import board, select
from suite.store import Store
from tests.reports import synthetic as s

pytest.importorskip("plotly", reason="the report needs the extra `report`")
from suite.reports import about_view, figures, frames, verdicts

PGD, FGSM = "pgd linf 0.05 % ↑", "fgsm linf 0.05 % ↑"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("ok", "✓ valid"),
        ("suspect", "? suspect"),
        ("inconclusive", "✗ invalid"),
        ("failed", "✗ invalid (failed)"),
        ("skipped", "– skipped"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_every_status_has_a_sign_and_a_word(status: object, words: str) -> None:
    assert verdicts.label(status) == words


def test_only_verdicts_are_colored() -> None:
    styled = {word: verdicts.style(word) for word in ("✓ valid", "≤ 71.2 ? suspect", "✗ invalid (failed)")}
    assert all(styled.values()) and len(set(styled.values())) == 3
    assert verdicts.style("–") == verdicts.style("71.2") == ""
    assert set(verdicts.SIGNS) == set(verdicts.COLORS) and len(set(verdicts.SIGNS.values())) == 3


def test_the_board_shows_a_suspect_number_as_a_bound_under_verdict(store: Store) -> None:
    frame = frames.board_frame(board(store, s.TASK))
    assert frame[FGSM, "verdict"].tolist() == ["✓ valid", "≤ 67.3 ? suspect", "–"]
    assert frame[FGSM, "95 % interval"].tolist()[1] == "up to 72.6"
    assert frame[PGD, "verdict"].tolist()[:2] == ["✓ valid", "✓ valid"]
    assert frame["", "worst verdict"].tolist() == ["✓ valid", "✗ invalid", "✗ invalid (failed)"]


def test_sorting_by_value_never_puts_a_bound_above_a_valid_number(store: Store) -> None:
    frame = frames.board_frame(board(store, s.TASK))
    assert frame[FGSM, "value"].notna().tolist() == [True, False, False]


def test_an_undefined_number_is_invalid_on_the_board(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(s.robustness("fine", "pgd", 0.9))
    store.put(s.undefined("lost"))
    assert frames.board_frame(board(store, s.TASK))[PGD, "verdict"].tolist() == ["✓ valid", "✗ invalid"]


def test_the_table_of_a_model_has_bounds_and_verdicts(store: Store) -> None:
    rows = select(store.rows(), s.TASK).rows
    rows = rows[(rows["model"] == s.WEAK) & rows["spec"].str.contains("fgsm")]
    table = frames.metric_frame(rows).set_index("metric")
    line = table.loc["robust accuracy (attack fgsm, eps 0.05, norm linf)"]
    assert (line["value"], line["95 % interval"], line["verdict"]) == ("≤ 67.3 % ?", "up to 72.6", "? suspect")
    assert line["reason"] == s.SUSPECT_REASON


def test_the_overview_marks_a_bound_by_shape_and_text(store: Store) -> None:
    points = frames.overview_frame(board(store, s.TASK), most=2)
    bounds = points[points["bound"]]
    assert bounds[["model", "metric"]].to_numpy().tolist() == [[s.WEAK, "fgsm linf 0.05"]]
    assert bounds["lo"].isna().all() and bounds["hi"].notna().all()
    weak = next(trace for trace in figures.overview(points, ["accuracy"], "accuracy (%)").data if trace.name == s.WEAK)
    at = list(weak.text).index("≤ ?")
    assert weak.y[at] == "fgsm linf 0.05" and list(weak.text).count("≤ ?") == 1
    assert [symbol.endswith("-open") for symbol in weak.marker.symbol].index(True) == at


def test_reasons_are_given_once_with_their_sizes(store: Store, tmp_path: Path) -> None:
    rows = select(store.rows(), s.TASK).rows
    weak = rows[(rows["model"] == s.WEAK) & rows["spec"].str.contains("fgsm")]
    expected = f"? Suspect, so the numbers are upper bounds, at size 0.02, 0.05, 0.1: `{s.SUSPECT_REASON}`"
    assert list(verdicts.reasons(weak)) == [("suspect", expected)]
    assert verdicts.worst(weak["status"]) == "suspect"
    fine = rows[(rows["model"] == s.GOOD) & rows["spec"].str.contains("fgsm")]
    assert list(verdicts.reasons(fine)) == [] and verdicts.worst(fine["status"]) == "valid"
    other = Store(tmp_path)
    other.put(s.undefined("lost"))
    ((verdict, sentence),) = verdicts.reasons(other.rows())
    assert verdict == verdicts.worst(other.rows()["status"]) == "invalid"
    assert "✗ Invalid" in sentence and "`the outputs are NaN on 12 of 300 samples`" in sentence


def test_the_three_words_are_explained() -> None:
    for text in (about_view.READING, verdicts.IN_SHORT):
        assert all(f"**{sign} {verdict}**" in text for verdict, sign in verdicts.SIGNS.items())
