"""Sampling of texts: distribution, seeds, and independence of the batch."""

import math

import numpy as np
import pytest
import torch

from suite.errors import ModelError
from suite.models.adapters.sampling import continue_texts

CHANCES = torch.tensor([0.25, 0.5, 0.125, 0.125], dtype=torch.float64)


def fixed(ids, state):
    return CHANCES.log().expand(len(ids), -1), None


def prompts(count):
    return torch.ones((count, 1), dtype=torch.int64)


def test_sampled_frequencies_match_probabilities_without_unknown():
    drawn = continue_texts(fixed, prompts(40), 250, seeds=range(40))
    shares = np.bincount(drawn.ids.flatten().numpy(), minlength=4) / drawn.ids.numel()
    assert shares[0] == 0
    np.testing.assert_allclose(shares[1:], [2 / 3, 1 / 6, 1 / 6], atol=0.02)  # 4 standard errors
    expected = -torch.log2(CHANCES)[drawn.ids]
    assert torch.allclose(drawn.bits, expected)


def test_temperature_interpolates_between_greedy_and_uniform():
    cold = continue_texts(fixed, prompts(4), 50, seeds=range(4), temperature=0.05)
    assert (cold.ids == 1).all()
    hot = continue_texts(fixed, prompts(40), 250, seeds=range(40), temperature=1e6)
    np.testing.assert_allclose(np.bincount(hot.ids.flatten().numpy())[1:] / 10_000, 1 / 3, atol=0.02)


def test_text_depends_on_its_own_seed_only():
    whole = continue_texts(fixed, prompts(70), 20, seeds=range(70))
    for row in (0, 31, 32, 69):
        alone = continue_texts(fixed, prompts(1), 20, seeds=[row])
        assert torch.equal(alone.ids[0], whole.ids[row])
    assert len({tuple(row.tolist()) for row in whole.ids}) == 70
    longer = continue_texts(fixed, prompts(1), 30, seeds=[3])
    assert torch.equal(longer.ids[0, :20], whole.ids[3])


def test_largest_uniform_number_stays_in_the_alphabet():
    def certain(ids, state):
        return torch.tensor([[0.0, -math.inf, 0.0]]).expand(len(ids), -1).clamp_min(-1e4), None

    assert (continue_texts(certain, prompts(2), 100, seeds=[0, 1]).ids == 2).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": math.inf}, "temperature"),
        ({"seeds": [1]}, "one seed per prompt"),
        ({"prompts": torch.ones((2, 0), dtype=torch.int64)}, "at least one character"),
    ],
)
def test_invalid_arguments_are_refused(given, message):
    queries = {"prompts": prompts(2), "seeds": [0, 1], "temperature": 1.0} | given
    starts = queries.pop("prompts")
    with pytest.raises(ModelError, match=message):
        continue_texts(fixed, starts, 5, **queries)
