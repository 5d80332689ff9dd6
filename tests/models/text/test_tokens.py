"""Words of a text: their ids, and exactly the characters they stand for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from suite.data.text import WORD, packed
from suite.errors import ModelError
from suite.kinds.inputs import vocabulary
from suite.models.adapters.text import Token
from suite.models.adapters.tokens import Words

KNOWN = Words(("the", "film", "isn't", "good", "!"))


def test_ids_begin_with_padding_and_the_unknown_word() -> None:
    assert KNOWN.vocabulary == ("", "<unk>", "the", "film", "isn't", "good", "!")
    assert (KNOWN.pad, KNOWN.unknown) == (0, 1)


def test_words_are_found_in_lower_case_where_they_stand() -> None:
    assert KNOWN.tokens("The  FILM isn't bad!!") == [
        Token(2, 0, 3),
        Token(3, 5, 9),
        Token(4, 10, 15),
        Token(1, 16, 19),
        Token(6, 19, 20),
        Token(6, 20, 21),
    ]


def test_a_letter_that_is_longer_in_lower_case_moves_no_span() -> None:
    text = "İİ good"  # each of these is two characters in lower case
    assert KNOWN.tokens(text) == [Token(1, 0, 2), Token(5, 3, 7)]


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_a_text_without_words_is_one_unknown_token_of_no_characters(text: str) -> None:
    assert KNOWN.tokens(text) == [Token(1, 0, 0)]


def test_the_spelling_of_the_unknown_word_is_not_a_word() -> None:
    assert [token.id for token in Words(("<", "unk", ">")).tokens("<unk>")] == [2, 3, 4]


def test_only_the_most_frequent_words_are_known() -> None:
    few = Words(("a", "b", "c"), most=2)
    assert few.vocabulary == ("", "<unk>", "a", "b")
    assert [token.id for token in few.tokens("a b c")] == [2, 3, 1]


@pytest.mark.parametrize(("words", "most"), [((), 10), (("a",), 0)])
def test_no_words_is_an_error(words: tuple[str, ...], most: int) -> None:
    with pytest.raises(ModelError, match="at least one"):
        Words(words, most)


def test_words_are_cut_as_the_vocabulary_was_counted() -> None:
    text = "It's 5 o'clock -- déjà-vu, isn’t it? 😀"
    known = Words(vocabulary(packed([text], len(text))))
    assert known.unknown not in [token.id for token in known.tokens(text)]


@given(some.text(alphabet=some.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_spans_are_in_order_and_hold_the_word(text: str) -> None:
    found = Words(("a",)).tokens(text)
    if text.strip() and found != [Token(1, 0, 0)]:
        assert "".join(text[token.start : token.end] for token in found) == "".join(WORD.findall(text))
        ends = [place for token in found for place in (token.start, token.end)]
        assert ends == sorted(ends)
