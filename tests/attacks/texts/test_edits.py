"""Edits are counted right, twice: once for the gate, once for `suite verify`."""

import functools
import itertools
import math
import random

import numpy as np
import pytest

from suite.attacks.constraints.edits import (
    characters_between,
    counts,
    fewest,
    is_sound,
    replaced,
    stretch_between,
    words_before,
    words_between,
)
from suite.data.text import packed, text_of
from suite.errors import SpecError
from suite.verify.sizes import EDITS, SIZES, distance, readable


def slowly(one, two, swaps):
    """Return the distance by its definition: the best of all last edits."""

    @functools.cache
    def upto(i, j):
        if not i or not j:
            return i + j
        best = min(upto(i - 1, j) + 1, upto(i, j - 1) + 1, upto(i - 1, j - 1) + (one[i - 1] != two[j - 1]))
        if swaps and i > 1 and j > 1 and one[i - 1] == two[j - 2] and one[i - 2] == two[j - 1]:
            best = min(best, upto(i - 2, j - 2) + 1)
        return best

    return upto(len(one), len(two))


def pairs(count, alphabet="abc", most=9):
    source = random.Random(3)
    for _ in range(count):
        yield tuple("".join(source.choice(alphabet) for _ in range(source.randrange(most))) for _ in range(2))


def test_all_distances_are_those_of_a_slow_recursion():
    for one, two in pairs(600):
        assert fewest(one, two, swaps=True) == slowly(one, two, True) == distance(one, two, swaps=True), (one, two)
        assert fewest(one, two, swaps=False) == slowly(one, two, False) == distance(one, two, swaps=False), (one, two)


def test_distances_of_all_short_texts_of_two_letters():
    short = ["".join(letters) for size in range(5) for letters in itertools.product("ab", repeat=size)]
    for one, two in itertools.product(short, short):
        assert fewest(one, two, swaps=True) == slowly(one, two, True) == distance(one, two, swaps=True), (one, two)


def test_a_long_text_with_a_few_typos_is_counted_quickly():
    text = "a fine film with a story that holds " * 60
    other = text[:100] + text[101:900] + "x" + text[900:1500] + text[1501] + text[1500] + text[1502:]
    assert characters_between(text, other) == 3
    assert EDITS["characters"][0](text, other, 3000) == 3


@pytest.mark.parametrize(
    ("clean", "other", "count"),
    [
        ("A good film.", "A good film.", 0),
        ("A good film.", "A bad film.", 1),
        ("A good film.", "A Good film.", 1),
        ("A good film.", "A bad play.", 2),
        ("A good film.", "A good  film.", 1),
        ("A good film.", "A very good film.", 1),
        ("A good film.", "good film.", 1),
        ("don't go", "never go", 1),
        ("good-natured", "bad-natured", 1),
        ("one two three", "three one two", 3),
    ],
)
def test_words_are_counted_by_hand(clean, other, count):
    assert words_between(clean, other) == EDITS["words"][0](clean, other, 99) == count


@pytest.mark.parametrize(
    ("clean", "other", "count"),
    [("good film", "godo film", 1), ("good film", "gd film", 2), ("good film", "goodfilm", 1), ("ab", "ba", 1)],
)
def test_characters_are_counted_by_hand(clean, other, count):
    assert characters_between(clean, other) == EDITS["characters"][0](clean, other, 99) == count


def test_words_before_a_text_are_counted_and_nothing_else_is_one():
    for count in (lambda a, b, width: words_before(a, b, width), EDITS["trigger"][0]):
        assert count("a film", "a film", 40) == 0
        assert count("a film", "zoning tapping a film", 40) == 2
        assert count("a film", "zoning tapping a play", 40) == math.inf
        assert count("a film", "zoning a", 40) == math.inf, "cut, though there was room"
        assert count("a film", "zoning a", 8) == 1, "cut, because it was full"
        pushed = "z" * 99
        assert count("a film", f"{pushed}a", 100) > 3, "one word may not push out the whole text"


def test_a_stretch_of_other_characters_is_a_trigger_of_its_length():
    assert stretch_between("abcdef", "abXdYf") == EDITS["trigger"][1]("abcdef", "abXdYf", 6) == 3
    assert stretch_between("abcdef", "abXde") == math.inf


def test_only_texts_are_texts():
    rows = np.array([[65, 66, 0, 0], [65, 0, 66, 0], [0xD800, 0, 0, 0], [0x110000, 0, 0, 0], [-1, 0, 0, 0], [0] * 4])
    expected = [True, False, False, False, False, True]
    assert is_sound(rows).tolist() == readable(rows).tolist() == expected


def test_a_replacement_that_does_not_fit_is_none():
    row = packed(["a good film"], 12)[0]
    assert text_of(replaced(row, 2, 6, "bad")) == "a bad film"
    assert text_of(replaced(row, 2, 6, "great")) == "a great film"
    assert replaced(row, 2, 6, "lovely") is None


@pytest.mark.parametrize("sizes", [[], [0], [2, 1], [1.5], [True], ["a"], [1, 1], [100]])
def test_sizes_are_whole_numbers_ascending(sizes):
    with pytest.raises(SpecError, match="expected whole numbers from 1 to 99"):
        counts(sizes)
    assert counts([1, 3]) == (1, 3)


def test_lists_of_numbers_have_the_sizes_of_their_norms():
    moved = np.array([[0.0, -3.0, 4.0], [0.0, 0.0, 0.0]])
    assert {norm: SIZES[norm](moved).tolist() for norm in ("linf", "l2", "l1", "l0")} == {
        "linf": [4, 0],
        "l2": [5, 0],
        "l1": [7, 0],
        "l0": [2, 0],
    }
