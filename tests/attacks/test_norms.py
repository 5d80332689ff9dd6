"""Norms against brute force: projection is the nearest point, the steepest step the best one, and sizes are exact."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from suite.attacks import norms
from suite.errors import SpecError

NORMS = ("linf", "l2")
EPS = 0.7
SEEDS = range(50)


def inside(norm, count, dimensions, seed=0):
    """Return random points of the ball, on its surface and within it."""
    source = torch.Generator().manual_seed(seed)
    points = torch.rand(count, dimensions, generator=source, dtype=torch.float64) * 2 - 1
    if norm == "l2":
        points = points / points.norm(dim=1, keepdim=True) * torch.rand(count, 1, generator=source, dtype=torch.float64)
    return points * EPS


@pytest.mark.parametrize("norm", NORMS)
def test_no_random_point_of_the_ball_is_nearer_than_the_projection(norm):
    for seed in range(20):
        delta = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        nearest = (norms.project(delta, norm, EPS) - delta).norm()
        others = (inside(norm, 5000, 3, seed) - delta).norm(dim=1)
        assert others.min() >= nearest - 1e-12


def test_projection_onto_the_l2_ball_equals_a_numerical_minimum():
    source = np.random.default_rng(0)
    for _ in range(10):
        delta = source.normal(size=4)
        limit = {"type": "ineq", "fun": lambda x: EPS**2 - x @ x}
        found = minimize(
            lambda x, delta=delta: ((x - delta) ** 2).sum(), np.zeros(4), constraints=limit, options={"ftol": 1e-14}
        )
        projected = norms.project(torch.from_numpy(delta)[None], "l2", EPS)[0].numpy()
        assert projected == pytest.approx(found.x, abs=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_projection_changes_nothing_inside_and_nothing_twice(norm):
    points = inside(norm, 200, 12).view(200, 3, 2, 2) * 0.999
    assert torch.equal(norms.project(points, norm, EPS), points)
    once = norms.project(points * 5, norm, EPS)
    assert torch.allclose(norms.project(once, norm, EPS), once, atol=1e-15)
    assert norms.project(points, norm, 0.0).abs().max() == 0


@pytest.mark.parametrize("norm", NORMS)
def test_no_random_step_raises_a_linear_function_more_than_the_steepest(norm):
    for seed in range(20):
        gradient = torch.randn(1, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        best = EPS * (norms.steepest(gradient, norm) * gradient).sum()
        assert (inside(norm, 5000, 3, seed) @ gradient[0]).max() <= best + 1e-12
        expected = EPS * (gradient.abs().sum() if norm == "linf" else gradient.norm())
        assert best == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30], ids=str)
def test_a_step_has_length_one_however_small_or_large_the_gradient(norm, scale):
    gradient = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * scale
    assert norms.size(norms.steepest(gradient, norm), norm) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("norm", NORMS)
def test_a_zero_gradient_gives_no_step(norm):
    assert norms.steepest(torch.zeros(2, 1, 3, 3), norm).abs().max() == 0


@pytest.mark.parametrize("norm", NORMS)
def test_starts_lie_inside_the_ball_and_fill_it(norm):
    starts = norms.start(torch.zeros(len(SEEDS), 1, 6, 6), norm, EPS, SEEDS)
    sizes = norms.size(starts, norm)
    assert sizes.max() <= EPS * (1 + 1e-6)
    assert sizes.unique().numel() == len(SEEDS)
    assert starts.mean().abs() < 0.05
    if norm == "l2":
        assert sizes.mean() == pytest.approx(EPS / 2, abs=0.1)  # uniform radius; its standard error is 0.03


@pytest.mark.parametrize("norm", NORMS)
def test_the_random_control_has_exactly_the_size_before_clipping(norm):
    grey = torch.full((len(SEEDS), 3, 5, 5), 0.5)
    moved = norms.random_perturbation(grey, norm, 0.25, SEEDS)
    assert norms.size(moved.double() - grey.double(), norm) == pytest.approx(0.25, rel=1e-6)
    if norm == "linf":
        assert ((moved - grey).abs() - 0.25).abs().max() < 1e-7  # every pixel moves by the whole size


@pytest.mark.parametrize("norm", NORMS)
def test_the_random_control_of_a_sample_depends_on_its_seed_alone(norm):
    pixels = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    together = norms.random_perturbation(pixels, norm, 0.1, range(6))
    alone = [norms.random_perturbation(pixels[i : i + 1], norm, 0.1, [i]) for i in range(6)]
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together, norms.random_perturbation(pixels, norm, 0.1, range(6, 12)))


def test_clipping_keeps_the_control_within_the_bounds():
    moved = norms.random_perturbation(torch.zeros(4, 1, 3, 3), "linf", 0.5, range(4))
    assert moved.min() == 0
    assert moved.max() == 0.5


def test_sizes_are_measured_in_double_precision():
    delta = torch.full((1, 1, 1000, 1000), 1e-4)
    delta[0, 0, 0, 0] = 100.0
    assert norms.size(delta, "l2").dtype == torch.float64
    exact = np.sqrt(delta.double().pow(2).sum().item())
    assert norms.size(delta, "l2").item() == pytest.approx(exact, rel=1e-10)  # float32 would be off by 1e-7
    assert norms.size(delta, "linf").tolist() == [100.0]


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("side", [8, 224])
def test_rounding_of_honest_perturbations_is_no_excess(norm, side):
    source = torch.Generator().manual_seed(0)
    clean = torch.rand(3, 3, side, side, generator=source)
    direction = torch.randn(clean.shape, generator=source)
    for eps in (1e-3, 1 / 255, 0.5):
        moved = clean + norms.project(direction * 10, norm, eps)
        assert norms.excess(clean, moved, norm, eps).max() <= 0
        over = clean.double() + norms.project(direction.double() * 10, norm, eps * 1.0001 + 2e-6)
        assert norms.excess(clean, over, norm, eps).min() > 0


def test_an_unknown_norm_is_refused():
    with pytest.raises(SpecError, match="expected one of linf, l2"):
        norms.known("l1")
