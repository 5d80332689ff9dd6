"""Typos are those that people make."""

import pytest

from suite.attacks.texts.spelling import misspelt, near, typo
from suite.verify.sizes import distance


def test_near_are_the_keys_round_a_letter():
    assert set(near("g")) == set("ftyhvb")
    assert set(near("Q")) == set("WA")
    assert near("é") == ""


@pytest.mark.parametrize("word", ["good", "Lovely", "aaaa", "naïve"])
def test_every_typo_is_one_edit_inside(word):
    found = [typo for way in misspelt(word) for typo in way]
    assert len(found) > 3
    for one in found:
        assert (one[0], one[-1]) == (word[0], word[-1])
        assert distance(word, one, swaps=True) == 1


def test_all_four_ways_by_hand():
    swapped, shorter, longer, mistaken = misspelt("story")
    assert swapped == ("sotry", "stroy")
    assert shorter == ("sory", "stry", "stoy")
    assert {"sstory", "sttory", "stoory"} <= set(longer)
    assert {"sgory", "stpry"} <= set(mistaken)
    assert len(mistaken) == sum(len(near(letter)) for letter in "tor")


@pytest.mark.parametrize("word", ["the", "don't", "2024", ""])
def test_short_words_and_others_than_words_have_none(word):
    assert misspelt(word) == ()


def test_two_numbers_choose_every_typo():
    every = {one for way in misspelt("film") for one in way}
    assert {typo("film", a / 40, b / 40) for a in range(40) for b in range(40)} == every
