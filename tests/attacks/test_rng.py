"""Counter-based random numbers: their distributions, and their dependence on seed and stream only."""

import math

import pytest
import torch
from scipy import stats

from suite.attacks.rng import as_seeds, gaussian, integers, uniform

MASK = 2**64 - 1


def splitmix(state):
    """Return the mixing function of SplitMix64 in plain integers (Steele, Lea and Flood 2014)."""
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def reference(seed, stream, count):
    golden = 0x9E3779B97F4A7C15
    state = splitmix((splitmix(seed & MASK) + stream * golden) & MASK)
    return [splitmix((state + place * golden) & MASK) for place in range(1, count + 1)]


@pytest.mark.parametrize("stream", [0, 1, 7919, 2**40])
def test_integers_equal_those_computed_with_python_integers(stream):
    seeds = [0, 1, -1, 12345, 2**62 + 3, -(2**63), 2**63 - 1]
    drawn = integers(as_seeds(seeds), stream, 5)
    assert [[value & MASK for value in row] for row in drawn.tolist()] == [reference(s, stream, 5) for s in seeds]


def test_splitmix_gives_the_published_numbers():
    """The first outputs of the authors' implementation from the state 1234567."""
    golden, state, drawn = 0x9E3779B97F4A7C15, 1234567, []
    for _ in range(3):
        state = (state + golden) & MASK
        drawn.append(splitmix(state))
    assert drawn == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_uniform_numbers_are_uniform():
    drawn = uniform(as_seeds(range(500)), 3, (20, 20)).double()
    assert drawn.dtype == torch.float64 and drawn.shape == (500, 20, 20)
    assert 0 <= drawn.min() and drawn.max() < 1
    assert torch.equal(drawn * 2**24, (drawn * 2**24).round())
    error = 1 / math.sqrt(12 * drawn.numel())
    assert float(drawn.mean()) == pytest.approx(0.5, abs=4 * error)
    assert float(drawn.var()) == pytest.approx(1 / 12, rel=0.01)
    assert stats.kstest(drawn.flatten()[:50_000].numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(drawn[:, 0, 0].numpy(), "uniform").pvalue > 1e-3  # also across samples


def test_gaussian_numbers_have_a_normal_distribution():
    drawn = gaussian(as_seeds(range(500)), 3, (20, 20)).double()
    count = drawn.numel()
    assert torch.isfinite(drawn).all()
    assert float(drawn.mean()) == pytest.approx(0, abs=4 / math.sqrt(count))
    assert float(drawn.var()) == pytest.approx(1, abs=4 * math.sqrt(2 / count))
    assert float(drawn.pow(3).mean()) == pytest.approx(0, abs=4 * math.sqrt(15 / count))
    assert float(drawn.pow(4).mean()) == pytest.approx(3, abs=4 * math.sqrt(96 / count))
    assert 4 < drawn.abs().max() < 6
    assert stats.kstest(drawn.flatten()[:50_000].numpy(), "norm").pvalue > 1e-3
    assert stats.kstest(drawn[:, 0, 0].numpy(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("draw", [uniform, gaussian], ids=["uniform", "gaussian"])
def test_numbers_of_a_sample_do_not_depend_on_the_batch(draw):
    seeds = as_seeds(range(100, 164))
    whole = draw(seeds, 5, (3, 4))
    assert torch.equal(torch.cat([draw(seed[None], 5, (3, 4)) for seed in seeds]), whole)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(draw(seeds[order], 5, (3, 4)), whole[order])
    assert torch.equal(draw(seeds, 5, (3, 4)), whole)
    assert torch.equal(draw(seeds, 5, (12,)), whole.flatten(1))  # the shape does not change the numbers
    assert torch.equal(draw(seeds, 5, (20,))[:, :12], whole.flatten(1))  # and drawing more does not change the first
    streams = torch.full((64,), 5)
    assert torch.equal(draw(seeds, streams, (3, 4)), whole)


def correlation(one, other):
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]).double())[0, 1])


@pytest.mark.parametrize("draw", [uniform, gaussian], ids=["uniform", "gaussian"])
def test_streams_seeds_and_counters_are_uncorrelated(draw):
    seeds = as_seeds(range(200))
    limit = 4.5 / math.sqrt(200 * 100)
    for stream in (1, 2, 1000, -1):
        assert abs(correlation(draw(seeds, 0, (100,)), draw(seeds, stream, (100,)))) < limit
    for shift in (1, 2**32, -200):
        assert abs(correlation(draw(seeds, 0, (100,)), draw(seeds + shift, 1, (100,)))) < limit
        assert (
            abs(correlation(draw(seeds[:100], 0, (100,)), draw(seeds[:100] + abs(shift) + 100, 0, (100,)))) < 2 * limit
        )
    drawn = draw(seeds, 0, (101,))
    assert abs(correlation(drawn[:, 1:], drawn[:, :-1])) < limit
    # Seeds and streams with the same sum give different numbers.
    assert not torch.equal(draw(as_seeds([5]), 6, (8,)), draw(as_seeds([6]), 5, (8,)))


def test_many_streams_share_no_number():
    drawn = torch.cat([integers(as_seeds(range(50)), stream, 20).flatten() for stream in range(-10, 40)])
    assert len(drawn.unique()) == len(drawn) == 50 * 50 * 20


def test_large_seeds_wrap_around_and_negative_seeds_are_valid():
    seeds = as_seeds([-1, 2**64 - 1, 2**63, -(2**63), 2**70 + 9, 9])
    assert seeds.tolist() == [-1, -1, -(2**63), -(2**63), 9, 9]
    drawn = uniform(as_seeds([-1, -2, -(2**63), 2**63 - 1, 0, 1]), 0, (1000,))
    assert ((drawn >= 0) & (drawn < 1)).all()
    assert (drawn.mean(dim=1) - 0.5).abs().max() < 4.5 / math.sqrt(12 * 1000)
    assert len(drawn[:, :4].unique(dim=0)) == 6


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
def test_seeds_are_int64_and_numbers_are_on_their_device(device):
    seeds = as_seeds(torch.tensor([1, 2], dtype=torch.int32), device)
    assert seeds.dtype == torch.int64 and seeds.tolist() == [1, 2] and seeds.device.type == device
    assert as_seeds([], device).shape == (0,) and as_seeds([], device).dtype == torch.int64
    for draw in (uniform, gaussian):
        drawn = draw(as_seeds(range(3), device), 0, (2,))
        assert drawn.device.type == device and drawn.dtype == torch.float32 and drawn.shape == (3, 2)
        assert torch.allclose(drawn.cpu(), draw(as_seeds(range(3)), 0, (2,)), rtol=1e-6, atol=1e-7)
        assert draw(as_seeds([], device), 0, (2, 5)).shape == (0, 2, 5)
        assert draw(as_seeds([4], device), 0).shape == (1,)
    assert torch.equal(integers(seeds, 3, 4).cpu(), integers(seeds.cpu(), 3, 4))
    assert torch.equal(uniform(seeds, 3, (4,)).cpu(), uniform(seeds.cpu(), 3, (4,)))


def test_the_global_generator_is_neither_used_nor_changed():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = gaussian(as_seeds([3]), 1, (4,))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(gaussian(as_seeds([3]), 1, (4,)), once)
