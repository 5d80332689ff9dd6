"""Small versions of the simulations of ties and of `beats_random`; the scripts print the large ones."""

import pytest

from suite.metrics.stats import minimum_detectable_effect
from tests.benchmarks import beats, ties


@pytest.mark.parametrize(("setting", "boards"), [("accuracy in groups", 150), ("mIoU", 100), ("mAP", 20)])
def test_boards_of_equal_models_rarely_show_a_difference(setting: str, boards: int) -> None:
    assert ties.false_boards(setting, boards) <= ties.acceptable(boards)


@pytest.mark.parametrize("pairs", [1, 10])
def test_the_gap_that_a_board_states_is_found_four_times_in_five(pairs: int) -> None:
    gap = minimum_detectable_effect(360, 0.07, level=1 - ties.ALPHA / pairs)
    assert gap is not None
    single, adjusted = ties.found(gap, 0.07, 360, 300)
    assert (single if pairs == 1 else adjusted) >= 0.76
    assert pairs == 10 or adjusted < 0.65, "on the board of five the gap of a single comparison is found less often"


@pytest.mark.parametrize("shape", beats.SHAPES)
def test_beats_random_rarely_passes_by_chance(shape: str) -> None:
    for n in (6, 16, 50):
        assert beats.passes(shape, n, 400) <= beats.acceptable(400)


def test_beats_random_finds_clear_gains() -> None:
    assert beats.passes("normal", 32, 50, metric=beats.INSERTION, gain=0.3, scale=0.15) == 50
