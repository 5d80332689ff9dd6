from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from suite.store import Store
from tests.reports import synthetic as s
from tests.reports.pages import captions, words

pytest.importorskip("plotly", reason="the report needs the extra `report`")
pytest.importorskip("streamlit.testing.v1", reason="the report needs the extra `report`")

APP = Path(__file__).parents[2] / "reports" / "app.py"


def test_the_first_page_is_the_board(visit) -> None:
    app = visit(task=s.TASK)
    table = app.dataframe[0].value
    assert table["accuracy % ↑", "value"].tolist()[:2] == [97.0, 96.0]
    assert table["", "model"].tolist() == [s.GOOD, s.WEAK, s.BROKEN]
    assert "share a letter" in words(app)
    assert "broken: clean failed: TrainingError" in words(app)


def test_the_board_can_be_ranked_by_another_metric(visit) -> None:
    app = visit(task=s.TASK)
    app.selectbox(key=f"rank by {s.TASK}").select("robust pgd linf 0.05").run()
    assert not app.exception
    assert app.dataframe[0].value["", "rank"].tolist() == ["1", "2", "–"]


def test_a_model_has_its_own_address(visit) -> None:
    app = visit(task=s.TASK, model=s.WEAK)
    text = words(app)
    assert f"`{s.WEAK}` on task `{s.TASK}`" in text
    assert "96.0 % (95 % interval 93.1 to 97.9)" in text
    assert "? Suspect, so the numbers are upper bounds, at size 0.02, 0.05, 0.1: `more steps raised" in text
    assert "✗ FAIL: more steps never help" in text
    assert "`saliency` **✗ fails: beats random** in" in text
    assert "random controls of the same size" in text


def test_the_page_of_a_failed_model_has_the_reason(visit) -> None:
    text = words(visit(task=s.TASK, model=s.BROKEN))
    assert "**failed**: `TrainingError: the loss became NaN in epoch 2; lower the learning rate.`" in text
    assert "**skipped**: `the model could not be trained`" in text
    from suite.reports.model_view import TITLES

    missing = text.split("Not measured for any model on this task: ")[1].split(".")[0].split(", ")
    assert text.count("Not measured.") == len(TITLES) - 2 - len(missing)
    assert not any(TITLES[axis] in text for axis in missing) and "robustness" not in missing


def test_the_gallery_shows_predictions_before_and_after_the_attack(visit) -> None:
    app = visit(page="Gallery", task=s.TASK, model=s.GOOD)
    assert "Sample `test/00000`" in words(app)
    shown = captions(app)
    assert "true class `0`: predicts `0` (correct), confidence 99.0 %" in shown
    assert "attacked: predicts `1` (wrong), confidence 60.0 %" in shown
    assert "change, amplified 5 times; size 0.05" in shown


def test_the_gallery_of_a_failed_model_has_a_note(visit) -> None:
    assert "No samples are stored" in words(visit(page="Gallery", task=s.TASK, model=s.BROKEN))


def test_the_about_page_needs_no_store(visit, tmp_path: Path) -> None:
    assert "Limitations" in words(visit(tmp_path / "none", page="About the numbers"))


def test_an_empty_store_shows_what_to_run(visit, tmp_path: Path) -> None:
    text = words(visit(tmp_path / "none"))
    assert "Nothing is stored yet" in text
    assert "suite demo" in text
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("page", ["Board", "Model", "Gallery"])
def test_hostile_names_are_only_in_code_spans(visit, page: str) -> None:
    app = visit(page=page, task=s.HOSTILE_TASK, model=s.HOSTILE_MODEL)
    for element in (*app.markdown, *app.caption, *app.error, *app.warning):
        for name in (s.HOSTILE_TASK, s.HOSTILE_MODEL, s.HOSTILE_CLASS, s.HOSTILE_REASON):
            outside = element.value.replace(f"`{name}`", "").replace(f"`` {name} ``", "")
            assert name not in outside
    assert not any(element.allow_html for element in app.markdown)


def test_unknown_names_in_the_address_give_a_warning(visit) -> None:
    app = visit(page="nonsense", task="[x](http://evil.invalid)")
    assert app.warning[0].value == "There is no task `[x](http://evil.invalid)` here; showing the first one."


def test_new_results_appear_without_a_restart(visit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put(s.clean("first", 0.9, ["a", "b"]))
    assert len(visit(store.root).dataframe[0].value) == 1
    time.sleep(0.02)
    store.put(s.clean("second", 0.8, ["a", "b"]))
    assert len(visit(store.root).dataframe[0].value) == 2


def test_a_damaged_record_gives_a_warning(visit, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    store.put(s.clean("sound", 0.9, ["a", "b"]))
    bad = store.put(s.clean("bad", 0.9, ["a", "b"]))
    (bad / "record.json").write_text("{", "utf-8")
    other = store.put(s.robustness("sound", "pgd", 0.9))
    (other / "arrays.npz").write_bytes(b"no archive")
    app = visit(store.root)
    assert "1 damaged record(s)" in app.warning[0].value
    assert len(app.dataframe[0].value) == 1
    visit(store.root, page="Model")
    (error,) = visit(store.root, page="Gallery").error
    assert "is damaged: arrays.npz" in error.value


PROGRAM = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
start = time.perf_counter()
from streamlit.testing.v1 import AppTest
loaded = time.perf_counter()
for page in ("Board", "Model", "Gallery"):
    begin = time.perf_counter()
    app = AppTest.from_file(sys.argv[1], default_timeout=60)
    app.query_params.update(page=page, task="crowd")
    app.run()
    assert not app.exception, app.exception
    print(f"{page} {time.perf_counter() - begin:.2f}")
print(f"torch {'torch' in sys.modules}")
"""


def test_pages_of_1000_rows_do_not_load_torch(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = len(s.crowd(tmp_path, 12).rows())
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(APP)],
        env={**os.environ, "SUITE_STORE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    output = dict(line.split() for line in done.stdout.splitlines())
    with capsys.disabled():
        print(f"\nseconds for the script of each page, {rows:,} rows, fresh process, imports included: {output}")
    assert rows >= 1000
    assert output["torch"] == "False"


def test_every_page_shows_the_verdict(visit) -> None:
    app = visit(task=s.TASK)
    assert "**? suspect**: the number failed a check" in words(app)
    assert "≤ 67.3 ? suspect" in app.dataframe[0].value["fgsm linf 0.05 % ↑", "verdict"].tolist()
    assert "fgsm linf 0.05, linear: suspect, so an upper bound: more steps raised" in words(app)
    assert "Hollow markers with ≤ ? are suspect" in words(app)
    assert "✓ Valid: every applicable check passed." in words(visit(task=s.TASK, model=s.GOOD))
    gallery = visit(page="Gallery", task=s.TASK, model=s.WEAK)
    gallery.selectbox(key=f"attack {s.TASK} {s.WEAK}").select("fgsm").run()
    assert "This attack's numbers are **? suspect**: a check failed." in words(gallery)
    gallery.selectbox(key=f"attack {s.TASK} {s.WEAK}").select("pgd").run()
    assert "This attack's numbers are **✓ valid**: every check passed." in words(gallery)
    assert "**✗ invalid**: there is no usable number" in words(visit(page="About the numbers"))
