"""What a plain pip install gets: everything that is needed, nothing that holds other packages back."""

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
    """Return a wheel that is built offline from a copy of the tree."""
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


def test_the_wheel_holds_every_source_file_under_the_one_import_name(wheel):
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    homes = {"suite": "suite", "tasks": "suite/tasks", "reports": "suite/reports"}
    expected = {
        f"{home}/{path.relative_to(ROOT / folder)}"
        for folder, home in homes.items()
        for path in (ROOT / folder).rglob("*.py")
    }
    assert held == expected
    assert {"suite/tasks/classification.py", "suite/reports/app.py"} < held


def test_the_wheel_names_its_command_and_its_licence(wheel):
    held = {name.partition(".dist-info/")[2]: name for name in wheel.namelist()}
    assert "suite = suite.cli:main" in wheel.read(held["entry_points.txt"]).decode()
    assert "Apache License" in wheel.read(held["licenses/LICENSE"]).decode()
    metadata = wheel.read(held["METADATA"]).decode()
    assert "Name: trust-suite\n" in metadata
    assert "License-Expression: Apache-2.0\n" in metadata
    assert wheel.read(held["top_level.txt"]).decode().split() == ["suite"]


def test_a_plain_install_asks_for_nothing_that_holds_others_back():
    plain = {Requirement(text).name for text in PROJECT["dependencies"]}
    assert not plain & {"torchattacks", "captum", "netcal", "streamlit", "plotly", "requests", "pytest"}
    for text in PROJECT["dependencies"]:
        assert all(item.operator == ">=" for item in Requirement(text).specifier), f"{text} caps or pins a version"


def test_what_is_only_for_some_is_an_extra():
    names = {extra: {Requirement(text).name for text in texts} for extra, texts in EXTRAS.items()}
    assert "torchattacks" in names["attacks"]
    assert "captum" in names["attribution"]
    assert "netcal" in names["oracles"]
    assert "streamlit" in names["report"]


def test_the_lock_pins_every_package_to_one_version():
    for item in LOCK:
        assert re.fullmatch(r"==[\w.+!]+", str(item.specifier)), f"{item} is not pinned"
    assert len(PINS) > 80


DEMANDED = {"torch": "==2.14.1", "torchvision": "==0.29.1", "torchattacks": "==3.5.1", "pandas": ">=3,<4"}
DEMANDED |= {"requests": ">=2.32", "streamlit": ">=1.60", "captum": ">=0.7", "netcal": ">=1.3.6"}


@pytest.mark.parametrize(("name", "versions"), DEMANDED.items())
def test_the_lock_has_the_versions_that_are_demanded(name, versions):
    assert Requirement(f"{name}{versions}").specifier.contains(PINS[name])


ASKED = [*PROJECT["dependencies"], *(text for texts in EXTRAS.values() for text in texts)]


@pytest.mark.parametrize("text", ASKED)
def test_every_dependency_is_in_the_lock_at_a_version_that_fits(text):
    wanted = Requirement(text)
    assert wanted.specifier.contains(PINS[canonicalize_name(wanted.name)])


def test_what_is_installed_is_what_is_locked():
    installed = {canonicalize_name(item.name): item.version for item in importlib.metadata.distributions()}
    differing = {
        name: (pin, installed[name])
        for name, pin in PINS.items()
        if name in installed and installed[name].split("+")[0] != pin
    }
    assert differing == {}
    assert {"torch", "torchvision", "numpy", "pandas", "timm"} < installed.keys() & PINS.keys()


def test_the_installed_project_is_this_one():
    assert importlib.metadata.version("trust-suite") == PROJECT["version"]


def tracked():
    """Return the text files of the checkout that belong to the project."""
    command = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed if name and (ROOT / name).is_file()]


# A registry or a machine of whoever wrote this must not decide where somebody else's packages come from.
HOSTS = re.compile(
    r"https?://(?![\w.]*localhost)[^\s'\"/]*(?:pypi|pythonhoste[d]|artifactory|nexus|mirror|proxy)[^\s'\"]*|index-url"
)
MACHINE = re.compile(r"/(?:root|home/(?!me/)\w+|Users/\w+|work/main)/")


def test_no_file_names_a_registry_or_a_path_of_one_machine():
    files = [path for path in tracked() if path.parts[len(ROOT.parts)] != ".ci" and path != Path(__file__)]
    found = []
    for path in files:
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {match}" for match in (*HOSTS.findall(text), *MACHINE.findall(text))]
    assert found == []
    assert len(files) > 80


def test_the_check_for_hosts_and_paths_finds_them():
    assert HOSTS.search("--index-url https://x")
    assert HOSTS.search("https://artifactory.example.org/simple")
    assert MACHINE.search("/home/somebody/data")
    assert not HOSTS.search("http://localhost:8501")
