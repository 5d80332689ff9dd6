"""SST-2 and IMDB in their published layouts."""

import pytest

from suite.data.formats.reviews import read_imdb, read_sst2
from suite.errors import DataError
from suite.types import Remark
from tests.data.texts.files import SPLITS, labels, over_splits, sorted_out, write

HEADER = "sentence\tlabel\n"


def sst2(root, **files):
    for name, content in files.items():
        write(root / f"{name}.tsv", content)
    return lambda split: read_sst2(str(root), split, seed=0)


def test_dev_is_the_test_split_and_train_is_divided(tmp_path):
    train = HEADER + "".join(f"sentence {n} \t{n % 2}\n" for n in range(100))
    read = sst2(tmp_path, train=train, dev=HEADER + "fine .\t1\r\npoor .\t0\r\n", test="index\tsentence\n0\tsecret\n")
    kept, rejected = over_splits(read)
    assert len(kept["train"]) + len(kept["validation"]) == 100 and len(kept["test"]) == 2 and not rejected
    assert 4 < len(kept["validation"]) < 36  # binomial, 20 on average, within 4 standard deviations
    assert labels(kept["test"]) == {"dev/2": "positive", "dev/3": "negative"}
    assert kept["test"]["dev/2"].input == "fine ."
    for split in ("train", "validation"):
        assert all(
            s.target == ("positive" if int(s.input.split()[1]) % 2 else "negative") for s in kept[split].values()
        )


def test_samples_keep_the_order_of_the_file_and_the_seed_determines_the_split(tmp_path):
    train = HEADER + "".join(f"sentence {n}\t{n % 2}\n" for n in range(50))
    sst2(tmp_path, train=train, dev=HEADER + "x\t1\n")
    first, again, other = ([s.id for s in read_sst2(str(tmp_path), "validation", seed=seed)] for seed in (0, 0, 1))
    assert first == again != other and first == sorted(first, key=lambda name: int(name.split("/")[1]))


def test_quotation_marks_have_no_special_meaning(tmp_path):
    rows = HEADER + 'an " unbalanced one\t1\n"quoted"\t0\nafter it\t1\n'
    kept, _ = sorted_out(sst2(tmp_path, dev=rows)("test"))
    assert [s.input for s in kept.values()] == ['an " unbalanced one', '"quoted"', "after it"]


def test_errors_name_the_line(tmp_path):
    rows = HEADER + "a\t-1\nb\nc\td\t1\nd\t1.0\ne\t1\n"
    kept, rejected = over_splits(sst2(tmp_path, dev=rows))
    assert set(kept["test"]) == {"dev/6"}
    assert rejected == {
        "dev/2": "label '-1'; expected 0 or 1",
        "dev/3": "1 columns; expected sentence and label",
        "dev/4": "3 columns; expected sentence and label",
        "dev/5": "label '1.0'; expected 0 or 1",
    }


def test_a_byte_order_mark_is_removed_and_latin_1_rejected(tmp_path):
    kept, _ = sorted_out(sst2(tmp_path, dev=b"\xef\xbb\xbf" + HEADER.encode() + b"caf\xc3\xa9\t1\n")("test"))
    assert [s.input for s in kept.values()] == ["café"]
    with pytest.raises(DataError, match=r"dev\.tsv is not UTF-8 at byte 18"):
        list(sst2(tmp_path, dev=HEADER.encode() + b"caf\xe9\t1\n")("test"))


def test_other_files_and_folders_are_said(tmp_path):
    write(tmp_path / "sst2" / "extra.tsv", "x")
    found = list(sst2(tmp_path / "sst2", dev=HEADER + "a\t1\nb\t0\n", test="index\tsentence\n")("test"))
    assert Remark("1 of 3 files and folders in sst2 is not read: extra.tsv") in found
    read = imdb(tmp_path / "imdb")
    write(tmp_path / "imdb" / "train" / "neu" / "0_5.txt", "so so")
    found = [item for split in SPLITS for item in read(split) if isinstance(item, Remark)]
    assert Remark("1 of 5 files and folders in train is not read: neu") in found


def test_a_folder_that_is_not_sst2_is_rejected(tmp_path):
    with pytest.raises(DataError, match=r"neither train\.tsv nor dev\.tsv"):
        list(read_sst2(str(tmp_path), "test", seed=0))
    with pytest.raises(DataError, match="the columns 'text, y'; expected sentence and label"):
        list(sst2(tmp_path, dev="text\ty\nx\t1\n")("test"))
    with pytest.raises(DataError, match="not a folder"):
        list(read_sst2(str(tmp_path / "none"), "test", seed=0))


def imdb(root, count=10):
    for part in ("train", "test"):
        for label, rating in (("pos", 9), ("neg", 2)):
            for number in range(count):
                write(root / part / label / f"{number}_{rating}.txt", f"{label} {part} {number}")
    for number in range(3):
        write(root / "train" / "unsup" / f"{number}_0.txt", "no label")
    write(root / "train" / "urls_pos.txt", "http://")
    return lambda split: read_imdb(str(root), split, seed=0)


def test_reviews_are_labeled_by_folder_and_unsup_is_not_read(tmp_path):
    kept, rejected = over_splits(imdb(tmp_path))
    assert len(kept["train"]) + len(kept["validation"]) == 20 and len(kept["test"]) == 20 and not rejected
    assert kept["test"]["test/pos/3_9"].target == "positive" and kept["test"]["test/neg/3_2"].target == "negative"
    assert {name.split("/")[0] for name in kept["validation"]} == {"train"}
    for split in ("train", "validation"):
        assert {*labels(kept[split]).values()} == {"negative", "positive"}
    assert not any("unsup" in name for samples in kept.values() for name in samples)


def test_html_line_breaks_become_line_feeds(tmp_path):
    read = imdb(tmp_path, count=1)
    write(tmp_path / "test" / "pos" / "0_9.txt", "\ufeffOne.<br /><br />Two<BR>three<br/>&lt;br&gt;\n")
    kept, _ = sorted_out(read("test"))
    assert kept["test/pos/0_9"].input == "One.\n\nTwo\nthree\n&lt;br&gt;"


def test_a_review_that_is_not_utf_8_is_rejected(tmp_path):
    read = imdb(tmp_path, count=2)
    write(tmp_path / "test" / "neg" / "1_2.txt", b"caf\xe9")
    kept, rejected = sorted_out(read("test"))
    assert len(kept) == 3 and "not UTF-8 at byte 3" in rejected["test/neg/1_2"]


def test_missing_folders_are_errors(tmp_path):
    with pytest.raises(DataError, match="neither train nor test"):
        list(read_imdb(str(tmp_path), "test", seed=0))
    write(tmp_path / "test" / "neg" / "0_1.txt", "bad")
    with pytest.raises(DataError, match=r"pos' has no \.txt files"):
        list(read_imdb(str(tmp_path), "test", seed=0))
