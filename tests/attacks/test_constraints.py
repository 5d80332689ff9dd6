"""Constraints against brute force: projections are nearest points, directions the best steps, and nothing gets out."""

import itertools

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from suite.attacks.constraints import NORMS, Region, constraint, random_corners, square_masks, square_side
from suite.attacks.constraints.l1 import L1
from suite.errors import AttackError, SpecError

CONVEX = ("linf", "l2", "l1")
KINDS = (*NORMS, "region")
SCALES = {"linf": 0.6, "l2": 1.2, "l1": 2.0, "l0": 6.0, "region": 1.0}


def source(seed):
    return torch.Generator().manual_seed(seed)


def cases(norm, count, shape, seed, *, bounds=(0.0, 1.0), dtype=torch.float64):
    """Return clean samples, points and eps: pixels at the bounds, moves from tiny to huge, eps 0 and others."""
    draw = lambda *size: torch.rand(*size, generator=source(seed + sum(size)), dtype=torch.float64)  # noqa: E731  # four short draws read best side by side
    low, high = bounds
    clean = ((draw(count, *shape) * 1.6 - 0.3).clamp(0, 1) * (high - low) + low).to(dtype).clamp(low, high)
    strength = torch.tensor([1e-3, 0.3, 1.0, 3.0, 1e4])[torch.arange(count) % 5].view(-1, *(1,) * len(shape)).double()
    direction = torch.randn(count, *shape, generator=source(seed), dtype=torch.float64)
    point = (clean.double() + direction * strength * (high - low)).to(dtype)
    eps = SCALES[norm] * (high - low if norm != "l0" else 1) * draw(count)
    eps[::7] = 0
    return clean, point, eps


def built(norm, count=1, shape=(1, 1, 1), bounds=(0.0, 1.0)):
    """Return the constraint; a region covers half of the places, others in each sample."""
    if norm != "region":
        return constraint(norm, bounds)
    return Region(mask=torch.rand(count, 1, *shape[1:], generator=source(9)) < 0.5, bounds=bounds)


def bisected(moves, room, eps, norm):
    """Return the projection of moves within their room by 150 halvings of the multiplier, in numpy."""
    low, high = np.zeros(len(moves)), np.full(len(moves), 1e16)
    for _ in range(150):
        middle = ((low + high) / 2)[:, None]
        shrunk = np.maximum(abs(moves) - middle, 0) if norm == "l1" else abs(moves) / (1 + middle)
        kept = np.minimum(shrunk, room)
        size = kept.sum(1) if norm == "l1" else np.sqrt((kept**2).sum(1))
        low, high = np.where(size > eps, middle[:, 0], low), np.where(size > eps, high, middle[:, 0])
    return kept * np.sign(moves)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 3.0)], ids=str)
@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 1), (3, 8, 8)], ids=str)
def test_projection_equals_a_dense_bisection(norm, shape, bounds):
    clean, point, eps = cases(norm, 700 if shape[0] < 3 else 140, shape, 1, bounds=bounds)
    found = constraint(norm, bounds).project(point, clean, eps) - clean
    moves = (point - clean).flatten(1).numpy()
    room = torch.where(point > clean, bounds[1] - clean, clean - bounds[0]).flatten(1).numpy()
    assert found.flatten(1).numpy() == pytest.approx(bisected(moves, room, eps.numpy(), norm), abs=1e-8)


@pytest.mark.parametrize("norm", CONVEX)
def test_projection_equals_the_minimum_that_a_generic_solver_finds(norm):
    clean, point, eps = cases(norm, 84, (1, 2, 2), 2)
    found = constraint(norm).project(point, clean, eps)
    checked = 0
    for one, target, radius, mine in zip(clean, point, eps, found, strict=True):
        c, u, m = (part.flatten().numpy() for part in (one, target, mine))
        if radius == 0 or abs(u).max() > 100:
            continue  # the solver needs an interior and numbers of one size; bisection above covers the others
        limit = {  # positive and negative parts keep the sum of absolute values smooth
            "l1": lambda x, radius=float(radius): radius - x.sum(),
            "l2": lambda x, radius=float(radius): radius**2 - ((x[:4] - x[4:]) ** 2).sum(),
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
        assert own <= best + 1e-6  # the solver keeps to its constraint within about that
        assert m == pytest.approx(c + solved.x[:4] - solved.x[4:], abs=1e-4)
        checked += 1
    assert checked > 40


@pytest.mark.parametrize("norm", CONVEX)
def test_no_allowed_point_lies_on_the_side_of_the_target(norm):
    # x is the projection of u on a convex set if and only if <u - x, z - x> <= 0 for all z of the set.
    clean, point, eps = cases(norm, 2000, (2, 2, 2), 3)
    within = constraint(norm)
    x = within.project(point, clean, eps)
    for trial in range(30):
        other = clean + torch.randn(clean.shape, generator=source(trial), dtype=torch.float64) * 2
        z = within.clip(other, clean, eps)
        product = ((point - x) * (z - x)).flatten(1).sum(1)
        assert (product <= 1e-9 * (1 + (point - x).flatten(1).norm(dim=1))).all()


def test_projection_onto_few_places_equals_an_exhaustive_search():
    for places, channels, seed in [((2, 4), 1, 0), ((2, 3), 3, 1), ((1, 7), 2, 2)]:
        clean, point, _ = cases("l0", 200, (channels, *places), seed)
        count = int(np.prod(places))
        for k in (0, 1, 3, count):
            found = constraint("l0").project(point, clean, torch.full((200,), float(k)))
            subsets = list(itertools.combinations(range(count), k))
            chosen = torch.zeros(len(subsets), count, dtype=torch.bool)
            for row, subset in enumerate(subsets):
                chosen[row, list(subset)] = True
            options = torch.where(chosen.view(-1, 1, 1, *places), point.clamp(0, 1), clean)
            best = (options - point).pow(2).flatten(2).sum(2).amin(0)
            own = (found - point).pow(2).flatten(1).sum(1)
            assert torch.allclose(own, best, rtol=1e-12)
            assert constraint("l0").size(found - clean).max() <= k


def test_a_region_allows_everything_inside_its_mask_and_nothing_outside():
    clean, point, eps = cases("region", 50, (3, 4, 4), 0)
    region = built("region", 50, (3, 4, 4))
    found = region.project(point, clean, eps)
    assert torch.equal(found, torch.where(region.mask, point.clamp(0, 1), clean))
    assert region.excess(clean, found, eps).max() == 0
    outside = clean.clone()
    outside[:, 0] = torch.where(region.mask[:, 0], clean[:, 0], 1 - clean[:, 0] + 1e-3)
    assert torch.equal(region.excess(clean, outside, eps), (~region.mask).flatten(1).sum(1).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("norm", KINDS)
def test_nothing_leaves_the_budget_or_the_bounds_in_a_hundred_thousand_cases(norm, dtype):
    count = 30000 if dtype == torch.float32 else 3000
    for seed, bounds in enumerate([(0.0, 1.0), (0.0, 1.0), (0.0, 1.0), (-0.4242, 2.8215)]):
        shape = [(1, 2, 3), (3, 2, 2), (2, 5, 1), (1, 3, 3)][seed]
        clean, point, eps = cases(norm, count, shape, seed, bounds=bounds, dtype=dtype)
        eps[1::7] = 1e-7  # below what rounding can express
        within = built(norm, count, shape, bounds)
        seeds = torch.arange(count)
        found = [within.project(point, clean, eps), within.clip(point, clean, eps)]
        found += [within.start(clean, eps, seeds, 3), within.control(clean, eps, seeds)]
        low, high = (torch.tensor(bound, dtype=dtype) for bound in bounds)
        for points in found:
            assert points.dtype == dtype
            assert points.amin() >= low
            assert points.amax() <= high
            assert within.excess(clean, points, eps).max() <= 0
        if norm != "region":
            assert all(torch.equal(points[::7], clean[::7]) for points in found)  # there eps is 0


@pytest.mark.parametrize("norm", CONVEX)
@pytest.mark.parametrize("eps", [1e-4, 0.3, 30.0], ids=str)
def test_rounding_of_smooth_perturbations_of_flat_images_stays_within_the_budget(norm, eps):
    clean = torch.full((2, 3, 160, 160), 0.7)
    clean[1] = 0.5 - 1e-3
    radius = torch.full((2,), eps)
    within = constraint(norm)
    for points in (within.project(clean + 0.01, clean, radius), within.clip(clean + 0.01, clean, radius)):
        assert within.excess(clean, points, radius).max() <= 0
    assert within.excess(clean.double(), clean.double() + 1.5 * eps, radius).min() > 0


@pytest.mark.parametrize("norm", KINDS)
def test_projection_changes_nothing_allowed_and_nothing_twice(norm):
    clean, point, eps = cases(norm, 5000, (2, 3, 3), 4, dtype=torch.float32)
    within = built(norm, 5000, (2, 3, 3))
    once = within.project(point, clean, eps)
    assert torch.equal(within.project(once, clean, eps), once)
    assert torch.equal(within.project(clean, clean, eps), clean)
    if norm in CONVEX:
        nearer = clean + (once - clean) * 0.9
        assert torch.equal(within.project(nearer, clean, eps), nearer)
        assert torch.allclose(within.clip(nearer, clean, eps), nearer, atol=2e-7)


@pytest.mark.parametrize("norm", CONVEX)
def test_projection_brings_no_two_points_further_apart(norm):
    clean, first, eps = cases(norm, 5000, (2, 3, 3), 5)
    second = cases(norm, 5000, (2, 3, 3), 6)[1]
    within = constraint(norm)
    before = (first - second).flatten(1).norm(dim=1)
    after = (within.project(first, clean, eps) - within.project(second, clean, eps)).flatten(1).norm(dim=1)
    assert (after <= before * (1 + 1e-9) + 1e-9).all()


@pytest.mark.parametrize("norm", CONVEX)
def test_clipping_uses_the_whole_radius_where_the_bounds_leave_room(norm):
    clean, point, _ = cases(norm, 500, (1, 4, 4), 7)
    within = constraint(norm)
    far = within.size(point.clamp(0, 1) - clean) > 0.3
    sizes = within.size(within.clip(point, clean, torch.full((500,), 0.3)) - clean)[far]
    assert int(far.sum()) > 300
    assert sizes.numpy() == pytest.approx(0.3, rel=1e-6)


def allowed_steps(norm, count, blocked_up, blocked_down, places):
    """Return random steps of size at most one that push no pixel out of the bounds."""
    steps = torch.randn(count, *blocked_up.shape, generator=source(11), dtype=torch.float64)
    if norm == "linf":
        return (steps * 3).clamp(-1, 1)  # the sign pushes out too, which costs the other entries nothing
    steps = torch.where((blocked_up & (steps > 0)) | (blocked_down & (steps < 0)), 0.0, steps)
    if norm == "l2":
        return steps / steps.flatten(2).norm(dim=2).clamp_min(1e-9)[..., None, None, None]
    steps = steps / steps.abs().flatten(2).sum(2).clamp_min(1e-9)[..., None, None, None]
    return steps.clamp(-1 / places, 1 / places)


@pytest.mark.parametrize("norm", CONVEX)
def test_no_random_step_raises_a_linear_loss_more_than_the_direction(norm):
    clean, _, _ = cases(norm, 60, (1, 2, 3), 8)
    gradient = torch.randn(clean.shape, generator=source(8), dtype=torch.float64)
    within = L1(share=0.34) if norm == "l1" else constraint(norm)
    step = within.direction(gradient, clean)
    best = (gradient * step).flatten(1).sum(1)
    others = allowed_steps(norm, 4000, clean == 1, clean == 0, places=2)
    assert ((others * gradient).flatten(2).sum(2).amax(0) <= best + 1e-12).all()
    assert within.size(step).numpy() == pytest.approx(1, abs=1e-9)


def test_a_sparse_step_moves_the_largest_usable_entries_equally():
    gradient = torch.tensor([[5.0, -4.0, 3.0, -2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]])
    point = torch.tensor([[1.0, 0.5, 0.5, 0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])  # the first and the fourth are blocked
    assert L1(share=0.3).direction(gradient, point).tolist() == [
        pytest.approx([0, -1 / 3, 1 / 3, 0, 1 / 3, 0, 0, 0, 0, 0])
    ]
    few = L1(share=0.8).direction(gradient, point)  # four are left; eight were asked for
    assert few.abs().sum() == 1
    assert few.count_nonzero() == 4


def test_the_direction_for_few_places_is_the_dense_usable_gradient():
    gradient, point = torch.tensor([[[[2.0, -6.0, 3.0]]]]), torch.tensor([[[[0.5, 0.0, 0.2]]]])
    assert constraint("l0").direction(gradient, point).flatten().tolist() == pytest.approx([0.4, 0, 0.6])


def test_the_direction_of_a_region_is_the_sign_inside_the_mask():
    region, gradient = built("region", 20, (3, 4, 4)), torch.randn(20, 3, 4, 4, generator=source(0))
    step = region.direction(gradient, torch.rand(20, 3, 4, 4, generator=source(1)))
    assert torch.equal(step, torch.where(region.mask, gradient.sign(), 0.0))


@pytest.mark.parametrize("norm", KINDS)
@pytest.mark.parametrize("scale", [1e-44, 1e-38, 1e-30, 1.0, 1e30, 3e37], ids=str)
def test_a_step_has_unit_size_however_small_or_large_the_gradient(norm, scale):
    gradient = torch.randn(6, 3, 4, 4, generator=source(0)).clamp(-4, 4) * scale
    gradient[5] = 0
    point = cases("linf", 6, (3, 4, 4), 0, dtype=torch.float32)[0]
    step = built(norm, 6, (3, 4, 4)).direction(gradient, point)
    order = {"linf": np.inf, "l2": 2, "l1": 1, "l0": 1, "region": np.inf}[norm]
    sizes = torch.linalg.vector_norm(step.double().flatten(1), ord=order, dim=1)
    assert sizes[:5].numpy() == pytest.approx(1, abs=1e-6)
    assert sizes[5] == 0


@pytest.mark.parametrize("norm", ["l2", "l1", "l0"])
def test_a_blocked_gradient_hides_neither_a_tiny_one_nor_makes_a_step_of_its_own(norm):
    point = torch.tensor([[1.0, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0]]).view(2, 1, 2, 2)
    gradient = torch.tensor([[1.0, 3e-30, 0.0, 0.0], [1.0, -1.0, -2.0, 3.0]]).view(2, 1, 2, 2)
    assert constraint(norm).direction(gradient, point).flatten(1).tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("norm", KINDS)
def test_a_sample_does_not_depend_on_its_company(norm):
    shape = (3, 9, 9)
    clean, point, eps = cases(norm, 23, shape, 10, dtype=torch.float32)
    eps = eps * 3
    gradient, within = torch.randn(23, *shape, generator=source(3)), built(norm, 23, shape)
    seeds = torch.arange(23) * 1_000_003

    def answers(rows):
        part, c, p, e, s = within.rows(rows), clean[rows], point[rows], eps[rows], seeds[rows]
        moved = [part.project(p, c, e), part.clip(p, c, e), part.direction(gradient[rows], c)]
        return torch.stack([*moved, part.start(c, e, s, 0), part.control(c, e, s)])

    everyone = answers(torch.arange(23))
    order = torch.randperm(23, generator=source(1))
    assert torch.equal(answers(order), everyone[:, order])
    for group in torch.arange(23).split(5):
        assert torch.equal(answers(group), everyone[:, group])
    assert torch.equal(torch.cat([answers(torch.tensor([row])) for row in range(23)], dim=1), everyone)
    assert answers(torch.arange(0)).shape == (5, 0, *shape)


@pytest.mark.parametrize("norm", KINDS)
def test_starts_and_controls_follow_from_seed_and_stream(norm):
    clean, eps = torch.full((40, 1, 6, 6), 0.5), torch.full((40,), SCALES[norm] / 2)
    within, seeds = built(norm, 1, (1, 6, 6)), torch.arange(40)
    start = within.start(clean, eps, seeds, 0)
    assert torch.equal(start, within.start(clean, eps, range(40), 0))
    for other in (within.start(clean, eps, seeds, 1), within.start(clean, eps, seeds + 1, 0)):
        assert (start != other).flatten(1).any(1).all()
    assert (start != within.control(clean, eps, seeds)).flatten(1).any(1).all()
    assert len(start.flatten(1).unique(dim=0)) == 40


@pytest.mark.parametrize("norm", NORMS)
def test_the_control_has_full_size_and_starts_fill_the_ball(norm):
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


def test_random_places_are_uniform():
    clean = torch.full((3000, 3, 3, 4), 0.5)
    changed = (constraint("l0").control(clean, torch.full((3000,), 3.0), range(3000)) != clean).any(1)
    assert changed.flatten(1).sum(1).eq(3).all()
    assert changed.float().mean(0).flatten().numpy() == pytest.approx(0.25, abs=0.035)  # four standard errors


def test_sizes_are_what_their_names_say():
    delta = torch.tensor([[3.0, 0.0, -4.0], [0.0, 0.0, 0.0]]).view(2, 1, 1, 3)
    assert {norm: constraint(norm).size(delta).tolist() for norm in NORMS} == {
        "linf": [4, 0],
        "l2": [5, 0],
        "l1": [7, 0],
        "l0": [2, 0],
    }
    colours = torch.zeros(1, 3, 2, 2)
    colours[0, :, 0, 0], colours[0, 1, 1, 1] = 1.0, 1e-30
    assert constraint("l0").size(colours).tolist() == [2]
    assert all(constraint(norm).size(colours).dtype == torch.float64 for norm in NORMS)


@pytest.mark.parametrize("norm", NORMS)
def test_what_is_too_large_or_not_a_number_exceeds(norm):
    clean = torch.full((3, 1, 3, 3), 0.5)
    moved = clean.clone()
    moved[1, 0, 0, :2] = 0.9
    moved[2, 0, 0, 0] = float("nan")
    eps = torch.tensor([0.0, 0.39 if norm != "l0" else 1.0, 0.3], dtype=torch.float64)
    over = constraint(norm).excess(clean, moved, eps)
    assert over[0] <= 0
    assert over[1] > 1e-3
    assert over[2] > 0


def test_a_count_of_places_is_rounded_down_but_not_by_floating_point():
    point = torch.ones(2, 1, 10, 10)
    found = constraint("l0").project(point, torch.zeros_like(point), torch.tensor([0.29 * 100, 2.9]).double())
    assert found.flatten(1).sum(1).tolist() == [29, 2]


def test_samples_without_places_have_one_per_feature():
    clean = torch.zeros(2, 5)
    for norm in NORMS:
        within, eps = constraint(norm), torch.full((2,), 2.0)
        found = within.project(clean + torch.tensor([0.1, 0.9, 0.2, 5.0, -1.0]), clean, eps)
        assert within.excess(clean, found, eps).max() <= 0
    assert (
        constraint("l0").project(clean + torch.tensor([0.1, 0.9, 0.2, 5.0, -1.0]), clean, eps).tolist()
        == [pytest.approx([0, 0.9, 0, 1, 0])] * 2
    )


def test_squares_cover_at_most_the_share_wherever_they_are():
    clean = torch.zeros(500, 3, 12, 10)
    masks = square_masks(clean, 0.1, seeds=range(500))
    side = square_side(12, 10, 0.1)
    assert side == 3
    assert masks.flatten(1).sum(1).eq(side**2).all()
    rows, columns = masks[:, 0].any(2), masks[:, 0].any(1)
    assert rows.sum(1).eq(side).all()
    assert columns.sum(1).eq(side).all()
    corners = set(zip(rows.int().argmax(1).tolist(), columns.int().argmax(1).tolist(), strict=True))
    assert len(corners) > 70  # 10 by 8 corners, 500 draws
    assert torch.equal(square_masks(clean[7:9], 0.1, seeds=[7, 8]), masks[7:9])


def test_a_square_at_a_given_corner_is_there():
    clean = torch.zeros(2, 1, 12, 12)
    masks = square_masks(clean, 25 / 144, corner=(7, 0))
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[7:12, 0:5] = True
    assert torch.equal(masks[0, 0], expected)
    assert torch.equal(masks[1], masks[0])
    each = square_masks(clean, 25 / 144, corner=torch.tensor([[7, 0], [0, 7]]))
    assert torch.equal(each[1, 0], expected.T)
    assert square_side(28, 28, 0.05) == 6
    assert square_side(4, 400, 0.5) == 4


def test_random_corners_reach_every_place_equally():
    corners = random_corners(torch.arange(6000), 0, (3, 2))
    counts = torch.bincount(corners[:, 0] * 2 + corners[:, 1], minlength=6)
    assert counts.numpy() == pytest.approx(1000, abs=120)  # four standard errors


@pytest.mark.parametrize("corner", [(8, 0), (0, 8), (-1, 0)], ids=str)
def test_a_square_outside_the_image_is_refused(corner):
    with pytest.raises(SpecError, match="leaves an image of 12x12"):
        square_masks(torch.zeros(1, 1, 12, 12), 25 / 144, corner=corner)


def test_what_makes_no_constraint_is_refused():
    with pytest.raises(SpecError, match="expected one of linf, l2, l1, l0"):
        constraint("l3")
    with pytest.raises(SpecError, match=r"Region\(mask=mask\)"):
        constraint("region")
    with pytest.raises(SpecError, match="finite numbers in ascending order"):
        constraint("l2", (1.0, 0.0))
    with pytest.raises(SpecError, match="share of entries"):
        L1(share=0.0)
    with pytest.raises(SpecError, match=r"expected torch.bool \(n, 1, height, width\)"):
        Region(mask=torch.ones(1, 1, 2, 2))
    with pytest.raises(AttackError, match="does not fit samples"):
        built("region", 2, (1, 3, 3)).project(*torch.zeros(2, 3, 1, 3, 3), torch.zeros(3))
    with pytest.raises(AttackError, match="less than one pixel"):
        square_masks(torch.zeros(1, 1, 4, 4), 0.01, seeds=[0])
    with pytest.raises(SpecError, match="either seeds, for random places, or a corner"):
        square_masks(torch.zeros(1, 1, 4, 4), 0.5)
