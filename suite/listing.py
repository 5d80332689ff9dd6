"""The names of everything installed, read from source files: importing them would load PyTorch."""

import ast
from collections.abc import Iterator
from pathlib import Path

from suite.registry import BUILT_IN, REGISTRY, plugin_files, plugins, tasks_files


def listing(role: str) -> list[tuple[str, str]]:
    """Return the name and the first line of the docstring of everything installed in a role, by name.

    Names of families end in ``:NAME``. If plug-ins are installed, everything is imported to find what they register.
    """
    if plugins() or plugin_files():
        entries = [(entry.name, entry.family, entry.summary) for entry in REGISTRY.names(role)]
    else:
        entries = sorted(entry for file in _files(role) for entry in _decorated(file, role))
    return [(name + (":NAME" if family else ""), summary) for name, family, summary in entries]


def _files(role: str) -> list[Path]:
    root = Path(__file__).parents[1]
    return [root / f"{module.replace('.', '/')}.py" for module in BUILT_IN.get(role, ())] or tasks_files()


def _decorated(file: Path, role: str) -> Iterator[tuple[str, bool, str]]:
    """Yield name, whether it is a family, and summary of every function and class with the decorator of a role."""
    decorated_by = role.removeprefix("feature_")  # one decorator for both roles of attribution methods
    for node in ast.parse(file.read_bytes()).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func).rpartition(".")[2] == decorated_by:
                options = {option.arg: option.value for option in decorator.keywords}
                name = ast.literal_eval(options["name"]) if "name" in options else node.name
                family = "family" in options and ast.literal_eval(options["family"])
                yield name, family, (ast.get_docstring(node) or "").split("\n")[0]
