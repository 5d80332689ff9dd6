"""The command ``suite``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from suite.errors import SuiteError
from suite.paths import default_store

if TYPE_CHECKING:
    from suite.runner.harness import Outcome

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

DEMO = {
    "digits": ("linear", "cnn", "cnn_adversarial"),
    "digit-scenes-detection": ("centernet", "fcos"),
    "digit-scenes-segmentation": ("unet", "lraspp"),
    "movie-sentiment": ("bag", "textcnn", "vader_rules"),
    "plays": ("ngram", "char_gru"),
    "mnist-codes": ("vae",),
    "mnist-samples": ("sn_hinge", "dcgan"),
}
"""Tasks of the demo, and the models that are trained on each."""

DESCRIPTION = """How good is a deep network, and when should I not believe it?

  suite demo                                   small models of all five kinds on four axes
  suite run digits --model cnn --model vit     measure models on a task
  suite run acme.py:defects --model acme.py:net   ... of your own, from one file
  suite board                                  the leaderboards of what is stored
  suite report                                 the same with pictures, in the browser
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 fine, 1 something failed, 2 not understood."""
    options = _parser().parse_args(arguments)
    try:
        status = int(options.command(options))
        sys.stdout.flush()  # a pipe that is closed shows here, not when Python has ended
        return status
    except SuiteError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped. What was measured is stored; the same command goes on from there.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="suite", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=lambda _: parser.parse_args(["--help"]))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    demo = _add(commands, "demo", _demo, "train and score small models that name, find and outline real digits")
    _jobs(demo, min(2, os.cpu_count() or 1))
    _how(demo)
    board = _add(commands, "board", _board, "print the leaderboards of what is stored")
    board.add_argument("task", nargs="?", help="only this task")
    _which(board)
    board.add_argument("--rank-by", default="accuracy", help="column to rank by (default: accuracy)")
    publish = _add(commands, "publish", _publish, "write a task's current rows to leaderboards/, to be committed")
    publish.add_argument("task")
    _which(publish)
    publish.add_argument("--to", default="leaderboards", help="folder (default: leaderboards)")
    _add_verify(commands)
    report = _add(commands, "report", _report, "show the stored results in the browser, on this machine only")
    report.add_argument("--port", type=int, default=8501, help="default: 8501")
    listing = _add(commands, "list", _list, "list tasks, models, attacks, attributions, metrics", store=False)
    listing.add_argument("role", nargs="?", help="only this role")
    check = _add(commands, "check", _check, "say what a third-party file gets wrong", store=False)
    check.add_argument("file", help="a Python file with tasks or models")
    return parser


def _add(commands: Commands, name: str, command: object, text: str, *, store: bool = True) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    if store:
        parser.add_argument("--store", default=default_store(), help="folder of results (default: %(default)s)")
    return parser


def _add_run(commands: Commands) -> None:
    run = _add(commands, "run", _run, "measure models on tasks; what is stored is skipped")
    run.add_argument("task", nargs="+", help="tasks: digits, imagefolder(path='photos'), acme.py:defects")
    run.add_argument("--model", action="append", required=True, help="a model; give it several times for several")
    run.add_argument("--axis", action="append", help="clean, robustness, calibration, attribution, or a spec of one")
    run.add_argument("--n", type=int, help="at most this many test samples (default: all)")
    run.add_argument("--seed", type=int, default=0, help="of splits, training, attacks, resampling (default: 0)")
    run.add_argument("--full", action="store_true", help="train for longer, where a model has a longer recipe")
    _jobs(run, 1)
    run.add_argument("--strict", action="store_true", help="stop where a sample, or a part of one, has to be dropped")
    _how(run)


def _jobs(parser: argparse.ArgumentParser, default: int) -> None:
    parser.add_argument(
        "--jobs",
        type=int,
        default=default,
        help="processes, at most one for each model on a task (default: %(default)s)",
    )


def _add_verify(commands: Commands) -> None:
    verify = _add(commands, "verify", _verify, "check the stored adversarial inputs afresh, without attack code")
    verify.add_argument("task", nargs="*", help="only these tasks, as they were run (default: all that are stored)")
    verify.add_argument("--model", action="append", help="only this model; give it several times for several")
    verify.add_argument("--axis", action="append", help="only this spec, like robustness(attack=pgd)")
    _how(verify)


def _which(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--n", type=int, help="what was measured on this many test samples (default: the most)")
    parser.add_argument("--seed", type=int, help="what was measured with this seed (default: the newest data's)")


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    parser.add_argument(
        "--batch-size", type=int, default=64, help="changes speed and memory, not results (default: 64)"
    )


def _run(options: argparse.Namespace) -> int:
    outcome = _measure(options, {task: options.model for task in options.task}, options.axis)
    _print_boards(options.store, [_display_name(task) for task in options.task], n=options.n, seed=options.seed)
    return 1 if outcome.failed else 0


def _demo(options: argparse.Namespace) -> int:
    options.n, options.seed, options.full, options.strict = None, 0, False, False
    outcome = _measure(options, DEMO, None)
    _print_boards(options.store, list(DEMO))
    print("Look at the pictures with:  make report   (or: suite report)")
    return 1 if outcome.failed else 0


def _measure(options: argparse.Namespace, work: Mapping[str, Sequence[str]], axes: Sequence[str] | None) -> Outcome:
    """Measure models by task."""
    from rich.console import Console

    if min(options.batch_size, options.jobs) < 1 or (options.n is not None and options.n < 1):
        raise SuiteError(
            f"--batch-size {options.batch_size}, --jobs {options.jobs} and --n {options.n} must be at least 1."
        )
    console = Console(stderr=True)
    with console.status("loading"):
        from suite.runner.harness import AXES, plan, with_full_recipe
        from suite.runner.parallel import run_in_processes
        from suite.runner.process import limit_memory, use_threads
        from suite.runner.progress import bars
        from suite.runner.settings import Settings
        from suite.store import Store

        use_threads()
        limit_memory()
        chosen = {
            task: [with_full_recipe(model) for model in models] if options.full else models
            for task, models in work.items()
        }
        planned = (
            plan([task], models, axes or AXES, n=options.n, seed=options.seed) for task, models in chosen.items()
        )
        cells = [cell for part in planned for cell in part]
    with bars(console) as shown:
        settings = Settings(
            options.device,
            options.batch_size,
            shown.track,
            shown.on_cell_done,
            shown.on_task_loaded,
            strict=options.strict,
        )
        outcome = run_in_processes(Store(options.store), settings, cells, options.jobs)
    total = len(outcome.ran) + len(outcome.stored)
    failed = len(outcome.failed)
    console.print(f"{total} cells: {len(outcome.stored)} stored before, {len(outcome.ran)} run now, {failed} failed.")
    return outcome


def _board(options: argparse.Namespace) -> int:
    return _print_boards(
        options.store, [_display_name(options.task)] if options.task else [], options.rank_by, options.n, options.seed
    )


def _display_name(task: str) -> str:
    from suite.runner.identity import display_name
    from suite.spec import parse

    return display_name(parse(task))


def _print_boards(
    folder: str, tasks: Sequence[str], rank_by: str = "accuracy", n: int | None = None, seed: int | None = None
) -> int:
    """Print the boards of some tasks, or of all that are stored, on all samples or on n of them."""
    from rich.console import Console

    from suite.leaderboard import board
    from suite.leaderboard.text import board_table
    from suite.store import Store

    store = Store(folder)
    rows = store.rows()
    names = sorted(rows["task"].unique()) if len(rows) else []
    if not names:
        raise SuiteError(f"Nothing is stored in {folder}. Measure something first, for example with: suite demo")
    console = Console(width=None if sys.stdout.isatty() else 120)
    with console.capture() as text:
        for name in tasks or names:
            console.print(board_table(board(store, name, rank_by=rank_by, n=n, seed=seed), width=console.width))
        for record, why in store.damaged.items():
            console.print(f"Record {record} cannot be read and was left out: {why}", markup=False)
    print(text.get(), end="")
    return 0


def _publish(options: argparse.Namespace) -> int:
    from suite.leaderboard.publishing import publish
    from suite.store import Store

    for path in publish(
        Store(options.store), _display_name(options.task), Path(options.to), n=options.n, seed=options.seed
    ):
        print(f"wrote {path}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    if options.batch_size < 1:
        raise SuiteError(f"--batch-size {options.batch_size} must be at least 1.")
    from suite.runner.process import limit_memory, use_threads
    from suite.store import Store
    from suite.verify.records import RecordFilter
    from suite.verify.verifier import verify

    use_threads()
    limit_memory()
    store = Store(options.store)
    wanted = RecordFilter(options.task, options.model or (), options.axis or ())
    verdicts = []
    for verdict in verify(store, wanted, device=options.device, batch_size=options.batch_size):
        print("\n".join(verdict.lines()), flush=True)
        verdicts.append(verdict)
    for record, why in store.damaged.items():
        print(f"FAIL record {record} cannot be read: {why}")
    wrong = sum(bool(verdict.differences) for verdict in verdicts) + len(store.damaged)
    inputs = sum(verdict.inputs or 0 for verdict in verdicts if not verdict.differences)
    print(f"{len(verdicts)} records, {inputs:,} inputs verified, {wrong or 'no'} records differ.")
    return 1 if wrong else 0


def _report(options: argparse.Namespace) -> int:
    from importlib import import_module
    from importlib.util import find_spec

    app = find_spec("suite.reports.app")
    if find_spec("streamlit") is None or app is None or app.origin is None:
        raise SuiteError("The report needs Streamlit and plotly: pip install 'trust-suite[report]'")
    os.environ["SUITE_STORE"] = str(Path(options.store).resolve())
    arguments = ["--server.address", "localhost", "--server.port", str(options.port)]
    quiet = [
        "--browser.gatherUsageStats",
        "false",
        "--server.headless",
        "true",
        "--server.fileWatcherType",
        "none",
        "--client.toolbarMode",
        "viewer",
    ]
    print(f"The report is at http://localhost:{options.port} (Ctrl-C ends it).", flush=True)
    # Streamlit warns that caches are made before its server runs, which is what is meant here.
    logging.getLogger(import_module("streamlit.runtime.caching.cache_data_api").__name__).disabled = True
    for view in ("board_view", "model_view", "gallery_view"):  # read now, so that the first page does not wait for it
        import_module(f"suite.reports.{view}")
    from streamlit.web.cli import main as streamlit

    streamlit(["run", app.origin, *arguments, *quiet], standalone_mode=False)
    return 0


def _list(options: argparse.Namespace) -> int:
    from suite.registry import REGISTRY

    roles = ("task", "model", "attack", "attribution", "metric")
    if options.role is not None and options.role.removesuffix("s") not in roles:
        raise SuiteError(f"There is nothing called {options.role!r} to list; choose one of {', '.join(roles)}.")
    for role in [options.role.removesuffix("s")] if options.role else roles:
        print(f"{role}s")
        for entry in REGISTRY.names(role):
            print(f"  {entry.name + (':NAME' if entry.family else ''):24} {entry.summary}")
    for plugin, why in REGISTRY.broken.items():
        print(f"The plugin {plugin} could not be loaded: {why}", file=sys.stderr)
    return 0


def _check(options: argparse.Namespace) -> int:
    from suite.runner.conformance import check_file

    findings = check_file(options.file)
    for finding in findings:
        print(f"{'ok  ' if finding.passed else 'FAIL'} {finding.subject}: {finding.sentence}")
    wrong = sum(not finding.passed for finding in findings)
    print(f"{len(findings)} checks, {wrong} failed." if wrong else f"{len(findings)} checks, all passed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
