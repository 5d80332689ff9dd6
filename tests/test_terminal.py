"""Names and messages from files, models and libraries reach no terminal as control sequences or as markup."""

import io
import json
import logging
import re
import sys
import warnings
from dataclasses import replace

import pytest
from rich.console import Console

import suite.listing
from suite.cli import main
from suite.errors import DataError
from suite.leaderboard import board
from suite.leaderboard.text import board_table
from suite.registry import REGISTRY
from suite.runner.conformance import CheckResult
from suite.runner.progress import bars
from suite.store import Store
from suite.terminal import prepare, say
from suite.types import Cell
from suite.verify.verifier import Verification
from tests.stores import small_record

HOSTILE = "\x1b[2J\x1b]0;t\x07a\rb\bc\x7f\x9b1m\u202ed\u2066 [red]x[/] [/] :smile: \\"
"""ESC, the title of the window, BEL, CR, backspace, DEL, an 8-bit control, marks of direction, and rich's markup."""

SHOWN = r"\x1b[2J\x1b]0;t\x07a\x0db\x08c\x7f\x9b1m\u202ed\u2066 [red]x[/] [/] :smile: " + "\\"

FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Everything but line feeds that a terminal may obey, or cannot show."""


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    """Restore what a command changes for its process."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    yield
    logging.lastResort.setFormatter(None)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Return a store with a number, a failure and a damaged record, all with hostile names."""
    store = Store(tmp_path_factory.mktemp("hostile") / "store")
    good, bad = small_record("a" * 64), small_record("b" * 64, "failed")
    names = {"task": HOSTILE, "spec": f"clean {HOSTILE}", "device": HOSTILE}
    metric = replace(good.catalogue[0], title=HOSTILE, columns=(replace(good.catalogue[0].columns[0], title=HOSTILE),))
    dropped = {HOSTILE: [[HOSTILE, HOSTILE]]}
    details = {"data": {"dropped": dropped, "remarks": [HOSTILE], "kept": {}}}
    own = replace(good.provenance, model=f"good {HOSTILE}", **names)
    store.put(replace(good, provenance=own, catalogue=(metric,), details=details))
    other = replace(bad.provenance, model=f"bad {HOSTILE}", **names)
    store.put(replace(bad, provenance=other, measures=(replace(bad.measures[0], reason=HOSTILE),)))
    damaged = store.put(small_record("c" * 64))
    content = json.loads((damaged / "record.json").read_text("utf-8"))
    (damaged / "record.json").write_text(json.dumps(content | {HOSTILE: 1}), "utf-8")
    return store


@pytest.fixture
def printed(capsys):
    """Return a function that runs a command, checks its output for control characters, and returns status and text."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse
            status = error.code
        captured = capsys.readouterr()
        assert FORBIDDEN.findall(captured.out + captured.err) == []
        return status, " ".join((captured.out + captured.err).split())

    return run


def test_a_board_shows_hostile_names_as_text(printed, store):
    status, text = printed("board", "--store", store.root)
    assert status == 0
    for part in (SHOWN, f"bad {SHOWN}: clean {SHOWN} failed: {SHOWN}", f"Data: {SHOWN}.", "1 damaged record(s)"):
        assert " ".join(part.split()) in text


def test_a_board_on_a_terminal_has_only_the_style_of_its_table(store):
    file = io.StringIO()
    Console(file=file, force_terminal=True, width=120).print(board_table(board(store, HOSTILE)))
    without_style = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())
    assert "\x1b[1m" in file.getvalue(), "the heading is bold"
    assert "\x1b[31m" not in file.getvalue(), "[red] is no markup"
    assert FORBIDDEN.findall(without_style) == []


@pytest.mark.parametrize(
    "arguments", [("board", "x"), ("publish", "x"), ("verify", "x")], ids=["board", "publish", "verify"]
)
def test_an_unknown_name_lists_hostile_names_as_text(printed, store, arguments):
    status, text = printed(*arguments, "--store", store.root)
    assert (status, "\\x1b[2J" in text) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        (HOSTILE,),
        ("board", "a", HOSTILE),
        ("board", HOSTILE),
        ("run", HOSTILE, "--model", HOSTILE),
        ("run", "digits", "--model", "cnn(x='\x1b')"),
        ("run", "digits", "--model", "cnn", "--n", HOSTILE),
        ("run", "digits", "--model", "cnn", "--axis", "\udcff.py:x"),
        ("list", HOSTILE),
        ("check", f"{HOSTILE}.py"),
        ("verify", HOSTILE),
    ],
    ids=range(10),
)
def test_a_usage_error_quotes_what_was_typed_as_text(printed, store, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUITE_STORE", str(store.root))
    status, text = printed(*arguments)
    assert (status, "Traceback" in text) == (2, False)


def test_the_help_shows_the_folder_of_results_as_text(printed, monkeypatch):
    monkeypatch.setenv("SUITE_STORE", "/a%sb\x1b\udcff")
    status, text = printed("board", "--help")
    assert (status, r"(default: /a%sb\x1b\xff)" in text) == (0, True)


def test_a_list_shows_summaries_and_broken_plugins_as_text(printed, monkeypatch):
    monkeypatch.setattr(suite.listing, "listing", lambda role: [("a", HOSTILE)])
    monkeypatch.setitem(REGISTRY.broken, HOSTILE, f"Error: {HOSTILE}\nsecond line")
    status, text = printed("list", "task")
    assert (status, text.count("\\x1b[2J")) == (0, 3)
    assert "second line" in text


def test_a_check_shows_the_messages_of_models_on_one_line(printed, monkeypatch):
    result = CheckResult("model a", False, "raised Error:\n  \x1b[31mno\x1b[0m weights")
    monkeypatch.setattr("suite.runner.conformance.check_file", lambda file: [result])
    assert printed("check", "a.py") == (
        1,
        r"FAIL model a: raised Error: \x1b[31mno\x1b[0m weights 1 checks, 1 failed.",
    )


def test_a_verification_cannot_forge_a_line(printed, monkeypatch, store):
    results = [Verification("r", f"task{HOSTILE}\nok   other", 1, ("it\x07 differs",))]
    monkeypatch.setattr("suite.verify.verifier.verify", lambda *_, **__: iter(results))
    status, text = printed("verify", "--store", store.root)
    assert status == 1
    assert r"\nok other: it\x07 differs" in text


@pytest.mark.parametrize(
    ("error", "status", "last"),
    [
        (DataError("\x1b[2Jno"), 2, r"DataError: \x1b[2Jno"),
        (ValueError("\x1b[2J\udcffno"), 1, r"ValueError: \x1b[2J\xffno"),
    ],
)
def test_the_message_of_an_error_is_text(capsys, monkeypatch, error, status, last):
    def fail(role):
        raise error

    monkeypatch.setattr(suite.listing, "listing", fail)
    assert main(["list", "task"]) == status
    assert capsys.readouterr().err.splitlines()[-1] == last


@pytest.mark.parametrize("terminal", [False, True])
def test_progress_shows_names_as_text(terminal):
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=400, color_system=None)
    with bars(console) as progress:
        assert list(progress.track([1], HOSTILE, 1)) == [1]
        progress.on_task_loaded(HOSTILE)
        progress.on_cell_done(Cell(HOSTILE, "m", "clean", None, 0), "failed", HOSTILE)
        progress.on_cell_done(Cell("t", "[/]", "clean", None, 0), "ok", "")
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]|\r", "", file.getvalue())
    assert FORBIDDEN.findall(text) == []
    for line in (SHOWN, f"✗ {SHOWN} m clean: {SHOWN}", "✓ t [/] clean"):
        assert line in text


def test_warnings_and_log_messages_of_libraries_are_text(capsys):
    prepare()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        sys.stderr.write(warnings.formatwarning("\x1b[2Jw", UserWarning, "file\x07.py", 3, "code"))
    logging.lastResort.handle(logging.LogRecord("lib", logging.WARNING, "f", 1, "log \x1b[2J", (), None))
    err = capsys.readouterr().err
    assert FORBIDDEN.findall(err) == []
    assert r"file\x07.py:3: UserWarning: \x1b[2Jw" in err
    assert r"log \x1b[2J" in err


def test_characters_that_the_encoding_lacks_are_escaped(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, "ascii"))
    prepare()
    say("≤ 71.2 ü")
    assert raw.getvalue() == b"\\u2264 71.2 \\xfc\n"
