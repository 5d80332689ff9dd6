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

PACKAGE = Path(__file__).parents[1]
"""The folder of the package `suite`."""

EXCLUDED: Mapping[str, str] = {
    "api.py": "It turns the arguments of audit into cells and settings, and reads the results back.",
    "cli.py": "It turns options into cells and settings, and prints results.",
    "leaderboard": "It selects, ranks and prints stored numbers, and no measuring code imports it.",
    "listing.py": "It lists the names of what is installed.",
    "paths.py": "It locates the folders of results and caches.",
    "records": "It writes what was measured, with its types, and reads it back unchanged.",
    "reports": "It shows stored results in the browser.",
    "runner/conformance.py": "It checks third-party files before a run, and stores nothing.",
    "runner/progress.py": "It draws progress bars and passes on their items unchanged.",
    "store.py": "It writes what was measured and the trained weights, and reads them back unchanged.",
    "tasks": "The origins of a cell name its task and model files, so that a file invalidates only its own results.",
    "verify": "It checks stored results after they were measured.",
}
"""Modules and packages that the code digest omits, relative to `PACKAGE`, each with why it cannot move a number."""

NESTED = {"attack": "attack", "methods": "attribution", "explainers": "feature_attribution"}
"""Arguments of an axis that are specs, with their roles."""

PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "torchattacks",
    "captum",
    "transformers",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "rapidfuzz",
    "vaderSentiment",
)
"""Packages that compute numbers; their versions are part of the key of a result."""


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
    full = full_spec(role, parse(value))
    # The canonical form of a name differs from that of a spec, and seeds depend on it.
    return full.name if role == "feature_attribution" and not full.args else full


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
    """Return the SHA-256 of the code that can move a number: that of the suite, and the given files."""
    content = hashlib.sha256(package_digest().encode())
    paths = (Path(file) for file in set(files))
    for name, code in sorted((path.name, _canonical_code(path.read_bytes())) for path in paths if path.is_file()):
        content.update(name.encode() + b"\0" + code)
    return content.hexdigest()


@functools.cache
def package_digest(root: Path = PACKAGE) -> str:
    """Return the SHA-256 of the code of the package in the folder `root`, without what is `EXCLUDED`."""
    content = hashlib.sha256()
    for name in covered_files(root):
        content.update(name.encode() + b"\0" + _canonical_code((root / name).read_bytes()))
    return content.hexdigest()


def covered_files(root: Path = PACKAGE) -> list[str]:
    """Return the files that the code digest covers, relative to `root` and sorted."""
    files = (path.relative_to(root) for path in root.rglob("*.py"))
    return sorted(file.as_posix() for file in files if not any(file.is_relative_to(part) for part in EXCLUDED))


@functools.cache
def _canonical_code(source: bytes) -> bytes:
    """Return the code of a file without comments, layout and docstrings, which cannot change a number."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return source
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
    return ast.dump(tree).encode()


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@functools.cache
def environment(threads: int) -> Mapping[str, str]:
    """Return the versions of Python, the machine, threads and packages that a result was computed with."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": str(threads),
        "mkl_cbwr": os.environ.get("MKL_CBWR", "default"),
        **package_versions(),
    }


@functools.cache
def package_versions() -> Mapping[str, str]:
    """Return the installed versions of the packages that compute numbers; ``absent`` for one that is not installed."""
    return {name: _version(name) for name in PACKAGES}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


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
