"""The code in docs/extending.md: each addition is one file, and shows up in records, board, report and verification."""

import os
import re
import subprocess
import sys

import pytest

from suite.leaderboard import board
from suite.store import Store
from tests.test_packaging import ROOT

PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
FILES = {
    re.match(r"# (\w+\.py)\n", block)[1]: block for block in re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
}
PLUGINS = sorted(set(FILES) - {"acme.py"})
AXES = (
    "clean",
    "robustness(attack=brighten(eps=[0.1, 0.3]), audit=8)",
    "calibration(members=1)",
    "attribution(methods=[contrast, saliency], samples=8, steps=4)",
)
PAGE_TITLE = "Hardest samples"


def suite(folder, *arguments):
    named = os.pathsep.join(str(folder / name) for name in PLUGINS)
    environment = {**os.environ, "SUITE_PLUGINS": named, "SUITE_STORE": str(folder / "store")}
    command = [sys.executable, "-m", "suite.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with every file of the page, and a store with a run that uses all of them."""
    folder = tmp_path_factory.mktemp("extending")
    for name, content in FILES.items():
        (folder / name).write_text(content)
    axes = [part for axis in AXES for part in ("--axis", axis)]
    process = suite(folder, "run", "digits", "--model", "linear", *axes, "--n", "60")
    assert process.returncode == 0, process.stderr
    return folder


def test_every_addition_of_the_table_has_a_file():
    names = "brighten broken contrast hardest margin noisy_inputs overconfidence".split()
    assert PLUGINS == [f"{name}.py" for name in names]


def test_every_number_is_stored_with_its_interval(folder):
    rows = Store(folder / "store").rows()
    assert "failed" not in set(rows["status"])
    for metric, params in (
        ("mean_margin", ""),
        ("overconfidence", '"uncertainty": "softmax"'),
        ("overconfidence", '"uncertainty": "noisy_inputs"'),
        ("ece", '"uncertainty": "noisy_inputs"'),
        ("robust_accuracy", '"attack": "brighten"'),
        ("broken", '"attack": "brighten"'),
        ("insertion_auc", '"method": "contrast"'),
    ):
        found = rows[(rows["metric"] == metric) & rows["params"].str.contains(params, regex=False)]
        assert len(found), (metric, params)
        assert found[["lo", "hi"]].notna().all(axis=None), (metric, params)


def test_every_number_has_a_column_on_the_board(folder):
    made = board(Store(folder / "store"), "digits")
    titles = {column.title for column in made.columns}
    assert {
        "margin",
        "overconfidence",
        "brighten linf 0.3",
        "brighten linf 0.3 broken",
        "insertion over random",
    } <= titles
    assert made.frame.set_index("model").loc["linear", "mean_margin"] > 0


def test_every_number_is_verified(folder):
    process = suite(folder, "verify")
    assert process.returncode == 0, process.stdout + process.stderr
    assert "FAIL" not in process.stdout


def test_a_command_names_its_plug_in_files(folder):
    named = [part for name in PLUGINS for part in ("--plugin", str(folder / name))]
    command = [sys.executable, "-m", "suite.cli", "list", "attack", *named]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert "brighten" in process.stdout, process.stderr


def test_a_plug_in_file_that_does_not_exist_is_an_error(folder):
    command = [sys.executable, "-m", "suite.cli", "list", "attack", "--plugin", "missing.py"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert process.returncode == 2
    assert "There is no file" in process.stderr


def test_the_page_is_in_the_report(folder):
    script = f"""
import os
os.environ["SUITE_PLUGINS"] = {os.pathsep.join(str(folder / name) for name in PLUGINS)!r}
os.environ["SUITE_STORE"] = {str(folder / "store")!r}
from streamlit.testing.v1 import AppTest
app = AppTest.from_file({str(ROOT / "reports" / "app.py")!r}, default_timeout=60)
app.query_params.update(page={PAGE_TITLE!r}, task="digits", model="linear")
app.run()
assert not app.exception, app.exception
assert any(header.value == {PAGE_TITLE!r} for header in app.header), [header.value for header in app.header]
assert len(app.dataframe[0].value) == 10
app.query_params.update(page="Model")
"""
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=folder)
    assert process.returncode == 0, process.stderr
