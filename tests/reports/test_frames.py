from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from suite.leaderboard import board
from suite.records.reading import StoredRecord
from suite.store import Store
from tests.reports import synthetic as s
from tests.reports.pages import rows_of

pytest.importorskip("plotly", reason="the report needs the extra `report`")
from suite.reports import curves, figures, frames
from suite.reports.text import described, figure_text, in_unit, number, plain, prose, span


def record_of(store: Store, model: str, axis: str, attack: str = "pgd") -> StoredRecord:
    records = [store.record(name) for name in rows_of(store, s.TASK, axis, model)["record"].unique()]
    return next(record for record in records if record.facts.get("attack", {}).get("name", attack) == attack)


def test_board_frame_has_value_interval_and_ties_side_by_side(store: Store) -> None:
    frame = frames.board_frame(board(store, s.TASK))
    assert frame["", "model"].tolist() == [s.GOOD, s.WEAK, s.BROKEN]
    assert frame["accuracy % ↑", "value"].tolist()[:2] == [97.0, 96.0]
    assert np.isnan(frame["accuracy % ↑", "value"].iloc[2])
    assert frame["accuracy % ↑", "95 % interval"].tolist() == ["94.4 to 98.6", "93.1 to 97.9", "–"]
    assert frame["accuracy % ↑", "verdict"].tolist() == ["✓ valid", "✓ valid", "✗ invalid (failed)"]
    assert frame["accuracy % ↑", "ties"].tolist() == ["a", "a", "–"]
    assert frame["", "rank"].tolist() == ["1-2", "1-2", "–"]
    robust = frame["pgd linf 0.05 % ↑", "random"]
    assert robust.tolist()[:2] == pytest.approx([96.0, 65.0]) and np.isnan(robust.iloc[2])
    assert ("accuracy % ↑", "random") not in frame
    assert frame["insertion over random % ↑", "best method"].tolist() == ["gradcam", "–", "–"]
    assert "TrainingError" in frame["", "failures"].tolist()[2]


def test_metric_frame_shows_dashes_for_missing_values(store: Store) -> None:
    frame = frames.metric_frame(rows_of(store, s.TASK, "calibration", s.GOOD))
    line = frame[frame["metric"] == "temperature"].iloc[0]
    assert (line["value"], line["95 % interval"], line["control"], line["reason"]) == ("1.7 ratio", "–", "–", "–")
    pgd = frames.metric_frame(rows_of(store, s.TASK, "robustness", s.GOOD))
    assert any("more_steps_never_help: pass" in checks for checks in pgd["checks"])
    assert "reference" not in " ".join(pgd["metric"])


def test_learning_curve_marks_the_selected_epoch() -> None:
    frame = curves.learning_frame(s.training())
    assert len(frame) == 24
    figure = figures.learning_curve(frame, "loss", 8, "loss (nats)")
    assert [trace.name for trace in figure.data] == ["train", "validation"]
    assert figure.layout.annotations[0].text == "selected: epoch 8"
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("epoch", "loss (nats)")
    assert curves.learning_frame({}).empty


def test_recall_is_in_percent_with_its_interval(store: Store) -> None:
    ((metric, frame),) = frames.by_class(rows_of(store, s.TASK, "clean", s.GOOD))
    assert metric.title == "recall of a class"
    assert frame["class"].tolist() == [str(k) for k in range(10)]
    assert (frame["lo"] <= frame["value"]).all() and (frame["value"] <= frame["hi"]).all()
    assert frame["value"].max() == 100
    figure = figures.by_class(frame, "recall (%)")
    assert figure.layout.xaxis.title.text.endswith("(%)")
    assert list(figure.layout.yaxis.ticktext) == frame["class"].tolist()


def test_confusion_matrix_shows_counts_and_escapes_names() -> None:
    figure = figures.confusion(["7", "<b>8</b>"], [[9, 1], [0, 0]])
    assert [list(row) for row in figure.data[0].text] == [["9", "1"], ["0", "0"]]
    assert list(figure.layout.xaxis.ticktext) == ["7", "&lt;b&gt;8&lt;/b&gt;"]
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("predicted class", "true class")


def test_reliability_leaves_empty_bins_out(store: Store) -> None:
    diagram = record_of(store, s.GOOD, "calibration").facts["methods"][0]["facts"]["reliability"]
    frame = curves.reliability_frame(diagram)
    empty = frame["count"] == 0
    assert empty.any() and frame.loc[empty, "accuracy"].isna().all()
    figure = figures.reliability(frame)
    assert len(figure.data[1].x) == (~empty).sum()
    assert sum(figure.data[2].y) == frame["count"].sum()


def test_robustness_curve_has_bands_and_control(store: Store) -> None:
    record = record_of(store, s.GOOD, "robustness")
    frame = curves.robustness_frame(record.details)
    assert frame["size"].tolist() == [0.0, *s.EPS]
    assert frame["value"].iloc[0] == pytest.approx(97)
    figure = figures.robustness(frame, figures.size_title(record.facts["attack"]), "accuracy")
    assert [trace.name for trace in figure.data if trace.showlegend is None] == ["random control", "attack"]
    assert "linf" in figure.layout.xaxis.title.text
    patch = record_of(store, s.GOOD, "robustness", "patch")
    size = figures.size_title(patch.facts["attack"])
    drawn = figures.robustness(curves.robustness_frame(patch.details), size, "accuracy")
    assert [trace.name for trace in drawn.data if trace.showlegend is None] == [
        "random control",
        "grey control",
        "attack",
    ]
    assert "covered" in drawn.layout.xaxis.title.text
    assert curves.robustness_frame({"curve": []}).empty


def test_the_overview_shows_accuracy_of_the_first_models(store: Store) -> None:
    points = frames.overview_frame(board(store, s.TASK), most=2)
    assert set(points["model"]) == {s.GOOD, s.WEAK} and "accuracy" in set(points["metric"])
    assert (points["lo"][~points["bound"]] <= points["value"][~points["bound"]]).all() and (
        points["value"] <= points["hi"]
    ).all()
    figure = figures.overview(points, list(dict.fromkeys(points["metric"])), "accuracy (%)")
    assert len(figure.data) == 2 and len({trace.marker.symbol for trace in figure.data}) == 2


def test_series_differ_in_dash_and_marker(store: Store) -> None:
    frame = curves.attribution_frame(record_of(store, s.GOOD, "attribution").details)
    figure = figures.attribution(frame[(frame["baseline"] == "mean") & (frame["kind"] == "insertion")])
    looks = {(trace.line.dash, trace.marker.symbol) for trace in figure.data}
    assert len(looks) == len(figure.data) == len(s.METHODS)
    assert any(trace.name == "random (control)" for trace in figure.data)


@pytest.mark.parametrize("kind", ["deletion", "insertion"])
def test_faithfulness_frame_has_every_point(store: Store, kind: str) -> None:
    frame = curves.attribution_frame(record_of(store, s.GOOD, "attribution").details)
    assert len(frame[frame["kind"] == kind]) == len(s.METHODS) * 2 * 11
    assert frame["share"].max() == 100


def test_dropped_samples_are_listed() -> None:
    frame = frames.dropped_frame({"dropped": {"twice": [["a", "same as b"]]}})
    assert frame.to_dict("records") == [{"reason": "twice", "sample": "a", "detail": "same as b"}]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linear", "`linear`"),
        ("a`b``c", "```a`b``c```"),
        ("`a", "`` `a ``"),
        ("", "`(empty)`"),
        ("  ", "`(empty)`"),
        ("a\nb\x1b", r"`a\nb\x1b`"),
        ("\u202eevil", r"`\u202eevil`"),
        ("x" * 400, "`" + "x" * 299 + "…`"),
        (3, "`3`"),
    ],
    ids=str,
)
def test_plain_is_one_code_span(text: object, shown: str) -> None:
    assert plain(text) == shown


def test_figure_text_has_no_markup() -> None:
    assert figure_text("<a href='x'>$y$ %{z}") == "&lt;a href='x'&gt;&#36;y&#36; &#37;&#123;z&#125;"


@pytest.mark.parametrize("text", ["a good title (%), 8/255", "ratio: 1.5", "naïve", "top-5"])
def test_text_without_markup_stays_prose(text: str) -> None:
    assert prose(text) == text


@pytest.mark.parametrize("text", ["**b**", "a_b_", ":smile:", "www.evil.invalid", "https://x", "<b>", "$x$", "`", ""])
def test_text_that_could_be_markup_becomes_a_code_span(text: str) -> None:
    assert prose(text) == plain(text)


def test_units_and_params_in_words() -> None:
    assert in_unit("mAP", "fraction") == "mAP (%)"
    assert in_unit("code length", "bit per dimension") == "code length (bit per dimension)"
    assert in_unit("bits per character", "bits") == "bits per character"
    assert described("ECE", {"proxy": True, "bins": 15, "reference": True}) == "ECE (proxy, bins 15)"
    assert described("ECE", {"proxy": False}) == "ECE"
    assert number(1088.4375, "passes") == "1,088 passes" and number(1e12, "") == "1e+12"


def test_methods_are_side_by_side(store: Store) -> None:
    table = frames.pivot_frame(rows_of(store, s.TASK, "attribution", s.GOOD), "method")
    assert table.columns.tolist()[:4] == ["metric", "meaning", "saliency", "integrated gradients"]
    assert table["metric"].tolist()[:2] == ["deletion AUC (baseline mean)", "insertion AUC (baseline mean)"]
    assert table["gradcam"].tolist()[1] == "75.0 % (73.0 to 77.0)"


def test_numbers_as_text() -> None:
    assert number(0.9745, "fraction") == "97.5 %"
    assert number(None, "fraction") == number(float("nan"), "nats") == "–"
    assert number(0.2134, "nats") == "0.213 nats"
    assert span(0.1, 0.2, "fraction") == "10.0 to 20.0"
    assert span(None, 0.2, "fraction") == "–"


def test_a_degenerate_interval_is_not_shown(tmp_path) -> None:
    store = Store(tmp_path)
    record = s.clean("m", 0.9, ["0", "1"])
    first = replace(record.measures[0], lo=0.9, hi=0.9, method="none(constant sample)")
    store.put(replace(record, measures=(first, *record.measures[1:])))
    made = board(store, s.TASK)
    assert frames.board_frame(made)["accuracy % ↑", "95 % interval"].tolist() == ["–"]
    points = frames.overview_frame(made, most=1)
    assert points["value"].tolist() == pytest.approx([90]) and points[["lo", "hi"]].isna().all(axis=None)
    assert figures.overview(points, ["accuracy"], "accuracy (%)").to_json()
