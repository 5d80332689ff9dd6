"""Names and messages that would harm a terminal or cannot be stored are escaped, and others stay as they are."""

import pytest

from suite.errors import DataError, described
from suite.escaping import escaped, escaped_name

CASES = {
    "control sequence": ("\x1b[31mred", r"\x1b[31mred"),
    "C1 control sequence": ("\x9b31m", r"\x9b31m"),
    "bell and carriage return": ("a\x07\rb", r"a\x07\x0db"),
    "byte that is not UTF-8": (b"caf\xe9.png".decode("utf-8", "surrogateescape"), r"caf\xe9.png"),
    "unpaired surrogate": ("cut \ud83d", r"cut \ud83d"),
    "reversed direction": ("gpj.\u202eexe", r"gpj.\u202eexe"),
    "line separator": ("a\u2028b", r"a\u2028b"),
    "ordinary text": ("Zürich, 東京, 👍🏽 … %", "Zürich, 東京, 👍🏽 … %"),
}


@pytest.mark.parametrize(("text", "expected"), CASES.values(), ids=CASES)
def test_harmful_characters_become_backslash_escapes(text, expected):
    assert escaped(text) == escaped_name(text) == expected
    escaped(text).encode()


def test_a_message_keeps_its_lines_and_a_name_has_one_line():
    assert escaped("a\n\tb") == "a\n\tb"
    assert escaped_name("a\n\tb") == r"a\n\tb"


def test_errors_escape_the_names_in_their_messages():
    assert str(DataError("no \x1b]0;title\x07 here")) == r"no \x1b]0;title\x07 here"


class MuteError(Exception):
    """An error of a third party whose message raises."""

    def __str__(self):
        raise RuntimeError


def test_errors_are_described_on_one_line_even_if_their_message_fails():
    assert described(KeyError("a\n  b")) == r"KeyError: 'a\n b'"
    assert described(ValueError("a\n  b")) == "ValueError: a b"
    assert described(MuteError()) == "MuteError: its message cannot be read"
