"""Typos imitate human typing errors."""

import pytest

from suite.attacks.texts.spelling import adjacent_keys, misspellings, typo
from suite.verify.sizes import EDITS


def test_adjacent_keys_by_hand():
    assert set(adjacent_keys("g")) == set("ftyhvb")
    assert set(adjacent_keys("Q")) == set("WA")
    assert adjacent_keys("é") == ""


@pytest.mark.parametrize("word", ["good", "Lovely", "aaaa", "naïve"])
def test_every_typo_is_one_edit_inside_the_word(word):
    typos = sum(misspellings(word), ())
    assert len(typos) > 3
    for one in typos:
        assert (one[0], one[-1]) == (word[0], word[-1])
        assert EDITS["characters"][0](word, one, 0) == 1


def test_all_four_kinds_by_hand():
    swaps, deletions, insertions, substitutions = misspellings("story")
    assert swaps == ("sotry", "stroy")
    assert deletions == ("sory", "stry", "stoy")
    assert {"sstory", "sttory", "stoory"} <= set(insertions)
    assert {"sgory", "stpry"} <= set(substitutions)
    assert len(substitutions) == sum(len(adjacent_keys(letter)) for letter in "tor")


@pytest.mark.parametrize("word", ["the", "don't", "2024", ""])
def test_short_words_and_non_words_have_no_typos(word):
    assert misspellings(word) == ()


def test_two_numbers_can_choose_every_typo():
    every = {one for kind in misspellings("film") for one in kind}
    assert {typo("film", a / 40, b / 40) for a in range(40) for b in range(40)} == every
