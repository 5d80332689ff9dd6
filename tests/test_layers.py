"""Imports point one way, importing is cheap, and nothing dangerous is called."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import suite

ROOT = Path(__file__).parent.parent
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for folder in ("suite", "tasks", "reports")
    for path in sorted((ROOT / folder).rglob("*.py"))
}

# A module may import from the layers above its own in this list, and from its own layer. A name covers all below it.
LAYERS = (
    ("suite.errors", "suite.rounding"),
    ("suite.spec", "suite.types", "suite.paths"),
    ("suite.registry", "suite.store", "suite.metrics"),
    ("suite.decorators", "suite.listing", "suite.data", "suite.leaderboard"),
    ("suite.models",),
    ("suite.kinds",),
    ("suite.attacks", "suite.attributions"),
    ("suite.corruptions",),
    ("suite.axes",),
    ("suite.runner",),
    ("suite.verify",),
    ("suite.api", "suite.cli"),
    ("suite",),  # the public names, which it loads from their homes
    ("tasks", "reports"),
)
# Two branches grow from the store: boards read it, the runner fills it. They meet in the commands alone.
LIGHT = ("suite.store", "suite.leaderboard", "suite.metrics")
HEAVY = (
    "suite.data",
    "suite.models",
    "suite.kinds",
    "suite.attacks",
    "suite.attributions",
    "suite.corruptions",
    "suite.axes",
    "suite.runner",
    "suite.verify",
)


def tree(name):
    return ast.parse(SOURCES[name].read_text("utf-8"))


def imports(name, *, top_only=False):
    """Return the modules that a module imports, also for type checking and inside functions unless `top_only`."""
    skipped = set()
    found = []
    for node in ast.walk(tree(name)):
        guard = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if top_only and (guard or isinstance(node, ast.FunctionDef)):
            skipped.update(ast.walk(node))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports relatively; write the whole name"
            found += [resolved(node.module, alias.name) for alias in node.names]
    return found


def resolved(module, name):
    """Return the module that ``from module import name`` needs: the name itself where it is a module."""
    whole = f"{module}.{name}"
    return whole if whole in SOURCES or whole.startswith("suite.reports.") else module


def within(name, part):
    return name == part or (part != "suite" and name.startswith(part + "."))


def layer(name):
    return next(index for index, parts in enumerate(LAYERS) if any(within(name, part) for part in parts))


def suite_imports(name):
    return [other for other in imports(name) if other.split(".")[0] == "suite"]


def test_every_module_has_a_layer():
    assert [name for name in SOURCES if not any(within(name, part) for parts in LAYERS for part in parts)] == []
    assert {"suite.spec", "suite.axes.clean", "tasks.classification", "reports.app"} < SOURCES.keys()


@pytest.mark.parametrize("name", [name for name in SOURCES if name.split(".")[0] == "suite"])
def test_a_module_imports_from_its_own_layer_or_a_lower_one(name):
    for other in suite_imports(name):
        assert layer(other) <= layer(name), f"{name} imports {other}, which is in a higher layer"


def package(name):
    return (
        name
        if name.count(".") < 2 and SOURCES[name].name != "__init__.py"
        else ".".join(SOURCES[name].parent.parts[len(ROOT.parts) :])
    )


def circle(graph):
    """Return nodes that import each other in a circle, if there are any: what is left after removing leaves."""
    graph = {node: set(others) for node, others in graph.items()}
    while leaves := {node for node, others in graph.items() if not others & graph.keys()}:
        graph = {node: others for node, others in graph.items() if node not in leaves}
    return sorted(graph)


def test_no_modules_and_no_packages_import_each_other_in_a_circle():
    names = [name for name in SOURCES if name.startswith("suite.")]
    modules = {name: {other for other in suite_imports(name) if other in SOURCES} - {name} for name in names}
    assert circle(modules) == []
    packages = {}
    for name, others in modules.items():
        packages.setdefault(package(name), set()).update({package(other) for other in others} - {package(name)})
    assert circle(packages) == []


def test_the_check_for_circles_finds_one():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize("name", [name for name in SOURCES if any(within(name, part) for part in LIGHT)])
def test_boards_know_nothing_of_how_the_numbers_were_made(name):
    for other in imports(name):
        assert not any(within(other, part) for part in (*HEAVY, "torch")), f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("reports")])
def test_reports_read_boards_and_never_need_torch(name):
    for other in imports(name):
        assert not any(within(other, part) for part in (*HEAVY, "torch", "torchvision", "timm", "captum")), other


@pytest.mark.parametrize("name", [name for name in SOURCES if name.split(".")[0] == "suite"])
def test_the_suite_imports_no_task_and_no_report(name):
    for other in imports(name):
        assert other.split(".")[0] not in ("tasks", "reports", "leaderboards", "tests")
        assert not other.startswith(("suite.tasks", "suite.reports"))


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("tasks")])
def test_a_built_in_task_imports_the_public_names_only_and_nothing_heavy_at_the_top(name):
    top = {other.split(".")[0] for other in imports(name, top_only=True)}
    assert top <= {"__future__", "collections", "typing", "suite", "dataclasses", "functools", "pathlib", "math"}
    assert {other for other in imports(name, top_only=True) if other.startswith("suite")} <= {"suite"}


def test_every_folder_with_code_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in SOURCES.values()}
    names = {".".join(folder.parts) for folder in folders}
    homes = {"tasks": "suite.tasks", "reports": "suite.reports"}
    assert sorted(homes.get(name, name) for name in names) == sorted(settings["packages"])
    assert settings["package-dir"] == {"suite": "suite", "suite.tasks": "tasks", "suite.reports": "reports"}
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)


PUBLIC = """Audit Harness Measure Recipe Rejected Sample Settings Store TaskInfo Token TorchClassifier
TorchDetector TorchSegmenter TorchText Words attack attribution audit load metric model plan stratified task""".split()


def test_the_public_names_are_exactly_these_and_every_one_is_there():
    assert suite.__all__ == PUBLIC
    assert dir(suite) == PUBLIC
    for name in PUBLIC:
        assert getattr(suite, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'tasks_of_mine'"):
        suite.tasks_of_mine  # noqa: B018


def test_a_public_name_is_not_hidden_by_the_package_of_its_name():
    code = "import suite.attributions.maps.methods; from suite import attribution; attribution(name='mine')(dict)"
    subprocess.run([sys.executable, "-c", code], check=True)


LIGHT_MODULES = (
    *("suite", "suite.cli", "suite.registry", "suite.decorators", "suite.spec", "suite.types", "suite.store"),
    *("suite.leaderboard", "suite.leaderboard.text", "suite.leaderboard.publishing"),
)


def test_importing_what_is_light_loads_no_torch():
    code = (
        "import sys, importlib\n"
        "heavy = {'torch', 'torchvision', 'timm', 'captum', 'torchattacks', 'streamlit', 'sklearn'}\n"
        f"for name in {LIGHT_MODULES}:\n"
        "    importlib.import_module(name)\n"
        "    assert not heavy & sys.modules.keys(), (name, heavy & sys.modules.keys())\n"
        "from suite.registry import REGISTRY\n"
        "assert REGISTRY.get('task', 'digits').name == 'digits'\n"
        "assert not heavy & sys.modules.keys(), 'looking a task up loads something heavy'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def calls(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {item.arg: ast.unparse(item.value) for item in node.keywords}, node.lineno


FORBIDDEN = (
    "eval",
    "exec",
    "compile",
    "os.system",
    "os.popen",
    "pickle.load",
    "pickle.loads",
    "joblib.load",
    "yaml.load",
)


def objections(name):
    """Return the calls in a module that could run what a stranger wrote, or tie it to one device."""
    for function, options, line in calls(name):
        if function in FORBIDDEN or (function.endswith(".cuda") and function != "torch.cuda"):
            yield f"{name}:{line} calls {function}"
        if function == "torch.load" and options.get("weights_only") != "True":
            yield f"{name}:{line} calls torch.load without weights_only=True"
        if function.endswith(("np.load", "numpy.load")) and options.get("allow_pickle") != "False":
            yield f"{name}:{line} calls {function} without allow_pickle=False"
        if options.get("shell", "False") != "False":
            yield f"{name}:{line} starts a shell"


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_dangerous_is_called(name):
    assert list(objections(name)) == []


def test_the_check_for_dangerous_calls_finds_them(tmp_path, monkeypatch):
    bad = ["eval('1')", "x.cuda()", "torch.load('f')", "np.load('f')", "run('ls', shell=True)"]
    (tmp_path / "bad.py").write_text("\n".join([*bad, "torch.load('f', weights_only=True)"]))
    monkeypatch.setitem(SOURCES, "bad", tmp_path / "bad.py")
    assert [line.split()[0] for line in objections("bad")] == [f"bad:{number}" for number in (1, 2, 3, 4, 5)]


def test_every_package_that_numbers_depend_on_is_part_of_the_code_digest():
    from suite.runner.identity import NUMERIC

    packages = {path.name for path in (ROOT / "suite").iterdir() if (path / "__init__.py").exists()}
    # What is done with stored numbers changes none of them; of the runner, preparation.py is covered.
    assert packages - set(NUMERIC) == {"leaderboard", "runner", "verify"}
