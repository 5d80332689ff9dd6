"""Texts as HTML, with attributions or the changes of an attack marked: pure functions, no Streamlit.

Texts are untrusted data: every character of them passes through `safe` before it reaches the page. Marks differ in
underline and slant and not only in color, and show their number as a tooltip.
"""

import difflib
import html
import itertools
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.leaderboard.text import printable

Array = NDArray[Any]

FAINTEST = 0.1
"""Share of the largest value below which a feature is not marked."""

NAMED = 3
"""Features that a sentence names on each side, at most."""

LONGEST = 40
"""Longest name of a feature in a sentence, in characters."""

ALIKE = 0.6
"""Similarity from which two words are compared letter by letter, as a word and its misspelling."""

FRAME = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:2;font-size:1.05rem"
FOR = "font-weight:700;font-style:normal;text-decoration:underline solid 2px"
AGAINST = "font-weight:400;font-style:italic;text-decoration:underline dotted 3px"
OLD = "font-style:italic;text-decoration:line-through 2px"
NEW = "font-weight:700;text-decoration:underline solid 2px"
TINTS = {FOR: "217,95,2", AGAINST: "49,130,196", OLD: "49,130,196", NEW: "217,95,2"}
"""Colors of the marks; transparent, so that they suit light and dark pages."""

WORD = re.compile(r"\w+(?:['’]\w+)*|\s+|[^\w\s]")


class Change(NamedTuple):
    """The differences between two texts.

    Attributes:
        before, after: the texts as HTML, with deleted and inserted words marked.
        words: number of words that differ.
        pairs: old and new words; one is empty where a word was inserted or deleted.
    """

    before: str
    after: str
    words: int
    pairs: tuple[tuple[str, str], ...]


def text_of(codes: Any) -> str:
    """Return the text of code points, up to the first 0; invalid points become the replacement character."""
    points = [int(point) for point in np.ravel(codes)]
    points = points[: points.index(0)] if 0 in points else points
    return "".join(_character(point) for point in points)


def safe(text: Any) -> str:
    """Return an untrusted text as HTML that shows exactly that text, with its line breaks."""
    lines = str(text).replace("\r\n", "\n").replace("\t", " ").split("\n")
    return html.escape("\n".join(printable(line) for line in lines), quote=True)


def framed(content: str) -> str:
    """Return HTML as a block that keeps spaces and wraps long lines."""
    return f'<div style="{FRAME}">{content}</div>'


def highlighted(text: str, spans: Array, values: Array) -> str:
    """Return a text as HTML with its features marked by their attribution.

    Args:
        text: the text.
        spans: start and end (exclusive) of each feature in characters, (features, 2); 0, 0 for features without text.
        values: attributions, (features,): positive supports the prediction, negative opposes it.
    """
    shares = strengths(values)
    placed = [(int(start), int(end), place) for place, (start, end) in enumerate(spans) if 0 <= start < end]
    pieces, at = [], 0
    for start, end, place in sorted(placed):
        if start >= at and end <= len(text):
            pieces += [safe(text[at:start]), marked(text[start:end], shares[place], float(values[place]))]
            at = end
    return framed("".join([*pieces, safe(text[at:])]))


def listed(names: Sequence[str], values: Any, present: Any) -> str:
    """Return the names of features as HTML, marked by attribution; single characters have no spaces between them."""
    shares = strengths(values)
    features = [feature for feature in zip(names, shares, values, present, strict=False) if feature[-1]]
    between = "" if all(len(name) <= 1 for name, *_ in features) else " "
    return framed(between.join(marked(name, share, float(value)) for name, share, value, _ in features))


def marked(word: str, share: float, value: float) -> str:
    """Return a feature as HTML, marked by its share of the largest value, from -1 to 1; weak ones are plain."""
    if abs(share) < FAINTEST:
        return safe(word)
    shown = safe(word).replace("\n", "↵\n") if word.strip(" ") else VISIBLE[" "] * max(1, len(word))
    style, verb = (FOR, "supports") if share > 0 else (AGAINST, "opposes")
    return _mark(shown, style, 0.12 + 0.38 * abs(share), f"{value:+.3g}, {verb} the prediction")


def strengths(values: Any) -> Array:
    """Return values as shares of the largest absolute value, from -1 to 1; non-finite values are 0."""
    known = np.nan_to_num(np.asarray(values, dtype=float), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(known / (np.abs(known).max(initial=0.0) or 1.0))


def strongest(names: Sequence[str], values: Any) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the features that support and that oppose the prediction most, with their values."""
    shares, order = strengths(values), np.argsort(-np.nan_to_num(np.asarray(values, dtype=float)), kind="stable")
    named = [(str(names[at])[:LONGEST], float(values[at]), shares[at]) for at in order]
    supporting = [(name, value) for name, value, share in named if share >= FAINTEST]
    opposing = [(name, value) for name, value, share in named[::-1] if share <= -FAINTEST]
    return supporting[:NAMED], opposing[:NAMED]


VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}
"""Visible symbols for white space."""


def legend() -> str:
    """Return the legend of marked features as HTML."""
    examples = (
        (_mark("bold, underlined, orange", FOR, 0.5, "supports"), "supports the prediction"),
        (_mark("italic, dotted, blue", AGAINST, 0.5, "opposes"), "opposes it"),
        ("unmarked", "has little effect"),
    )
    meanings = "; ".join(f"{mark} {meaning}" for mark, meaning in examples)
    return framed(f"{meanings}. A stronger color is a stronger effect; hover over a mark to see its value.")


def changed(before: str, after: str) -> Change:
    """Return two texts with the words that differ marked, and the letters that differ in similar words."""
    old, new = WORD.findall(before), WORD.findall(after)
    left, right = [""], [""]
    pairs: list[tuple[str, str]] = []
    for tag, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            left.append(safe("".join(old[a:b])))
            right.append(safe("".join(new[c:d])))
            continue
        for before_word, after_word in itertools.zip_longest(old[a:b], new[c:d], fillvalue=""):
            left.append(_differing(before_word, after_word, OLD))
            right.append(_differing(after_word, before_word, NEW))
            pairs += [(before_word, after_word)] if (before_word + after_word).strip() else []
    return Change(framed("".join(left)), framed("".join(right)), len(pairs), tuple(pairs))


def change_legend() -> str:
    """Return the legend of changed texts as HTML."""
    old, new = _mark("struck through", OLD, 0.35, "before"), _mark("bold, underlined", NEW, 0.35, "after")
    return framed(f"{old}: deleted by the attack; {new}: inserted by the attack.")


def _differing(word: str, other: str, style: str) -> str:
    """Return a word as HTML, with the letters that are not in the other one in a stronger color."""
    if not word:
        return ""
    title = f"instead of {other}" if style == NEW and other else f"became {other}" if other else "no counterpart"
    pieces = []
    letters = difflib.SequenceMatcher(None, word, other, autojunk=False)
    if letters.ratio() < ALIKE:
        return _mark(safe(word), style, 0.4, title)
    for tag, a, b, *_ in letters.get_opcodes():
        if a < b:
            pieces.append(_mark(safe(word[a:b]), style, 0.15 if tag == "equal" else 0.5, title))
    return "".join(pieces)


def _mark(content: str, style: str, strength: float, title: str) -> str:
    tint = f"background-color:rgba({TINTS[style]},{strength:.2f});color:inherit;border-radius:3px"
    return f'<mark style="{style};{tint}" title="{safe(title)}">{content}</mark>'


def _character(point: int) -> str:
    is_valid = 0 < point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF
    return chr(point) if is_valid else "\N{REPLACEMENT CHARACTER}"
