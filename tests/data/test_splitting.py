"""The split of data that come without one: it follows from contents, and hardly changes when data are added."""

from collections import Counter
from random import Random

import pytest

from suite.data.splitting import SPLITS, by_content

ALL, TRAIN_ONLY = (0.5, 0.2, 0.3), (0.8, 0.2, 0.0)


def contents(count, seed=0):
    generator = Random(seed)
    return [generator.randbytes(8) for _ in range(count)]


def split_of_each(items, seed=0, labels=None, fractions=ALL):
    """Return the split of each position; check that the splits are disjoint and complete."""
    found = {}
    for split in SPLITS:
        for position in by_content(items, split, seed=seed, labels=labels, fractions=fractions):
            assert position not in found, "in two splits"
            found[position] = split
    assert found.keys() == set(range(len(items)))
    return [found[position] for position in range(len(items))]


@pytest.mark.parametrize("fractions", [ALL, TRAIN_ONLY], ids=str)
def test_one_more_content_moves_at_most_one_other(fractions):
    moved = Counter()
    for trial in range(3000):
        generator = Random(trial)
        items = contents(generator.randint(1, 12) if trial % 2 else generator.randint(1, 50), trial)
        before = split_of_each(items, trial % 7, fractions=fractions)
        after = split_of_each([*items, generator.randbytes(9)], trial % 7, fractions=fractions)
        moved[sum(one != other for one, other in zip(before, after, strict=False))] += 1
    assert set(moved) <= {0, 1} and moved[1] > 0


def test_one_more_content_of_one_class_leaves_the_other_classes_alone():
    items, labels = contents(40), list("ab" * 20)
    before = split_of_each(items, labels=labels)
    for extra in contents(50, seed=1):
        after = split_of_each([*items, extra], labels=[*labels, "a"])
        differ = [label for one, other, label in zip(before, after, labels, strict=False) if one != other]
        assert differ in ([], ["a"])


def test_equal_contents_share_a_split_whatever_their_classes():
    items = contents(6)
    for seed in range(200):
        # The first is in both classes, and small classes need contents of other splits.
        split = split_of_each([*items, *items[:3], items[0]], seed, labels=["a"] * 6 + ["a", "a", "a", "b"])
        assert split[6:9] == split[:3] and split[9] == split[0]


@pytest.mark.parametrize(("fractions", "least"), [(ALL, 3), (TRAIN_ONLY, 2)], ids=str)
def test_a_class_with_enough_contents_is_in_every_split(fractions, least):
    wanted = {split for split, share in zip(SPLITS, fractions, strict=True) if share}
    for seed in range(300):
        assert set(split_of_each(contents(least + seed % 4, seed), seed, fractions=fractions)) == wanted


def test_classes_of_one_and_two_contents_are_split_without_an_error():
    found = {tuple(split_of_each(contents(count), seed)) for count in (1, 2) for seed in range(100)}
    assert {len(splits) for splits in found} == {1, 2}
    assert all(len(set(splits)) == len(splits) for splits in found)  # two contents are never in one split


def test_copies_of_one_content_are_not_divided():
    assert len(set(split_of_each([b"same"] * 20))) == 1


def test_the_shares_are_the_fractions_up_to_binomial_noise():
    count = 5000
    for seed in range(5):
        found = Counter(split_of_each(contents(count, seed), seed))
        for split, share in zip(SPLITS, ALL, strict=True):
            assert abs(found[split] - share * count) < 4 * (count * share * (1 - share)) ** 0.5


def test_the_order_of_the_samples_does_not_matter_and_the_seed_does():
    items = contents(60)
    order = list(range(60))
    Random(5).shuffle(order)
    split = split_of_each(items, 1)
    assert [split[position] for position in order] == split_of_each([items[position] for position in order], 1)
    assert split != split_of_each(items, 2)


def test_an_unknown_split_is_an_error():
    with pytest.raises(ValueError, match="not in tuple"):
        by_content(contents(3), "dev", seed=0)
