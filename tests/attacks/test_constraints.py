"""Constraints against brute force: clipping gives allowed points, directions are the best steps."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from suite.attacks.constraints import ball_norms, constraint
from suite.attacks.constraints.l1 import L1
from suite.errors import SpecError

NORMS = ball_norms()

CONVEX = ("linf", "l2", "l1")
PROJECTIONS = ("linf", "l1")
"""The convex constraints whose clip is the nearest allowed point; that of L2 is cheaper."""
SCALES = {"linf": 0.6, "l2": 1.2, "l1": 2.0, "l0": 6.0}


def source(seed):
    return torch.Generator().manual_seed(seed)


def cases(norm, count, shape, seed, *, bounds=(0.0, 1.0), dtype=torch.float64):
    """Return clean samples, points and eps, with pixels at the bounds, moves from tiny to huge, and eps 0 for some."""
    draw = lambda *size: torch.rand(*size, generator=source(seed + sum(size)), dtype=torch.float64)  # noqa: E731  # four short draws are easier to read this way
    low, high = bounds
    clean = ((draw(count, *shape) * 1.6 - 0.3).clamp(0, 1) * (high - low) + low).to(dtype).clamp(low, high)
    strength = torch.tensor([1e-3, 0.3, 1.0, 3.0, 1e4])[torch.arange(count) % 5].view(-1, *(1,) * len(shape)).double()
    direction = torch.randn(count, *shape, generator=source(seed), dtype=torch.float64)
    point = (clean.double() + direction * strength * (high - low)).to(dtype)
    eps = SCALES[norm] * (high - low if norm != "l0" else 1) * draw(count)
    eps[::7] = 0
    return clean, point, eps


def bisected(moves, room, eps):
    """Return the L1 projection of moves within their room, by 150 bisections of the threshold in numpy."""
    low, high = np.zeros(len(moves)), np.full(len(moves), 1e16)
    for _ in range(150):
        middle = ((low + high) / 2)[:, None]
        kept = np.minimum(np.maximum(abs(moves) - middle, 0), room)
        size = kept.sum(1)
        low, high = np.where(size > eps, middle[:, 0], low), np.where(size > eps, high, middle[:, 0])
    return kept * np.sign(moves)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (3, 8, 8)], ids=str)
def test_clipping_to_l1_equals_a_bisection(shape, bounds):
    clean, point, eps = cases("l1", 700 if shape[0] < 3 else 140, shape, 1, bounds=bounds)
    moved = constraint("l1", bounds).clip(point, clean, eps) - clean
    moves = (point - clean).flatten(1).numpy()
    room = torch.where(point > clean, bounds[1] - clean, clean - bounds[0]).flatten(1).numpy()
    assert moved.flatten(1).numpy() == pytest.approx(bisected(moves, room, eps.numpy()), abs=1e-8)


@pytest.mark.parametrize("norm", PROJECTIONS)
def test_clipping_equals_the_minimum_of_a_generic_solver(norm):
    clean, point, eps = cases(norm, 84, (1, 2, 2), 2)
    clipped = constraint(norm).clip(point, clean, eps)
    checked = 0
    for one, target, radius, mine in zip(clean, point, eps, clipped, strict=True):
        c, u, m = (part.flatten().numpy() for part in (one, target, mine))
        if radius == 0 or abs(u).max() > 100:
            continue  # the solver needs an interior and numbers of similar size; the bisection covers the others
        limit = {  # positive and negative parts keep the sum of absolute values smooth
            "l1": lambda x, radius=float(radius): radius - x.sum(),
            "linf": lambda x, radius=float(radius): np.r_[radius - x],
        }[norm]
        solved = minimize(
            lambda x, c=c, u=u: ((c + x[:4] - x[4:] - u) ** 2).sum(),
            np.zeros(8),
            bounds=[(0, 1 - low) for low in c] + [(0, low) for low in c],
            constraints={"type": "ineq", "fun": limit},
            options={"ftol": 1e-13, "maxiter": 300},
        )
        best, own = np.sqrt(solved.fun), np.linalg.norm(m - u)
        assert own <= best + 1e-6  # the solver's own tolerance
        assert m == pytest.approx(c + solved.x[:4] - solved.x[4:], abs=1e-4)
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("norm", PROJECTIONS)
def test_clipped_points_satisfy_the_variational_inequality_of_a_projection(norm):
    # x is the projection of u onto a convex set if and only if <u - x, z - x> <= 0 for all z in the set.
    clean, point, eps = cases(norm, 2000, (2, 2, 2), 3)
    within = constraint(norm)
    x = within.clip(point, clean, eps)
    for trial in range(30):
        other = clean + torch.randn(clean.shape, generator=source(trial), dtype=torch.float64) * 2
        z = within.clip(other, clean, eps)
        product = ((point - x) * (z - x)).flatten(1).sum(1)
        assert (product <= 1e-9 * (1 + (point - x).flatten(1).norm(dim=1))).all()


def test_clipping_to_l0_equals_an_exhaustive_search():
    for places, channels, seed in [((2, 4), 1, 0), ((2, 3), 3, 1), ((1, 7), 2, 2)]:
        clean, point, _ = cases("l0", 200, (channels, *places), seed)
        count = int(np.prod(places))
        for k in (0, 1, 3, count):
            clipped = constraint("l0").clip(point, clean, torch.full((200,), float(k)))
            subsets = list(itertools.combinations(range(count), k))
            chosen = torch.zeros(len(subsets), count, dtype=torch.bool)
            for row, subset in enumerate(subsets):
                chosen[row, list(subset)] = True
            options = torch.where(chosen.view(-1, 1, 1, *places), point.clamp(0, 1), clean)
            best = (options - point).pow(2).flatten(2).sum(2).amin(0)
            own = (clipped - point).pow(2).flatten(1).sum(1)
            assert torch.allclose(own, best, rtol=1e-12)
            assert constraint("l0").size(clipped - clean).max() <= k


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_all_points_stay_within_eps_and_the_bounds_in_a_hundred_thousand_cases(norm, dtype):
    count = 30000 if dtype == torch.float32 else 3000
    for seed, bounds in enumerate([(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (-0.4242, 2.8215)]):
        shape = [(1, 2, 3), (3, 2, 2), (2, 5, 1), (1, 3, 3)][seed]
        clean, point, eps = cases(norm, count, shape, seed, bounds=bounds, dtype=dtype)
        eps[1::7] = 1e-7  # below what rounding can express
        within = constraint(norm, bounds)
        seeds = torch.arange(count)
        clipped = within.clip(point, clean, eps)
        low, high = (torch.tensor(bound, dtype=dtype) for bound in bounds)
        for points in (clipped, within.start(clean, eps, seeds, 3), within.control(clean, eps, seeds)):
            assert points.dtype == dtype
            assert points.amin() >= low
            assert points.amax() <= high
            assert within.excess(clean, points, eps).max() <= 0
            assert torch.equal(points[::7], clean[::7])  # where eps is 0


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("eps", [1e-4, 0.3, 30.0], ids=str)
def test_rounding_of_smooth_perturbations_of_flat_images_stays_within_eps(norm, eps):
    clean = torch.full((2, 3, 160, 160), 0.7)
    clean[1] = 0.5 - 1e-3
    radius = torch.full((2,), eps)
    within = constraint(norm)
    assert within.excess(clean, within.clip(clean + 0.01, clean, radius), radius).max() <= 0
    assert within.excess(clean.double(), clean.double() + 1.5 * eps, radius).min() > 0


@pytest.mark.parametrize("norm", NORMS)
def test_clipping_leaves_allowed_points_unchanged(norm):
    clean, point, eps = cases(norm, 5000, (2, 3, 3), 4, dtype=torch.float32)
    within = constraint(norm)
    once = within.clip(point, clean, eps)
    assert torch.allclose(within.clip(once, clean, eps), once, atol=2e-7)
    assert torch.equal(within.clip(clean, clean, eps), clean)
    if norm in CONVEX:
        nearer = clean + (once - clean) * 0.9
        assert torch.allclose(within.clip(nearer, clean, eps), nearer, atol=2e-7)


@pytest.mark.parametrize("norm", PROJECTIONS)
def test_clipping_is_nonexpansive(norm):
    clean, first, eps = cases(norm, 5000, (2, 3, 3), 5)
    second = cases(norm, 5000, (2, 3, 3), 6)[1]
    within = constraint(norm)
    before = (first - second).flatten(1).norm(dim=1)
    after = (within.clip(first, clean, eps) - within.clip(second, clean, eps)).flatten(1).norm(dim=1)
    assert (after <= before * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_clipping_uses_all_of_eps_where_the_bounds_leave_room(norm):
    clean, point, _ = cases(norm, 500, (1, 4, 4), 7)
    within = constraint(norm)
    far = within.size(point.clamp(0, 1) - clean) > 0.3
    sizes = within.size(within.clip(point, clean, torch.full((500,), 0.3)) - clean)[far]
    assert int(far.sum()) > 300
    assert sizes.numpy() == pytest.approx(0.3, rel=1e-6)


def allowed_steps(norm, count, blocked_up, blocked_down, places):
    """Return random steps of norm at most one that push no pixel out of the bounds."""
    steps = torch.randn(count, *blocked_up.shape, generator=source(11), dtype=torch.float64)
    if norm == "linf":
        return (steps * 3).clamp(-1, 1)  # clipping to the bounds does not change the other entries
    steps = torch.where((blocked_up & (steps > 0)) | (blocked_down & (steps < 0)), 0.0, steps)
    if norm == "l2":
        return steps / steps.flatten(2).norm(dim=2).clamp_min(1e-9)[..., None, None, None]
    steps = steps / steps.abs().flatten(2).sum(2).clamp_min(1e-9)[..., None, None, None]
    return steps.clamp(-1 / places, 1 / places)


@pytest.mark.parametrize("norm", CONVEX)
def test_no_random_step_increases_a_linear_loss_more_than_the_direction(norm):
    clean, _, _ = cases(norm, 60, (1, 2, 3), 8)
    gradient = torch.randn(clean.shape, generator=source(8), dtype=torch.float64)
    within = L1(share=0.34) if norm == "l1" else constraint(norm)
    step = within.direction(gradient, clean)
    best = (gradient * step).flatten(1).sum(1)
    others = allowed_steps(norm, 4000, clean == 1, clean == 0, places=2)
    assert ((others * gradient).flatten(2).sum(2).amax(0) <= best + 1e-12).all()
    assert within.size(step).numpy() == pytest.approx(1, abs=1e-9)


def test_an_l1_step_moves_the_largest_usable_entries_equally():
    gradient = torch.tensor([[5.0, -4.0, 3.0, -2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]])
    point = torch.tensor([[1.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])  # the first and the fourth are blocked
    assert L1(share=0.3).direction(gradient, point).tolist() == [
        pytest.approx([0, -1 / 3, 1 / 3, 0, 1 / 3, 0, 0, 0, 0, 0])
    ]
    few = L1(share=0.8).direction(gradient, point)  # only four of the eight entries can move
    assert few.abs().sum() == 1
    assert few.count_nonzero() == 4


def test_the_l0_direction_is_the_dense_usable_gradient():
    gradient, point = torch.tensor([[[[2.0, -6.0, 3.0]]]]), torch.tensor([[[[0.5, 0.0, 0.2]]]])
    assert constraint("l0").direction(gradient, point).flatten().tolist() == pytest.approx([0.4, 0, 0.6])


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1.0, 1e30, 3e37], ids=str)
def test_a_direction_has_unit_norm_for_tiny_and_huge_gradients(norm, scale):
    gradient = torch.randn(6, 3, 4, 4, generator=source(0)).clamp(-4, 4) * scale
    gradient[5] = 0
    point = cases("linf", 6, (3, 4, 4), 0, dtype=torch.float32)[0]
    step = constraint(norm).direction(gradient, point)
    order = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 1}[norm]
    sizes = torch.linalg.vector_norm(step.double().flatten(1), ord=order, dim=1)
    assert sizes[:5].numpy() == pytest.approx(1, abs=1e-6)
    assert sizes[5] == 0


@pytest.mark.parametrize("norm", ["l2", "l1", "l0"])
def test_blocked_entries_neither_hide_tiny_ones_nor_make_a_step(norm):
    point = torch.tensor([[1.0, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0]]).view(2, 1, 2, 2)
    gradient = torch.tensor([[1.0, 3e-30, 0.0, 0.0], [1.0, -1.0, -2.0, 3.0]]).view(2, 1, 2, 2)
    assert constraint(norm).direction(gradient, point).flatten(1).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_does_not_depend_on_the_batch(norm):
    shape = (3, 9, 9)
    clean, point, eps = cases(norm, 23, shape, 10, dtype=torch.float32)
    eps = eps * 3
    gradient, within = torch.randn(23, *shape, generator=source(3)), constraint(norm)
    seeds = torch.arange(23) * 1_000_003

    def results(rows):
        c, p, e, s = clean[rows], point[rows], eps[rows], seeds[rows]
        moved = [within.clip(p, c, e), within.direction(gradient[rows], c)]
        return torch.stack([*moved, within.start(c, e, s, 0), within.control(c, e, s)])

    whole = results(torch.arange(23))
    order = torch.randperm(23, generator=source(1))
    assert torch.equal(results(order), whole[:, order])
    for group in torch.arange(23).split(5):
        assert torch.equal(results(group), whole[:, group])
    assert torch.equal(torch.cat([results(torch.tensor([row])) for row in range(23)], dim=1), whole)
    assert results(torch.arange(0)).shape == (4, 0, *shape)


@pytest.mark.parametrize("norm", NORMS)
def test_starts_and_controls_depend_on_seed_and_stream(norm):
    clean, eps = torch.full((40, 1, 6, 6), 0.5), torch.full((40,), SCALES[norm] / 2)
    within, seeds = constraint(norm), torch.arange(40)
    start = within.start(clean, eps, seeds, 0)
    assert torch.equal(start, within.start(clean, eps, range(40), 0))
    for other in (within.start(clean, eps, seeds, 1), within.start(clean, eps, seeds + 1, 0)):
        assert (start != other).flatten(1).any(1).all()
    assert (start != within.control(clean, eps, seeds)).flatten(1).any(1).all()
    assert len(start.flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize("norm", NORMS)
def test_the_control_has_full_norm_and_starts_fill_the_ball(norm):
    clean, radius = torch.full((400, 2, 6, 6), 0.5), SCALES[norm] / 2 if norm != "linf" else 0.25
    within, eps = constraint(norm), torch.full((400,), radius)
    moved = within.control(clean, eps, range(400))
    assert within.size(moved - clean).numpy() == pytest.approx(radius, abs=2e-5)
    assert (moved - clean).mean().abs() < 0.02
    if norm == "linf":
        assert ((moved - clean).abs() - radius).abs().max() < 1e-6
    shares = within.size(within.start(clean, eps, range(400), 0) - clean) / radius
    expected = {"linf": 72 / 73, "l2": 0.5, "l1": 0.5, "l0": 1.0}[norm]  # the largest of 72 uniform numbers
    assert shares.mean() == pytest.approx(expected, abs=0.05)  # standard error at most 0.015


def test_random_l0_positions_are_uniform():
    clean = torch.full((3000, 3, 3, 4), 0.5)
    changed = (constraint("l0").control(clean, torch.full((3000,), 3.0), range(3000)) != clean).any(1)
    assert changed.flatten(1).sum(1).eq(3).all()
    assert changed.float().mean(0).flatten().numpy() == pytest.approx(0.25, abs=0.035)  # four standard errors


def test_sizes_are_the_norms():
    delta = torch.tensor([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    assert {norm: constraint(norm).size(delta).tolist() for norm in NORMS} == {
        "linf": [4, 0],
        "l2": [5, 0],
        "l1": [7, 0],
        "l0": [2, 0],
    }
    colors = torch.zeros(1, 3, 2, 2)
    colors[0, :, 0, 0], colors[0, 1, 1, 1] = 1.0, 1e-30
    assert constraint("l0").size(colors).tolist() == [2]
    assert all(constraint(norm).size(colors).dtype == torch.float64 for norm in NORMS)


@pytest.mark.parametrize("norm", NORMS)
def test_large_and_nan_perturbations_exceed_the_limit(norm):
    clean = torch.full((3, 1, 3, 3), 0.5)
    moved = clean.clone()
    moved[1, 0, 0, :2] = 0.9
    moved[2, 0, 0, 0] = float("nan")
    eps = torch.tensor([0.0, 0.39 if norm != "l0" else 1.0, 0.3], dtype=torch.float64)
    over = constraint(norm).excess(clean, moved, eps)
    assert over[0] <= 0
    assert over[1] > 1e-3
    assert over[2] > 0


def test_an_l0_count_is_rounded_down_but_not_because_of_floating_point():
    point = torch.ones(2, 1, 10, 10)
    clipped = constraint("l0").clip(point, torch.zeros_like(point), torch.tensor([0.29 * 100, 2.9]).double())
    assert clipped.flatten(1).sum(1).tolist() == [29, 2]


def test_every_feature_of_a_vector_is_a_position():
    clean = torch.zeros(2, 5)
    for norm in NORMS:
        within, eps = constraint(norm), torch.full((2,), 2.0)
        clipped = within.clip(clean + torch.tensor([0.1, 0.9, 0.2, 5.0, -1.0]), clean, eps)
        assert within.excess(clean, clipped, eps).max() <= 0
    assert (
        constraint("l0").clip(clean + torch.tensor([0.1, 0.9, 0.2, 5.0, -1.0]), clean, eps).tolist()
        == [pytest.approx([0, 0.9, 0, 1, 0])] * 2
    )


def test_invalid_constraints_are_refused():
    with pytest.raises(SpecError, match="expected one of l0, l1, l2, linf"):
        constraint("l3")
    with pytest.raises(SpecError, match="finite numbers in ascending order"):
        constraint("l2", (1.0, 0.0))
    with pytest.raises(SpecError, match="share of entries"):
        L1(share=0.0)
