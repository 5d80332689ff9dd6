"""The README and the docs: commands parse, links resolve, and the printed leaderboard is the published one."""

import re
import shlex

import pandas as pd
import pytest

from suite import cli
from tests.test_packaging import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [
    line.removeprefix("$ ").split("  #")[0].strip()
    for language, block in BLOCKS
    if language == "console"
    for line in block.splitlines()
    if line.startswith("$ ")
]


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("suite ")])
def test_every_suite_command_parses(command):
    options = cli._parser().parse_args(shlex.split(command)[1:])
    assert callable(options.command)
    outside = ("acme", "--plugin", "diabetes")  # run in test_extending.py and test_plugin_pkg.py
    from_outside = any(word in command for word in outside)
    if command.startswith("suite run") and not from_outside:
        from suite.runner.harness import AXES, plan

        assert plan(options.task, options.model, options.axis or AXES)


@pytest.mark.parametrize("command", [command for command in COMMANDS if command.startswith("make ")])
def test_every_make_target_exists(command):
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_relative_link_points_to_a_file(page):
    links = [link for link in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link.partition("#")[0]).exists()] == []


def test_the_audit_example_has_at_most_ten_lines_and_runs(tmp_path, monkeypatch, capsys):
    [block] = [block for language, block in BLOCKS if language == "python" and "suite.audit(" in block]
    assert len([line for line in block.splitlines() if line.strip()]) <= 10
    monkeypatch.setenv("SUITE_STORE", str(tmp_path))
    quick = block.replace('name="mine"', 'name="mine", axes=["clean"]')
    assert quick != block
    exec(compile(quick, "README.md", "exec"), {})  # code from the README itself
    assert "mine" in capsys.readouterr().out


def test_the_printed_leaderboard_is_the_published_one():
    [printed] = [block for language, block in BLOCKS if language == "text" and block.startswith("digits\n")]
    rows = pd.read_csv(ROOT / "leaderboards" / "digits.csv")
    accuracy = rows[(rows["axis"] == "clean") & (rows["metric"] == "accuracy")].set_index("model")["value"]
    entries = re.findall(r"│ [\d-]+\s+│ (\w+)\s+│ ([\d.]+) \w+\s+│ ([\d.]+)", printed)
    assert {model for model, *_ in entries} == set(accuracy.index)
    for model, clean, robust in entries:
        assert float(clean) == pytest.approx(100 * accuracy[model], abs=0.051)
        cascade = rows["params"].str.contains('"attack": "cascade".*"norm": "linf".*"reference": true')
        attacked = rows[(rows["model"] == model) & cascade]
        assert float(robust) == pytest.approx(100 * attacked["value"].iloc[0], abs=0.051)
