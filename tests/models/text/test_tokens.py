"""The word tokenizer: ids and character spans."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from suite.data.text import WORD, packed, vocabulary
from suite.errors import ModelError
from suite.models.adapters.text import Token
from suite.models.adapters.tokens import Words

TOKENIZER = Words(("the", "film", "isn't", "good", "!"))


def test_ids_start_with_padding_and_the_unknown_word() -> None:
    assert TOKENIZER.vocabulary == ("", "<unk>", "the", "film", "isn't", "good", "!")
    assert (TOKENIZER.pad, TOKENIZER.unknown) == (0, 1)


def test_words_are_lower_case_with_spans_in_the_original_text() -> None:
    assert TOKENIZER.tokens("The  FILM isn't bad!!") == [
        Token(2, 0, 3),
        Token(3, 5, 9),
        Token(4, 10, 15),
        Token(1, 16, 19),
        Token(6, 19, 20),
        Token(6, 20, 21),
    ]


def test_spans_are_right_where_lower_case_is_longer() -> None:
    text = "İİ good"  # each İ is two characters in lower case
    assert TOKENIZER.tokens(text) == [Token(1, 0, 2), Token(5, 3, 7)]


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_text_without_words_is_one_unknown_token(text: str) -> None:
    assert TOKENIZER.tokens(text) == [Token(1, 0, 0)]


def test_text_of_the_unknown_id_is_not_a_word() -> None:
    assert [token.id for token in Words(("<", "unk", ">")).tokens("<unk>")] == [2, 3, 4]


def test_vocabulary_is_limited_to_the_most_frequent_words() -> None:
    few = Words(("a", "b", "c"), most=2)
    assert few.vocabulary == ("", "<unk>", "a", "b")
    assert [token.id for token in few.tokens("a b c")] == [2, 3, 1]


@pytest.mark.parametrize(("words", "most"), [((), 10), (("a",), 0)])
def test_empty_vocabulary_raises_an_error(words: tuple[str, ...], most: int) -> None:
    with pytest.raises(ModelError, match="at least one"):
        Words(words, most)


def test_tokenizer_and_vocabulary_agree_on_words() -> None:
    text = "It's 5 o'clock -- déjà-vu, isn’t it? 😀"
    words = Words(vocabulary(packed([text], len(text))))
    assert words.unknown not in [token.id for token in words.tokens(text)]


@given(some.text(alphabet=some.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_spans_are_ordered_and_cover_the_words(text: str) -> None:
    result = Words(("a",)).tokens(text)
    if text.strip() and result != [Token(1, 0, 0)]:
        assert "".join(text[token.start : token.end] for token in result) == "".join(WORD.findall(text))
        ends = [place for token in result for place in (token.start, token.end)]
        assert ends == sorted(ends)
