"""Paths that users give become our own errors, and only regular files are read."""

import os

import pytest

from suite.data.regular_files import content_of, existing_folder, existing_path, problem_of
from suite.errors import DataError

LONG = "x" * 300
PATHS = {
    "~nobody-of-this-name/x": "Could not determine home directory",
    LONG: "File name too long",
    "a\0b": "embedded null byte",
    "nowhere": "No such file or directory",
}


@pytest.mark.parametrize(("path", "reason"), PATHS.items(), ids=range(len(PATHS)))
def test_a_path_that_does_not_exist_is_our_error_with_the_reason(path, reason):
    with pytest.raises(DataError) as error:
        existing_path(path, "give a file")
    assert str(error.value).startswith(f"{path!r} is neither a file nor a folder ({reason}")
    with pytest.raises(DataError) as error:
        existing_folder(path)
    message = str(error.value)
    assert message.startswith(f"{path!r} is not a folder ({reason}")
    assert message.endswith("); give the folder that the data set was unpacked to.")


def test_a_file_is_no_folder(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"1")
    assert existing_path(str(file), "") == file and content_of(file) == b"1"
    with pytest.raises(DataError) as error:
        existing_folder(str(file))
    assert str(error.value) == f"{str(file)!r} is not a folder; give the folder that the data set was unpacked to."


def test_the_home_folder_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert existing_folder("~") == tmp_path


def test_what_is_no_regular_file_is_an_error_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    reasons = {
        "fifo": "a FIFO (named pipe), not a file with data",
        "folder": "a folder; expected a file",
        "link": "a link to 'nowhere', which cannot be followed: No such file or directory",
        "missing": "No such file or directory",
        LONG: "File name too long",
        "a\0b": "embedded null byte",
    }
    for name, reason in reasons.items():
        with pytest.raises(DataError) as error:
            content_of(tmp_path / name)
        assert str(error.value).endswith(f" cannot be read: {reason}")


def test_a_name_that_no_file_can_have_is_a_problem_and_no_exception(tmp_path):
    assert problem_of(tmp_path / LONG) == "File name too long" and problem_of(tmp_path) is None


def test_a_folder_without_permission_is_our_error(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataError) as error:
        existing_folder(str(tmp_path))
    assert str(error.value) == f"{str(tmp_path)!r} is a folder that cannot be opened; get the permission to read it."


@pytest.mark.parametrize("path", [3, None, "", " ", ("a",)])
def test_what_is_no_path_is_our_error(path):
    with pytest.raises(DataError, match="is not the name of a file or folder; give the folder"):
        existing_folder(path)
