"""A third-party package installed with pip: all its registered entries are listed and used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

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
        "pyproject.toml",
    ]
