"""The command ``suite``. Each command imports what it needs, so that ``suite --help`` is fast."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from suite.errors import SuiteError
from suite.escaping import escaped_name
from suite.paths import default_store
from suite.terminal import Parser, prepare, say, say_lines

if TYPE_CHECKING:
    from suite.runner.harness import Outcome

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

DEMO = {
    "digit-scenes-detection": ("centernet", "fcos"),
    "digit-scenes-segmentation": ("unet", "lraspp"),
    "movie-sentiment": ("bag", "textcnn", "vader_rules"),
    "plays": ("ngram", "char_gru"),
    "mnist-codes": ("vae",),
    "mnist-samples": ("sn_hinge", "dcgan"),
    "digits": ("linear", "cnn", "cnn_adversarial"),
}
"""Tasks of the demo and the models to train. Long training runs come first, so that several processes end together."""

LISTED = {
    "kind": "kinds",
    "task": "tasks",
    "model": "models",
    "attack": "attacks",
    "attribution": "attributions",
    "feature_attribution": "feature attributions",
    "uncertainty": "uncertainty methods",
    "metric": "metrics",
}
"""What `suite list` shows: roles and their titles."""

DESCRIPTION = """Benchmark deep networks: accuracy, adversarial robustness, calibration and attribution faithfulness.

examples:
  suite demo                                      train and evaluate small models on all kinds of tasks
  suite run digits --model cnn --model vit        evaluate models on a task
  suite run acme.py:defects --model acme.py:net   evaluate your own model on your own task
  suite data "imagefolder(path='photos')"         report what is kept, dropped and assumed of your data
  suite board                                     print the leaderboards
  suite report                                    show results and example inputs in the browser
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0 for success, 1 if something failed, 2 for a usage error."""
    prepare()
    options = _parser().parse_args(arguments)
    _name_plugins(options)
    try:
        status = int(options.command(options))
        sys.stdout.flush()  # raises here, and not at exit, if the pipe is closed
        return status
    except SuiteError as error:
        say_lines(f"{type(error).__name__}: {error}", sys.stderr)
        return 2
    except KeyboardInterrupt:
        say("Stopped. Finished results are stored; run the same command again to continue.", sys.stderr)
        return 130
    except BrokenPipeError:  # the reader closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:  # a fault of the suite; Python would print its message as it is
        say_lines(traceback.format_exc(), sys.stderr)
        return 1


def _parser() -> Parser:
    parser = Parser(prog="suite", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(command=lambda _: parser.parse_args(["--help"]))
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_run(commands)
    demo = _add(commands, "demo", _demo, "train and evaluate small models on all kinds of tasks")
    _add_jobs(demo, min(2, os.cpu_count() or 1))
    _add_device(demo)
    _add_batch_size(demo)
    board = _add(commands, "board", _board, "print the leaderboards of the stored results")
    board.add_argument("task", nargs="?", help="the task (default: all)")
    _add_selection(board)
    board.add_argument("--rank-by", help="the column to rank by (default: the headline metric)")
    publish = _add(commands, "publish", _publish, "write the current results of a task to a CSV file in leaderboards/")
    publish.add_argument("task", help="the task")
    _add_selection(publish)
    publish.add_argument("--to", default="leaderboards", help="the folder (default: %(default)s)")
    _add_verify(commands)
    report = _add(commands, "report", _report, "show the stored results in the browser, on localhost")
    report.add_argument("--port", type=int, default=8501, help="the port (default: %(default)s)")
    listing = _add(
        commands,
        "list",
        _list,
        "list kinds, tasks, models, attacks, attributions, uncertainty methods and metrics",
        store=False,
    )
    listing.add_argument("role", nargs="?", help=f"{', '.join(LISTED)} (default: all)")
    data = _add(commands, "data", _data, "read a task's data and report what is kept, dropped and assumed", store=False)
    data.add_argument("task", help="for example imagefolder(path='photos', size=64)")
    data.add_argument("--seed", type=int, default=0, help="seed of splits that are drawn (default: %(default)s)")
    data.add_argument("--all", action="store_true", help="list every dropped record, not only 20 for each reason")
    check = _add(commands, "check", _check, "check a Python file with your own tasks or models", store=False)
    check.add_argument("file", help="the Python file")
    return parser


def _add(commands: Commands, name: str, command: object, text: str, *, store: bool = True) -> Parser:
    parser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=command)
    parser.add_argument(
        "--plugin",
        action="append",
        metavar="FILE",
        help="a Python file that adds attacks, metrics, uncertainty methods, attributions or pages; may be repeated",
    )
    if store:
        folder = escaped_name(default_store()).replace("%", "%%")
        parser.add_argument("--store", default=default_store(), help=f"the folder of results (default: {folder})")
    return parser


def _name_plugins(options: argparse.Namespace) -> None:
    """Put the plug-in files into the environment, which worker processes and the report inherit."""
    if named := getattr(options, "plugin", None):
        from suite.registry import PLUGIN_FILES

        before = [name for name in (os.environ.get(PLUGIN_FILES),) if name]
        os.environ[PLUGIN_FILES] = os.pathsep.join([*before, *(str(Path(name).resolve()) for name in named)])


def _add_run(commands: Commands) -> None:
    run = _add(
        commands, "run", _run, "evaluate models on tasks and store the results; stored results are not measured again"
    )
    run.add_argument("task", nargs="+", help="for example digits, imagefolder(path='photos') or acme.py:defects")
    run.add_argument("--model", action="append", required=True, help="a model; repeat the option for several models")
    run.add_argument(
        "--axis",
        action="append",
        help="clean, robustness, calibration, attribution or a spec; may be repeated (default: these four)",
    )
    run.add_argument("--n", type=int, help="maximum number of test samples (default: all)")
    run.add_argument(
        "--seed", type=int, default=0, help="seed of splits, training, attacks and resampling (default: %(default)s)"
    )
    run.add_argument("--full", action="store_true", help="use the full training recipe of models that have one")
    _add_jobs(run, 1)
    run.add_argument(
        "--strict", action="store_true", help="stop with an error if any sample, or part of one, must be dropped"
    )
    _add_device(run)
    _add_batch_size(run)


def _add_jobs(parser: Parser, default: int) -> None:
    parser.add_argument(
        "--jobs",
        type=int,
        default=default,
        help="number of processes, at most one for each model on a task (default: %(default)s)",
    )


def _add_verify(commands: Commands) -> None:
    verify = _add(
        commands,
        "verify",
        _verify,
        "derive every number again from what is stored, and check adversarial examples with independent code",
    )
    verify.add_argument("task", nargs="*", help="the tasks, as they were run (default: all)")
    verify.add_argument("--model", action="append", help="a model, as it was run; may be repeated (default: all)")
    verify.add_argument(
        "--axis", action="append", help="a spec, for example robustness(attack=pgd); may be repeated (default: all)"
    )
    _add_device(verify)


def _add_selection(parser: Parser) -> None:
    parser.add_argument("--n", type=int, help="results on this many test samples (default: the largest stored n)")
    parser.add_argument("--seed", type=int, help="results with this seed (default: the seed of the newest results)")


def _add_device(parser: Parser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: %(default)s)")


def _add_batch_size(parser: Parser) -> None:
    parser.add_argument(
        "--batch-size",
        type=int,
        help="samples of every forward pass (default: by the size of a sample, 8 to 64)",
    )


def _run(options: argparse.Namespace) -> int:
    outcome = _measure(options, {task: options.model for task in options.task}, options.axis)
    _print_boards(options.store, [_display_name(task) for task in options.task], n=options.n, seed=options.seed)
    return 1 if outcome.failed else 0


def _demo(options: argparse.Namespace) -> int:
    options.n, options.seed, options.full, options.strict = None, 0, False, False
    outcome = _measure(options, DEMO, None)
    _print_boards(options.store, ["digits", *(task for task in DEMO if task != "digits")])
    say("To see example inputs, run:  suite report")
    return 1 if outcome.failed else 0


def _measure(options: argparse.Namespace, work: Mapping[str, Sequence[str]], axes: Sequence[str] | None) -> Outcome:
    """Measure models on their tasks."""
    from rich.console import Console

    for name in ("batch_size", "jobs", "n"):
        if (given := getattr(options, name)) is not None and given < 1:
            raise SuiteError(f"--{name.replace('_', '-')} {given} must be at least 1.")
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
        cells = [
            cell
            for task, models in chosen.items()
            for cell in plan([task], models, axes or AXES, n=options.n, seed=options.seed)
        ]
    with bars(console) as progress:
        settings = Settings(
            options.device,
            options.batch_size,
            progress.track,
            progress.on_cell_done,
            progress.on_task_loaded,
            strict=options.strict,
        )
        outcome = run_in_processes(Store(options.store), settings, cells, options.jobs)
    ran, stored, failed = len(outcome.ran), len(outcome.stored), len(outcome.failed)
    console.print(f"{ran + stored} cells: {stored} stored before, {ran} run now, {failed} failed.")
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
    folder: str, tasks: Sequence[str], rank_by: str | None = None, n: int | None = None, seed: int | None = None
) -> int:
    """Print the boards of some tasks, or of all stored ones; `n` and `seed` select the results."""
    from rich.console import Console
    from rich.text import Text

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
            console.print(Text(escaped_name(f"Record {record} cannot be read and is omitted: {why}")))
    print(text.get(), end="")  # escaped already; on a terminal it has the style of the tables
    return 0


def _publish(options: argparse.Namespace) -> int:
    from suite.leaderboard.publishing import publish
    from suite.store import Store

    for path in publish(
        Store(options.store), _display_name(options.task), Path(options.to), n=options.n, seed=options.seed
    ):
        say(f"wrote {path}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    from suite.runner.process import limit_memory, use_threads
    from suite.store import Store
    from suite.verify.records import RecordFilter
    from suite.verify.verifier import verify

    use_threads()
    limit_memory()
    store = Store(options.store)
    chosen = RecordFilter(options.task, options.model or (), options.axis or ())
    results = []
    for result in verify(store, chosen, device=options.device):
        for line in result.lines():
            say(line)
        results.append(result)
    for record, why in store.damaged.items():
        say(f"FAIL record {record} cannot be read: {why}")
    wrong = sum(bool(result.differences) for result in results) + len(store.damaged)
    correct = [result for result in results if not result.differences]
    measures, inputs = sum(result.measures for result in correct), sum(result.inputs or 0 for result in correct)
    say(
        f"{len(results)} records, {measures:,} measures derived again, {inputs:,} inputs verified, {wrong or 'no'} "
        f"{'record differs' if wrong == 1 else 'records differ'}."
    )
    return 1 if wrong else 0


def _report(options: argparse.Namespace) -> int:
    from importlib import import_module
    from importlib.util import find_spec

    app = find_spec("suite.reports.app")
    if find_spec("streamlit") is None or app is None or app.origin is None:
        raise SuiteError("The report needs Streamlit and plotly: pip install 'trust-suite[report]'")
    os.environ["SUITE_STORE"] = str(Path(options.store).resolve())
    settings = {
        "server.address": "localhost",
        "server.port": str(options.port),
        "browser.gatherUsageStats": "false",
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "client.toolbarMode": "viewer",
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    say(f"The report is at http://localhost:{options.port} (press Ctrl-C to stop).")
    # Streamlit warns about caches that are created before its server runs, which is intended here.
    logging.getLogger(import_module("streamlit.runtime.caching.cache_data_api").__name__).disabled = True
    for view in ("board_view", "model_view", "gallery_view"):  # imported early, so that the first page loads fast
        import_module(f"suite.reports.{view}")
    from streamlit.web.cli import main as streamlit

    streamlit(["run", app.origin, *arguments], standalone_mode=False)
    return 0


def _list(options: argparse.Namespace) -> int:
    from suite.listing import listing
    from suite.registry import REGISTRY

    chosen = options.role and LISTED.get(options.role.removesuffix("s").replace(" ", "_"))
    if options.role is not None and chosen is None:
        raise SuiteError(f"There is no role {options.role!r}; choose one of {', '.join(LISTED)}.")
    for role, title in LISTED.items() if chosen is None else [(options.role.removesuffix("s"), chosen)]:
        say(title)
        for name, summary in listing(role):
            say(f"  {name:24} {summary}")
    for plugin, why in REGISTRY.broken.items():
        say(f"The plug-in {plugin} cannot be loaded: {' '.join(why.split())}", sys.stderr)
    return 0


def _data(options: argparse.Namespace) -> int:
    from suite.runner.preparation import prepare_task

    data = prepare_task(options.task, options.seed).data
    info = data.info
    shape, classes = "x".join(map(str, info.input_shape)), ", ".join(info.classes)
    say(f"{info.name}: {info.kind}, inputs of {shape}, {len(info.classes):,} classes{': ' if classes else ''}{classes}")
    for line in data.full_report().lines(None if options.all else 20):
        say(line)
    return 0


def _check(options: argparse.Namespace) -> int:
    from suite.runner.conformance import check_file

    results = check_file(options.file)
    for result in results:
        say(f"{'ok  ' if result.passed else 'FAIL'} {result.subject}: {' '.join(result.sentence.split())}")
    wrong = sum(not result.passed for result in results)
    say(f"{len(results)} checks, {wrong} failed." if wrong else f"{len(results)} checks, all passed.")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
