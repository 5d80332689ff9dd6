"""Pages and tables of a detector and a segmenter."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.leaderboard import board
from suite.store import Store
from tests.reports import synthetic as s
from tests.reports import synthetic_scenes as c
from tests.reports.pages import captions, rows_of, words

pytest.importorskip("plotly", reason="the report needs the extra `report`")
from suite.reports import curves, figures, frames

TASKS = [(c.BOXES, c.DETECTOR, "mAP"), (c.MASKS, c.SEGMENTER, "mIoU")]
VIEWS = ["Attacks and explanations", "Corruptions", "Occlusion"]


@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_the_board_explains_its_headline_metric(visit, task: str, model: str, name: str) -> None:
    text = words(visit(task=task))
    assert f"**{name}**: " in text and f"Overview: {name}, clean and under each attack" in text
    assert "accuracy" not in text.replace("robust accuracy", "").lower()


@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_the_model_page_uses_the_headline_metric(visit, task: str, model: str, name: str) -> None:
    text = words(visit(page="Model", task=task, model=model))
    assert "62.0 % (95 % interval 60.0 to 64.0)" in text
    assert "accuracy" not in text.lower().replace("pixel accuracy", "").replace("does confidence match accuracy", "")
    assert f"Robust {name} against perturbation size" in text
    assert "Plausibility, not faithfulness:" in text and "Context of the explained object:" in text
    assert "`saliency` **✓ beats random** in 2 of 2 comparisons" in text
    assert "`saliency` **✗ fails: beats random** in 1 of 1 comparison" in text


def test_calibration_covers_boxes_and_regions(visit) -> None:
    app = visit(page="Model", task=c.BOXES)
    assert "the detections of one sample are not independent" in words(app)
    table = next(table.value for table in app.dataframe if "score" in table.value)
    shown = dict(zip(table["metric"], table["score"], strict=True))
    assert (shown["D-ECE"], shown["OCE"]) == ("10.0 % (8.0 to 12.0)", "25.0 % (23.0 to 27.0)")
    assert "score+temperature" in table and words(app).count("#### `score`") == 1  # the other has no diagram
    app = visit(page="Model", task=c.MASKS)
    table = next(table.value for table in app.dataframe if "softmax" in table.value)
    assert {"ECE", "ECE (region foreground)", "ECE (region boundary)"} < set(table["metric"])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_every_gallery_shows_and_describes_outputs(visit, task: str, model: str, name: str, view: str) -> None:
    app = visit(page="Gallery", task=task, model=model)
    app.radio(key=f"pictures {task} {model}").set_value(view).run()
    assert not app.exception
    shown = captions(app)
    if name == "mAP":
        assert "2 objects: 1 detected, 1 wrong class" in shown
        assert "2 objects: 1 missed, 1 newly missed; 1 false positive" in shown
        assert "**solid blue** detects an object" in words(app)
    else:
        assert "mean IoU 100.0 %; pixel accuracy 100.0 %" in shown and "missed entirely" in shown
        assert "Classes in these images" in shown and "**Black and white stripes**" in words(app).replace("\n", " ")
    for element in (*app.markdown, *app.caption):
        assert s.HOSTILE_CLASS not in element.value.replace(f"`{s.HOSTILE_CLASS}`", "")


@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_an_attack_without_outputs_is_shown(visit, task: str, model: str, name: str) -> None:
    app = visit(page="Gallery", task=task, model=model)
    attack = app.selectbox(key=f"attack {task} {model}")
    attack.select(next(option for option in attack.options if option.endswith("broken"))).run()
    assert not app.exception
    assert "attacked: no output was stored" in captions(app)
    assert "**✗ invalid**" in words(app)


@pytest.mark.parametrize("view", VIEWS[1:])
def test_a_classifier_has_the_same_galleries(visit, view: str) -> None:
    app = visit(page="Gallery", task=s.TASK, model=s.GOOD)
    app.radio(key=f"pictures {s.TASK} {s.GOOD}").set_value(view).run()
    assert not app.exception
    shown = captions(app)
    assert "clean, true class `0`: predicts `0` (correct), confidence 80.0 %" in shown
    if view == "Corruptions":
        app.selectbox(key=f"corruption sample {s.TASK} {s.GOOD}").select("test/00001").run()
        assert "`gaussian noise`: predicts `0` (wrong), confidence 80.0 %" in captions(app)
    else:
        assert "worst position: predicts `0` (wrong), confidence 80.0 %" in shown
        assert "at the worst position 0.10" in shown


@pytest.mark.parametrize(
    "lost",
    ["label", "label worst", "heat worst_corner", "boxes", "severity boxes_fog", "images image_clean clean", "eps"],
)
@pytest.mark.parametrize("make", [c.corruption, c.occlusion, c.robustness, c.attribution])
def test_missing_arrays_do_not_break_the_gallery(visit, tmp_path: Path, make: Any, lost: str) -> None:
    store = Store(tmp_path / "store")
    store.put(c.clean("detection"))
    record = make("detection")
    kept = {name: values for name, values in record.arrays.items() if name not in lost.split()}
    store.put(replace(record, arrays=kept))
    visit(store.root, page="Gallery", task=c.BOXES)


def test_the_overview_has_only_the_headline_metric(store: Store) -> None:
    made = board(store, c.BOXES)
    points = frames.overview_frame(made, most=5)
    assert points["metric"].tolist()[0] == "mAP" and len(points) == 2
    assert {column.metric.title for column in frames.headlines(made)} == {"mAP", "robust mAP"}
    table = frames.board_frame(made)
    assert ("pgd vanish linf 0.03 disappearance % ↓", "random") in table
    assert ("mAP % ↑", "random") not in table and ("mAP % ↑", "verdict") not in table


def test_metrics_measured_without_attack_too_have_units_and_controls(store: Store) -> None:
    rows = rows_of(store, c.BOXES, "robustness")
    frame = frames.panels_frame(rows)
    missed = frame[frame["title"] == "disappearance (%)"]
    assert missed["size"].tolist() == [0.0, *c.EPS]
    assert missed["value"].tolist() == pytest.approx([40, 60, 80])
    assert missed["control"].tolist() == pytest.approx([41] * 3)
    false_positives = frame[frame["title"] == "false positives (per image)"]
    assert false_positives["value"].tolist() == pytest.approx([1.5, 1.7, 1.9])
    figure = figures.panels(frame, "size")
    assert [note.text for note in figure.layout.annotations] == list(dict.fromkeys(frame["title"]))
    looks = {(trace.name, trace.line.dash, trace.marker.symbol) for trace in figure.data}
    assert len(figure.data) == 6 and len(looks) == 2
    assert frames.panels_frame(rows_of(store, s.TASK, "robustness")).empty


def test_undefined_points_are_gaps_in_line_and_band(store: Store) -> None:
    for name in rows_of(store, c.MASKS, "robustness")["record"].unique():
        record = store.record(name)
        frame = curves.robustness_frame(record.details)
        figure = figures.robustness(frame, "size", "mIoU")
        gaps = frame["value"].isna().sum()
        assert gaps == ("broken" in record.facts["attack"]["name"])
        # Both ends of three points; of the points on both sides of the gap, with the gap between them.
        assert list(figure.data[-2].x) == ([0, 0, None, 0.03, 0.03] if gaps else [0, *c.EPS, *c.EPS[::-1], 0])
        assert figure.layout.yaxis.title.text == "mIoU (%)"


def test_sections_have_their_own_tables(visit, store: Store) -> None:
    tables = [table.value for table in visit(page="Model", task=c.MASKS).dataframe if "saliency" in table.value]
    assert [table["metric"].tolist() for table in tables] == [
        ["deletion AUC", "insertion AUC"],
        ["context deletion AUC"],
        ["pointing game", "energy inside"],
    ]
    assert tables[2]["saliency"].tolist()[0] == "90.0 % (88.0 to 92.0)"


def test_states_and_metrics_have_a_meaning(store: Store, visit) -> None:
    app = visit(page="Model", task=c.BOXES)
    assert "States of the objects, `threshold` 0.25:" in words(app)
    tables = [table.value for table in app.dataframe if "meaning" in table.value and "value" in table.value]
    assert tables[0]["metric"].tolist() == ["AP50", "MAP75", "AR1", "AR10", "AR100", "LRP error"]
    assert tables[1]["value"].tolist() == ["30.0 %", "30.0 %", "40.0 %", "1.5 per image"]
    ((_, frame),) = frames.by_class(rows_of(store, c.BOXES, "clean"))
    assert frame["class"].tolist() == c.NAMES[:2]  # the third has no object, and so no number


def test_confusion_of_many_pixels_is_in_percent() -> None:
    figure = figures.confusion(["a", "b"], [[30_000, 10_000], [5, 15]], "pixels")
    assert [list(row) for row in figure.data[0].text] == [["75", "25"], ["25", "75"]]
    assert [list(row) for row in figure.data[0].customdata] == [["30000", "10000"], ["5", "15"]]
    assert "pixels" in figure.data[0].hovertemplate


def test_dependent_events_have_no_intervals(store: Store) -> None:
    record = store.record(rows_of(store, c.MASKS, "calibration")["record"].iloc[0])
    diagram = record.facts["methods"][0]["facts"]["reliability"]
    frame = curves.reliability_frame(diagram, independent=False)
    assert frame["lo"].isna().all()
    figure = figures.reliability(frame, "pixels")
    assert figure.data[1].error_y.array is None and figure.layout.yaxis2.title.text == "pixels"


def test_undefined_points_of_corruption_and_occlusion_are_gaps(store: Store) -> None:
    record = store.record(rows_of(store, c.BOXES, "corruption")["record"].iloc[0])
    table = curves.corruption_frame(record.details)
    assert table["severity 0"].tolist() == [62.0, 62.0] and table["severity 3"].isna().all()
    record = store.record(rows_of(store, c.BOXES, "occlusion")["record"].iloc[0])
    assert curves.occlusion_frame(record.details, "mAP (%)")["mAP (%)"].isna().tolist() == [False, True]


def test_a_history_without_training_accuracy_draws_validation_alone() -> None:
    history = s.training()
    for epoch in history["epochs"]:
        epoch["train_accuracy"] = None
    figure = figures.learning_curve(curves.learning_frame(history), "quality", 8, "mean quality (%)")
    assert [trace.name for trace in figure.data] == ["validation"]


def test_confusion_matrices_follow_from_columns(store: Store) -> None:
    from suite.reports.clean_view import confusion_counts

    masks = confusion_counts(store.record(rows_of(store, c.MASKS, "clean")["record"].iloc[0]).table)
    assert masks.shape == (4, 4) and masks[0, 0] == 300 * 3105 and masks[0, 1] == 300 * 5
    digits = confusion_counts(store.record(rows_of(store, s.TASK, "clean", s.GOOD)["record"].iloc[0]).table)
    assert digits.sum() == 300 and digits.trace() == 291
    assert confusion_counts(store.record(rows_of(store, c.BOXES, "clean")["record"].iloc[0]).table) is None
