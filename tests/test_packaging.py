"""Packaging: the contents of the wheel, dependencies without upper bounds, and the lock file."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = [
    Requirement(line)
    for line in (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    if line.strip() and not line.lstrip().startswith("#")
]
PINS = {item.name: str(item.specifier).removeprefix("==") for item in LOCK if not item.marker or item.marker.evaluate()}
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Yield a wheel built offline from a copy of the source tree."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("suite", "tasks", "reports"):
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, folder / "source")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, folder / "source"]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_contains_every_source_file_under_one_import_name(wheel):
    files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package_paths = {"suite": "suite", "tasks": "suite/tasks", "reports": "suite/reports"}
    expected = {
        f"{target}/{path.relative_to(ROOT / folder)}"
        for folder, target in package_paths.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert files == expected | {"suite/records/schema.json"}
    assert {"suite/tasks/classification.py", "suite/reports/app.py"} < files


def test_the_wheel_declares_its_command_and_its_license(wheel):
    files = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "suite = suite.cli:main" in wheel.read(files["entry_points.txt"]).decode()
    assert "Apache License" in wheel.read(files["licenses/LICENSE"]).decode()
    metadata = wheel.read(files["METADATA"]).decode()
    assert "Name: trust-suite\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert wheel.read(files["top_level.txt"]).decode().split() == ["suite"]


def test_required_dependencies_are_light_and_have_no_upper_bounds():
    plain = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not plain & {"torchattacks", "captum", "netcal", "streamlit", "plotly", "requests", "pytest"}
    for text in PROJECT["dependencies"]:
        assert all(item.operator == ">=" for item in Requirement(text).specifier), f"{text} has an upper bound or a pin"


def test_optional_dependencies_are_extras():
    names = {extra: {Requirement(text).name for text in texts} for extra, texts in EXTRAS.items()}
    assert "torchattacks" in names["attacks"]
    assert "captum" in names["attribution"]
    assert "netcal" in names["oracles"]
    assert "streamlit" in names["report"]


def test_the_lock_pins_every_package_to_one_version():
    for item in LOCK:
        assert re.fullmatch(r"==[\w.+!]+", str(item.specifier)), f"{item} is not pinned"
    assert len(PINS) > 80


REQUIRED_VERSIONS = {"torch": "==2.14.1", "torchvision": "==0.29.1", "torchattacks": "==3.5.1", "pandas": ">=3,<4"}
REQUIRED_VERSIONS |= {"requests": ">=2.32", "streamlit": ">=1.60", "captum": ">=0.7", "netcal": ">=1.3.6"}


@pytest.mark.parametrize(("name", "versions"), REQUIRED_VERSIONS.items())
def test_the_lock_has_the_required_versions(name, versions):
    assert Requirement(f"{name}{versions}").specifier.contains(PINS[name])


DEPENDENCIES = [*PROJECT["dependencies"], *(text for texts in EXTRAS.values() for text in texts)]


@pytest.mark.parametrize("text", DEPENDENCIES)
def test_every_dependency_is_locked_at_a_compatible_version(text):
    requirement = Requirement(text)
    assert requirement.specifier.contains(PINS[canonicalize_name(requirement.name)])


def test_installed_versions_match_the_lock():
    installed = {canonicalize_name(item.name): item.version for item in importlib.metadata.distributions()}
    differing = {
        name: (pin, installed[name])
        for name, pin in PINS.items()
        if name in installed and installed[name].split("+")[0] != pin
    }
    assert differing == {}
    assert {"torch", "torchvision", "numpy", "pandas", "timm"} < installed.keys() & PINS.keys()


def test_the_installed_version_is_the_project_version():
    assert importlib.metadata.version("trust-suite") == PROJECT["version"]


def tracked():
    """Return the files of the checkout that git does not ignore."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


# Files must not contain the package registry or local paths of a developer's machine.
HOSTS = re.compile(
    r"https?://(?![\w.]*localhost)[^\s'\"/]*(?:pypi|pythonhoste[d]|artifactory|nexus|mirror|proxy)[^\s'\"]*|index-url"
)
MACHINE = re.compile(r"/(?:root|home/(?!me/)\w+|Users/\w+|work/main)/")


def test_no_file_contains_a_registry_host_or_a_local_path():
    files = [path for path in tracked() if path.parts[len(ROOT.parts)] != ".ci" and path != Path(__file__)]
    matches = []
    for path in files:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        matches += [f"{path.relative_to(ROOT)}: {match}" for match in (*HOSTS.findall(text), *MACHINE.findall(text))]
    assert matches == []
    assert len(files) > 80


def test_the_check_for_hosts_and_paths_detects_them():
    assert HOSTS.search("--index-url https://x")
    assert HOSTS.search("https://artifactory.example.org/simple")
    assert MACHINE.search("/home/somebody/data")
    assert not HOSTS.search("http://localhost:8501")
