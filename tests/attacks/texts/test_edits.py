"""The edit distances of the attacks and those of `suite verify`, against independent oracles."""

import itertools
import math
import random

import numpy as np
import pytest

from suite.attacks.constraints.edits import (
    FAR,
    changed_span,
    character_edits,
    edit_counts,
    is_text,
    prepended_words,
    replace_span,
    word_edits,
)
from suite.data.text import packed, text_of
from suite.errors import SpecError
from suite.verify.sizes import EDITS, SIZES, readable


def reference(one, two, swaps):
    """Return the distance by dynamic programming over prefixes: the minimum over all last edits."""
    table = {}
    for i, j in itertools.product(range(len(one) + 1), range(len(two) + 1)):
        if not i or not j:
            table[i, j] = i + j
            continue
        replaced = table[i - 1, j - 1] + (one[i - 1] != two[j - 1])
        table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, replaced)
        if swaps and i > 1 and j > 1 and one[i - 1] == two[j - 2] and one[i - 2] == two[j - 1]:
            table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(one), len(two)]


def as_words(letters):
    """Return a text with a word for each letter."""
    return " ".join(2 * letter for letter in letters)


def pairs(count, alphabet="abc", most=9):
    source = random.Random(3)
    for _ in range(count):
        yield tuple("".join(source.choice(alphabet) for _ in range(source.randrange(most))) for _ in range(2))


def test_distances_of_random_texts_match_dynamic_programming():
    for one, two in pairs(600):
        expected = reference(one, two, True)
        assert character_edits(one, two) == expected == EDITS["characters"][0](one, two, 0), (one, two)
        if len(one) != len(two):
            expected, texts = reference(one, two, False), (as_words(one), as_words(two))
            assert word_edits(*texts) == expected == EDITS["words"][0](*texts, 0), (one, two)


def test_distances_of_short_texts_of_two_letters_match_dynamic_programming():
    short = ["".join(letters) for size in range(5) for letters in itertools.product("ab", repeat=size)]
    for one, two in itertools.product(short, short):
        expected = reference(one, two, True)
        assert character_edits(one, two) == expected == EDITS["characters"][0](one, two, 0), (one, two)


def test_distances_of_random_long_texts_are_cut_off_at_the_cap():
    for one, two in pairs(20, alphabet="abcdefgh", most=250):
        assert character_edits(one, two) == min(reference(one, two, True), FAR), (one, two)
        if len(one) != len(two):
            assert word_edits(as_words(one), as_words(two)) == min(reference(one, two, False), FAR), (one, two)


def test_a_few_typos_in_a_long_text_are_counted():
    text = "a fine film with a story that holds " * 60
    other = text[:100] + text[101:900] + "x" + text[900:1500] + text[1501] + text[1500] + text[1502:]
    assert character_edits(text, other) == 3
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
def test_word_edits_match_counts_by_hand(clean, other, count):
    assert word_edits(clean, other) == EDITS["words"][0](clean, other, 99) == count


@pytest.mark.parametrize(
    ("clean", "other", "count"),
    [("good film", "godo film", 1), ("good film", "gd film", 2), ("good film", "goodfilm", 1), ("ab", "ba", 1)],
)
def test_character_edits_match_counts_by_hand(clean, other, count):
    assert character_edits(clean, other) == EDITS["characters"][0](clean, other, 99) == count


def test_only_words_before_the_clean_text_count_as_prepended():
    for count in (prepended_words, EDITS["trigger"][0]):
        assert count("a film", "a film", 40) == 0
        assert count("a film", "zoning tapping a film", 40) == 2
        assert count("a film", "zoning tapping a play", 40) == math.inf
        assert count("a film", "zoning a", 40) == math.inf, "the text was truncated although the array had room"
        assert count("a film", "zoning a", 8) == 1, "the text was truncated because the array was full"
        word = "z" * 99
        assert count("a film", f"{word}a", 100) > 3, "a single word must not displace the whole text"


def test_a_span_of_changed_characters_is_a_trigger_of_its_length():
    assert changed_span("abcdef", "abcdef") == 0
    assert changed_span("abcdef", "abXdYf") == EDITS["trigger"][1]("abcdef", "abXdYf", 6) == 3
    assert changed_span("abcdef", "abXde") == math.inf


def test_rows_that_are_not_texts_are_detected():
    rows = np.array([[65, 66, 0, 0], [65, 0, 66, 0], [0xD800, 0, 0, 0], [0x110000, 0, 0, 0], [-1, 0, 0, 0], [0] * 4])
    expected = [True, False, False, False, False, True]
    assert is_text(rows).tolist() == readable(rows).tolist() == expected


def test_a_replacement_that_does_not_fit_gives_none():
    row = packed(["a good film"], 12)[0]
    assert text_of(replace_span(row, 2, 6, "bad")) == "a bad film"
    assert text_of(replace_span(row, 2, 6, "great")) == "a great film"
    assert replace_span(row, 2, 6, "lovely") is None


@pytest.mark.parametrize("sizes", [[], [0], [2, 1], [1.5], [True], ["a"], [1, 1], [100]])
def test_sizes_must_be_ascending_whole_numbers(sizes):
    with pytest.raises(SpecError, match="expected whole numbers from 1 to 99"):
        edit_counts(sizes)
    assert edit_counts([1, 3]) == (1, 3)


def test_sizes_of_perturbations_match_their_norms():
    perturbed = np.array([[0.0, -3.0, 4.0], [0.0, 0.0, 0.0]])
    assert {norm: SIZES[norm](perturbed).tolist() for norm in ("linf", "l2", "l1", "l0")} == {
        "linf": [4, 0],
        "l2": [5, 0],
        "l1": [7, 0],
        "l0": [2, 0],
    }
