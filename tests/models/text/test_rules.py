"""The rules of VADER: solved by hand on a small lexicon, and against the authors' own program."""

from __future__ import annotations

import math

import pytest
import torch

from suite.data.text import packed
from suite.errors import DataError, ModelError, NotApplicableError
from suite.models.adapters.text import Token
from suite.models.rules.vader import SCALE, RuleText, Spaced, compound, emphasis
from suite.models.rules.valences import Valences, constants, read_valences

SMALL = Valences(
    words={"good": 2.0, "bad": -2.0, "fine": 1.0, "no": -1.2, ":)": 2.0},
    emojis={"☀": "good sun"},
    degrees={"very": 0.3, "hardly": -0.3, "sort of": -0.3},
    negations=frozenset({"not", "never", "without"}),
    idioms={"bad ass": 1.5, "not good news": -3.0},
)


def total(text: str) -> float:
    """Return the sum of valences that a compound score was made of."""
    score = compound(text, SMALL)
    return score * math.sqrt(15 / (1 - score * score))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("good", 2.0),
        ("a table", 0.0),
        ("", 0.0),
        ("good bad fine", 1.0),
        ("(Good), 'fine'.", 3.0),
        (":) x", 2.0),
        ("very good", 2.3),
        ("very bad", -2.3),
        ("hardly good", 1.7),
        ("very old good", 2.0 + 0.3 * 0.95),
        ("very old red good", 2.0 + 0.3 * 0.9),
        ("very old red big good", 2.0),
        ("sort of a good", 2.0 - 0.3),
        ("a GOOD car", 2.733),
        ("a BAD car", -2.733),
        ("A GOOD CAR", 2.0),
        ("a VERY good car", 2.0 + 0.3 + 0.733),
        ("not good", -1.48),
        ("isn't good", -1.48),
        ("not a good", -1.48),
        ("not a red good", -1.48),
        ("not a big red good", 2.0),
        ("not very good", -0.74 * 2.3),
        ("never so good", 2.5),
        ("without doubt good", 2.0),
        ("without a good", -1.48),
        ("no good", -1.48),
        ("no old good", -1.2 - 1.48),
        ("no table", -1.2),
        ("least good", -1.48),
        ("the least good", -1.48),
        ("at least good", 2.0),
        ("good but bad", 0.5 * 2.0 + 1.5 * -2.0),
        ("bad but good but good", 0.5 * -2.0 + 1.5 * 4.0),
        ("he had a bad ass", 1.5),
        ("good!", 2.292),
        ("bad!!!!!!", -2.0 - 4 * 0.292),
        ("good?", 2.0),
        ("good ??", 2.36),
        ("good ????", 2.96),
        ("table!!!", 0.0),
        ("☀ day", 2.0),
        ("big☀", 2.0),
    ],
)
def test_a_sum_of_valences_solved_by_hand(text: str, expected: float) -> None:
    assert total(text) == pytest.approx(expected, abs=1e-12)


def test_what_but_weighs_depends_on_the_place_alone() -> None:
    """The authors' program looks a word up by its valence, and weighs the first of two equal ones twice."""
    assert total("good but good") == pytest.approx(0.5 * 2.0 + 1.5 * 2.0)


@pytest.mark.parametrize(("text", "expected"), [("", 0.0), ("!", 0.292), ("?", 0.0), ("??!", 0.652), ("?" * 9, 0.96)])
def test_emphasis(text: str, expected: float) -> None:
    assert emphasis(text) == pytest.approx(expected)


def test_constants_are_read_and_nothing_is_run() -> None:
    source = "UP = 0.5\nWORDS = {'very': UP, 'less': -1}\nLIST = ['a']\nimport os\nBAD = os.getcwd()\nX = print('ran')"
    assert constants(source) == {"UP": 0.5, "WORDS": {"very": 0.5, "less": -1}, "LIST": ["a"]}


def model(classes: tuple[str, ...] = ("negative", "positive")) -> RuleText:
    return RuleText(classes, length=6, known=SMALL)


def test_logits_follow_the_compound_score_and_the_names_of_the_classes() -> None:
    rows = torch.from_numpy(packed(["very good", "bad!", "a table"], 12))
    scores = torch.tensor([compound(text, SMALL) for text in ("very good", "bad!", "a table")])
    torch.testing.assert_close(model()(rows), SCALE * torch.stack([-scores, scores], dim=1))
    torch.testing.assert_close(model(("POS", "Neg"))(rows), SCALE * torch.stack([scores, -scores], dim=1))


@pytest.mark.parametrize("classes", [("negative", "neutral", "positive"), ("spam", "ham"), ("neg", "negative")])
def test_other_classes_are_an_error(classes: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="begin with neg and pos"):
        model(classes)


def test_questions_of_gradients_are_not_applicable() -> None:
    rules = model()
    reading = rules.read(torch.from_numpy(packed(["good"], 4)))
    for ask in (
        lambda: rules.table,
        lambda: rules.embed(reading.ids),
        lambda: rules.answer(torch.zeros(1, 6, 2), reading.mask),
        lambda: rules.in_space("embedding"),
    ):
        with pytest.raises(NotApplicableError, match="embeds nothing"):
            ask()


def test_the_valences_are_part_of_what_identifies_the_model() -> None:
    probe = torch.from_numpy(packed(["a table"], 7))
    other = Valences({**SMALL.words, "good": 1.9}, SMALL.emojis, SMALL.degrees, SMALL.negations, SMALL.idioms)
    assert model().digest(probe) == model().digest(probe)
    assert model().digest(probe) != RuleText(("neg", "pos"), known=other).digest(probe)


def test_words_are_cut_at_spaces() -> None:
    spaced = Spaced(SMALL)
    good, smile = spaced.vocabulary.index("good"), spaced.vocabulary.index(":)")
    text = " a (Good)\n :) a"
    assert spaced.tokens(text) == [Token(1, 1, 2), Token(good, 3, 9), Token(smile, 11, 13), Token(1, 14, 15)]
    assert spaced.tokens(" ") == [Token(1, 0, 0)]


@pytest.fixture(scope="module")
def known() -> Valences:
    try:
        return read_valences()
    except DataError as error:
        pytest.skip(f"the archive of VADER is not there: {error}")


GOLDEN = [
    ("The plot was good.", 0.4404),
    ("The plot was very good.", 0.4927),
    ("The plot was REALLY GOOD!!!", 0.7604),
    ("Good, but far too long and terribly boring.", -0.7845),
    ("Not a good film, and never an honest one.", -0.6259),
    ("It is not bad at all.", 0.431),
    ("I have never been so happy about a ticket.", 0.6948),
    ("The least interesting of the three.", -0.3089),
    ("At least it was funny.", 0.4404),
    ("It was hardly worth the money.", 0.1548),
    ("Kind of sweet, somewhat sad.", 0.0498),
    ("The kind of great we hope for.", 0.7722),
    ("no good reason to go", -0.3412),
    ("There is no love or joy here.", -0.7536),
    ("No.", 0.0),
    ("No laughs, no pain.", 0.2411),
    ("The acting is the bomb", 0.6124),
    ("That villain is bad ass and cool", -0.5106),
    ("yeah right, a masterpiece", 0.743),
    ("It is to die for :)", 0.0258),
    ("A sad day :(", -0.7184),
    ("LOL that was AWFUL", -0.0516),
    ("WE LOVE THIS FILM", 0.6369),
    ("We LOVE this film", 0.7125),
    ("we love this film", 0.6369),
    ("Why? Why would anyone enjoy this???", 0.6322),
    ("Really?? Bad????", -0.6959),
    ("A table, a chair and a door.", 0.0),
    ("", 0.0),
    ("   ", 0.0),
    ("Without doubt a brilliant cast.", 0.7105),
    ("They left without hope.", -0.3412),
    ("It won't disappoint you", 0.3089),
    ("It isnt the worst one I have seen, although it is ugly", -0.0015),
    ("I love you 😀", 0.7717),
    ("😀😀 great", 0.8442),
    ("hate❤love", -0.5719),
    ("The BUT in capitals was fun BUT the end was dreadful", 0.1531),
    ("Extremely extremely extremely clever", 0.5907),
    ("She rarely smiles, yet the joy is contagious.", -0.0397),
    ("This is a truly (wonderful) mess.", 0.6249),
    ("Fun!!!!!!!! Fun?", 0.8302),
    ("VERY bad, VERY GOOD", 0.2631),
    ("They were so kind to me", 0.656),
    ("It was so this and so lovely", 0.7065),
    ("A kiss of death for the series", 0.0772),
    ("ok :D ;-) xD", 0.9008),
    ("A good film; a GREAT evening, and I'd go again :-)", 0.876),
    ("most disgusting, sort of cute", -0.1761),
]
"""Texts and what version 3.3.2 of the authors' program scores them, rounded to four digits."""


@pytest.mark.parametrize(("text", "expected"), GOLDEN)
def test_scores_are_those_of_the_authors_program(text: str, expected: float, known: Valences) -> None:
    assert compound(text, known) == pytest.approx(expected, abs=5.1e-5)


def test_the_whole_lexicon_is_read(known: Valences) -> None:
    assert (len(known.words), len(known.emojis)) == (7506, 3570)
    assert known.words["good"] == 1.9
    assert known.degrees["very"] == 0.293 == -known.degrees["hardly"]
    assert {"not", "without"} < known.negations
    assert known.idioms["kiss of death"] == -1.5
