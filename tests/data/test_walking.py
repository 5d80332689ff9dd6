"""A walk finds every file of a folder once, opens none, and names what it cannot use."""

import os
import socket

import pytest

from suite.data import walking
from suite.data.named_files import files_by_stem
from suite.data.split_files import beside_parts, part_folders
from suite.data.walking import children, evenly, walk
from suite.errors import DataError
from suite.types import Rejected


def write(file, content=b"x"):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def relative(paths, root):
    return [str(path.relative_to(root)) for path in paths]


def test_files_are_sorted_and_hidden_ones_left_out(tmp_path):
    for name in ("b/2", "b/10", "a", "b.c/1", ".hidden", ".folder/x", "b/.DS_Store"):
        write(tmp_path / name)
    found = walk(tmp_path)
    assert relative(found.files, tmp_path) == ["a", "b/10", "b/2", "b.c/1"]
    assert relative(found.folders, tmp_path) == ["b", "b.c"] and not found.problems


def test_linked_folders_and_files_are_followed(tmp_path):
    write(tmp_path / "real/deep/x")
    (tmp_path / "set").mkdir()
    (tmp_path / "set/link").symlink_to(tmp_path / "real")
    (tmp_path / "set/file").symlink_to(tmp_path / "real/deep/x")
    found = walk(tmp_path / "set")
    assert relative(found.files, tmp_path / "set") == ["file", "link/deep/x"] and not found.problems


def test_links_in_a_circle_end_and_are_named(tmp_path):
    for name in ("a", "b", "c"):
        write(tmp_path / "set" / name / "x")
        (tmp_path / "set" / name / "up").symlink_to(tmp_path / "set")
    for first, second in ("ab", "bc", "ca"):
        (tmp_path / "set" / first / second).symlink_to(tmp_path / "set" / second)
    found = walk(tmp_path / "set")
    assert {"a/x", "b/x", "c/x"} <= set(relative(found.files, tmp_path / "set")) and len(found.files) <= 12
    assert found.problems[tmp_path / "set/a/up"] == (
        f"a link to {str((tmp_path / 'set').resolve())!r}, a folder above it, which is not read again"
    )


def test_a_link_to_a_folder_above_the_walk_is_a_circle_too(tmp_path):
    write(tmp_path / "set/a/x")
    (tmp_path / "set/a/top").symlink_to(tmp_path)
    found = walk(tmp_path / "set")
    assert (
        relative(found.files, tmp_path) == ["set/a/x"] and "a folder above it" in found.problems[tmp_path / "set/a/top"]
    )


def test_a_second_link_to_one_folder_is_named(tmp_path):
    write(tmp_path / "real/x")
    (tmp_path / "set").mkdir()
    for name in "ab":
        (tmp_path / "set" / name).symlink_to(tmp_path / "real")
    found = walk(tmp_path / "set")
    assert relative(found.files, tmp_path) == ["set/a/x"]
    assert found.problems == {
        tmp_path / "set/b": f"a link to the same folder as {str(tmp_path / 'set/a')!r}, which is not read again"
    }


def test_what_is_no_file_is_named_and_never_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.png")
    (tmp_path / "broken.png").symlink_to("nowhere")
    (tmp_path / "itself.png").symlink_to("itself.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.path.relpath(tmp_path / "socket.png"))
        found = walk(tmp_path)
    assert not found.files
    assert {path.name: reason for path, reason in found.problems.items()} == {
        "broken.png": "a link to 'nowhere', which cannot be followed: No such file or directory",
        "device.png": "a character device, not a file with data",
        "fifo.png": "a FIFO (named pipe), not a file with data",
        "itself.png": "a link to 'itself.png', which cannot be followed: Too many levels of symbolic links",
        "socket.png": "a socket, not a file with data",
    }


def test_a_folder_that_cannot_be_opened_is_named(tmp_path, monkeypatch):
    write(tmp_path / "open/x")
    write(tmp_path / "closed/x")
    real = os.scandir

    def scandir(folder):
        if folder == tmp_path / "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(os, "scandir", scandir)
    found = walk(tmp_path)
    assert relative(found.files, tmp_path) == ["open/x"]
    assert found.problems == {tmp_path / "closed": "a folder that cannot be opened: Permission denied"}


def test_a_folder_that_is_listed_and_cannot_be_entered_is_named(tmp_path, monkeypatch):
    write(tmp_path / "closed/x")
    write(tmp_path / "x")
    real = walking._identity

    def identity(folder):
        if folder == tmp_path / "closed":
            raise PermissionError(13, "Permission denied")
        return real(folder)

    monkeypatch.setattr(walking, "_identity", identity)
    found = walk(tmp_path)
    assert relative(found.files, tmp_path) == ["x"]
    assert found.problems == {tmp_path / "closed": "a folder that cannot be opened: Permission denied"}


def test_names_that_are_not_utf_8_are_found(tmp_path):
    file = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9.png")
    write(tmp_path / "a.png")
    with open(file, "wb"):  # noqa: PTH123  # the name is bytes
        pass
    assert [os.fsencode(path.name) for path in walk(tmp_path).files] == [b"a.png", b"caf\xe9.png"]


def test_children_are_not_entered(tmp_path):
    write(tmp_path / "a/x")
    write(tmp_path / "b")
    found = children(tmp_path)
    assert (relative(found.folders, tmp_path), relative(found.files, tmp_path)) == (["a"], ["b"])


def test_files_are_chosen_at_equal_distances():
    assert list(evenly(list(range(10)), 4)) == [0, 2, 5, 7]
    assert list(evenly([1, 2], 4)) == [1, 2] and list(evenly([], 4)) == []


# -- names


def test_files_that_differ_in_their_suffix_only_are_unused_by_name(tmp_path):
    for name in ("a.png", "a.jpg", "b.png", "sub/a.png", "note.txt", "README", "c.heic"):
        write(tmp_path / name)
    found = files_by_stem(tmp_path)
    assert {name: file.name for name, file in found.items()} == {"b": "b.png", "sub/a": "a.png"}
    reasons = {file.name: reason for file, reason in found.unused.items()}
    assert reasons["a.jpg"] == reasons["a.png"] == "a.jpg and a.png have one name; rename or remove one of them"
    assert reasons["note.txt"].startswith("a file with the suffix .txt; those that are read: .apng .avif .bmp")
    assert reasons["README"].startswith("a file without a suffix; ") and reasons["c.heic"].startswith("a file with the")
    assert len(reasons) == 5


def test_no_folder_has_no_files():
    assert files_by_stem(None) == {} and files_by_stem(None).unused == {}


def test_renamed_files_with_one_name_are_unused(tmp_path):
    for name in ("a.png", "a_mask.png", "b_mask.png"):
        write(tmp_path / name)
    found = files_by_stem(tmp_path).renamed(lambda name: name.removesuffix("_mask"))
    assert {name: file.name for name, file in found.items()} == {"b": "b_mask.png"}
    assert set(found.unused.values()) == {"another file is called a, too; rename or remove one of them"}


def test_folders_of_parts_may_be_in_capitals_and_in_any_order(tmp_path):
    for name in ("images/Train", "images/VAL", "Test/images"):
        (tmp_path / name).mkdir(parents=True)
    folders = part_folders(tmp_path, "images")
    assert {part: str(folder.relative_to(tmp_path)) for part, folder in folders.items()} == {
        "train": "images/Train",
        "validation": "images/VAL",
        "test": "Test/images",
    }


@pytest.mark.parametrize("second", ["images/valid", "val/images"])
def test_two_folders_of_one_part_are_an_error(tmp_path, second):
    for name in ("images/val", second):
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(DataError, match="both belong to validation; rename or remove one of them"):
        part_folders(tmp_path, "images")


def test_what_is_beside_the_folders_of_parts_is_named(tmp_path):
    for name in ("images/train/x.png", "images/extra/x.png", "images/y.png"):
        write(tmp_path / name)
    folders = part_folders(tmp_path, "images")
    reason = "it is not in the folder of a part, such as train"
    assert list(beside_parts(tmp_path, "images", folders)) == [
        Rejected("images/extra", reason),
        Rejected("images/y.png", reason),
    ]


@pytest.mark.parametrize("name", ["train2017", "Train_2014", "train-1999"])
def test_a_year_may_follow_the_name_of_a_part(tmp_path, name):
    (tmp_path / "images" / name).mkdir(parents=True)
    assert part_folders(tmp_path, "images") == {"train": tmp_path / "images" / name}


@pytest.mark.parametrize("name", ["train1", "train3017", "trains2017", "2017"])
def test_another_number_after_the_name_of_a_part_is_none(tmp_path, name):
    (tmp_path / "images" / name).mkdir(parents=True)
    assert part_folders(tmp_path, "images") == {"everything": tmp_path / "images"}


def test_a_folder_with_images_that_is_no_part_is_named(tmp_path):
    for name in ("train/images/x.png", "extra/images/y.png", "notes/y.txt"):
        write(tmp_path / name)
    found = list(beside_parts(tmp_path, "images", part_folders(tmp_path, "images")))
    assert found == [Rejected("extra/images", "it is not in the folder of a part, such as train")]
