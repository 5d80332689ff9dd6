"""Records are read lazily, and every damage is one clear sentence."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from suite.errors import RecordError, StoreError
from suite.records.reading import read
from suite.records.writing import files
from suite.store import Store
from suite.types import Display
from tests.stores import as_record, column, full_record, small_record


@pytest.fixture
def folder(tmp_path):
    return Store(tmp_path / "store").put(full_record())


def changed(folder, change):
    """Change the content of ``record.json``."""
    path = folder / "record.json"
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")


def rewritten(folder, change):
    """Change the table of the evaluated samples."""
    path = folder / "columns.test.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def use_all(record):
    for one in (*record.columns, *record.arrays.values()):
        assert one.values is not None


def test_a_record_is_read_back_as_it_was_put(folder):
    stored, expected = read(folder), full_record()
    record = as_record(stored)
    for name in ("provenance", "run_info", "status", "measures", "about", "catalogue", "facts", "details"):
        assert getattr(record, name) == getattr(expected, name), name
    for own, other in zip(stored.columns, expected.columns, strict=True):
        assert (own.name, own.params, own.population) == (other.name, other.params, other.population)
        assert own.values.dtype == other.values.dtype and own.values.shape == other.values.shape
        for one, another in zip(own.values, other.values, strict=True):
            np.testing.assert_array_equal(one, another)
    for name, other in expected.arrays.items():
        own = stored.arrays[name]
        assert (own.type, own.role, own.per_sample) == (other.type, other.role, other.per_sample)
        np.testing.assert_equal(own.values, other.values)


def test_two_records_of_equal_content_are_equal_byte_for_byte():
    assert files(full_record()) == files(full_record())


def test_columns_are_read_when_they_are_used_and_kept(folder):
    stored = read(folder)
    first, second = stored.columns[0], stored.columns[1]
    kept = first.values
    (folder / "columns.test.parquet").unlink()
    assert first.values is kept and stored.columns[0].values is kept
    with pytest.raises(StoreError, match=r"columns\.test\.parquet"):
        second.values  # noqa: B018
    assert stored.column("features", population="generated").shape == (5, 3)


def test_the_most_specific_column_belongs_to_a_row(folder):
    stored = read(folder)
    assert stored.column("quality").tolist() == [1, 0, 1]
    assert stored.column("quality", {"norm": "linf", "eps": 0.1, "attack": "pgd"}).tolist() == [1, 0, 0]
    assert stored.column("quality", {"norm": "l2", "eps": 0.1}).tolist() == [1, 0, 1]
    with pytest.raises(StoreError, match=r"has no column 'recall' of the population 'test' under {'eps': 0.1}"):
        stored.column("recall", {"eps": 0.1})


def test_the_table_of_a_record_has_its_columns_facts_and_seed(folder):
    table = read(folder).table
    assert len(table) == 3 and table["correct"].tolist() == [True, False, True]
    assert table.at(norm="linf", eps=0.2)["quality"].tolist() == [0, 0, 0]
    assert table.take([2])["id"].tolist() == ["ü"]
    assert (table.facts["classes"], table.seed) == (["a"], 0)


def test_parameters_stand_in_the_description_only(folder):
    descriptions = json.loads((folder / "record.json").read_text("utf-8"))["columns"]
    keys = [one["key"] for one in descriptions if one["name"] == "quality"]
    assert len(set(keys)) == 3 and not any("0.1" in key or "linf" in key for key in keys)


def without(name):
    return lambda folder: changed(folder, lambda content: content.pop(name))


def setting(value, *path):
    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = value

    return lambda folder: changed(folder, change)


def cut(name):
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def flipped(name):
    def change(folder):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 4] ^= 0xFF
        (folder / name).write_bytes(bytes(content))

    return change


def set_column(key, values):
    def change(table):
        place = table.column_names.index(key)
        return table.set_column(place, pa.field(key, values.type), values)

    return lambda folder: rewritten(folder, change)


DAMAGES = {
    "no record.json": (lambda folder: (folder / "record.json").unlink(), "record.json: the file is missing"),
    "cut record.json": (cut("record.json"), "record.json:"),
    "a list": (lambda folder: (folder / "record.json").write_text("[]"), "it is no JSON object"),
    "another schema": (setting(4, "schema"), "it has the schema 4; this version reads schema 3"),
    "no schema": (without("schema"), "it has the schema None"),
    "no rows": (without("measures"), "the field 'measures' is missing"),
    "an unknown field": (setting(1, "more"), "the field 'more' is unknown"),
    "a row without n": (
        lambda f: changed(f, lambda c: c["measures"][0].pop("n")),
        "measures[0]: Object missing required field `n`",
    ),
    "a value that is text": (
        setting("0.5", "measures", 0, "value"),
        "measures[0]: Expected `float | null`, got `str` - at `$.value`",
    ),
    "a value outside its interval": (
        lambda f: changed(f, lambda c: c["measures"][0].update(lo=0.6, hi=0.9)),
        "lies outside its interval",
    ),
    "a status that does not follow": (setting("suspect", "measures", 0, "status"), "expected 'ok'"),
    "an unknown check": (setting("maybe", "measures", 0, "checks", "x"), "measures[0]: Invalid enum value 'maybe'"),
    "n that is a fraction": (setting(1.5, "provenance", "n"), "Expected `int`, got `float` - at `$.provenance.n`"),
    "an unknown input": (
        setting("sound", "about", "input", "type"),
        "Invalid enum value 'sound' - at `$.about.input.type`",
    ),
    "an unknown type": (setting("int128", "columns", 1, "dtype"), "has the unknown type 'int128'"),
    "an unknown population": (setting("x", "columns", 1, "population"), "is of an unknown population 'x'"),
    "a shape that is text": (
        setting("3", "columns", 1, "shape"),
        "Expected `array`, got `str` - at `$.columns[1].shape`",
    ),
    "two columns of one key": (setting("id", "columns", 1, "key"), "two columns have the same key"),
    "no columns": (lambda f: (f / "columns.test.parquet").unlink(), "the file columns.test.parquet is missing"),
    "a file that is not listed": (
        lambda f: changed(f, lambda c: c["files"].pop("arrays.npz")),
        "arrays.npz is not listed",
    ),
    "another file": (setting("0" * 64, "files", "more.npz"), "more.npz is listed, but not described"),
    "no arrays": (lambda folder: (folder / "arrays.npz").unlink(), "the file arrays.npz is missing"),
    "cut columns": (cut("columns.test.parquet"), "columns.test.parquet:"),
    "cut arrays": (cut("arrays.npz"), "arrays.npz:"),
    "columns with a wrong byte": (flipped("columns.generated.parquet"), "columns.generated.parquet:"),
    "arrays with a wrong byte": (flipped("arrays.npz"), "arrays.npz:"),
    "another type": (
        setting("int64", "columns", 1, "dtype"),
        "the column 'correct': it has the type bool; expected int64",
    ),
    "another shape": (setting([4, 3], "columns", 6, "shape"), "the column 'output': it has the type"),
    "another number of samples": (setting(4, "populations", "test"), "there are 3 samples; expected 4"),
    "a missing column": (lambda f: rewritten(f, lambda table: table.drop_columns(["correct"])), "'correct' is missing"),
    "an unknown column": (
        lambda f: rewritten(f, lambda table: table.append_column("more", table.column("correct"))),
        "the column 'more' is unknown",
    ),
    "a missing value": (
        set_column("correct", pa.array([True, None, True])),
        "'correct': 1 of its samples have no value",
    ),
    "a missing array": (
        set_column("output", pa.array([None, [0.0] * 8, [1.0] * 8], pa.list_(pa.float32(), 8))),
        "1 of its samples have no value",
    ),
    "NaN": (set_column("quality", pa.array([0.0, float("nan"), 1.0])), "the column 'quality': it contains NaN"),
    "boxes of three numbers": (
        set_column("boxes", pa.array([[], [0.0] * 3, [1.0] * 4])),
        "not a multiple of 4",
    ),
    "an index outside": (
        set_column(
            "confusion",
            pa.array(
                [{"index": [400], "value": [1]}] * 3,
                pa.struct([("index", pa.list_(pa.int32())), ("value", pa.list_(pa.int64()))]),
            ),
        ),
        "an index is not below 400",
    ),
    "another shape of an array": (setting([1, 1, 3, 3], "arrays", 1, "shape"), "expected <f4 (1, 1, 3, 3)"),
    "an unknown array": (setting("other", "arrays", 1, "key"), "arrays.npz: 'other is not a file in the archive"),
}


@pytest.mark.parametrize(("damage", "sentence"), DAMAGES.values(), ids=DAMAGES)
def test_every_damage_is_one_clear_sentence(folder, damage, sentence):
    damage(folder)
    with pytest.raises(StoreError) as caught:
        use_all(read(folder))
    text = str(caught.value)
    assert text.startswith(f"The record {folder.name} is damaged: ")
    assert sentence in text and "\n" not in text and text.endswith(".")


def test_arrays_are_read_without_pickle(folder):
    arrays = {"ids": np.array(["a", 1], dtype=object), "clean": np.zeros(2)}
    np.savez(folder / "arrays.npz", **arrays)
    with pytest.raises(StoreError, match="allow_pickle=False"):
        use_all(read(folder))


REFUSED = {
    "lengths": ({"columns": (column("a", [1, 2]), column("b", [1]))}, "'b' has 1 entries, but others"),
    "twice": (
        {"columns": (column("a", [1], eps=1), column("a", [1], eps=1))},
        "'a' of the population 'test' is stored twice",
    ),
    "population": ({"columns": (column("a", [1], "../x"),)}, "The population '../x' is no valid name"),
    "NaN in facts": ({"facts": {"a": float("nan")}}, "cannot be stored as JSON"),
    "a key that is a number": ({"facts": {"a": {1: 2}}}, "facts.a has the key 1; expected a string"),
    "an array in facts": ({"facts": {"a": np.ones(2)}}, "store an array as a column"),
    "objects": ({"arrays": {"a": Display(np.array([{}]), "image")}}, "The array 'a' contains objects"),
    "a large array": (
        {"arrays": {"found": Display(np.zeros(2**26 + 1, np.uint8), "image", "changed")}},
        "The array 'found' takes 67,108,865 bytes; at most 67,108,864 are stored",
    ),
}


@pytest.mark.parametrize(("parts", "sentence"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_stored_is_refused(parts, sentence):
    with pytest.raises(RecordError) as caught:
        files(small_record(**parts))
    assert sentence in str(caught.value)
