"""Pages of text models and generative models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.leaderboard import board
from suite.store import Store
from tests.reports import synthetic_texts as t
from tests.reports.pages import captions, rows_of, words

pytest.importorskip("plotly", reason="the report needs the extra `report`")
from suite.reports import curves, figures, frames, verdicts

TASKS = [t.REVIEWS, t.PLAYS, t.FACES, t.CODES]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return t.add(Store(tmp_path_factory.mktemp("texts") / "store"))


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, ...], Any]:
    return {}


@pytest.fixture
def go(visit, made: Store, seen: dict[tuple[str, ...], Any]):
    """Return a function that opens a page of the text store once, and a view of its gallery; do not change the page."""

    def run(view: str = "", **query: str):
        key = (view, *sorted(query.values()))
        if key not in seen:
            seen[key] = app = visit(made.root, **query)
            if view:
                radio = next(radio for radio in app.radio if radio.key.startswith("pictures"))
                app.radio(key=radio.key).set_value(view).run()
                assert [error.value for error in app.exception] == []
        return seen[key]

    return run


def blocks(app) -> str:
    return "\n".join(str(block.proto.body) for block in app.get("html"))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("page", ["Board", "Model", "Gallery"])
def test_untrusted_texts_never_become_markup(go, task: str, page: str) -> None:
    app = go(page=page, task=task)
    assert not any(element.allow_html for element in app.markdown)
    for element in (*app.markdown, *app.caption, *app.info):
        assert "<b>" not in element.value.replace("`read as <b>unknown</b>`", "").replace(
            "`a generator <b>predicts</b>`", ""
        )


def test_attacked_texts_are_below_clean_ones(go) -> None:
    app = go(page="Gallery", task=t.REVIEWS)
    text, shown = words(app), blocks(app)
    assert "clean, true class `pos`: predicts `pos` (correct), confidence 90.0 %" in text
    assert "attacked: predicts `neg` (wrong), confidence 90.0 %" in text
    assert "1 word changed: `good` → `godo`; size 1." in text
    assert "`dull` inserted" in text
    assert "Unchanged" not in text and "`good` → `goood`" in text
    assert "&lt;script&gt;" in shown and "<script" not in shown and "<img" not in shown
    assert "line-through" in shown and "instead of good" in shown
    assert "mid-gray is no" not in text
    assert app.selectbox(key=f"attack {t.REVIEWS} {t.CLASSIFIER}").value == "hotflip (words)"


def test_words_are_marked_by_the_selected_method(go, seen) -> None:
    app = go("Feature attributions", page="Gallery", task=t.REVIEWS)
    seen.clear()  # another method is selected below
    first = blocks(app)
    assert "supports the prediction" in first and "opposes" in first and "<script" not in first
    assert "opposing:" in words(app).lower() and "Sample `text/0`: true class `pos`" in words(app)
    box = next(box for box in app.selectbox if box.key.startswith("rationale method"))
    assert box.options == ["occlusion", "gradient_x_input"]
    app.selectbox(key=box.key).select("gradient_x_input").run()
    assert not app.exception and blocks(app) != first


def test_characters_and_latent_dimensions_are_marked(go) -> None:
    shown = blocks(go("Feature attributions", page="Gallery", task=t.PLAYS))
    assert "␣" in shown and "↵" in shown and "&lt;" in shown
    app = go("Feature attributions", page="Gallery", task=t.FACES)
    assert "Supporting: `z0` +0.5, `z4` +0.3; opposing: `z5` -0.4, `z1` -0.2." in words(app)
    assert "No feature stands out." in words(app) and "decoded image" in captions(app)


def test_the_model_page_shows_the_rationale(go) -> None:
    text = words(go(page="Model", task=t.REVIEWS))
    assert "Deleted features are `read as <b>unknown</b>`. 7 samples with fewer than two features are left out." in text
    assert "`occlusion` **✓ beats random** in 2 of 2 comparisons" in text
    assert "`gradient x input` **✗ fails: beats random** in 2 of 2 comparisons" in text
    assert "beats recency" not in text
    text = words(go(page="Model", task=t.PLAYS))
    assert "`occlusion` **✓ beats recency** in 2 of 2 comparisons" in text


def test_the_model_page_shows_bits(go) -> None:
    app = go(page="Model", task=t.PLAYS)
    text = words(app)
    assert "Bits per character on the test samples: **2.35 bits (95 % interval 2.33 to 2.37)**" in text
    assert "**Lower is better.**" in text and "under *Samples*" in text
    assert "characters with, say, 80 %" in text and "the characters of one sample are not independent" in text
    tables = [table.value for table in app.dataframe if "meaning" in table.value]
    assert tables[0]["metric"].tolist() == ["bits per byte", "n-gram memorization", "a measure that nobody knows"]
    methods = next(table for table in tables if "softmax" in table)
    assert methods["softmax"].tolist() == ["3.1 % (2.1 to 4.1)", "1.62 nat (1.6 to 1.64)"]


def test_an_attack_on_texts_shows_edits_and_cost(go) -> None:
    app = go(page="Model", task=t.REVIEWS)
    table = next(table.value for table in app.dataframe if "success rate" in str(table.value.get("metric")))
    assert table["metric"].tolist() == ["success rate (edits 1)", "success rate (edits 2)", "queries"]
    assert table["value"].tolist() == ["40.0 %", "70.0 %", "1,088 passes"]


def test_samples_are_shown_by_their_arrays(go) -> None:
    app = go("Samples", page="Gallery", task=t.PLAYS)
    shown = blocks(app)
    assert "ROMEO:\nWhat light" in shown and "&lt;b&gt;Ay&lt;/b&gt; me" in shown and "<script" not in shown
    assert "Temperature 0.8, continuing a test text" in words(app)
    faces = captions(go("Samples", page="Gallery", task=t.FACES))
    assert "decoded from random latent vectors" in faces and "Each row interpolates" in faces
    assert "the nearest training image of each" in faces
    codes = captions(go("Samples", page="Gallery", task=t.CODES))
    assert "Top: test images" in codes and "Each row interpolates" in codes and "nearest" not in codes


def test_attacked_latents_and_codes_are_decoded(go) -> None:
    app = go(page="Gallery", task=t.FACES)
    assert "clean: `on manifold` yes; attacked: `on manifold` no" in words(app)
    assert "`generated`, clean" in captions(app) and "`generated`, attacked" in captions(app)
    assert "true class" not in words(app) and "images are what the model makes of the clean and" in words(app).replace(
        "\n", " "
    )
    codes = captions(go(page="Gallery", task=t.CODES))
    assert "clean: `divergence` 12.3" in codes and "`reconstruction`, attacked" in codes
    assert "`divergence` 1.5" in captions(go("Corruptions", page="Gallery", task=t.CODES))


def test_proxies_are_marked(go, made: Store) -> None:
    app = go(page="Model", task=t.FACES)
    text = words(app)
    assert text.count("Proxy: there is no standard metric for this question") == 3
    assert "`a generator <b>predicts</b>`" in text
    table = frames.metric_frame(rows_of(made, t.FACES, "robustness"))
    assert table["metric"].iloc[0].startswith("robust precision (proxy, attack pgd")
    assert "Proxy" not in words(go(page="Model", task=t.CODES))


def test_less_is_better_has_no_retention(go) -> None:
    app = go(page="Model", task=t.CODES)
    table = next(table.value for table in app.dataframe if "corruption growth" in str(table.value.get("metric")))
    assert table["metric"].tolist() == ["mean code length", "corruption growth"]
    assert table["value"].tolist() == ["0.5 bit per dimension", "2.4 ratio"]
    assert "Code length (bit per dimension) under each corruption" in words(app)


def test_curves_are_in_the_unit_of_the_metric(made: Store) -> None:
    record = made.record(rows_of(made, t.PLAYS, "robustness")["record"].iloc[0])
    frame = curves.robustness_frame(record.details, "bits")
    assert frame["value"].tolist() == pytest.approx([2.3, 2.8, 3.3])
    size = figures.size_title(record.facts["attack"])
    figure = figures.robustness(frame, size, "bits per character", unit="bits")
    assert figure.layout.yaxis.title.text == "bits per character" and figure.layout.yaxis.range is None
    assert figure.layout.xaxis.title.text == "perturbation size: characters changed"
    points = {"corruptions": {"fog": [{"severity": 1, "value": 0.1234}]}}
    assert curves.corruption_frame(points, "bits")["severity 1"].tolist() == [0.123]
    assert curves.corruption_frame(points)["severity 1"].tolist() == [12.3]


def test_the_title_of_sizes_names_norm_and_numbers() -> None:
    attack = {"size_name": "eps", "norm": "linf"}
    assert "standard deviations of the embeddings" in figures.size_title(attack, "embedding")
    assert figures.size_title(attack) == "perturbation size: eps, linf norm (pixel values in [0, 1])"
    frame = curves.robustness_frame({"curve": [{"size": 0.0, "value": 1.0, "value_lo": 0.9, "value_hi": 1.0}]})
    drawn = figures.robustness(frame, figures.size_title(attack, "a <b>"), "x")
    assert "a &lt;b&gt;" in drawn.layout.xaxis.title.text


@pytest.mark.parametrize(("task", "unit"), [(t.REVIEWS, "fraction"), (t.PLAYS, "bits"), (t.CODES, "bit per dimension")])
def test_the_overview_has_one_unit(made: Store, task: str, unit: str) -> None:
    points = frames.overview_frame(board(made, task), most=3)
    assert set(points["unit"]) == {unit}
    assert (points["value"].max() > 10) == (unit == "fraction")
    figure = figures.overview(points, list(points["metric"]), f"x{' (%)' if unit == 'fraction' else ''}")
    assert (figure.layout.xaxis.range is not None) == (unit == "fraction")


def test_the_overview_names_its_metric(go) -> None:
    assert "Overview: code length (bit per dimension), clean" in words(go(task=t.CODES))
    assert "Overview: bits per character, clean" in words(go(task=t.PLAYS))


def test_a_suspect_number_in_bits_may_be_larger(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(t.attack_on_plays(suspect=True))
    reasons = list(verdicts.reasons(rows_of(store, t.PLAYS, "robustness")))
    assert reasons == [
        ("suspect", "? Suspect, because a stronger attack would make the numbers larger and worse, at size 1, 2: "
         "`no more than chance`")
    ]  # fmt: skip


def test_rationale_curves_differ_in_dash_and_marker(made: Store) -> None:
    record = made.record(rows_of(made, t.PLAYS, "rationale")["record"].iloc[0])
    frame = curves.attribution_frame(record.details)
    assert len(frame) == 4 * 2 * 5 and frame["share"].max() == 50
    figure = figures.attribution(frame[frame["kind"] == "comprehensiveness"])
    assert {trace.name for trace in figure.data} == {
        "occlusion", "gradient x input", "random (control)", "last first (control)",
    }  # fmt: skip
    assert len({(trace.line.dash, trace.marker.symbol) for trace in figure.data}) == 4
    assert figure.layout.xaxis.title.text == "share of the features (%), highest attribution first"
    assert curves.attribution_frame({}).empty


def test_a_skipped_rationale_has_its_reason(visit, tmp_path: Path) -> None:
    from suite.types import not_applicable

    store = Store(tmp_path)
    record = t.rationale((t.REVIEWS, t.CLASSIFIER), {})
    reason = "the input is an image <b>"
    store.put(replace(record, measures=(not_applicable("comprehensiveness", reason),), details={}, arrays={}))
    text = words(visit(store.root, page="Model"))
    assert "`the input is an image <b>`" in text
    assert "No samples are stored" in words(visit(store.root, page="Gallery"))


def test_a_suspect_headline_has_its_reason_on_the_page_of_the_model(visit, tmp_path: Path) -> None:
    store, record = Store(tmp_path), t.clean_plays()
    checks = {"outputs_are_logits": "fail"}
    first = replace(record.measures[0], checks=checks, reason="the outputs are probabilities")
    store.put(replace(record, measures=(first, *record.measures[1:])))
    [warning] = visit(store.root, page="Model").warning
    assert warning.value == "? Suspect, because a check failed: `the outputs are probabilities`"
