"""Imports respect the layers, light modules import quickly, and no unsafe function is called."""

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

# From low to high: a module may import from its own layer and from lower ones. A name includes its submodules.
LAYERS = (
    ("suite.errors", "suite.escaping", "suite.file_kinds", "suite.rounding"),
    ("suite.spec", "suite.types", "suite.paths", "suite.states", "suite.terminal"),
    ("suite.metrics",),
    ("suite.registry", "suite.records", "suite.store"),
    ("suite.decorators", "suite.listing", "suite.data", "suite.leaderboard"),
    ("suite.models",),
    ("suite.kinds",),
    ("suite.attacks", "suite.attributions"),
    ("suite.corruptions",),
    ("suite.axes",),
    ("suite.runner",),
    ("suite.verify",),
    ("suite.api", "suite.cli"),
    ("suite",),  # the public names, loaded lazily from their modules
    ("tasks", "reports"),
)
# Boards and the runner depend on the store, not on each other.
LIGHT = ("suite.store", "suite.records", "suite.leaderboard", "suite.metrics")
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
    modules = []
    for node in ast.walk(tree(name)):
        guard = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if top_only and (guard or isinstance(node, ast.FunctionDef)):
            skipped.update(ast.walk(node))
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} uses a relative import; write the full name"
            modules += [imported_module(node.module, alias.name) for alias in node.names]
    return modules


def imported_module(module, name):
    """Return the module that ``from module import name`` imports: `module.name` if that is a module itself."""
    full_name = f"{module}.{name}"
    return full_name if full_name in SOURCES or full_name.startswith("suite.reports.") else module


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


def import_cycle(graph):
    """Return the nodes that import, directly or not, an import cycle: those left after removing leaves."""
    graph = {node: set(others) for node, others in graph.items()}
    while leaves := {node for node, others in graph.items() if not others & graph.keys()}:
        graph = {node: others for node, others in graph.items() if node not in leaves}
    return sorted(graph)


def test_modules_and_packages_have_no_import_cycles():
    names = [name for name in SOURCES if name.startswith("suite.")]
    modules = {name: {other for other in suite_imports(name) if other in SOURCES} - {name} for name in names}
    assert import_cycle(modules) == []
    packages = {}
    for name, others in modules.items():
        packages.setdefault(package(name), set()).update({package(other) for other in others} - {package(name)})
    assert import_cycle(packages) == []


def test_the_check_for_import_cycles_detects_one():
    assert import_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["a", "b", "c"]


@pytest.mark.parametrize("name", [name for name in SOURCES if any(within(name, part) for part in LIGHT)])
def test_boards_do_not_import_the_code_that_computes_the_numbers(name):
    for other in imports(name):
        assert not any(within(other, part) for part in (*HEAVY, "torch")), f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("reports")])
def test_reports_import_neither_torch_nor_the_code_that_computes_the_numbers(name):
    for other in imports(name):
        assert not any(within(other, part) for part in (*HEAVY, "torch", "torchvision", "timm", "captum")), other


@pytest.mark.parametrize("name", [name for name in SOURCES if name.split(".")[0] == "suite"])
def test_the_suite_imports_no_task_and_no_report(name):
    for other in imports(name):
        assert other.split(".")[0] not in ("tasks", "reports", "leaderboards", "tests")
        assert not other.startswith(("suite.tasks", "suite.reports"))


@pytest.mark.parametrize("name", [name for name in SOURCES if name.startswith("tasks")])
def test_a_built_in_task_imports_only_public_names_and_nothing_heavy_at_module_level(name):
    top = {other.split(".")[0] for other in imports(name, top_only=True)}
    assert top <= {"__future__", "collections", "typing", "suite", "dataclasses", "functools", "pathlib", "math"}
    assert {other for other in imports(name, top_only=True) if other.startswith("suite")} <= {"suite"}


def test_every_folder_with_code_is_packaged():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in SOURCES.values()}
    names = {".".join(folder.parts) for folder in folders}
    package_names = {"tasks": "suite.tasks", "reports": "suite.reports"}
    assert sorted(package_names.get(name, name) for name in names) == sorted(settings["packages"])
    assert settings["package-dir"] == {"suite": "suite", "suite.tasks": "tasks", "suite.reports": "reports"}
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders)


PUBLIC = """Audit BoardColumn ClassNames Deferred Harness Measure Measured Metric Recipe Rejected Remark Sample
Settings Store Table TaskInfo Token TorchClassifier TorchDetector TorchSegmenter TorchText Words attack
attribution audit kind load metric model page plan stratified summarise_record task uncertainty""".split()


def test_the_public_names_are_exactly_these_and_all_exist():
    assert suite.__all__ == PUBLIC
    assert dir(suite) == PUBLIC
    for name in PUBLIC:
        assert getattr(suite, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'tasks_of_mine'"):
        suite.tasks_of_mine  # noqa: B018


def test_a_public_name_is_not_shadowed_by_the_package_of_the_same_name():
    code = "import suite.attributions.maps.methods; from suite import attribution; attribution(name='mine')(dict)"
    subprocess.run([sys.executable, "-c", code], check=True)


LIGHT_MODULES = (
    *("suite", "suite.cli", "suite.registry", "suite.decorators", "suite.spec", "suite.types", "suite.store"),
    *("suite.leaderboard", "suite.leaderboard.text", "suite.leaderboard.publishing"),
)


def test_importing_a_light_module_loads_no_torch():
    code = (
        "import sys, importlib\n"
        "heavy = {'torch', 'torchvision', 'timm', 'captum', 'torchattacks', 'streamlit', 'sklearn'}\n"
        f"for name in {LIGHT_MODULES}:\n"
        "    importlib.import_module(name)\n"
        "    assert not heavy & sys.modules.keys(), (name, heavy & sys.modules.keys())\n"
        "from suite.registry import REGISTRY\n"
        "assert REGISTRY.get('task', 'digits').name == 'digits'\n"
        "assert not heavy & sys.modules.keys(), 'looking up a task imports a heavy package'\n"
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


def unsafe_calls(name):
    """Yield the calls in a module that could run untrusted code, or hard-code a device."""
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
def test_no_unsafe_function_is_called(name):
    assert list(unsafe_calls(name)) == []


def test_the_check_for_unsafe_calls_detects_them(tmp_path, monkeypatch):
    bad = ["eval('1')", "x.cuda()", "torch.load('f')", "np.load('f')", "run('ls', shell=True)"]
    (tmp_path / "bad.py").write_text("\n".join([*bad, "torch.load('f', weights_only=True)"]))
    monkeypatch.setitem(SOURCES, "bad", tmp_path / "bad.py")
    assert [line.split()[0] for line in unsafe_calls("bad")] == [f"bad:{number}" for number in (1, 2, 3, 4, 5)]
