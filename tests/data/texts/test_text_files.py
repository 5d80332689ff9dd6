"""Files of text: nothing but regular files is opened, and what is something else is named."""

import os
import socket

import pytest

from suite.data.formats.plain_text import read_text
from suite.data.formats.reviews import read_imdb, read_sst2
from suite.data.formats.tables import read_table
from suite.data.formats.text_files import text_of, unread
from suite.data.regular_files import existing_path
from suite.data.windows import SplitLimits, Window
from suite.errors import DataError
from suite.types import Remark
from tests.data.texts.files import write

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n"
SUFFIXES = ("txt", "csv", "tsv", "jsonl", "parquet", "arrow")


def text(path, split="train"):
    return read_text(str(path), split, window=Window(3, 4), limits=SplitLimits())


def table(path, split="train"):
    return list(read_table(str(path), split, seed=0))


def reader(suffix):
    return text if suffix == "txt" else table


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (POINTER, r"is a Git LFS pointer: run git lfs pull"),
        (PAGE, r"is an HTML page, perhaps of a login or an error"),
        (b"\x1f\x8b\x08\x00\xff" + b"x" * 50, r"is a gzip archive"),
        (b"PK\x03\x04\xff" + b"x" * 50, r"is a ZIP archive"),
    ],
)
def test_what_is_saved_under_another_name_is_named(tmp_path, suffix, content, reason):
    with pytest.raises(DataError, match=rf"a\.{suffix} .*{reason}"):
        reader(suffix)(write(tmp_path / f"a.{suffix}", content))


def test_web_pages_and_json_are_texts_under_their_own_names(tmp_path):
    assert text_of(write(tmp_path / "a.html", PAGE)) == PAGE.decode()
    assert text_of(write(tmp_path / "a.txt", '{"a": 1}')) == '{"a": 1}'


def special(path, kind):
    if kind == "FIFO":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as opened:
            opened.bind(path.name)  # in the working directory: paths of sockets are short
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if kind == "device" else "missing")


KINDS = {
    "FIFO": r"a FIFO \(named pipe\), not a file with data",
    "socket": "a socket, not a file with data",
    "device": "a character device, not a file with data",
    "folder": "a folder; expected a file",
    "link": "a link to 'missing', which cannot be followed: No such file or directory",
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_named_and_not_opened(tmp_path, monkeypatch, suffix, kind):
    monkeypatch.chdir(tmp_path)
    special(tmp_path / f"train.{suffix}", kind)
    with pytest.raises(DataError, match=rf"train\.{suffix}' cannot be read: {KINDS[kind]}"):
        reader(suffix)(tmp_path)
    if kind not in ("folder", "link"):
        with pytest.raises(DataError, match=KINDS[kind]):
            reader(suffix)(tmp_path / f"train.{suffix}")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["train.tsv", "dev.tsv"])
def test_a_file_of_sst2_that_is_none_is_named(tmp_path, name):
    write(tmp_path / "train.tsv", "sentence\tlabel\nx\t1\n"), write(tmp_path / "dev.tsv", "sentence\tlabel\nx\t1\n")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match=rf"{name}' cannot be read: a FIFO"):
        for split in ("test", "train"):
            list(read_sst2(str(tmp_path), split, seed=0))


@pytest.mark.parametrize(
    ("path", "reason"),
    [("none", "No such file"), ("a" * 300, "File name too long"), ("a\0b", "null"), ("~nobody-here/a.csv", "home")],
)
def test_a_path_that_cannot_exist_is_an_error(path, reason):
    for read in (text, table, lambda path: existing_path(path, "give a file")):
        with pytest.raises(DataError, match=rf"is neither a file nor a folder \(.*{reason}.*\); give a"):
            read(path)


def test_what_is_not_read_is_said_with_its_number(tmp_path):
    for name in ("a.txt", "b.md", "c", ".hidden", "d\n.csv"):
        write(tmp_path / name, "x")
    (tmp_path / "e").mkdir()
    (remark,) = unread(tmp_path, [tmp_path / "a.txt"])
    assert remark == Remark(f"4 of 5 files and folders in {tmp_path.name} are not read: b.md, c, d\\n.csv, ...")
    assert list(unread(tmp_path / "e", [])) == []


def test_files_beside_named_parts_and_folders_are_said(tmp_path):
    prose = "".join(chr(97 + number * number % 23) for number in range(400))
    for name in ("train.txt", "test.txt", "readme.txt", "sub/more.txt"):
        write(tmp_path / name, prose[len(name) :])
    remarks = [item for item in text(tmp_path, "test") if isinstance(item, Remark)]
    assert remarks == [Remark(f"2 of 4 files and folders in {tmp_path.name} are not read: readme.txt, sub")]
    for name in ("train.csv", "test.csv", "extra.csv"):
        write(tmp_path / "tables" / name, f"text,label\n{name},1\nother {name},0\n")
    remarks = {
        split: [i for i in table(tmp_path / "tables", split) if isinstance(i, Remark)] for split in ("train", "test")
    }
    assert remarks["train"] == remarks["test"] == [Remark("1 of 3 files and folders in tables is not read: extra.csv")]


@pytest.mark.timeout(60)
def test_what_is_no_review_is_rejected_by_name(tmp_path):
    for part, label in (("train", "pos"), ("train", "neg"), ("test", "pos"), ("test", "neg")):
        for number in range(4):
            write(tmp_path / part / label / f"{number}_5.txt", f"{part} {label} {number}")
    place = tmp_path / "test" / "pos"
    os.mkfifo(place / "9_9.txt")
    (place / "10_9.txt").symlink_to("missing")
    (place / "more").mkdir()
    write(place / "11_9.txt", PAGE), write(place / "12_9.txt", POINTER), write(place / "notes.md", "x")
    write(place / "13_9.txt", b"caf\xe9")
    items = list(read_imdb(str(tmp_path), "test", seed=0))
    rejected = {item.id: item.reason for item in items if hasattr(item, "reason")}
    assert {name: reason.split(":")[0] for name, reason in rejected.items()} == {
        "test/pos/9_9.txt": "a FIFO (named pipe), not a file with data",
        "test/pos/10_9.txt": "a link to 'missing', which cannot be followed",
        "test/pos/more": "a folder; expected one file per review",
        "test/pos/notes.md": "a file with the suffix .md; those that are read",
        "test/pos/11_9": "11_9.txt is an HTML page, perhaps of a login or an error",
        "test/pos/12_9": "12_9.txt is a Git LFS pointer",
        "test/pos/13_9": "13_9.txt is not UTF-8 at byte 3 (0xe9); convert it, for example",
    }
    assert len(items) == 8 + 7


def test_a_list_of_films_in_another_encoding_is_an_error_that_names_it(tmp_path):
    for label in ("pos", "neg"):
        write(tmp_path / "test" / label / "0_5.txt", label)
    write(tmp_path / "test" / "urls_pos.txt", b"http://caf\xe9\n")
    with pytest.raises(DataError, match=r"urls_pos\.txt is not UTF-8 at byte 10"):
        list(read_imdb(str(tmp_path), "test", seed=0))


def test_reviews_whose_film_is_not_listed_are_said(tmp_path):
    for label in ("pos", "neg"):
        for number in range(4):
            write(tmp_path / "test" / label / f"{number}_5.txt", f"{label} {number}")
        write(tmp_path / "test" / f"urls_{label}.txt", "http://title/tt1/\r\nhttp://title/tt2/\r\n")
    (remark,) = [item for item in read_imdb(str(tmp_path), "test", seed=0) if isinstance(item, Remark)]
    assert remark.text.startswith(
        "the files urls_*.txt name the film of 4 of 8 samples; each other one, such as 'test/neg/2_5'"
    )
