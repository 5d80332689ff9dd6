"""The word lists of VADER, read from the archive in which its authors publish them; nothing of it is executed."""

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from suite.data.builtin.archives import fetch, members
from suite.data.builtin.vader import ARCHIVE
from suite.errors import DataError

WANTED = ("NEGATE", "BOOSTER_DICT", "SPECIAL_CASES")
"""Names under which the source of VADER keeps its lists."""


@dataclass(frozen=True)
class Valences:
    """What VADER knows of words (Hutto and Gilbert 2014).

    Attributes:
        words: how positive a word or an emoticon is, -4 to 4, the mean of ten raters.
        emojis: a character to its description in words.
        degrees: how much a word or phrase strengthens (above 0) or weakens what follows.
        negations: words that turn what follows into its opposite.
        idioms: phrases with a valence of their own.
    """

    words: Mapping[str, float]
    emojis: Mapping[str, str]
    degrees: Mapping[str, float]
    negations: frozenset[str]
    idioms: Mapping[str, float]


@lru_cache(maxsize=1)
def read_valences() -> Valences:
    """Return the lists from the source archive of vaderSentiment, fetched once.

    Raises:
        DataError: the archive is neither in the cache nor can be fetched, or it has another content.
    """
    folder = f"vaderSentiment-{ARCHIVE.version}/vaderSentiment"
    names = tuple(f"{folder}/{name}" for name in ("vader_lexicon.txt", "emoji_utf8_lexicon.txt", "vaderSentiment.py"))
    found = members(fetch(ARCHIVE), names)
    words, emojis, source = (found[name].decode("utf-8") for name in names)
    lists = constants(source)
    if missing := [name for name in WANTED if name not in lists]:
        raise DataError(f"The source of VADER has no {', '.join(missing)}; expected version {ARCHIVE.version}.")
    return Valences(
        MappingProxyType({word: float(valence) for word, valence in _pairs(words)}),
        MappingProxyType(dict(_pairs(emojis))),
        MappingProxyType(lists["BOOSTER_DICT"]),
        frozenset(lists["NEGATE"]),
        MappingProxyType(lists["SPECIAL_CASES"]),
    )


def _pairs(content: str) -> list[tuple[str, str]]:
    """Return the first two columns of a table parted by tabs."""
    rows = [line.strip().split("\t") for line in content.split("\n") if line.strip()]
    if short := next((row for row in rows if len(row) < 2), None):
        raise DataError(f"A line of a word list has one column ({short[0]!r:.40}); expected a word and what it means.")
    return [(row[0], row[1]) for row in rows]


def constants(source: str) -> dict[str, Any]:
    """Return the constants that a Python file assigns at its top: numbers, texts, lists and mappings of these.

    The file is parsed and not run; what is not a constant is left out.
    """
    found: dict[str, Any] = {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = _constant(node.value, found)
            except ValueError:  # a call or the like
                continue
    return found


def _constant(node: ast.expr, known: Mapping[str, Any]) -> Any:
    if isinstance(node, ast.Name) and node.id in known:
        return known[node.id]
    if isinstance(node, ast.List):
        return [_constant(item, known) for item in node.elts]
    if isinstance(node, ast.Dict) and all(key is not None for key in node.keys):
        keys = [_constant(key, known) for key in node.keys if key is not None]
        return dict(zip(keys, (_constant(value, known) for value in node.values), strict=True))
    return ast.literal_eval(node)
