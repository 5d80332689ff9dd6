"""A third-party package installed with pip: all its registered entries are listed and used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from suite.errors import UnknownNameError
from suite.leaderboard import board
from suite.leaderboard.cells import ARROWS
from suite.registry import REGISTRY
from suite.store import Store

SOURCE = Path(__file__).parent / "plugin_pkg"
AXES = ("clean", "robustness", "attribution(methods=[acme_contrast], samples=8, steps=4)")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Return a folder with the installed package, built from a copy of its source."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(SOURCE, folder / "source")
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *offline, "--target", folder / "site", folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    return folder / "site"


def suite(site, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "suite.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=site.parent)


def test_the_package_is_listed_with_what_it_registers(site):
    process = suite(site, "list")
    assert (process.returncode, process.stderr) == (0, "")
    for line in (
        "acme_sides               Which half of the image is brighter.",
        "acme_net                 A linear model, trained for a few epochs.",
        "acme_brightness          Brighten or darken the whole image, whichever increases the loss more.",
        "acme_error               Share of misclassified samples.",
        "acme_contrast            Distance of each pixel from the image mean; does not call the model.",
        "diabetes                 Progression of diabetes after one year, from ten standardized features",
        "gaussian_net             A small network with dropout that predicts mean and variance.",
    ):
        assert line in process.stdout


def test_a_run_uses_all_entries_of_a_package(site):
    axes = [part for axis in AXES for part in ("--axis", axis)]
    process = suite(site, "run", "acme_sides", "--model", "acme_net", *axes, "--store", site.parent / "store")
    assert process.returncode == 0, process.stderr
    rows = Store(site.parent / "store").rows()
    assert set(rows["task"]) == {"acme_sides"}
    assert set(rows["model"]) == {"acme_net"}
    assert "failed" not in set(rows["status"])
    metric = rows[rows["metric"] == "acme_error"]
    accuracy = rows[rows["metric"] == "accuracy"]
    assert float(metric["value"].iloc[0]) == pytest.approx(1 - float(accuracy["value"].iloc[0]))
    attacked = [json.loads(text) for text in rows[rows["metric"] == "robust_accuracy"]["params"]]
    assert [(item["attack"], item["eps"]) for item in attacked] == [("acme_brightness", 0.1), ("acme_brightness", 0.3)]
    explained = rows[rows["axis"] == "attribution"]
    assert any(json.loads(text).get("method") == "acme_contrast" for text in explained["params"])
    assert "acme_sides" in process.stdout, "the board is printed"


def test_the_build_leaves_no_files_in_the_checkout(site):
    assert sorted(path.name for path in SOURCE.iterdir() if path.name != "__pycache__") == [
        "acme_plugin",
        "acme_regression",
        "pyproject.toml",
    ]


REGRESSION_COLUMNS = {
    "clean": {"RMSE ↓", "R² ↑"},
    "robustness": {"fgsm squared_error linf 0.25 ↓", "pgd squared_error linf 0.25 ↓", "pgd squared_error l2 0.5 ↓"},
    "calibration": {"CRPS ↓", "CRPS scaled ↓", "90 % coverage", "quantile error ↓", "quantile error scaled ↓"},
    "rationale": {"comprehensiveness over random ↑"},
}
"""Columns of the board of a regression task by axis, with their directions."""


@pytest.fixture(scope="module")
def regression(site):
    """Return a store with the task of the regression kind, measured on all axes by the command of a user."""
    store = site.parent / "regression"
    process = suite(site, "run", "diabetes", "--model", "gaussian_linear", "--model", "gaussian_net", "--store", store)
    assert process.returncode == 0, process.stderr
    assert " 0 failed" in process.stderr
    return store


def test_a_kind_from_outside_has_columns_with_intervals_on_all_axes(regression):
    made = board(Store(regression), "diabetes")
    for axis, titles in REGRESSION_COLUMNS.items():
        shown = {f"{c.title} {ARROWS[c.higher_is_better]}".strip(): c for c in made.columns if c.axis == axis}
        assert titles <= set(shown), (axis, sorted(shown))
        for title in titles:
            entries = shown[title].entries
            assert set(entries.index) == {"gaussian_linear", "gaussian_net"}
            valued = entries[entries["value"].notna()]
            assert valued[["lo", "hi"]].notna().all(axis=None), title
            assert len(valued) or axis == "rationale", title
    assert made.columns[0].title == "RMSE"
    assert made.frame["model"].tolist() == made.frame.sort_values("rmse")["model"].tolist(), "lower is better"


def test_numbers_of_a_kind_from_outside_equal_those_of_scikit_learn(regression):
    from sklearn.metrics import r2_score, root_mean_squared_error

    store = Store(regression)
    clean = store.rows().query("axis == 'clean' and model == 'gaussian_net'").set_index("metric")
    table = store.record(clean["record"].iloc[0]).table
    assert clean.loc["rmse", "value"] == pytest.approx(root_mean_squared_error(table["target"], table["mean"]))
    assert clean.loc["r2", "value"] == pytest.approx(r2_score(table["target"], table["mean"]))
    assert 40 < clean.loc["rmse", "value"] < 75, "a linear model reaches about 55"


def test_attacks_on_vectors_do_more_than_random_and_stay_within_the_norm(regression):
    rows = Store(regression).rows()
    attacked = rows[(rows["metric"] == "robust_rmse") & rows["params"].str.contains('"attack": "pgd squared_error"')]
    assert (attacked["value"] > attacked["control"]).all()
    assert set(attacked["status"]) == {"ok"}, attacked["reason"].tolist()


def test_everything_is_verified(site, regression):
    process = suite(site, "verify", "--store", regression)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "FAIL" not in process.stdout


def test_rows_stay_readable_after_the_package_is_uninstalled(regression):
    with pytest.raises(UnknownNameError):
        REGISTRY.get("kind", "regression")
    assert len(board(Store(regression), "diabetes").frame) == 2
    process = suite(Path(), "verify", "--store", regression)
    assert process.returncode == 0, process.stdout + process.stderr
    assert "not installed" in process.stdout


@pytest.mark.parametrize("page", ["Board", "Model", "Gallery"])
def test_the_report_shows_a_kind_that_is_not_installed(regression, page, monkeypatch):
    from streamlit.testing.v1 import AppTest

    monkeypatch.setenv("SUITE_STORE", str(regression))
    app = AppTest.from_file(str(Path(__file__).parents[1] / "reports" / "app.py"), default_timeout=60)
    app.query_params.update(page=page, task="diabetes", model="gaussian_net")
    app.run()
    assert not app.exception, app.exception
    if page == "Model":
        text = " ".join(element.value for kind in (app.markdown, app.subheader, app.caption) for element in kind)
        assert "RMSE" in text
