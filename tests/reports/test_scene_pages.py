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
from suite.reports import about_view, attribution_view, damage_view, figures, frames, metrics

TASKS = [(c.BOXES, c.DETECTOR, "mAP"), (c.MASKS, c.SEGMENTER, "mean IoU")]
VIEWS = ["Attacks and explanations", "Corruptions", "Occlusion"]


@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_the_board_explains_its_headline_metric(visit, task: str, model: str, name: str) -> None:
    text = words(visit(task=task))
    short = "mIoU" if name == "mean IoU" else name
    assert f"**{short}** (mean" in text and f"Overview: {name}, clean and under each attack" in text
    assert "accuracy" not in text.replace("robust accuracy", "").lower()


@pytest.mark.parametrize(("task", "model", "name"), TASKS)
def test_the_model_page_uses_the_headline_metric(visit, task: str, model: str, name: str) -> None:
    text = words(visit(page="Model", task=task, model=model))
    assert "62.0 % (95 % interval 60.0 to 64.0)" in text
    assert "accuracy" not in text.lower().replace("pixel accuracy", "").replace("does confidence match accuracy", "")
    assert f"{metrics.capital(name)} against perturbation size" in text
    assert "**plausibility, not faithfulness**" in text
    assert "`saliency` **✓ beats the random map** in all 2 comparisons" in text
    assert "`saliency` **✗ does not beat the random map** in 1 of 1 comparisons" in text


def test_calibration_covers_boxes_and_regions(visit) -> None:
    text = words(visit(page="Model", task=c.BOXES))
    assert "boxes with a score of, say, 80 %" in text and "the detections of one image are not independent" in text
    assert "D-ECE 10.0 %" in text and "OCE 25.0 %" in text
    assert "There are no predictions with a confidence" in text
    text = words(visit(page="Model", task=c.MASKS))
    assert "ECE 10.0 %" in text and "ECE of the foreground 15.0 %" in text and "ECE of the boundary 20.0 %" in text


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
    assert metrics.axis_title(column.metric for column in made.columns) == "mAP (%)"
    assert metrics.axis_title(["accuracy", "robust_accuracy", "ece"]) == "accuracy (%)"
    table = frames.board_frame(made)
    assert ("pgd vanish linf 0.03 disappearance % ↓", "random") in table
    assert ("mAP % ↑", "random") not in table and ("mAP % ↑", "verdict") not in table


def test_object_metrics_have_units_and_controls(store: Store) -> None:
    rows = rows_of(store, c.BOXES, "robustness")
    frame = frames.objects_frame(rows)
    missed = frame[frame["metric"] == "disappearance_rate"]
    assert missed["size"].tolist() == [0.0, *c.EPS]
    assert missed["value"].tolist() == pytest.approx([40, 60, 80])
    assert missed["control"].tolist() == pytest.approx([41] * 3)
    assert frame[frame["metric"] == "false_positives_per_image"]["value"].tolist() == pytest.approx([1.5, 1.7, 1.9])
    figure = figures.secondary_metrics_figure(frame, "linf")
    assert [note.text for note in figure.layout.annotations] == list(frames.OBJECTS.values())
    looks = {(trace.name, trace.line.dash, trace.marker.symbol) for trace in figure.data}
    assert len(figure.data) == 6 and len(looks) == 2
    assert frames.objects_frame(rows_of(store, s.TASK, "robustness")).empty


def test_undefined_points_are_gaps_in_line_and_band(store: Store) -> None:
    for record in rows_of(store, c.MASKS, "robustness")["record"].unique():
        details = store.details(record)
        frame = frames.robustness_frame(details)
        figure = figures.robustness(frame, "linf", "mean IoU")
        gaps = frame["accuracy"].isna().sum()
        assert gaps == ("broken" in details["attack"])
        # Both ends of three points; of the points on both sides of the gap, with the gap between them.
        assert list(figure.data[-2].x) == ([0, 0, None, 0.03, 0.03] if gaps else [0, *c.EPS, *c.EPS[::-1], 0])
        assert figure.layout.yaxis.title.text == "mean IoU (%)"


def test_plausibility_is_separate_from_faithfulness(store: Store) -> None:
    assert not set(frames.PLAUSIBLE) & {*attribution_view.FAITHFUL, *attribution_view.CONTEXT}
    table = frames.plausibility_frame(rows_of(store, c.MASKS, "attribution"))
    assert table["method"].tolist() == ["saliency", "random"]
    assert table["maximum inside"].tolist()[0] == "90.0 % (88.0 to 92.0)"
    assert table["weight inside, random map"].tolist()[0] == "40.0 %"
    assert frames.plausibility_frame(rows_of(store, s.TASK, "attribution")).empty


def test_states_and_metrics_have_a_meaning(store: Store) -> None:
    rows = rows_of(store, c.BOXES, "clean")
    states = frames.states_frame(rows)
    assert states["value"].tolist() == ["30.0 %", "30.0 %", "40.0 %", "1.5 per image"]
    table = frames.meaning_frame(rows, metrics.EXPLAINED)
    assert table["metric"].tolist() == ["map50", "map75", "ar1", "ar10", "ar100", "olrp"]
    frame = frames.class_frame(rows, "class_map")
    assert frame["class"].tolist() == c.NAMES[:2]  # the third has no object, and so no number


def test_confusion_of_many_pixels_is_in_percent() -> None:
    figure = figures.confusion(["a", "b"], [[30_000, 10_000], [5, 15]], "pixels")
    assert [list(row) for row in figure.data[0].text] == [["75", "25"], ["25", "75"]]
    assert [list(row) for row in figure.data[0].customdata] == [["30000", "10000"], ["5", "15"]]
    assert "pixels" in figure.data[0].hovertemplate


def test_dependent_events_have_no_intervals(store: Store) -> None:
    details = store.details(rows_of(store, c.MASKS, "calibration")["record"].iloc[0])
    frame = frames.reliability_frame(details["reliability"]["softmax"], independent=False)
    assert frame["lo"].isna().all()
    figure = figures.reliability(frame, "pixels", "correct pixels")
    assert figure.data[1].error_y.array is None and figure.layout.yaxis2.title.text == "pixels"


def test_undefined_points_of_corruption_and_occlusion_are_gaps(store: Store) -> None:
    details = store.details(rows_of(store, c.BOXES, "corruption")["record"].iloc[0])
    table = damage_view.corruption_frame(details)
    assert table["severity 0"].tolist() == [62.0, 62.0] and table["severity 3"].isna().all()
    details = store.details(rows_of(store, c.BOXES, "occlusion")["record"].iloc[0])
    assert damage_view.occlusion_frame(details)["mAP %"].isna().tolist() == [False, True]


def test_a_history_without_training_accuracy_draws_validation_alone() -> None:
    history = s.training()
    for epoch in history["epochs"]:
        epoch["train_accuracy"] = None
    figure = figures.learning_curve(frames.learning_frame(history), "accuracy", 8, "mean quality per image (%)")
    assert [trace.name for trace in figure.data] == ["validation"]


@pytest.mark.parametrize(
    "word",
    ["mAP", "LRP", "disappearance", "D-ECE", "LaECE", "OCE", "mIoU", "pixel ECE", "foreground", "context", "pointing"],
)
def test_the_about_page_explains_every_scene_metric(word: str) -> None:
    assert any(line.startswith("|") and word in line for line in about_view.TEXT.splitlines())
