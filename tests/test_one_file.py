"""A one-file extension, end to end: a task and a model with weights, run by path."""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from suite.cli import main
from suite.store import Store

ACME = '''"""Scratches and dents."""

from pathlib import Path

import numpy as np
from torch import nn

from suite import Sample, TorchClassifier, model, stratified, task


@task(kind="classification", classes=("ok", "scratch", "dent"))
def defects(split, seed):
    """Parts with and without a defect."""
    labels = [place % 3 for place in range(60)]
    for place in stratified(labels, split, seed=seed):
        image = np.random.default_rng(place).integers(0, 60, (8, 8)).astype("uint8")
        image[3:5, :] += np.uint8(150 * (labels[place] == 1))
        image[2:6, 2:6] += np.uint8(150 * (labels[place] == 2))
        yield Sample(f"part-{place}", image, ("ok", "scratch", "dent")[labels[place]])


def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))


@model(task="defects")
def net():
    """A linear model with weights next to this file."""
    return TorchClassifier(build(), weights=Path(__file__).with_name("net.safetensors"), bounds=(0, 1))
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with acme.py and its weights: templates of a scratch and a dent, which classify perfectly."""
    folder = tmp_path_factory.mktemp("acme")
    (folder / "acme.py").write_text(ACME)
    scratch, dent = torch.zeros(8, 8), torch.zeros(8, 8)
    scratch[3:5, :2] = scratch[3:5, 6:] = 1
    dent[2, 2:6] = dent[5, 2:6] = 1
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    weight = torch.stack([torch.zeros(64), scratch.flatten(), dent.flatten()])
    save_file({"1.weight": weight, "1.bias": torch.tensor([2.5, 0.0, 0.0])}, folder / "net.safetensors")
    assert module.state_dict().keys() == {"1.weight", "1.bias"}
    return folder


def suite(folder, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "SUITE_STORE"}
    command = [sys.executable, "-m", "suite.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def test_a_file_given_by_path_runs_on_all_axes(folder, capsys):
    axes = (
        "clean",
        "robustness(attack=pgd(eps=[0.1], steps=3), audit=8)",
        "calibration(bins=5)",
        "attribution(samples=6, steps=4)",
    )
    axis_options = [part for axis in axes for part in ("--axis", axis)]
    process = suite(folder, "run", "acme.py:defects", "--model", "acme.py:net", *axis_options, "--n", "12")
    assert process.returncode == 0, process.stderr
    rows = Store(folder / ".suite").rows()
    assert set(rows["task"]) == {"acme.py:defects"}
    assert set(rows["model"]) == {"acme.py:net"}
    assert set(rows["axis"]) == {"clean", "robustness", "calibration", "attribution"}
    clean = rows[rows["axis"] == "clean"].set_index("metric")
    assert clean.loc["accuracy", "value"] == 1.0
    assert set(rows["cell_n"]) == {12}
    digests = {json.loads(text)["model"] for text in rows["digests"]}
    assert len(digests) == 1, "one model, identified by the digest of its weights"
    same = [str(folder / "acme.py:defects"), "--model", f"{folder}/../{folder.name}/acme.py:net"]
    assert main(["run", *same, "--axis", "clean", "--n", "12", "--store", str(folder / ".suite")]) == 0
    assert "1 stored before, 0 run now" in capsys.readouterr().err, (
        "a different path to the same file gives the same cell"
    )


def test_the_example_passes_the_conformance_kit(folder, capsys):
    assert main(["check", str(folder / "acme.py")]) == 0
    output = capsys.readouterr().out
    assert output.endswith("checks, all passed.\n")
    assert "FAIL" not in output
