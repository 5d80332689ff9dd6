"""Inputs are read when they are needed: nothing is opened before, decoded once if it fits, and right bit for bit."""

import gc
import hashlib
import os
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
from PIL import Image

from suite.data import Split, file_digests, load
from suite.data.builtin.binarized import MODES, binarize_samples
from suite.data.decoding import DECODED, IN_FLIGHT, in_order, one_ahead
from suite.data.formats import image_files
from suite.data.formats.imagefolder import read_folder
from suite.data.formats.pixel_format import PixelFormat
from suite.data.sources import Files, Spilled
from suite.errors import DataError
from suite.kinds.autoencoding.kind import Autoencoding
from suite.kinds.classification.kind import Classification
from suite.registry import Entry
from suite.spec import parse
from suite.types import Deferred, Sample

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "cache"))


@pytest.fixture()
def folder(tmp_path):
    """Return a folder with train/ (8 images), val/ (4) and test/ (6) of two classes."""
    rng = np.random.default_rng(0)
    for split, count in {"train": 4, "val": 2, "test": 3}.items():
        for label in ("cat", "dog"):
            place = tmp_path / "photos" / split / label
            place.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(place / f"{number}.png")
    for file in (tmp_path / "photos").rglob("*.png"):
        aged(file)
    return tmp_path / "photos"


def aged(file, seconds=60):
    """Date a file back, since digests of files that have just been written are not remembered."""
    moment = time.time() - seconds
    os.utime(file, (moment, moment))


def data_of(folder, size=None, classes=("cat", "dog"), kind=Classification):
    """Load a folder of images as a task that declares its classes."""
    meta = {"kind": "classification", "classes": classes, "version": "1", "source": ""}
    pixels = PixelFormat(size)
    entry = Entry(
        "task", "folder", lambda split, seed: read_folder(str(folder), split, seed=seed, pixels=pixels), "", meta=meta
    )
    return load(entry, parse("folder"), seed=0, kind=kind().kind())


@pytest.fixture()
def opened(monkeypatch):
    """Return a list that receives the path of every image that is decoded."""
    paths, real = [], Image.open

    def opening(file, *rest):
        image = real(file, *rest)
        load = image.load

        def loading():
            if image.load is loading:
                image.load = load
                paths.append(str(file))
            return load()

        image.load = loading
        return image

    monkeypatch.setattr(Image, "open", opening)
    return paths


def loaded(samples, kind=Classification, classes=("a", "b")):
    """Load a task whose splits are given as {split: samples}."""
    meta = {"kind": "classification", "classes": classes, "version": "1", "source": ""}
    entry = Entry("task", "given", lambda split, seed: iter(samples.get(split, [])), "here", meta=meta)
    return load(entry, parse("given"), seed=0, kind=kind().kind())


def by_hand(folder, name):
    return np.moveaxis(np.asarray(Image.open(folder / name).convert("RGB")), -1, 0)


def test_pixels_are_those_that_pillow_reads(folder):
    data = data_of(folder)
    for split in (data.test, data.validation, data.train):
        rows = [len(split) - 1, 0, 2]
        expected = np.stack([by_hand(folder, split.ids[row]) for row in rows])
        assert np.array_equal(split.take(rows).inputs, expected)
        assert np.array_equal(split.take(rows).pixels(), (expected / np.float32(255)).astype(np.float32))
        assert (split.shape, split.dtype) == ((3, 12, 10), np.uint8)
    assert isinstance(data.test.source, Files)


def test_scaled_pixels_are_those_that_pillow_crops_and_scales(folder):
    test = data_of(folder, size=6).test
    whole = Image.open(folder / test.ids[1]).convert("RGB")
    square = whole.resize((6, 6), Image.Resampling.BILINEAR, box=(0, 1, 10, 11))
    assert np.array_equal(test.take([1]).inputs[0], np.moveaxis(np.asarray(square), -1, 0))


def test_nothing_of_the_training_part_is_decoded_where_only_the_test_split_is_used(folder, opened):
    data = data_of(folder)
    assert len(opened) == 6 and all("/test/" in path for path in opened)
    assert data.report.listed == ("train", "validation")
    assert data.report.kept == {"train": 8, "validation": 4, "test": 6}
    assert "8 train (not read), 4 validation (not read), 6 test" in data.report.sentence()
    data.test.pixels()
    data.test.take([0, 1])
    assert len(opened) == 6
    assert len(data.validation) == 4 and sum("/val/" in path for path in opened) == 4
    assert not any("/train/" in path for path in opened)
    assert len(data.train) == 8 and sum("/train/" in path for path in opened) == 8


def test_images_are_decoded_once_if_they_fit_and_again_if_not(folder, opened, monkeypatch):
    gc.collect()
    monkeypatch.setattr(DECODED, "used", 0)
    monkeypatch.setattr(DECODED, "limit", lambda: 4 * 360)
    data = data_of(folder)
    first, second = data.test.pixels(), data.test.pixels()
    assert np.array_equal(first, second)
    assert len(opened) == 6 + 2 + 2, "four of six images of 360 bytes fit"
    monkeypatch.setattr(DECODED, "limit", lambda: 100 * 360)
    data.test.pixels()
    opened.clear()
    data.test.pixels()
    assert opened == [] and DECODED.used == 6 * 360
    del data
    gc.collect()
    assert DECODED.used == 0, "memory is given back with the data"


def test_equal_images_are_dropped_from_the_less_protected_part_when_it_is_read(folder):
    for name, copied in {"train/cat/9.png": "test/cat/0.png", "val/dog/9.png": "test/dog/1.png"}.items():
        (folder / name).write_bytes((folder / copied).read_bytes())
    (folder / "train/dog/9.png").write_bytes((folder / "val/cat/0.png").read_bytes())
    (folder / "train/dog/broken.png").write_bytes(b"")
    data = data_of(folder)
    assert data.report.kept["train"] == 11 and data.report.dropped == {}
    assert len(data.train) == 8, "validation is read before, although only train was asked for"
    complete = data.full_report()
    assert complete.kept == {"train": 8, "validation": 4, "test": 6} and complete.listed == ()
    assert complete.dropped["duplicate"] == [
        ("val/dog/9.png", "validation sample equal to test/dog/1.png in test"),
        ("train/cat/9.png", "train sample equal to test/cat/0.png in test"),
        ("train/dog/9.png", "train sample equal to val/cat/0.png in validation, which is labeled cat, not dog"),
    ]
    assert [name for name, _ in complete.dropped["unreadable"]] == ["train/dog/broken.png"]
    assert data.report.dropped == {}, "what an axis stores does not depend on what was read before it"


def test_targets_of_listed_samples_are_validated_without_reading(folder, opened):
    (folder / "train" / "cow").mkdir()
    (folder / "train/cat/0.png").rename(folder / "train/cow/0.png")
    data = data_of(folder)
    assert data.report.kept["train"] == 7 and len(opened) == 6
    assert data.report.dropped["unusable"][0][0] == "train/cow/0.png"
    undeclared = data_of(folder, classes=None)
    assert undeclared.info.classes == ("cat", "cow", "dog") and undeclared.report.listed == ("train", "validation")
    assert sorted(undeclared.train.targets.tolist()) == [0] * 3 + [1] + [2] * 4


def test_images_of_another_size_in_the_training_part_are_an_error_when_they_are_read(folder):
    Image.new("RGB", (5, 5)).save(folder / "train/cat/9.png")
    data = data_of(folder)
    with pytest.raises(DataError, match=r"inputs of 2 shapes: \(3, 12, 10\) \(9x\), \(3, 5, 5\) \(1x\)"):
        data.train  # noqa: B018


def test_a_kind_whose_target_is_the_image_reads_everything_at_once(folder):
    data = loaded({split: deferred(split, 3) for split in SPLITS}, Autoencoding, classes=None)
    assert data.report.listed == () and data.train.targets.shape == (3, 1, 4, 4)
    assert np.array_equal(data.train.targets, data.train.pixels())


def test_parts_of_a_list_with_arrays_and_files_are_read_at_once_in_their_order(folder):
    mixed = [
        Sample("file", Deferred(partial(value_of, "test", 1)), "a"),
        Sample("array", value_of("test", 2), "b"),
        Sample("again", Deferred(partial(value_of, "test", 2)), "b"),
        Sample("last", Deferred(partial(value_of, "test", 3)), "b"),
    ]
    for order in (mixed, [mixed[1], *mixed[2:], mixed[0]]):
        test = loaded({"test": order}).test
        numbers = {"file": 1, "array": 2, "last": 3}
        assert set(test.ids) == set(numbers)
        for row, name in enumerate(test.ids):
            assert np.array_equal(test.take([row]).inputs[0, 0], value_of("test", numbers[name]))


def value_of(split, number):
    return np.random.default_rng([SPLITS.index(split), number]).integers(0, 256, (4, 4), dtype=np.uint8)


def deferred(split, count, files=()):
    return [
        Sample(f"{split}-{n}", Deferred(partial(value_of, split, n), files), "a", group=f"camera {n % 2}")
        for n in range(count)
    ]


def test_deferred_inputs_without_files_are_read_at_once_for_their_digest():
    data = loaded({split: deferred(split, 3) for split in SPLITS})
    assert data.report.listed == () and np.array_equal(data.train.inputs[2, 0], value_of("train", 2))
    changed = {split: deferred(split, 3) for split in SPLITS}
    changed["train"][0] = Sample("train-0", Deferred(partial(value_of, "train", 99)), "a", group="camera 0")
    assert loaded(changed).digest != data.digest


def test_groups_travel_with_their_samples():
    test = loaded({"test": deferred("test", 5)}).test
    assert test.groups == ("camera 0", "camera 1", "camera 0", "camera 1", "camera 0")
    assert test.take([3, 0]).groups == ("camera 1", "camera 0") and test.take([4]).take([0]).ids == ("test-4",)
    assert loaded({"test": [Sample("x", value_of("test", 0), "a")]}).test.groups is None


# -- the digest


def test_the_digest_is_remembered_and_notices_a_changed_file(folder, monkeypatch):
    read = []
    real = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, name: read.append(file.name) or real(file, name))
    first = data_of(folder).digest
    assert len(read) == 18
    again = data_of(folder)
    again.train  # noqa: B018
    assert again.digest == first and len(read) == 18, "no byte is read for the digest a second time"
    file = folder / "train/cat/0.png"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # the same size
    file.write_bytes(content)
    aged(file, 30)
    assert data_of(folder).digest != first and len(read) == 19


def test_a_file_that_has_just_changed_is_read_again(tmp_path):
    file = tmp_path / "x"
    for content in (b"one", b"two"):
        file.write_bytes(content)
        os.utime(file, (time.time(), 1e9 + time.time()))  # as if it changed twice within one tick of the clock
        assert file_digests.file_digests([str(file)]) == {str(file): hashlib.sha256(content).digest()}


def test_digests_need_no_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"x")
    aged(tmp_path / "file")
    monkeypatch.setenv("SUITE_CACHE", str(tmp_path / "file" / "no-folder"))
    names = [str(tmp_path / "file"), str(tmp_path / "missing")]
    found = file_digests.file_digests(names)
    assert found == {names[0]: hashlib.sha256(b"x").digest(), names[1]: file_digests.MISSING}


def test_digests_of_files_with_any_name_are_remembered(tmp_path, monkeypatch):
    file = os.fsdecode(os.fsencode(str(tmp_path)) + b"/caf\xe9")
    with open(file, "wb") as opened:  # noqa: PTH123  # the name is bytes
        opened.write(b"x")
    aged(file)
    first = file_digests.file_digests([file])
    assert first == {file: hashlib.sha256(b"x").digest()}
    monkeypatch.setattr(hashlib, "file_digest", None)
    assert file_digests.file_digests([file]) == first


def test_what_is_no_file_has_no_digest_and_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    names = [str(tmp_path / "fifo"), str(tmp_path), "a\0b", "\ud800"]
    assert file_digests.file_digests(names) == dict.fromkeys(names, file_digests.MISSING)


def test_the_digest_depends_on_how_files_are_read(folder):
    assert len({data_of(folder, size).digest for size in (None, 6, 7)}) == 3
    images = [next(s for s in read_folder(str(folder), "train", seed=0) if isinstance(s, Sample))] * 2
    changed = [next(binarize_samples([image], mode)).input for image, mode in zip(images, MODES, strict=False)]
    first, second = file_digests.deferred_digests(changed, [b"", b""])
    assert first != second and set(np.unique(changed[0].read())) == {0, 255}


# -- arrays


def arrays(count, side=16):
    rng = np.random.default_rng(1)
    for number in range(count):
        yield Sample(f"s{number}", rng.integers(0, 256, (3, side, side), dtype=np.uint8), "ab"[number % 2])


@pytest.mark.parametrize("scale", [None, np.float32(255)], ids=["uint8", "float32"])
def test_arrays_over_the_limit_are_read_back_bit_for_bit(monkeypatch, scale):
    def given():
        for sample in arrays(40):
            yield sample if scale is None else Sample(sample.id, sample.input / scale, sample.target)

    small = loaded({"test": given()})
    monkeypatch.setenv("SUITE_ARRAYS_MB", "0.01")
    large = loaded({"test": given()})
    assert isinstance(large.test.source, Spilled) and not isinstance(small.test.source, Spilled)
    assert large.test.inputs.tobytes() == small.test.inputs.tobytes() and large.test.dtype == small.test.dtype
    rows = [39, 3, 3, 17]
    assert large.test.take(rows).pixels().tobytes() == small.test.take(rows).pixels().tobytes()
    assert large.digest == small.digest and large.test.fingerprint() == small.test.fingerprint()


GROWTH = """
import gc
from pathlib import Path
import numpy as np
from suite import Sample, task
from suite.runner.preparation import prepare_task

def pss():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024

@task(kind="classification", classes=("a", "b"))
def generated(split, seed, *, count=2):
    image = np.zeros((3, 224, 224), np.uint8)
    for number in range(count if split == "test" else 2):
        image[0, 0, :2], image[1, 0, 0] = divmod(number, 256), len(split)
        yield Sample(f"{split}{number}", image.copy(), number % 2)

prepare_task("generated", 0)  # imports what it needs
before = pss()
test = prepare_task("generated(count=1500)", 0).data.test
for batch in test.batches(64):
    batch.pixels()
gc.collect()
print(len(test), test.take([1499]).inputs[0, 0, 0, :2].tolist(), pss() - before)
"""


def test_many_large_images_are_not_held_in_memory():
    environment = {**os.environ, "SUITE_ARRAYS_MB": "16"}
    done = subprocess.run(  # a fixed program
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, check=True, env=environment
    )
    count, *last, growth = done.stdout.split()
    assert (int(count), "".join(last)) == (1500, "[5,219]")
    assert float(growth) < 80, "1,500 images of 224x224 are 215 MiB"


def test_a_fingerprint_depends_on_ids_inputs_targets_and_order():
    def made(ids=("a", "b"), value=0, target=1):
        return Split(ids, np.array([[[[value]]], [[[7]]]], np.uint8), np.array([0, target]))

    one = made()
    assert one.fingerprint() == made().fingerprint() == one.take([0, 1]).fingerprint()
    others = [made(ids=("a", "c")), made(value=1), made(target=0), one.take([1, 0]), one.take([0])]
    assert len({one.fingerprint(), *(other.fingerprint() for other in others)}) == 6


# -- reading ahead


def test_batches_are_consecutive_and_have_the_same_pixels(folder):
    split = data_of(folder).test
    batches = list(split.batches(4))
    assert [batch.ids for batch in batches] == [split.ids[:4], split.ids[4:]]
    assert np.array_equal(np.concatenate([batch.pixels() for batch in batches]), split.pixels())
    groups = [[5, 0], [], [3]]
    for batch, rows in zip(split.ahead(groups), groups, strict=True):
        assert np.array_equal(batch.inputs, split.take(rows).inputs) and batch.ids == split.take(rows).ids
        assert batch.targets.tolist() == split.targets[rows].tolist()


def test_results_keep_their_order_and_only_a_few_run_ahead():
    started = []

    def square(number):
        started.append(number)
        time.sleep(0.002 if number % 3 else 0.01)
        return number**2

    results = in_order(square, range(100))
    assert next(results) == 0 and len(started) <= IN_FLIGHT
    assert list(results) == [number**2 for number in range(1, 100)]
    assert list(one_ahead(square, range(5))) == [0, 1, 4, 9, 16] and list(one_ahead(square, [])) == []


def test_errors_reach_the_reader_in_their_place():
    results = one_ahead(lambda number: 1 // number, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_file_that_disappears_during_a_run_is_an_error_that_names_it(folder, monkeypatch):
    monkeypatch.setattr(DECODED, "limit", lambda: 0)
    data = data_of(folder)
    (folder / data.test.ids[0]).unlink()
    with pytest.raises(DataError, match=r"there is no file 0\.png"):
        data.test.take([0]).pixels()
    Image.new("RGB", (5, 5)).save(folder / data.test.ids[0])
    with pytest.raises(DataError, match=r"has the shape \(3, 5, 5\) now, and had \(3, 12, 10\)"):
        data.test.take([0]).pixels()


@pytest.mark.parametrize("orientation", [1, 6])
def test_dimensions_from_the_header_are_those_of_the_pixels(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (20, 10)).save(tmp_path / "x.jpg", exif=exif)
    photo = image_files.Photo(tmp_path / "x.jpg")
    assert photo.dimensions() == photo.pixels().shape[:0:-1] == ((20, 10) if orientation == 1 else (10, 20))
