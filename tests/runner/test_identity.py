"""The key of a result depends on all code that can move a number, and on the versions of packages that compute."""

import ast
import functools
import importlib.metadata
import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

from suite.runner import identity
from suite.runner.identity import EXCLUDED, PACKAGE, PACKAGES, code_digest, covered_files, package_digest

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
TOP_LEVEL = sorted({name.split("/")[0] for name in MODULES})
IMPORTED_NAMES = {"scikit-learn": "sklearn"}
READERS = {"PIL", "mlxtend", "pyarrow", "safetensors", "yaml"}
"""Packages that only read samples and weights; the digests of both are part of the key."""
CARRIERS = {"paths.py", "store.py", "records"}
"""Excluded modules that measuring code imports: they locate files or carry numbers, and compute none."""


def is_excluded(name):
    return any(Path(name).is_relative_to(part) for part in EXCLUDED)


def first_module(part):
    return next(name for name in MODULES if Path(name).is_relative_to(part))


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A copy of the package, which nobody edits while the tests run."""
    root = tmp_path_factory.mktemp("original") / "suite"
    shutil.copytree(PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture
def digest_after(original, tmp_path):
    """A function that edits one file of a copy of the package and returns the digest of the copy."""

    def edit(name, change):
        root = tmp_path / "suite"
        shutil.copytree(original, root)
        path = root / name
        text = path.read_text("utf-8")
        assert change(text) != text
        path.write_text(change(text), "utf-8")
        return package_digest(root)

    return edit


def with_code(text):
    return f"{text}\n0"


def with_comment(text):
    return f"# A comment.\n\n{text}"


def with_longer_docstring(text):
    return text.replace('"""', '"""More. ', 1)


@pytest.mark.parametrize("part", TOP_LEVEL)
def test_the_digest_depends_on_the_code_of_every_part_that_is_not_excluded(part, original, digest_after):
    name = first_module(part)
    assert (digest_after(name, with_code) != package_digest(original)) == (not is_excluded(name))


@pytest.mark.parametrize("part", [part for part in EXCLUDED if (PACKAGE / part).exists()])
def test_the_digest_does_not_depend_on_excluded_code(part, original, digest_after):
    assert digest_after(first_module(part), with_code) == package_digest(original)


@pytest.mark.parametrize("name", ["runner/job.py", "runner/harness.py", "runner/process.py", "metrics/__init__.py"])
def test_a_changed_module_changes_the_digest(name, original, digest_after):
    assert digest_after(name, with_code) != package_digest(original)


@pytest.mark.parametrize("change", [with_comment, with_longer_docstring])
@pytest.mark.parametrize("part", TOP_LEVEL)
def test_comments_and_docstrings_do_not_change_the_digest(part, change, original, digest_after):
    assert digest_after(first_module(part), change) == package_digest(original)


def test_a_renamed_module_changes_the_digest(original, tmp_path):
    shutil.copytree(original, tmp_path / "suite")
    (tmp_path / "suite/types.py").rename(tmp_path / "suite/kinds/types.py")
    assert package_digest(tmp_path / "suite") != package_digest(original)


@pytest.mark.parametrize("part", EXCLUDED)
def test_an_excluded_path_exists_and_has_a_reason(part):
    module = "suite." + part.removesuffix(".py").replace("/", ".")
    assert importlib.util.find_spec(module), f"{part} does not exist; remove it from EXCLUDED"
    assert len(EXCLUDED[part].split()) > 3


def test_every_module_is_covered_or_excluded():
    covered = set(covered_files())
    assert covered | {name for name in MODULES if is_excluded(name)} == set(MODULES)
    assert not any(is_excluded(name) for name in covered)
    assert {"__init__.py", "errors.py", "registry.py", "rounding.py", "runner/identity.py", "types.py"} <= covered


@functools.cache
def imports(name):
    """Return the names of the modules that a module of the suite imports, and of what it imports from them."""
    names = []
    for node in ast.walk(ast.parse((PACKAGE / name).read_bytes())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


@pytest.mark.parametrize("part", sorted(EXCLUDED.keys() - CARRIERS))
def test_no_covered_module_imports_an_excluded_one(part):
    module = "suite." + part.removesuffix(".py").replace("/", ".")
    names = [name for name in covered_files() if name != "__init__.py"]  # which imports lazily, for users
    assert [name for name in names for other in imports(name) if f"{other}.".startswith(f"{module}.")] == []


def test_every_imported_package_is_part_of_the_key_or_only_reads_files():
    imported = {other.split(".")[0] for name in covered_files() for other in imports(name)}
    known = {IMPORTED_NAMES.get(name, name) for name in PACKAGES} | READERS | {"suite"}
    assert imported - sys.stdlib_module_names - known == set()


def test_the_code_digest_does_not_depend_on_the_folder_of_a_file(tmp_path):
    first, second = tmp_path / "a/acme.py", tmp_path / "b/acme.py"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("x = 1\n")
    assert code_digest((str(first),)) == code_digest((str(second),)) != code_digest()


@pytest.mark.parametrize("package", PACKAGES)
def test_a_new_version_of_a_package_changes_the_versions(package, monkeypatch):
    version = importlib.metadata.version
    before = identity.package_versions.__wrapped__()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99.0" if name == package else version(name))
    assert identity.package_versions.__wrapped__() == {**before, package: "99.0"} != before


def test_a_package_that_is_not_installed_is_absent(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    assert set(identity.package_versions.__wrapped__().values()) == {"absent"}
