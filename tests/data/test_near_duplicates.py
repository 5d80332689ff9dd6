"""Near-duplicates across splits: which images and texts count, which do not, and what the report says."""

import io
from functools import lru_cache

import numpy as np
import pytest
from PIL import Image

from suite.data import image_hashes, word_runs
from suite.data.builtin.mnist import mnist
from suite.data.near_duplicates import near_duplicate_remarks, near_duplicates
from suite.data.sources import Files
from suite.data.split import Split
from suite.data.text import packed
from suite.types import EMBEDDING, IMAGE, LATENT, TEXT, VECTOR, WINDOW, Deferred


def split(name, inputs):
    return Split(tuple(f"{name}{index}" for index in range(len(inputs))), inputs, np.zeros(len(inputs)))


def splits(train, test, validation=None):
    inputs = {"train": train, "validation": test[:0] if validation is None else validation, "test": test}
    return {name: split(name, values) for name, values in inputs.items()}


def pairs(found):
    return {(each.split, each.other): each.pairs for each in found}


# -- images


@lru_cache(maxsize=1)
def crops(side=106):
    """Return crops of two photographs that do not overlap, (n, 3, side, side), without those of plain sky."""
    from sklearn.datasets import load_sample_images

    cut = [
        photograph[row : row + side, column : column + side].transpose(2, 0, 1)
        for photograph in load_sample_images().images
        for row in range(0, 427 - side + 1, side)
        for column in range(0, 640 - side + 1, side)
    ]
    return np.stack([image for image in cut if image.std() > 25])


def photograph(pixels):
    return Image.fromarray(pixels.transpose(1, 2, 0))


def channels_first(picture):
    return np.asarray(picture).transpose(2, 0, 1)


def saved_as_jpeg(pixels):
    file = io.BytesIO()
    photograph(pixels).save(file, "JPEG", quality=50)
    return channels_first(Image.open(file))


def scaled(pixels):
    size = pixels.shape[-1]
    small = photograph(pixels).resize((round(0.9 * size), round(0.9 * size)))
    return channels_first(small.resize((size, size)))


def brighter(pixels):
    return np.clip(1.1 * pixels, 0, 255).astype(np.uint8)


def darker(pixels):
    return (0.9 * pixels).astype(np.uint8)


def cropped(pixels):
    size = pixels.shape[-1]
    return channels_first(photograph(pixels[:, 1:-1, 1:-1]).resize((size, size)))


def mirrored(pixels):
    return pixels[:, :, ::-1]


@pytest.mark.parametrize(
    ("change", "count"), [(saved_as_jpeg, 38), (scaled, 38), (brighter, 38), (cropped, 36), (mirrored, 0)]
)
def test_changed_copies_of_photographs_are_found_and_nothing_else(change, count):
    images = crops()
    copies = np.stack([change(image) for image in images])
    found = pairs(near_duplicates(splits(images, copies), IMAGE)).get(("test", "train"), ())
    assert all(name == other.replace("train", "test") for name, other in found)
    assert (len(images), len(found)) == (38, count)


def test_different_crops_of_one_photograph_are_not_near_duplicates():
    assert near_duplicates(splits(crops()[::2], crops()[1::2]), IMAGE) == []


def test_different_handwritten_digits_are_not_near_duplicates_and_copies_of_them_are():
    digits = mnist()[0][:, None]
    copy = np.clip(digits[:20] * 0.8 + 20, 0, 255).astype(np.uint8)
    found = pairs(near_duplicates(splits(digits[::2], np.concatenate([digits[1::2], copy[::2]])), IMAGE))
    assert found == {("test", "train"): tuple((f"test{2500 + index}", f"train{index}") for index in range(10))}


def test_each_two_splits_are_compared_and_the_more_protected_one_is_counted():
    one, other, third, fourth = crops()[:4]
    parts = splits(np.stack([third, one]), darker(np.stack([one, other])), scaled(other)[None])
    assert pairs(near_duplicates(parts, IMAGE)) == {
        ("test", "validation"): (("test1", "validation0"),),
        ("test", "train"): (("test0", "train1"),),
    }
    parts = splits(darker(np.stack([fourth, third])), one[None], np.stack([other, third]))
    assert pairs(near_duplicates(parts, IMAGE)) == {("validation", "train"): (("validation1", "train1"),)}


def test_the_first_of_several_copies_is_named():
    copies = np.stack([crops()[1], darker(crops()[0]), crops()[0], scaled(crops()[0])])
    assert pairs(near_duplicates(splits(copies, crops()[:1]), IMAGE)) == {("test", "train"): (("test0", "train1"),)}


def test_blank_images_are_not_near_duplicates():
    rng = np.random.default_rng(0)
    blank = np.stack([np.full((3, 32, 32), level) for level in (0, 100, 101, 255)]).astype(np.uint8)
    faint = (blank[1:3] + rng.integers(0, 2, (2, 3, 32, 32))).astype(np.uint8)
    assert near_duplicates(splits(blank[:2], np.concatenate([blank[2:], faint])), IMAGE) == []


def test_an_image_with_few_frequencies_equals_its_copy():
    slope = np.tile(np.arange(64) * 4, (1, 1, 64, 1)).astype(np.uint8)
    noisy = np.clip(slope + np.random.default_rng(0).normal(0, 4, slope.shape), 0, 255).astype(np.uint8)
    found = pairs(near_duplicates(splits(np.concatenate([slope.swapaxes(2, 3), slope]), noisy), IMAGE))
    assert found == {("test", "train"): (("test0", "train1"),)}


def test_floating_point_images_have_the_hashes_of_integer_ones():
    whole, real = image_hashes.hashes_of(crops()), image_hashes.hashes_of((crops() / 255).astype(np.float32))
    assert (whole.bits == real.bits).all()
    assert np.abs(whole.cells - real.cells).max() < 1e-3
    assert whole.bits.shape == (38, 63)
    assert whole.cells.shape == (38, 256)


def test_a_thumbnail_averages_parts_of_pixels():
    assert image_hashes._averaging(3, 2).tolist() == pytest.approx(np.array([[2, 1, 0], [0, 1, 2]]) / 3)
    assert image_hashes._averaging(2, 4).tolist() == [[1, 0], [1, 0], [0, 1], [0, 1]]


def test_hashes_are_signs_of_the_discrete_cosine_transform():
    from scipy.fft import dctn

    image = np.random.default_rng(0).random((1, 1, 32, 32), dtype=np.float32)
    grey = (image[0, 0] - image.mean()) / image.std()
    expected = dctn(grey, norm="ortho")[:8, :8].ravel()[1:] > -image_hashes.NOISE
    assert ((image_hashes.hashes_of(image).bits[0] > 0) == expected).all()


@pytest.mark.parametrize("batch", [1, 5])
def test_image_batches_change_nothing(monkeypatch, batch):
    parts = splits(crops()[:12], np.stack([darker(image) for image in crops()[3:9]]), crops()[20:22])
    expected = near_duplicates(parts, IMAGE)
    assert len(expected[0].pairs) == 6
    monkeypatch.setattr(image_hashes, "BATCH", batch)
    assert near_duplicates(parts, IMAGE) == expected


def test_image_files_are_decoded_once(monkeypatch):
    monkeypatch.setenv("SUITE_DECODED_MB", "0")
    reads = []

    def read(split, index):
        reads.append((split, index))
        return crops()[index] if split == "train" else darker(crops()[index])

    def files(name, count):
        inputs = [Deferred(lambda index=index: read(name, index)) for index in range(count)]
        source = Files(inputs, (crops().shape[1:], np.dtype(np.uint8)), [b""] * count)
        return Split(tuple(f"{name}{index}" for index in range(count)), source, np.zeros(count))

    parts = {"train": files("train", 3), "validation": split("validation", crops()[:0]), "test": files("test", 3)}
    (found,) = near_duplicates(parts, IMAGE)
    assert len(found.pairs) == 3
    assert sorted(reads) == [(name, index) for name in ("test", "train") for index in range(3)]


def test_images_that_are_too_small_to_compare_are_said():
    images = np.random.default_rng(0).random((4, 1, 8, 24), dtype=np.float32)
    parts = splits(images[:2], images[2:])
    assert near_duplicates(parts, IMAGE) == []
    assert near_duplicate_remarks(parts, IMAGE) == [
        "near-duplicates were not looked for: at 24x8 pixels, images of one class are as alike as copies "
        "(at least 16x16 are needed)"
    ]


def test_the_remark_counts_names_and_says_the_criterion():
    parts = splits(crops()[:5], np.stack([darker(crops()[2]), crops()[10], crops()[11]]))
    assert near_duplicate_remarks(parts, IMAGE) == [
        "1 of 3 images in test are near-duplicates of images in train (perceptual hashes that differ in at most 6 of "
        "63 bits, confirmed on thumbnails), for example test0 of train2"
    ]


@pytest.mark.parametrize("kind", [VECTOR, LATENT, EMBEDDING])
def test_numbers_have_no_near_duplicates(kind):
    values = np.ones((3, 1, 20, 20), np.float32)
    assert near_duplicate_remarks(splits(values, values), kind) == []


# -- texts

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def words(start, count):
    """Return words that no other start has."""
    return " ".join(f"{LETTERS[index // 26 % 26]}{LETTERS[index % 26]}" for index in range(start, start + count))


def found_in(train, test, kind=TEXT, validation=()):
    texts = [packed(part, 3000) for part in (train, test, validation)]
    return pairs(near_duplicates(splits(*texts), kind)).get(("test", "train"), ())


@pytest.mark.parametrize("place", range(20))
def test_a_text_with_one_of_20_words_replaced_is_a_near_duplicate(place):
    changed = words(0, 20).split()
    changed[place] = "other"
    assert found_in([words(100, 20), words(0, 20)], [" ".join(changed)]) == (("test0", "train1"),)


@pytest.mark.parametrize(("shared", "found"), [(8, True), (7, False)])
def test_a_text_of_12_words_needs_4_of_its_8_runs(shared, found):
    own = f"{words(0, shared)} {words(200, 12 - shared)}"
    assert bool(found_in([f"{words(300, 50)} {words(0, shared)} {words(400, 50)}"], [own])) == found


@pytest.mark.parametrize(("shared", "found"), [(12, True), (11, False)])
def test_a_text_of_20_words_needs_half_of_its_16_runs(shared, found):
    assert bool(found_in([words(0, shared)], [f"{words(0, shared)} {words(200, 20 - shared)}"])) == found


def test_runs_in_several_texts_do_not_add_up():
    halves = [f"{words(0, 14)} {words(100, 14)}", f"{words(200, 14)} {words(14, 14)}"]
    assert found_in(halves, [words(0, 28)]) == ()
    assert found_in([*halves, f"{words(0, 27)} end"], [words(0, 28)]) == (("test0", "train2"),)


def test_a_repeated_run_counts_once():
    assert found_in(["very " * 40], ["very " * 30 + words(0, 20)]) == ()
    assert found_in([f"{words(0, 20)} {'very ' * 40}"], ["very " * 30 + words(0, 20)]) == (("test0", "train0"),)


def test_a_text_of_7_words_has_no_near_duplicates():
    assert found_in([words(0, 30)], [words(0, 7)]) == ()
    assert found_in([words(0, 30)], [words(0, 8)]) == (("test0", "train0"),)


def test_case_punctuation_and_line_breaks_do_not_count():
    original = "It's one of the BEST films, of the year -- I’d see it again!"
    assert found_in([original], ["it’s one of the best films of the year.\n\nI'd see it _again_"]) == (
        ("test0", "train0"),
    )


def test_scripts_without_spaces_have_a_word_per_character():
    assert found_in(["我昨天晚上和朋友一起看了这部电影觉得非常好看"], ["我昨天晚上和朋友一起看了那部电影觉得非常好看"])
    assert not found_in(
        ["我昨天晚上和朋友一起看了这部电影觉得非常好看"], ["今天早上我们在学校的图书馆里读了一本很有趣的书"]
    )
    assert word_runs.WORD.findall("abc漢字ไทย_x") == ["abc", *"漢字ไทย", "x"]


@pytest.mark.parametrize(("shared", "found"), [(16, True), (15, False)])
def test_a_window_needs_a_run_of_16_words_in_common(shared, found):
    own = f"{words(100, 20)} {words(0, shared)} {words(200, 20)}"
    other = f"{words(300, 5)} {words(0, shared)} {words(400, 30)}"
    assert bool(found_in([words(500, 40), other], [own], WINDOW)) == found
    assert found_in([other], [own], TEXT) == ()


def test_texts_equal_what_sets_of_runs_say(monkeypatch):
    rng = np.random.default_rng(0)

    def text():
        return rng.integers(0, 40, rng.integers(0, 40)).tolist()

    def copy(of):
        kept = [word for word in of if rng.random() > 0.05]
        return kept[rng.integers(0, 5) :] + rng.integers(0, 40, rng.integers(0, 12)).tolist()

    train = [text() for _ in range(80)]
    test = [text() for _ in range(20)] + [copy(one) for one in train[:60]]

    def runs(numbers):
        return {tuple(numbers[start : start + 5]) for start in range(len(numbers) - 4)}

    def equals(one, other):
        return len(runs(one) & runs(other)) >= max(4, len(runs(one)) / 2)

    expected = [row for row, one in enumerate(test) if any(equals(one, other) for other in train)]
    assert 20 < len(expected) < 60
    monkeypatch.setattr(word_runs, "BATCH", 7)
    found = found_in(*[[" ".join(f"w{number}" for number in one) for one in part] for part in (train, test)])
    assert [int(name.removeprefix("test")) for name, _ in found] == expected
    assert all(equals(test[int(name[4:])], train[int(other[5:])]) for name, other in found)


def test_texts_of_each_two_splits_are_compared():
    train, validation, test = [words(0, 20)], [words(100, 20), words(0, 19)], [words(100, 18), words(1, 19)]
    parts = splits(packed(train, 99), packed(test, 99), packed(validation, 99))
    assert pairs(near_duplicates(parts, TEXT)) == {
        ("test", "validation"): (("test0", "validation0"), ("test1", "validation1")),
        ("test", "train"): (("test1", "train0"),),
        ("validation", "train"): (("validation1", "train0"),),
    }


@pytest.mark.parametrize(
    ("kind", "criterion"),
    [
        (TEXT, "texts in train (at least 50 % of the runs of 5 words, and 4 of them, in common)"),
        (WINDOW, "windows in train (a run of 16 words in common)"),
    ],
)
def test_the_remark_on_texts_says_the_criterion(kind, criterion):
    parts = splits(packed([words(0, 30)], 200), packed([words(1, 29), words(100, 30)], 200))
    noun = criterion.split()[0]
    assert near_duplicate_remarks(parts, kind) == [
        f"1 of 2 {noun} in test are near-duplicates of {criterion}, for example test0 of train0"
    ]


def test_empty_splits_and_empty_texts_have_no_near_duplicates():
    assert found_in([], [words(0, 20)]) == ()
    assert found_in(["", "a"], ["", "b c"]) == ()
    assert near_duplicates(splits(crops()[:0], crops()[:2]), IMAGE) == []
