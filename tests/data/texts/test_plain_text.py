"""Text files: decoded strictly, split by position, and cut so that every character is scored once."""

import random
import re
import string

import pytest

from suite.data.formats.plain_text import read_plain, read_text
from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.table_files import read_columns
from suite.data.formats.text_files import decoded
from suite.data.windows import Passage, SplitLimits, Window, cut, samples, windows
from suite.errors import DataError
from suite.types import Remark
from tests.data.texts.files import SPLITS, over_splits, write

SMALL = Window(context=3, scored=4)


def prose(length, seed=0):
    return "".join(random.Random(seed).choices(string.ascii_lowercase + " \n", k=length))


def read(path, split, window=SMALL, **amounts):
    return read_text(str(path), split, window=window, limits=SplitLimits(**amounts))


def scored(samples):
    """Return the scored positions, computed from the ids."""
    return [int(name.rsplit("/")[-1]) + place for name, s in samples.items() for place in range(s.target, len(s.input))]


def test_windows_match_a_hand_computed_example():
    samples = list(windows(Passage("t", "abcdefghijklm", start=100), Window(2, 3), step=3))
    assert [(s.id, s.input, s.target) for s in samples] == [
        ("t/00000100", "abcde", 2),
        ("t/00000103", "defgh", 2),
        ("t/00000106", "ghijk", 2),
    ]
    assert [s.input for s in windows(Passage("t", "abcdefghij"), Window(2, 3), step=5)] == ["abcde", "fghij"]
    assert list(windows(Passage("t", "abcd"), Window(2, 3), step=3)) == []


@pytest.mark.parametrize("length", [70, 101, 128, 1000])
def test_every_character_after_the_first_context_of_a_split_is_scored_once(tmp_path, length):
    text = prose(length)
    kept, _ = over_splits(lambda split: read(write(tmp_path / "a.txt", text), split))
    ends = [0, round(0.8 * length), round(0.9 * length), length]
    for place, split in enumerate(SPLITS):
        start, end = ends[place], ends[place + 1]
        positions = scored(kept[split])
        if split == "train":
            assert len(positions) == len(set(positions)) and set(positions) <= set(range(start, end))
        else:
            assert positions == list(range(start + 3, start + 3 + len(positions)))
            assert 0 <= end - positions[-1] - 1 < SMALL.scored
        for sample in kept[split].values():
            begin = int(sample.id.rsplit("/")[-1])
            assert sample.input == text[begin : begin + 7] and start <= begin and begin + 7 <= end


def test_the_parts_of_a_text_partition_it():
    text = prose(997)
    for fractions in ((0.8, 0.1, 0.1), (0.9, 0.05, 0.05), (0.8, 0.2, 0.0)):
        pieces = [cut(Passage("t", text), split, fractions) for split in SPLITS]
        assert "".join(piece.text for piece in pieces) == text
        assert all(text[piece.start :].startswith(piece.text) for piece in pieces)


def test_limits_count_training_characters_and_test_windows(tmp_path):
    file = write(tmp_path / "a.txt", prose(2000))
    assert len(read(file, "train", train=70)) == 10
    assert {s.id for s in read(file, "train", train=70)} < {s.id for s in read(file, "train")}
    few, more, every = read(file, "test", test=5), read(file, "test", test=20), read(file, "test")
    assert len(few) == 5 and len(more) == 20 and len(every) == (200 - 3) // 4
    assert {s.id for s in few} < {s.id for s in more} < {s.id for s in every}
    ids = [sample.id for sample in every]
    starts = [ids.index(sample.id) for sample in more]
    assert starts == sorted(starts)
    assert all(starts[run : run + 10] == list(range(starts[run], starts[run] + 10)) for run in (0, 10))
    assert len(read(file, "validation", validation=2, test=5)) == 2


def test_byte_order_marks_and_line_endings_are_normalized(tmp_path):
    expected = "a\nb\n\nc\n"
    for content in (b"a\nb\n\nc\n", b"\xef\xbb\xbfa\r\nb\r\n\r\nc\r\n", b"a\rb\r\rc\r"):
        assert read_plain(write(tmp_path / "a.txt", content)) == expected


@pytest.mark.parametrize(("content", "byte"), [(b"caf\xe9 au lait", 3), (b"\xef\xbb\xbfcaf\xe9", 6)])
def test_another_encoding_is_reported_with_its_first_invalid_byte(tmp_path, content, byte):
    with pytest.raises(DataError, match=rf"a\.txt is not UTF-8 at byte {byte} \(0x{content[byte]:02x}\); convert it"):
        read_plain(write(tmp_path / "a.txt", content))
    assert decoded("größe".encode(), "a") == "größe"
    with pytest.raises(DataError, match="UTF-16, by its byte order mark; convert it, for example: iconv -f utf-16"):
        decoded("größe".encode("utf-16"), "a")


UTF_16 = {
    "a.txt": "größe,1\n",
    "a.csv": "text,label\ngröße,1\n",
    "a.tsv": "text\tlabel\ngröße\t1\n",
    "a.jsonl": '{"text": "größe", "label": "1"}\n',
}


@pytest.mark.parametrize("name", UTF_16)
@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_reported_with_a_command_to_convert_it(tmp_path, name, encoding):
    file = write(tmp_path / name, f"\ufeff{UTF_16[name]}".encode(encoding))

    def read_all():
        if name == "a.txt":
            return tuple(read_plain(file).strip().split(","))
        columns = read_columns(file, ColumnNames())
        return (*columns.texts, *columns.labels)

    message = f"{name} is UTF-16, by its byte order mark; convert it, for example: iconv -f utf-16 -t utf-8 {name} >"
    with pytest.raises(DataError, match=re.escape(message)):
        read_all()
    file.write_bytes(file.read_bytes().decode("utf-16").encode())  # as iconv does
    assert read_all() == ("größe", "1")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            "plain".encode("utf-16-le"),
            r"a\.txt has NULs in place of many letters, as UTF-16 has; convert it, .* -f utf-16le",
        ),
        ("plain".encode("utf-16-be"), "NULs in place of many letters"),
        ("größe".encode("utf-32"), "is UTF-32, by its byte order mark; .* iconv -f utf-32 "),
        ("größe".encode("latin-1"), r"not UTF-8 at byte 2 \(0xf6\); convert it, for example: iconv -f latin1"),
    ],
)
def test_no_other_encoding_is_read_as_utf_8(tmp_path, content, reason):
    with pytest.raises(DataError, match=reason):
        read_plain(write(tmp_path / "a.txt", content * 40))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_no_window_contains_a_byte_order_mark(tmp_path, mark):
    text = "größe und maß " * 20
    kept, _ = over_splits(lambda split: read(write(tmp_path / "a.txt", mark + text.encode()), split))
    first = kept["train"]["text/00000000"]
    assert first.input == text[:7]
    assert not any("\ufeff" in sample.input for samples in kept.values() for sample in samples.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b" \n\t\r\n", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"abc\0def", "NUL at character 3"),
        (b"abcdefgh" * 7, "5 characters for validation; a window has 7"),
        (b"a" * 1000, "are all 'a'"),
    ],
)
def test_files_without_a_usable_text_are_rejected(tmp_path, content, reason):
    file = write(tmp_path / "a.txt", content)
    with pytest.raises(DataError, match=reason):
        read(file, "validation")


def test_a_split_that_repeats_one_character_is_rejected():
    with pytest.raises(DataError, match="for test are all"):
        samples(Passage("t", "b" * 50), "test", window=SMALL, limits=SplitLimits())


@pytest.mark.parametrize("arguments", [(0, 4), (3, 0), (-1, 4)])
def test_a_window_needs_context_and_scored_characters(arguments):
    with pytest.raises(DataError, match="expected at least 1 character"):
        Window(*arguments)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_below_one_is_an_error(split, limit):
    with pytest.raises(DataError, match=rf"{split}={limit}; expected at least 1, or None for all"):
        SplitLimits(**{split: limit})


def test_each_file_of_a_folder_is_cut_by_itself_in_the_order_of_file_names(tmp_path):
    first, second = prose(100, seed=1), prose(100, seed=2)
    write(tmp_path / "b.txt", second), write(tmp_path / "a.txt", first)
    write(tmp_path / "notes.md", "x"), write(tmp_path / ".hidden.txt", "y")
    for split, start, end in (("train", 0, 80), ("validation", 80, 90), ("test", 90, 100)):
        text = f"{first[start:end]}\n{second[start:end]}"
        remark, *found = read(tmp_path, split)
        assert remark == Remark(f"1 of 3 files and folders in {tmp_path.name} is not read: notes.md")
        offset = int(found[0].id.removeprefix("text/"))
        for sample in found:
            begin = int(sample.id.removeprefix("text/")) - offset
            assert sample.input == text[begin : begin + 7] and 0 <= begin <= len(text) - 7
    over_splits(lambda split: read(tmp_path, split))  # ids are unique


def test_files_named_by_their_split_are_the_splits(tmp_path):
    texts = {"train": prose(70, 1), "dev": prose(50, 2), "test": prose(30, 3)}
    for name, text in texts.items():
        write(tmp_path / f"{name}.txt", text)
    write(tmp_path / "readme.txt", "not read")
    kept, _ = over_splits(lambda split: read(tmp_path, split))
    assert [len(samples) for samples in kept.values()] == [10, 11, 6]
    assert next(iter(kept["validation"].values())).input == texts["dev"][:7]
    (tmp_path / "dev.txt").unlink()
    kept, _ = over_splits(lambda split: read(tmp_path, split))
    assert [len(samples) for samples in kept.values()] == [8, 2, 6]  # 80 and 20 % of train by position
    assert next(iter(kept["validation"].values())).input == texts["train"][56:63]


@pytest.mark.parametrize("names", [("train", "test"), ("a", "b"), ("validation", "test")])
def test_two_files_with_the_same_text_are_an_error(tmp_path, names):
    for name, content in zip(names, ("abc\n" * 40, "abc\r\n" * 40), strict=True):
        write(tmp_path / f"{name}.txt", content)
    with pytest.raises(DataError, match="are the same text"):
        read(tmp_path, "train")


def test_repeated_passages_are_accepted(tmp_path):
    write(tmp_path / "train.txt", "once upon a time " * 9), write(tmp_path / "test.txt", "once upon a time " * 5)
    assert read(tmp_path, "test")


def test_missing_and_ambiguous_files_are_errors(tmp_path):
    with pytest.raises(DataError, match="neither a file nor a folder"):
        read(tmp_path / "none.txt", "train")
    with pytest.raises(DataError, match=r"has no \.txt files"):
        read(tmp_path, "train")
    write(tmp_path / "val.txt", prose(50)), write(tmp_path / "dev.txt", prose(60))
    with pytest.raises(DataError, match="both name the validation part"):
        read(tmp_path, "train")
