"""The model `vader_rules`: what the suite adds to the scores of vaderSentiment."""

import importlib
from collections.abc import Iterator

import pytest
import torch

from suite.data.text import packed
from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.text import Token
from suite.models.libraries.vader import SCALE, RuleText, WhitespaceTokenizer, load_library

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
"""Texts and their compound scores by vaderSentiment 3.3.2."""


def model(classes: tuple[str, ...] = ("negative", "positive")) -> RuleText:
    return RuleText(classes, length=6)


@pytest.fixture
def fresh_library() -> Iterator[None]:
    """Forget the loaded library before and after a test."""
    load_library.cache_clear()
    yield
    load_library.cache_clear()


def test_logits_are_the_scaled_compound_scores() -> None:
    texts, scores = zip(*GOLDEN, strict=True)
    compound = torch.tensor(scores)
    torch.testing.assert_close(
        model()(torch.from_numpy(packed(list(texts), 80))), SCALE * torch.stack([-compound, compound], dim=1)
    )


def test_logits_follow_the_names_of_the_classes() -> None:
    rows = torch.from_numpy(packed(["very good", "bad!", "a table"], 12))
    assert torch.equal(model(("POS", "Neg"))(rows), model()(rows).flip(1))


@pytest.mark.parametrize("classes", [("negative", "neutral", "positive"), ("spam", "ham"), ("neg", "negative")])
def test_other_classes_are_an_error(classes: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="begin with neg and pos"):
        model(classes)


def test_missing_package_is_a_clear_error(fresh_library: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", fail)
    with pytest.raises(ModelError, match=r"vaderSentiment is missing .* pip install 'vaderSentiment>=3.3.2'"):
        model()


def test_embeddings_and_gradients_are_not_applicable() -> None:
    rules = model()
    reading = rules.read(torch.from_numpy(packed(["good"], 4)))
    for use in (
        lambda: rules.table,
        lambda: rules.embed(reading.ids),
        lambda: rules.forward_embedded(torch.zeros(1, 6, 2), reading.mask),
        lambda: rules.in_space("embedding"),
    ):
        with pytest.raises(NotApplicableError, match="no word embedding"):
            use()


def test_lexicon_is_part_of_the_digest(fresh_library: None) -> None:
    probe = torch.from_numpy(packed(["a table"], 7))
    before = model().digest(probe)
    assert model().digest(probe) == before
    load_library()[1].lexicon["good"] = 1.8
    assert model().digest(probe) != before


def test_library_version_is_part_of_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    probe = torch.from_numpy(packed(["a table"], 7))
    before = model().digest(probe)
    monkeypatch.setattr("suite.models.libraries.vader.version", lambda name: "4.0.0")
    assert model().digest(probe) != before


def test_tokens_are_split_at_white_space() -> None:
    spaced = WhitespaceTokenizer()
    good, smile = spaced.vocabulary.index("good"), spaced.vocabulary.index(":)")
    text = " a (Good)\n :) a"
    assert spaced.tokens(text) == [Token(1, 1, 2), Token(good, 3, 9), Token(smile, 11, 13), Token(1, 14, 15)]
    assert spaced.tokens(" ") == [Token(1, 0, 0)]
