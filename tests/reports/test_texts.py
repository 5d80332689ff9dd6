"""Texts as HTML: marks, legends without color, and untrusted texts that stay text."""

from __future__ import annotations

import html
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

pytest.importorskip("plotly", reason="the report needs the extra `report`")
from suite.data.text import packed
from suite.reports import images, samples_gallery, text_gallery, texts
from suite.types import DisplayType
from tests.reports import synthetic as s
from tests.reports import synthetic_texts as t

HOSTILE_TEXTS = [
    t.HOSTILE,
    '"><script>hack()</script>',
    "' onmouseover='hack()",
    "</mark></div><b>x</b>",
    "&lt;script&gt;",
    "\u202eevil\x1b[31m",
    "line\nbreak\ttab",
    "",
    "   ",
]


class Tags(HTMLParser):
    """The tags and attributes of HTML, and the text that a reader sees."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(content)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def harmless(content: str) -> str:
    """Return the text of HTML that holds nothing but blocks and marks."""
    tags = Tags(content)
    assert tags.tags <= {"div", "mark"}
    assert tags.attributes <= {"style", "title"}
    return tags.text


def words_of(text: str) -> np.ndarray:
    return np.array([(m.start(), m.end()) for m in re.finditer(r"\S+", text)] or np.zeros((1, 2), int))


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
def test_untrusted_texts_stay_text(text: str) -> None:
    spans = words_of(text)
    shown = harmless(texts.highlighted(text, spans, np.linspace(-1, 1, len(spans))))
    expected = html.unescape(texts.safe(text))
    assert shown.replace("↵", "") == expected
    assert "\u202e" not in shown and "\x1b" not in shown
    harmless(texts.listed([text, "b"], np.array([1.0, -1.0]), np.array([True, True])))
    for other in ("plain words", text[::-1]):
        change = texts.changed(text, other)
        assert harmless(change.before) == expected
        assert harmless(change.after) == html.unescape(texts.safe(other))


def test_a_mark_differs_in_style_and_shows_its_value() -> None:
    shown = texts.highlighted("good and bad", np.array([[0, 4], [5, 8], [9, 12]]), np.array([0.5, 0.01, -0.25]))
    good, bad = re.findall(r"<mark.*?</mark>", shown)
    assert "font-weight:700" in good and "underline solid" in good and "+0.5, supports" in good and ">good<" in good
    assert "font-style:italic" in bad and "underline dotted" in bad and "-0.25, opposes" in bad
    assert ">and<" not in shown and " and " in Tags(shown).text
    strength = [float(re.search(r"rgba\([\d,]+,([\d.]+)\)", mark).group(1)) for mark in (good, bad)]
    assert strength[0] > strength[1]


def test_invalid_values_and_spans_are_not_marked() -> None:
    spans = np.array([[0, 3], [2, 5], [4, 99], [-1, 2], [5, 5]])
    shown = texts.highlighted("abcdef", spans, np.array([1.0, 1.0, 1.0, 1.0, 1.0]))
    assert harmless(shown) == "abcdef" and shown.count("<mark") == 1
    assert "<mark" not in texts.highlighted("ab", np.array([[0, 2]]), np.array([np.nan]))
    assert "<mark" not in texts.highlighted("ab", np.array([[0, 2]]), np.zeros(1))


def test_only_words_are_separated_by_spaces() -> None:
    there = np.array([True, True, True, False])
    assert harmless(texts.listed(["a", " ", "\n", "z"], np.array([1.0, 1.0, 1.0, 1.0]), there)) == "a␣↵\n"
    assert harmless(texts.listed(["z0", "z1", "z2", "z3"], np.zeros(4), there)) == "z0 z1 z2"


def test_the_strongest_features_of_both_signs_are_named() -> None:
    ahead, behind = texts.strongest(["a", "b", "c", "d", "e"], [0.4, -0.2, 0.5, 0.01, np.nan])
    assert ahead == [("c", 0.5), ("a", 0.4)]
    assert behind == [("b", -0.2)]
    assert texts.strongest(["a"], [0.0]) == ([], [])


@pytest.mark.parametrize(
    ("before", "after", "pairs"),
    [
        ("a good film", "a godo film", [("good", "godo")]),
        ("a good film", "a good film", []),
        ("a good film", "the the a good film", [("the", ""), ("the", "")]),
        ("not bad at all", "bad all", [("not", ""), ("at", "")]),
        ("it's fine, really", "it's nice, really", [("fine", "nice")]),
    ],
)
def test_changes_are_counted_by_word(before: str, after: str, pairs: list[tuple[str, str]]) -> None:
    change = texts.changed(before, after)
    assert change.words == len(pairs)
    if before.startswith("a good") and after.startswith("the"):
        pairs = [(came, gone) for gone, came in pairs]
    assert [tuple(pair) for pair in change.pairs] == pairs
    assert harmless(change.before) == before and harmless(change.after) == after


def test_a_misspelled_word_shows_its_letters_and_a_different_word_is_marked_as_a_whole() -> None:
    near = texts.changed("surprisingly", "surprizingly")
    assert re.findall(r"0\.50\);[^>]*>([^<]*)<", near.after) == ["z"]
    assert "instead of surprisingly" in near.after and "became surprizingly" in near.before
    assert texts.changed("good", "awful").after.count("<mark") == 1


def test_the_summary_of_a_change_is_in_words() -> None:
    change = texts.changed("a good film", "a godo film dull")
    assert text_gallery.summary(change, 2.0) == "2 words changed: `good` → `godo`, `dull` inserted; size 2."
    assert text_gallery.summary(texts.changed("a", "a"), 2.0).startswith("Unchanged")
    many = texts.changed("a b c d e f g h", "1 2 3 4 5 6 7 8")
    assert text_gallery.summary(many, None).endswith("and 2 more.")
    assert "`x` → `<`, `script` inserted" in text_gallery.summary(texts.changed("x", "<script>"), 1.0)


def test_invalid_code_points_are_replaced() -> None:
    assert texts.text_of(packed(["hé🎬"], 8)[0]) == "hé🎬"
    assert texts.text_of(np.array([65, -3, 0x110000, 0xD800, 0, 66])) == "A\ufffd\ufffd\ufffd"


def test_gallery_sections_follow_from_the_roles() -> None:
    made = s.digit_like(4)

    def kinds(what: DisplayType = "image", **arrays: Any) -> list[str]:
        return samples_gallery.kinds(s.typed(arrays, what))

    assert kinds("text", generated=packed(["a"], 3)) == ["generated"]
    assert kinds(reconstructed=made) == []
    assert kinds(images=made, reconstructed=made) == ["reconstructed"]
    assert kinds(generated=made, nearest=np.stack([made, made], 1)) == ["generated", "nearest"]
    assert kinds(interpolated=made[None]) == ["interpolated"]
    assert kinds(ids=np.array(["a"]), generated=np.zeros((0, 3), int)) == []


def test_grids_and_strips_contain_every_image() -> None:
    made = np.stack([np.full((1, 2, 2), shade) for shade in (0, 100, 200, 255, 50)]).astype(np.uint8)
    sheet = np.asarray(images.grid(made, 3, 2))
    assert sheet.shape == (2 + images.GAP + 2, 3 * 2 + 2 * images.GAP, 3)
    assert [sheet[0, at, 0] for at in (0, 4, 8)] == [0, 100, 200]
    assert [sheet[4, at, 0] for at in (0, 4, 8)] == [255, 50, 128]
    assert np.array_equal(np.asarray(images.grid(made / 255, 3, 2)), sheet)
    assert images.strips(made[None], 4).size == (5 * 4 + 4 * images.GAP, 4)
