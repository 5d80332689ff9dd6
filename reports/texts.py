"""Texts as HTML: what speaks for an answer, and what an attack changed. Pure functions, no Streamlit.

Texts are strangers' data. Every character of them passes through `safe`, and nothing else of them reaches the page.
Marks differ in line and slant and not in colour alone, and say their number where the pointer rests.
"""

import difflib
import html
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from suite.leaderboard.text import printable

Array = NDArray[Any]
Span = tuple[int, int]

FAINTEST = 0.1
"""Share of the strongest number below which a feature is not marked: it hardly matters."""

NAMED = 3
"""Features that a sentence names on each side."""

LONGEST = 40
"""Characters of a feature's name in a sentence."""

ALIKE = 0.6
"""Share of letters in common from which on two words are shown as one that was misspelt, letter by letter."""

FRAME = "white-space:pre-wrap;overflow-wrap:anywhere;line-height:2;font-size:1.05rem"
FOR = "font-weight:700;font-style:normal;text-decoration:underline solid 2px"
AGAINST = "font-weight:400;font-style:italic;text-decoration:underline dotted 3px"
GONE = "font-style:italic;text-decoration:line-through 2px"
NEW = "font-weight:700;text-decoration:underline solid 2px"
TINTS = {FOR: "217,95,2", AGAINST: "49,130,196", GONE: "49,130,196", NEW: "217,95,2"}
"""Colours of the marks; see-through, so that they fit light and dark pages."""

WORD = re.compile(r"\w+(?:['’]\w+)*|\s+|[^\w\s]")


class Change(NamedTuple):
    """What differs between two texts.

    Attributes:
        before, after: the texts as HTML, with what went and what came.
        words: how many words differ.
        pairs: words and what stands in their place, empty where a word was put in or left out.
    """

    before: str
    after: str
    words: int
    pairs: tuple[tuple[str, str], ...]


def is_codes(values: Any) -> bool:
    """Return whether stored values are texts as code points, (n, characters)."""
    return bool(np.ndim(values) == 2 and np.issubdtype(np.asarray(values).dtype, np.integer))


def text_of(codes: Any) -> str:
    """Return the text of code points, up to the first 0; what is no character becomes a replacement character."""
    points = [int(point) for point in np.ravel(codes)]
    points = points[: points.index(0)] if 0 in points else points
    return "".join(_character(point) for point in points)


def safe(text: Any) -> str:
    """Return a text from outside as HTML that shows exactly that text; line breaks stay."""
    lines = str(text).replace("\r\n", "\n").replace("\t", " ").split("\n")
    return html.escape("\n".join(printable(line) for line in lines), quote=True)


def framed(content: str) -> str:
    """Return HTML as a block that keeps spaces and wraps where it must."""
    return f'<div style="{FRAME}">{content}</div>'


def highlighted(text: str, spans: Array, values: Array) -> str:
    """Return a text as HTML with its features marked by what they are worth.

    Args:
        text: the text.
        spans: characters of each feature, (features, 2): start, and end behind it; 0, 0 for those without.
        values: what each is worth, (features,): above 0 speaks for the answer, below 0 against it.
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
    """Return names of features as HTML, marked by what they are worth; single characters stand without spaces."""
    shares = strengths(values)
    shown = [place for place in range(len(names)) if place < len(present) and present[place]]
    between = "" if all(len(names[place]) <= 1 for place in shown) else " "
    return framed(between.join(marked(names[place], shares[place], float(values[place])) for place in shown))


def marked(word: str, share: float, value: float) -> str:
    """Return a feature as HTML, marked by its share of the strongest, from -1 to 1; what hardly matters is plain."""
    if abs(share) < FAINTEST:
        return safe(word)
    shown = safe(word).replace("\n", "↵\n") if word.strip(" ") else VISIBLE[" "] * max(1, len(word))
    style, side = (FOR, "for") if share > 0 else (AGAINST, "against")
    return _mark(shown, style, 0.12 + 0.38 * abs(share), f"{value:+.3g}, speaks {side} the answer")


def strengths(values: Any) -> Array:
    """Return values as shares of the strongest, from -1 to 1; what is not finite is 0."""
    known = np.nan_to_num(np.asarray(values, dtype=float), nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(known / (np.abs(known).max(initial=0.0) or 1.0))


def strongest(names: Sequence[str], values: Any) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return the features that speak most for and most against an answer, with what they are worth."""
    shares, order = strengths(values), np.argsort(-np.nan_to_num(np.asarray(values, dtype=float)), kind="stable")
    ahead = [int(place) for place in order if shares[place] >= FAINTEST][:NAMED]
    behind = [int(place) for place in order[::-1] if shares[place] <= -FAINTEST][:NAMED]
    return tuple([(str(names[p])[:LONGEST], float(values[p])) for p in part] for part in (ahead, behind))  # type: ignore[return-value]


VISIBLE = {" ": "␣", "\n": "↵", "\t": "⇥"}
"""What stands for characters that cannot be seen."""


def legend() -> str:
    """Return the key of highlighted features as HTML."""
    examples = (
        (_mark("bold, underlined, orange", FOR, 0.5, "for"), "speaks for the answer"),
        (_mark("italic, dotted, blue", AGAINST, 0.5, "against"), "speaks against it"),
        ("plain", "hardly matters"),
    )
    said = "; ".join(f"{mark} {meaning}" for mark, meaning in examples)
    return framed(f"{said}. The stronger the colour, the more it matters; rest the pointer on a mark for its number.")


def changed(before: str, after: str) -> Change:
    """Return two texts with the words that differ marked, and in words that were replaced one by one their letters."""
    old, new = WORD.findall(before), WORD.findall(after)
    left, right = [""], [""]
    pairs: list[tuple[str, str]] = []
    for what, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if what == "equal":
            left.append(safe("".join(old[a:b])))
            right.append(safe("".join(new[c:d])))
            continue
        for gone, came in _side_by_side(old[a:b], new[c:d]):
            left.append(_differing(gone, came, GONE))
            right.append(_differing(came, gone, NEW))
            pairs += [(gone, came)] if (gone + came).strip() else []
    return Change(framed("".join(left)), framed("".join(right)), len(pairs), tuple(pairs))


def change_legend() -> str:
    """Return the key of changed texts as HTML."""
    gone, came = _mark("struck through", GONE, 0.35, "before"), _mark("bold, underlined", NEW, 0.35, "after")
    return framed(f"{gone} is what the attack took away; {came} is what it put there.")


def _side_by_side(old: list[str], new: list[str]) -> Iterator[tuple[str, str]]:
    """Yield the words of two runs in pairs; those of the longer one that are left stand alone."""
    for place in range(max(len(old), len(new))):
        yield (old[place] if place < len(old) else ""), (new[place] if place < len(new) else "")


def _differing(word: str, other: str, style: str) -> str:
    """Return a word as HTML, its letters that the other one has not in a stronger colour."""
    if not word:
        return ""
    title = f"instead of {other}" if style == NEW and other else f"became {other}" if other else "alone"
    pieces = []
    letters = difflib.SequenceMatcher(None, word, other, autojunk=False)
    if letters.ratio() < ALIKE:
        return _mark(safe(word), style, 0.4, title)
    for what, a, b, *_ in letters.get_opcodes():
        if a < b:
            pieces.append(_mark(safe(word[a:b]), style, 0.15 if what == "equal" else 0.5, title))
    return "".join(pieces)


def _mark(content: str, style: str, strength: float, title: str) -> str:
    tint = f"background-color:rgba({TINTS[style]},{strength:.2f});color:inherit;border-radius:3px"
    return f'<mark style="{style};{tint}" title="{safe(title)}">{content}</mark>'


def _character(point: int) -> str:
    good = 0 < point <= 0x10FFFF and not 0xD800 <= point <= 0xDFFF
    return chr(point) if good else "\N{REPLACEMENT CHARACTER}"
