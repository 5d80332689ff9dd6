"""The identity of a result: digests of everything it depends on; `suite.runner.job` assembles the key from them."""

import ast
import functools
import hashlib
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from suite.errors import SpecError
from suite.registry import resolve
from suite.spec import Spec, parse

NUMERIC = (
    "attacks",
    "attributions",
    "axes",
    "corruptions",
    "data",
    "kinds",
    "metrics",
    "models",
    "runner/preparation.py",
    "types.py",
    "spec.py",
)
"""Parts of the package that determine the numbers; changes elsewhere leave stored results valid."""

NESTED = {"attack": "attack", "methods": "attribution"}
"""Arguments of an axis that are specs, with their roles."""

PACKAGES = ("torch", "torchvision", "timm", "torchattacks", "captum", "numpy", "scipy", "pandas", "scikit-learn")
"""Packages whose versions are recorded with every result."""


def full_spec(role: str, text: str | Spec, *, injected: tuple[str, ...] = ()) -> Spec:
    """Return a spec with all defaults filled in, also in nested specs.

    Raises:
        UnknownNameError, SpecError: a name or an argument does not exist.
    """
    entry, spec = resolve(role, text)
    bound = entry.bind(spec, injected=injected)
    return bound.but(**{name: _full_values(NESTED[name], value) for name, value in bound.args if name in NESTED})


def _full_values(role: str, value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_full_values(role, item) for item in value)
    if not isinstance(value, str | Spec):
        raise SpecError(f"{value!r} is not a spec of role {role}; expected one such as pgd(eps=[0.1]).")
    return full_spec(role, parse(value))


def build_nested(text: str | Spec) -> None:
    """Build the attack or the methods of an axis spec, to find wrong values before anything runs.

    Raises:
        SuiteError: an attack or a method rejects its arguments.
    """
    for role, item in _nested(parse(text)):
        entry, spec = resolve(role, item)
        entry.build(spec)


def _nested(spec: Spec) -> Iterator[tuple[str, str | Spec]]:
    """Yield the nested specs with their roles."""
    for name, value in spec.args:
        if name in NESTED:
            yield from ((NESTED[name], item) for item in (value if isinstance(value, tuple) else (value,)))


def origins(role: str, text: str | Spec) -> set[str]:
    """Return the files that define what a spec and its nested specs name.

    Raises:
        UnknownNameError: a name does not exist.
    """
    entry, spec = resolve(role, text)
    return {entry.origin}.union(*(origins(inner, item) for inner, item in _nested(spec)))


def display_name(spec: Spec) -> str:
    """Return a spec as boards show it, without the folder of a file, so that results contain no local paths."""
    return str(without_folder(spec))


def without_folder(spec: Spec) -> Spec:
    """Return a spec such as ``folder/acme.py:net`` without the folder."""
    path, in_file, name = spec.name.rpartition(".py:")
    return Spec(f"{Path(path).name}.py:{name}", spec.args) if in_file else spec


@functools.cache
def code_digest(files: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of the code that determines the numbers: that of the suite, and the given files."""
    content = hashlib.sha256()
    for file in [*_package_files(), *sorted(set(files))]:
        path = Path(str(file))
        if path.is_file():
            content.update(path.name.encode() + b"\0" + _canonical_code(path))
    return content.hexdigest()


@functools.cache
def _canonical_code(path: Path) -> bytes:
    """Return the code of a file without comments, layout and docstrings, which cannot change a number."""
    try:
        tree = ast.parse(path.read_bytes())
    except SyntaxError:
        return path.read_bytes()
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
    return ast.dump(tree).encode()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _package_files() -> list[Path]:
    parts = [Path(__file__).parents[1] / part for part in NUMERIC]
    return sorted(file for part in parts for file in (part.rglob("*.py") if part.is_dir() else [part]))


@functools.cache
def environment(threads: int) -> Mapping[str, str]:
    """Return the versions of Python, the machine, threads and packages that a result was computed with."""
    versions = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(threads),
        "mkl_cbwr": os.environ.get("MKL_CBWR", "default"),
    }
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


@functools.cache
def git_state() -> str:
    """Return the commit of the checkout with ``+`` for uncommitted changes; an empty string outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()  # noqa: S603  # fixed command

    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def ids_digest(ids: Iterable[str]) -> str:
    """Return the SHA-256 of sample ids, which depends on their order."""
    return hashlib.sha256("\0".join(ids).encode()).hexdigest()
