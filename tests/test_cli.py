"""The command line: output, exit status, and files written."""

import csv
import os
import re
import subprocess
import sys

import pytest

from suite.cli import LISTED, main
from suite.listing import listing
from suite.registry import REGISTRY
from suite.store import Store

TINY = '''"""A task with one bright column per image, and a linear model for it."""

import os
import signal

import numpy as np

from suite import Recipe, Sample, TorchClassifier, model, stratified, task


@task(kind="classification", classes=("left", "right"))
def dots(split, seed, *, interrupt=False):
    """Which side of the image is brighter?"""
    if interrupt:
        os.kill(os.getpid(), signal.SIGINT)
    labels = [place % 2 for place in range(40)]
    for place in stratified(labels, split, seed=seed):
        image = np.random.default_rng(place).random((4, 4)) * 0.3
        image[:, 3 * labels[place]] += 0.5
        yield Sample(f"dot-{place}", image, labels[place])


@model(task="dots")
def eye(*, weights=None):
    """Linear."""
    from torch import nn

    return TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), weights=weights, recipe=Recipe(epochs=2))
'''


@pytest.fixture(scope="module")
def acme(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli") / "acme.py"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def measured(acme):
    """Return a store with results of the tiny model and of a model without weights on the tiny task."""
    store = acme.parent / "store"
    lost = f"{acme}:eye(weights='{acme.parent}/lost.safetensors')"
    models = ["--model", f"{acme}:eye", "--model", lost]
    assert main(["run", f"{acme}:dots", *models, "--axis", "clean", "--store", str(store)]) == 1
    return store


@pytest.fixture
def run_command(capsys):
    """Return a function that runs a command and returns exit status, standard output and standard error."""

    def run(*arguments):
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as error:  # argparse
            status = error.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def command(*arguments, **options):
    environment = {name: value for name, value in os.environ.items() if name != "SUITE_STORE"}
    arguments = [sys.executable, "-m", "suite.cli", *map(str, arguments)]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, **options)


# -- help


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom suite.cli import main\n"
        "try: main(['--help'])\n"
        "finally: print('LOADED', sorted({'torch', 'pandas', 'numpy', 'rich', 'scipy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert "suite demo" in done.stdout
    assert done.stdout.endswith("LOADED []\n")


def test_no_command_shows_the_help(run_command):
    status, out, _ = run_command()
    assert status == 0
    for name in ("run", "demo", "board", "publish", "report", "list", "check"):
        assert re.search(rf"^    {name} ", out, re.MULTILINE), name


@pytest.mark.parametrize("name", ["run", "demo", "board", "publish", "report", "list", "check"])
def test_every_command_has_help(run_command, name):
    status, out, _ = run_command(name, "--help")
    assert (status, out.startswith(f"usage: suite {name}")) == (0, True)


# -- usage errors

USAGE_ERRORS = {
    "task": (("run", "digitz", "--model", "linear"), "There is no task 'digitz'. Did you mean 'digits'?"),
    "model": (("run", "digits", "--model", "liner"), "There is no model 'liner'. Did you mean 'linear'?"),
    "axis": (
        ("run", "digits", "--model", "linear", "--axis", "robust"),
        "There is no axis 'robust'. Did you mean",
    ),
    "attack": (
        ("run", "digits", "--model", "linear", "--axis", "robustness(attack=pdg)"),
        "There is no attack 'pdg'. Did you mean 'pgd' or 'apgd'?",
    ),
    "argument": (
        ("run", "digits", "--model", "cnn(wdith=3)"),
        "model 'cnn' has no argument 'wdith'. Did you mean 'width'?",
    ),
    "missing argument": (("run", "imagefolder", "--model", "linear"), "task 'imagefolder' needs path"),
    "spec": (("run", "digits(", "--model", "linear"), "'digits(' is not a spec"),
    "file": (("run", "absent.py:x", "--model", "linear"), "There is no file"),
    "no samples": (("run", "digits", "--model", "linear", "--n", "0"), "--n 0 must be at least 1"),
    "negative samples": (("run", "digits", "--model", "linear", "--n", "-3"), "--n -3 must be at least 1"),
    "no batch": (("run", "digits", "--model", "linear", "--batch-size", "0"), "--batch-size 0"),
    "device": (("run", "digits", "--model", "linear", "--device", "tpu9"), "Device 'tpu9' cannot be used"),
    "role": (("list", "attak"), "There is no role 'attak'; choose one of kind"),
    "no command": (("rum",), "invalid choice: 'rum'"),
    "no model": (("run", "digits"), "--model"),
    "not a number": (("run", "digits", "--model", "linear", "--n", "ten"), "invalid int value: 'ten'"),
    "check": (("check", "absent.py"), "There is no file"),
}


@pytest.mark.parametrize(("arguments", "message"), USAGE_ERRORS.values(), ids=USAGE_ERRORS)
def test_a_usage_error_is_one_sentence_and_exit_status_2(run_command, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    status, out, err = run_command(*arguments)
    assert status == 2
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == [], "a usage error stores nothing"


@pytest.mark.parametrize("arguments", [("board",), ("board", "digits"), ("publish", "digits")])
def test_an_empty_store_is_an_error_with_advice(run_command, tmp_path, arguments):
    status, out, err = run_command(*arguments, "--store", tmp_path / "none")
    assert (status, out) == (2, "")
    assert "Nothing is stored" in err
    assert "suite demo" in err or "suite run" in err
    assert not (tmp_path / "none").exists(), "reading must not create the store"


def test_an_unknown_board_suggests_a_similar_name(run_command, measured):
    status, _, err = run_command("board", "acme.py:dogs", "--store", measured)
    assert (status, "Did you mean 'acme.py:dots'" in err) == (2, True)
    status, _, err = run_command("board", "acme.py:dots", "--rank-by", "acuracy", "--store", measured)
    assert (status, "Did you mean 'accuracy'" in err) == (2, True)


# -- list


def test_list_shows_all_roles_with_one_line_per_entry(run_command):
    status, out, err = run_command("list")
    assert (status, err) == (0, "")
    headings = [line for line in out.splitlines() if not line.startswith(" ")]
    assert headings == [
        "kinds",
        "tasks",
        "models",
        "attacks",
        "attributions",
        "feature attributions",
        "uncertainty methods",
        "metrics",
    ]
    assert re.search("^  digits +1,797 real handwritten digits", out, re.MULTILINE)
    assert re.search("^  timm:NAME +Any timm architecture", out, re.MULTILINE)


def test_list_imports_neither_torch_nor_scipy_stats():
    code = (
        "import sys\nfrom suite.cli import main\nmain(['list'])\n"
        "print('LOADED', sorted({'torch', 'scipy.stats', 'numpy', 'pandas'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("LOADED []\n")


@pytest.mark.parametrize("role", LISTED)
def test_list_shows_what_the_registry_contains(role):
    entries = [(e.name + (":NAME" if e.family else ""), e.summary) for e in REGISTRY.names(role)]
    assert listing(role) == entries


@pytest.mark.parametrize("role", ["attack", "attacks"])
def test_list_of_one_role(run_command, role):
    status, out, _ = run_command("list", role)
    names = [line.split()[0] for line in out.splitlines()]
    assert (status, names[0]) == (0, "attacks")
    assert {"fgsm", "pgd", "patch", "torchattacks:NAME"} <= set(names)


# -- run, board, publish


def test_a_second_run_skips_stored_cells(run_command, acme, tmp_path):
    arguments = ("run", f"{acme}:dots", "--model", f"{acme}:eye", "--axis", "clean", "--n", "8", "--store", tmp_path)
    status, out, err = run_command(*arguments)
    assert (status, "1 cells: 0 stored before, 1 run now, 0 failed." in err) == (0, True)
    assert "acme.py:dots" in out
    rows = Store(tmp_path).rows()
    status, again, err = run_command(*arguments)
    assert (status, "1 cells: 1 stored before, 0 run now, 0 failed." in err) == (0, True)
    assert again == out
    assert Store(tmp_path).rows().equals(rows)


def test_a_failed_model_is_on_the_board(run_command, measured):
    status, out, _ = run_command("board", "--store", measured)
    assert status == 0
    assert "acme.py:eye(" in out
    assert "There are no weights at" in " ".join(out.split())


def test_a_board_is_selected_with_or_without_the_folder(run_command, acme, measured):
    outputs = [run_command("board", name, "--store", measured) for name in ("acme.py:dots", f"{acme}:dots")]
    assert outputs[0] == outputs[1]
    assert outputs[0][0] == 0


def test_published_rows_are_complete_and_contain_no_local_paths(run_command, acme, measured, tmp_path):
    status, out, _ = run_command("publish", f"{acme}:dots", "--store", measured, "--to", tmp_path / "boards")
    (path,) = (tmp_path / "boards").iterdir()
    assert (status, out) == (0, f"wrote {path}\n")
    text = path.read_text("utf-8")
    assert str(acme.parent) not in text
    assert "/tmp/" not in text
    rows = list(csv.DictReader(text.splitlines()))
    required = {"value", "lo", "hi", "n", "method", "status", "reason", "key", "digests", "suite_version", "seed"}
    assert required < rows[0].keys()
    assert {row["task"] for row in rows} == {"acme.py:dots"}
    accuracy = next(row for row in rows if row["metric"] == "accuracy")
    assert 0 <= float(accuracy["lo"]) <= float(accuracy["value"]) <= float(accuracy["hi"]) <= 1
    failed = next(row for row in rows if row["status"] == "failed")
    assert (failed["value"], failed["model"]) == ("", "acme.py:eye(weights='lost.safetensors')")
    assert "There are no weights at 'lost.safetensors'" in failed["reason"]
    first = path.read_bytes()
    run_command("publish", "acme.py:dots", "--store", measured, "--to", tmp_path / "boards")
    assert path.read_bytes() == first, "the same rows give the same file"


def test_an_unwritable_folder_is_an_error(run_command, measured, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run_command("publish", "acme.py:dots", "--store", measured, "--to", tmp_path / "file")
    assert (status, "cannot be written" in err, "--to" in err) == (2, True, True)


def test_the_report_uses_the_store_and_runs_on_localhost(run_command, measured, monkeypatch):
    server = pytest.importorskip("streamlit.web.cli")
    monkeypatch.setenv("SUITE_STORE", "restored afterwards")
    monkeypatch.setenv("STREAMLIT_LOGGER_LEVEL", "error")
    started = []
    monkeypatch.setattr(server, "main", lambda arguments, **_: started.append((arguments, os.environ["SUITE_STORE"])))
    monkeypatch.chdir(measured.parent)
    assert run_command("report", "--store", "store", "--port", "8599")[0] == 0
    ((arguments, store),) = started
    assert store == str(measured)
    assert arguments[arguments.index("--server.address") + 1] == "localhost"
    assert arguments[arguments.index("--server.port") + 1] == "8599"


# -- processes


def test_a_run_in_a_checkout_leaves_it_clean(acme, tmp_path):
    def git(*arguments):
        options = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "init.defaultBranch=main"]
        return subprocess.run(
            ["git", *options, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout

    (tmp_path / "acme.py").write_text(TINY)
    git("init")
    git("add", ".")
    git("commit", "-m", "one file")
    done = command("run", "acme.py:dots", "--model", "acme.py:eye", "--axis", "clean", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / ".suite").is_dir()
    assert git("status", "--porcelain", "--untracked-files=all") == ""


def test_ctrl_c_is_one_sentence_and_exit_status_130(acme, tmp_path):
    # A process started in the background of a shell ignores SIGINT, and its children inherit this; restore the handler.
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import sys; from suite.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["run", f"{acme}:dots(interrupt=True)", "--model", f"{acme}:eye", "--store", str(tmp_path)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert (
        done.stderr.splitlines()[-1] == "Stopped. Finished results are stored; run the same command again to continue."
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [("list", "tasks"), ("board",)], ids=["list", "board"])
def test_a_closed_pipe_is_no_error(measured, arguments):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = [sys.executable, "-m", "suite.cli", *arguments]
    environment = {**os.environ, "SUITE_STORE": str(measured)}
    done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0
