"""Loading: splits do not leak, and everything that is dropped is reported with its id and reason."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from suite.data import Split, resolved, stratified
from suite.data.digests import in_digest_order, seed_of
from suite.data.formats.imagefolder import read_folder
from suite.data.formats.pixel_format import PixelFormat
from suite.errors import DataError, PluginError
from suite.kinds.classification.kind import Classification
from suite.registry import Entry
from suite.runner.preparation import prepare_task
from suite.spec import parse
from suite.types import Rejected, Sample

KIND = Classification().kind()


def loaded(samples, classes=("a", "b"), seed=0):
    """Load a task whose splits are given as {split: samples}."""
    from suite.data import load

    meta = {"kind": "classification", "classes": classes, "version": "1", "source": ""}
    entry = Entry("task", "given", lambda split, seed: iter(samples.get(split, [])), "here", meta=meta)
    return load(entry, parse("given"), seed=seed, kind=KIND)


def pixels(value, side=4):
    return np.full((side, side), value, dtype=np.uint8)


@pytest.mark.parametrize("name", ["digits", "mnist5k"])
def test_the_splits_of_the_built_in_digits_do_not_overlap(name):
    data = prepare_task(name, 0).data
    splits = (data.train, data.validation, data.test)
    ids = [set(split.ids) for split in splits]
    contents = [{image.tobytes() for image in split.inputs} for split in splits]
    assert not ids[0] & ids[1] and not ids[0] & ids[2] and not ids[1] & ids[2]
    assert not contents[0] & contents[1] and not contents[0] & contents[2] and not contents[1] & contents[2]
    total = sum(len(split) for split in splits) + sum(len(records) for records in data.report.dropped.values())
    assert total == {"digits": 1797, "mnist5k": 5000}[name]
    shares = [np.bincount(split.targets, minlength=10) / len(split) for split in splits]
    assert np.abs(np.array(shares) - 0.1).max() < 0.02
    assert 0 <= data.test.pixels().min() and data.test.pixels().max() == 1.0
    assert data.test.pixels().dtype == np.float32


def test_the_split_depends_on_the_seed():
    first, again, other = (prepare_task("digits", seed).data for seed in (0, 0, 1))
    assert first.digest == again.digest and first.test.ids == again.test.ids
    assert first.test.ids != other.test.ids


@pytest.mark.parametrize("count", [3, 10, 101])
def test_stratified_splits_cover_every_sample_once(count):
    labels = [position % 3 for position in range(count)]
    parts = [stratified(labels, split, seed=4) for split in ("train", "validation", "test")]
    assert sorted(position for part in parts for position in part) == list(range(count))


def test_duplicates_of_test_samples_are_dropped_from_train_and_validation():
    data = loaded(
        {
            "train": [Sample("t1", pixels(1), "a"), Sample("t2", pixels(2), "b"), Sample("t3", pixels(2), "b")],
            "validation": [Sample("v1", pixels(1), "a"), Sample("v2", pixels(3), "a")],
            "test": [Sample("s1", pixels(1), "a"), Sample("s2", pixels(4), "b")],
        }
    )
    assert (data.train.ids, data.validation.ids, data.test.ids) == (("t2",), ("v2",), ("s1", "s2"))
    assert data.report.dropped["duplicate"] == [
        ("v1", "validation sample equal to s1 in test"),
        ("t1", "train sample equal to s1 in test"),
        ("t3", "train sample equal to t2 in train"),
    ]
    assert "3 of 7 dropped, duplicate (v1: validation sample equal to s1 in test" in data.report.sentence()


UNUSABLE = {
    "nan": (np.full((4, 4), np.nan), "a", "NaN"),
    "range": (np.full((4, 4), 255.0), "a", "divide 8-bit values by 255"),
    "negative": (np.full((4, 4), -0.5), "a", "expected 0..1"),
    "integers": (np.ones((4, 4), dtype=np.int64), "a", "expected uint8"),
    "channels last": (np.zeros((5, 5, 3), dtype=np.uint8), "a", "channels last"),
    "vector": (np.zeros(4), "a", "expected (height, width)"),
    "empty": (np.zeros((0, 4)), "a", "expected (height, width)"),
    "unknown class": (pixels(9), "c", "'c' is not one of a, b"),
    "class index": (pixels(9), 2, "an index from 0 to 1"),
    "negative index": (pixels(9), -1, "an index from 0 to 1"),
    "boolean": (pixels(9), True, "an index from 0 to 1"),
    "no class": (pixels(9), None, "the label None"),
}


@pytest.mark.parametrize(("value", "target", "reason"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_sample_is_reported_with_its_id_and_reason(value, target, reason):
    data = loaded({"test": [Sample("good", pixels(1), "a"), Sample("bad", value, target)]})
    assert data.test.ids == ("good",)
    [(name, detail)] = data.report.dropped["unusable"]
    assert name == "bad" and reason in detail


def test_a_task_without_usable_test_samples_is_an_error_that_names_the_first():
    with pytest.raises(DataError, match=r"no usable test sample.*broken\.png: truncated"):
        loaded({"test": [Rejected("broken.png", "truncated")]})


def test_repeated_ids_are_an_error():
    with pytest.raises(DataError, match="'x' is used in test and again in train"):
        loaded({"test": [Sample("x", pixels(1), "a")], "train": [Sample("x", pixels(2), "a")]})


def test_different_shapes_are_an_error_that_suggests_size():
    with pytest.raises(DataError, match="size=224"):
        loaded({"test": [Sample("x", pixels(1), "a"), Sample("y", pixels(1, side=5), "a")]})


def test_a_task_that_does_not_yield_samples_is_an_error():
    with pytest.raises(PluginError, match=r"yielded tuple; expected suite\.Sample"):
        loaded({"test": [("x", pixels(1), "a")]})


def test_undeclared_classes_are_collected_from_the_samples():
    data = loaded({"train": [Sample("x", pixels(1), "zebra")], "test": [Sample("y", pixels(2), "ant")]}, classes=None)
    assert data.info.classes == ("ant", "zebra")
    assert (data.train.targets.tolist(), data.test.targets.tolist()) == ([1], [0])


@pytest.fixture()
def photos(tmp_path):
    """Return a folder with two classes of ten small color images each."""
    generator = np.random.default_rng(0)
    for label in ("cat", "dog"):
        for number in range(10):
            folder = tmp_path / "photos" / label
            folder.mkdir(parents=True, exist_ok=True)
            values = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(values).save(folder / f"{number}.png")
    return tmp_path / "photos"


def all_splits(folder, **options):
    return [
        resolved(item) if isinstance(item, Sample) else item
        for split in ("train", "validation", "test")
        for item in read_folder(str(folder), split, seed=0, pixels=PixelFormat(**options))
        if isinstance(item, Sample | Rejected)
    ]


def test_a_folder_of_classes_is_split_and_read(photos):
    data = prepare_task(f"imagefolder(path='{photos}', size=8)", 0).data
    assert data.info.classes == ("cat", "dog") and data.info.input_shape == (3, 8, 8)
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 5, 5)  # binomial, by content
    assert data.test.ids[0].startswith("cat/")


def test_split_folders_are_used_unchanged(photos, tmp_path):
    root = tmp_path / "ready"
    for split, numbers in {"train": range(5), "val": range(5, 7), "test": range(7, 10)}.items():
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for number in numbers:
                (photos / label / f"{number}.png").rename(root / split / label / f"{number}.png")
    data = prepare_task(f"imagefolder(path='{root}')", 0).data
    assert (len(data.train), len(data.validation), len(data.test)) == (10, 4, 6)
    assert all(name.startswith("test/") for name in data.test.ids)


def test_unreadable_files_are_reported_by_name_and_reason(photos):
    (photos / "cat" / "empty.png").write_bytes(b"")
    (photos / "cat" / "notes.txt").write_text("not a picture")
    whole = (photos / "dog" / "0.png").read_bytes()
    (photos / "dog" / "cut.png").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.zeros((12, 10), dtype=np.int32), "I").save(photos / "dog" / "deep.tiff")
    rejected = {item.id: item.reason for item in all_splits(photos) if isinstance(item, Rejected)}
    assert rejected.keys() == {"cat/empty.png", "cat/notes.txt", "dog/cut.png", "dog/deep.tiff"}
    assert "not an image but an empty file" in rejected["cat/empty.png"]
    assert "truncated" in rejected["dog/cut.png"]
    assert "32-bit pixels, none above 0" in rejected["dog/deep.tiff"]
    assert len(all_splits(photos)) == 24


def test_16_bit_images_are_scaled_and_not_clipped(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16)).save(tmp_path / "a" / "x.png")
    [sample] = [s for s in all_splits(tmp_path, grey=True) if isinstance(s, Sample)]
    assert sample.input.tolist() == [[[128] * 4] * 4]


def test_orientation_gray_and_size_are_applied(tmp_path):
    (tmp_path / "a").mkdir()
    upright = Image.fromarray(np.zeros((4, 8, 3), dtype=np.uint8))
    exif = upright.getexif()
    exif[0x0112] = 6  # rotated by 90 degrees
    upright.save(tmp_path / "a" / "x.jpg", exif=exif)
    assert next(s for s in all_splits(tmp_path)).input.shape == (3, 8, 4)
    assert next(s for s in all_splits(tmp_path, grey=True, size=6)).input.shape == (1, 6, 6)


FOLDERS = {"missing": ("nowhere", "is not a folder"), "flat": (".", "no folders inside")}


@pytest.mark.parametrize(("path", "reason"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_with_another_layout_is_an_error(tmp_path, path, reason):
    with pytest.raises(DataError, match=reason):
        all_splits(tmp_path / path)


def test_inputs_of_two_dtypes_are_an_error():
    mixed = {"test": [Sample("x", pixels(1), "a"), Sample("y", np.full((4, 4), 0.5), "a")]}
    with pytest.raises(DataError, match="mixes inputs of type float32 and uint8"):
        loaded(mixed)


def test_equal_images_with_different_labels_are_reported():
    data = loaded({"test": [Sample("x", pixels(1), "a"), Sample("y", pixels(1), "b"), Sample("z", pixels(2), "b")]})
    assert data.report.dropped["duplicate"] == [("y", "test sample equal to x in test, which is labeled a, not b")]


def test_top_5_of_constant_scores_breaks_ties_by_index():
    from suite.kinds.classification.kind import in_top

    labels = np.arange(1000) % 10
    assert in_top(np.zeros((1000, 10)), labels, 5).mean() == 0.5
    scores = np.random.default_rng(0).normal(size=(1000, 10))
    by_sorting = [label in np.argsort(-row, kind="stable")[:5] for row, label in zip(scores, labels, strict=True)]
    assert in_top(scores, labels, 5).tolist() == by_sorting


def test_raters_shares_become_an_array_also_where_a_split_is_empty():
    rated = {"test": [Sample("x", pixels(1), "a", (0.75, 0.25)), Sample("y", pixels(2), "b")]}
    data = loaded(rated)
    np.testing.assert_array_equal(data.test.shares, [[0.75, 0.25], [np.nan, np.nan]])
    assert data.train.shares.shape == data.validation.shares.shape == (0, 2)
    for shares in ((0.5, 0.25), (1.5, -0.5), (1.0,), (0.5, 0.25, 0.25)):
        with pytest.raises(DataError, match="do not form a distribution over the 2 classes"):
            loaded({"test": [Sample("x", pixels(1), "a", shares), Sample("y", pixels(2), "b")]})


def numbered(count):
    ids = tuple(f"sample-{index}" for index in range(count))
    shares = np.stack([np.arange(count), -np.arange(count)], axis=1).astype(float)
    return Split(ids, np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2), np.arange(count), shares)


def test_few_samples_are_nested_keep_their_order_and_do_not_depend_on_it():
    whole = numbered(12)
    few = [whole.few(count) for count in range(12)]
    assert [len(some) for some in few] == list(range(12))
    for smaller, larger in pairwise(few):
        assert set(smaller.ids) < set(larger.ids)
    positions = [whole.ids.index(name) for name in few[5].ids]
    assert positions == sorted(positions)
    assert np.array_equal(few[5].inputs, whole.inputs[positions]) and few[5].targets.tolist() == positions
    assert np.array_equal(few[5].shares, whole.shares[positions])
    reversed_few = whole.take(range(11, -1, -1)).few(5)
    assert reversed_few.ids == few[5].ids[::-1]
    assert whole.few(12) is whole and whole.few(99) is whole


def test_few_samples_are_those_with_the_smallest_digests():
    whole = numbered(30)
    ranked = sorted(whole.ids, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    assert set(whole.few(7).ids) == set(ranked[:7])


def test_digest_order_is_a_permutation_that_depends_on_names_only():
    ids = [f"ä{index}" for index in range(50)]
    order = in_digest_order(ids)
    assert sorted(order) == list(range(50)) != order
    names = [ids[index] for index in order]
    assert [ids[::-1][index] for index in in_digest_order(iter(ids[::-1]))] == names
    assert [name for name in names if name in ids[:20]] == [ids[index] for index in in_digest_order(ids[:20])]
    assert in_digest_order(["same", "same"]) == [0, 1] and in_digest_order([]) == []


def test_a_seed_is_63_bits_of_the_digest_of_its_separated_parts():
    digest = hashlib.sha256(b"task\0model").digest()
    assert seed_of("task", "model") == int.from_bytes(digest[:8], "big") // 2
    seeds = [
        seed_of("ab", "c"),
        seed_of("a", "bc"),
        seed_of("abc"),
        seed_of("c", "ab"),
        seed_of("ab", "c", ""),
        seed_of(),
    ]
    assert len(set(seeds)) == len(seeds)
    assert max(seed_of(str(number)) for number in range(200)) in range(2**62, 2**63)
