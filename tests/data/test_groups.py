"""Groups: how ids and columns name them, that splits drawn by seed keep them together, and what the report says."""

from collections import Counter, defaultdict
from functools import partial
from random import Random

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pytest

from suite.data.builtin.vader import join_ratings
from suite.data.formats.reviews import read_imdb
from suite.data.formats.table_columns import ColumnNames
from suite.data.formats.tables import read_table
from suite.data.groups import Grouping, in_two_splits
from suite.data.split_files import ALL_FRACTIONS, EVERYTHING, TRAIN_FRACTIONS, Portion
from suite.data.splitting import SPLITS
from suite.data.windows import RUN_LENGTH, Passage, SplitLimits, Window, samples
from suite.errors import DataError
from suite.runner.preparation import prepare_task
from suite.types import Deferred, Remark, Sample
from tests.data.formats.test_added_files import FORMATS
from tests.data.test_loading import loaded, pixels
from tests.data.texts.files import over_splits, write

FIRST_DIGIT = "(?:^|/)([0-9])[0-9]*(?:[.]png|$)"
"""The tens of a file whose name is a number below 100."""


def together(splits, groups):
    """Return the split of each group; check that no group is in two."""
    found = defaultdict(set)
    for name, split in splits.items():
        found[groups[name]].add(split)
    assert all(len(places) == 1 for places in found.values()), found
    return {group: places.pop() for group, places in found.items()}


def drawn(keys, groups, labels, fractions, seed=0):
    share = Portion(EVERYTHING, fractions, reports=False)
    options = {"seed": seed, "contents": lambda items: [str(item).encode() for item in items]}
    taken = {split: share.take(keys, split, labels=labels, groups=groups, **options) for split in SPLITS}
    found = {key: split for split, kept in taken.items() for key in kept}
    assert len(found) == sum(map(len, taken.values())) == len(keys)
    return found


# -- names


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("(a", "is not a regular expression: missing"),
        ("a", "has 0 pairs"),
        ("(a)(b)", "has 2 pairs"),
        ("", "has 0 pairs"),
        ("(a{99999999999})", "is not a regular expression"),
        ("((?:a+)+)$", "repeats parentheses with a repetition inside, which can take forever"),
        ("(?:([a-z]*)_)*", "repeats parentheses with a repetition inside"),
        ("((?:a(?:b{2})c)+)", "repeats parentheses with a repetition inside"),
    ],
)
def test_a_pattern_has_one_pair_of_parentheses(pattern, reason):
    with pytest.raises(DataError, match=reason):
        Grouping(pattern)


def test_ids_name_groups():
    grouping = Grouping("(patient[0-9]+)_")
    names = ["test/cat/patient7_1.png", "patient7_2", "patient12_1", "other"]
    assert grouping.of_all(names) == ["patient7", "patient7", "patient12", None]
    (remark,) = grouping.remarks(names)
    assert remark.text == (
        "group='(patient[0-9]+)_' fits 3 of 4 samples; each other one, such as 'other', is a group of its own"
    )
    assert not list(grouping.remarks(names[:3])) and not list(Grouping().remarks(names))
    assert Grouping().of_all(names) is None and Grouping().of("x") is None and grouping.of_all([]) == []
    assert Grouping("x(.*)").of("x") is None  # an empty name is none


@pytest.mark.parametrize(
    "pattern", [r"([a-z0-9]+)_", r"([(+*)]+)", r"((?:ab)+)c", r"(\(+\)*)x", r"(a+)(?:b+)?", r"([]+)]*)"]
)
def test_other_repetitions_are_allowed(pattern):
    assert Grouping(pattern).pattern == pattern


def test_a_pattern_that_fits_no_id_is_an_error():
    with pytest.raises(DataError, match=r"group='\(p\)_' fits none of 1,200 ids, such as 'a0'"):
        Grouping("(p)_").of_all([f"a{number}" for number in range(1200)])


# -- splits


@pytest.mark.parametrize("fractions", [ALL_FRACTIONS, TRAIN_FRACTIONS], ids=str)
def test_a_group_is_in_one_split_whatever_its_classes_and_sizes(fractions):
    for seed in range(100):
        generator = Random(seed)
        keys = list(range(generator.randint(1, 80)))
        groups = [generator.choice(["a", "b", "c", "d", None]) for _ in keys]
        labels = [generator.choice("xyz") for _ in keys] if seed % 2 else None
        found = drawn(keys, groups, labels, fractions, seed)
        known = {key: split for key, split in found.items() if groups[key] is not None}
        together(known, groups)


def test_a_group_stays_where_it_is_when_it_grows_and_samples_without_one_follow_their_contents():
    groups = [f"g{number // 4}" if number < 80 else None for number in range(120)]
    before = drawn(list(range(120)), groups, None, ALL_FRACTIONS)
    assert Counter(together({key: before[key] for key in range(80)}, groups).values()).keys() == set(SPLITS)
    after = drawn(list(range(121)), [*groups, "g3"], None, ALL_FRACTIONS)
    assert after == {**before, 120: before[12]}
    alone = drawn(list(range(80, 120)), None, None, ALL_FRACTIONS)
    assert (
        sum(alone[key] != before[key] for key in alone) <= 2
    )  # places of contents, but for a split that gets its first


FILES = {name: FORMATS[name] for name in FORMATS if name not in ("table", "sst2", "imdb")}


@pytest.mark.parametrize(("write_file", "read"), FILES.values(), ids=FILES)
def test_every_format_of_files_keeps_groups_together(tmp_path, write_file, read):
    for number in range(10, 90, 3):
        write_file(tmp_path, number)
    read = partial(read, str(tmp_path), seed=1)
    taken = {split: list(read(split, group=FIRST_DIGIT)) for split in SPLITS}
    found = {sample.id: split for split, items in taken.items() for sample in items if isinstance(sample, Sample)}
    groups = {sample.id: sample.group for items in taken.values() for sample in items if isinstance(sample, Sample)}
    assert len(found) == 27 and set(groups.values()) == set("12345678") and set(found.values()) == set(SPLITS)
    together(found, groups)
    assert not any(isinstance(item, Remark) for items in taken.values() for item in items)
    assert {sample.group for sample in read("test") if isinstance(sample, Sample)} == {None}

    remarks = [
        item for split in SPLITS for item in read(split, group="([1])[0-9](?:[.]|$)") if isinstance(item, Remark)
    ]
    assert len(remarks) == 1 and "fits 4 of 27 samples" in remarks[0].text
    with pytest.raises(DataError, match="fits none of 27 ids"):
        list(read("train", group="(none)"))


def table(file, columns):
    """Write a table in the format of the file's extension; `columns` is a dictionary of lists."""
    frame = pd.DataFrame(columns)
    if file.suffix in (".csv", ".tsv"):
        frame.to_csv(file, index=False, sep="\t" if file.suffix == ".tsv" else ",")
    elif file.suffix == ".jsonl":
        frame.to_json(file, orient="records", lines=True)
    elif file.suffix == ".parquet":
        frame.to_parquet(file)
    else:
        arrow = pa.Table.from_pandas(frame)
        with pa.ipc.new_stream(str(file), arrow.schema) as writer:
            writer.write_table(arrow)
    return str(file)


ENDINGS = ("csv", "tsv", "jsonl", "parquet", "arrow")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_column_of_a_table_names_groups(tmp_path, ending):
    rows = range(60)
    columns = {
        "text": [f"text {row}" for row in rows],
        "label": ["good" if row % 3 else "bad" for row in rows],
        "review": [row // 5 for row in rows],
    }
    path = table(tmp_path / f"a.{ending}", columns)
    kept, rejected = over_splits(lambda split: read_table(path, split, seed=0, columns=ColumnNames(group="review")))
    assert not rejected and all(kept.values())
    found = {name: split for split, items in kept.items() for name in items}
    groups = {name: sample.group for items in kept.values() for name, sample in items.items()}
    assert groups == {str(row): str(row // 5) for row in rows}
    together(found, groups)
    with pytest.raises(DataError, match=r"no column 'reviews'; set group=\.\.\. Did you mean 'review'\?"):
        list(read_table(path, "test", seed=0, columns=ColumnNames(group="reviews")))


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_row_with_an_empty_cell_is_a_group_of_its_own(tmp_path, ending):
    columns = {"text": list("abcd"), "label": ["x", "y", "x", "y"], "doc": ["1", "1", None, "1"]}
    path = table(tmp_path / f"a.{ending}", columns)
    items = {split: list(read_table(path, split, seed=0, columns=ColumnNames(group="doc"))) for split in SPLITS}
    groups = {item.input: item.group for split in SPLITS for item in items[split] if isinstance(item, Sample)}
    assert groups == {"a": "1", "b": "1", "c": None, "d": "1"}
    (remark,) = [item for split in SPLITS for item in items[split] if isinstance(item, Remark)]
    assert remark.text == (
        "the column 'doc' is given for 3 of 4 samples; each other one, such as '2', is a group of its own"
    )


def test_numbers_of_groups_are_the_same_with_and_without_gaps(tmp_path):
    columns = {"text": list("abc"), "label": ["x", "y", "x"], "doc": [7.0, np.nan, 7.0]}
    path = table(tmp_path / "a.parquet", columns)
    found = [item for split in SPLITS for item in read_table(path, split, seed=0, columns=ColumnNames(group="doc"))]
    assert {item.input: item.group for item in found if isinstance(item, Sample)} == {"a": "7", "b": None, "c": "7"}


# -- what the data know


def test_reviews_of_one_film_are_a_group(tmp_path):
    for part in ("train", "test"):
        for label in ("pos", "neg"):
            for number in range(30):
                write(tmp_path / part / label / f"{number}_5.txt", f"{part} {label} {number}")
            films = [
                f"http://www.imdb.com/title/tt{part == 'test'}{number // 3:04d}/usercomments" for number in range(30)
            ]
            films = [film.replace("True", "9").replace("False", "1") for film in films]
            write(tmp_path / part / f"urls_{label}.txt", "\n".join(films) + "\n")
    kept, _ = over_splits(lambda split: read_imdb(str(tmp_path), split, seed=0))
    groups = {name: sample.group for items in kept.values() for name, sample in items.items()}
    assert groups["train/pos/4_5"] == groups["train/neg/5_5"] == "tt10001" and groups["test/neg/29_5"] == "tt90009"
    assert len(set(together({name: split for split in SPLITS for name in kept[split]}, groups))) == 20
    assert not prepare_task(f"imdb(path='{tmp_path}')", 0).data.report.remarks


def test_sentences_of_one_document_of_vader_are_a_group():
    texts = "".join(f"{name}\t1\tText {name}.\n" for name in ("7_1", "7_12", "8_1"))
    ratings = "".join(f"{name}\t1\t0\t[1, 2]\n" for name in ("7_1", "7_12", "8_1"))
    found = list(join_ratings("nyt", texts.encode(), ratings.encode()))
    assert [sample.group for sample in found] == ["nyt/7", "nyt/7", "nyt/8"]
    (film,) = join_ratings("movie", b"7\t1\tText.\n", b"7\t1\t0\t[1, 2]\n")
    assert film.group is None


SMALL = Window(3, 4)


def prose(count):
    return "".join(chr(97 + value) for value in np.random.default_rng(0).integers(0, 26, count))


@pytest.mark.parametrize(
    ("limit", "sizes"),
    [(30, [10] * 3), (25, [10, 10, 5]), (7, [7]), (200, [10] * 20), (230, [20] * 11 + [10])],
)
def test_a_drawn_run_of_windows_is_a_group(limit, sizes):
    found = samples(Passage("t", prose(4 * 300 + 3)), "test", window=SMALL, limits=SplitLimits(test=limit))
    assert list(Counter(sample.group for sample in found).values()) == sizes
    starts = [int(sample.id.split("/")[1]) // 4 for sample in found]
    for place, sample in enumerate(found):
        assert starts[place] == starts[place - place % RUN_LENGTH] + place % RUN_LENGTH  # runs are whole
        assert sample.group == found[place - place % max(sizes)].id


@pytest.mark.parametrize(
    ("count", "sizes"),
    [(7, [2, 2, 2, 1]), (45, [12] * 3 + [9]), (200, [50] * 4), (500, [84] * 5 + [80]), (1891, [190] * 9 + [181])],
)
def test_all_windows_of_a_passage_are_four_to_ten_groups(count, sizes):
    for limit in (None, count):
        found = samples(Passage("t", prose(4 * count + 3)), "test", window=SMALL, limits=SplitLimits(test=limit))
        assert len(found) == count and list(Counter(sample.group for sample in found).values()) == sizes
        assert {sample.group for sample in found} <= {sample.id for sample in found}
    assert all(
        sample.group for sample in samples(Passage("t", prose(100)), "train", window=SMALL, limits=SplitLimits())
    )


# -- loading


def camera(split, number, group, deferred=False):
    value = pixels(100 * SPLITS.index(split) + number)
    return Sample(f"{split}-{number}", Deferred(lambda: value) if deferred else value, "ab"[number % 2], group=group)


def test_groups_survive_loading_and_every_selection():
    data = loaded({split: [camera(split, n, f"{split} {n // 2}") for n in range(9)] for split in SPLITS})
    for split in (data.train, data.validation, data.test):
        group = dict(zip(split.ids, split.groups, strict=True))
        for part in (split.few(4), split.take([5, 0, -1]), next(split.batches(3)), split.take([]), split):
            assert part.groups == tuple(group[name] for name in part.ids)
        assert split.few(4).ids == split.take(range(9)).few(4).ids
    assert not any("group" in remark for remark in data.report.remarks)


def test_images_that_are_read_later_keep_their_groups(tmp_path):
    for number in range(10, 90, 3):
        FORMATS["imagefolder"][0](tmp_path, number)
    data = prepare_task(f"imagefolder(path='{tmp_path}', group='/([0-9])')", 0).data
    assert data.report.listed == ("train", "validation")
    for split in (data.train, data.validation, data.test):
        assert split.groups == tuple(name.split("/")[1][0] for name in split.ids)


def test_a_group_in_two_splits_is_reported():
    given = {split: [camera(split, n, None) for n in range(2)] for split in SPLITS}
    given["train"] += [camera("train", n, f"p{n % 3}") for n in range(2, 9)]
    given["test"] += [camera("test", n, f"p{n % 4}") for n in range(2, 9)]
    data = loaded(given)
    sentence = (
        "3 of 4 groups in test are also in train (for example p0), so samples of test are not independent of train"
    )
    assert data.report.remarks[0] == sentence and sentence in data.report.sentence()
    assert data.validation.groups is None and data.test.groups[:3] == (None, None, "p2")


def test_every_pair_of_splits_is_compared():
    found = list(in_two_splits({"train": ["a", "b", None], "validation": ["b", "c"], "test": ["c", None]}))
    assert [sentence.split(" (")[0] for sentence in found] == [
        "1 of 1 groups in test are also in validation",
        "1 of 2 groups in validation are also in train",
    ]
    assert not list(in_two_splits({"train": [None], "validation": [None], "test": [None]}))


def test_the_digest_depends_on_groups_only_if_there_are_any():
    def digest(groups):
        return loaded({split: [camera(split, n, groups[n]) for n in range(3)] for split in SPLITS}).digest

    without = loaded(
        {
            split: [Sample(f"{split}-{n}", camera(split, n, None).input, "ab"[n % 2]) for n in range(3)]
            for split in SPLITS
        }
    )
    assert digest([None] * 3) == without.digest != digest(["p", "p", "q"]) != digest(["p", "q", "q"])


def test_the_digits_say_that_their_writers_are_unknown():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import KFold, cross_val_score

    remark = prepare_task("digits", 0).data.report.remarks[0]
    images, labels = load_digits(return_X_y=True)
    for folds, share in ((KFold(13, shuffle=True, random_state=0), 0.969), (KFold(13), 0.947)):
        model = LogisticRegression(max_iter=2000)
        assert abs(cross_val_score(model, images / 16, labels, cv=folds).mean() - share) < 0.002
        assert f"{100 * share:.1f} %" in remark
