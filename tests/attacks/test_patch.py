"""The patch: one for all images, whole and inside every image, never larger than its area, and worth its training."""

import numpy as np
import pytest
import torch

from suite.attacks.engine import generators
from suite.attacks.gate import judged
from suite.attacks.patch import GREY, Patch, placed, random_corners
from suite.errors import AttackError, SpecError
from tests.attacks.digits import first, problem_of, splits

AREA = 0.15


@pytest.fixture(scope="module")
def samples():
    train = splits()[0].take(range(300))
    return torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)


@pytest.fixture
def patch(problem, samples):
    return Patch(area=(AREA,), steps=40).fit(problem, lambda: samples, seed=0)


def test_the_patch_lies_inside_exactly_once_at_every_corner():
    pixels = torch.zeros(500, 3, 6, 9)
    corners = random_corners(pixels, 4, generators(range(500)))
    assert {tuple(corner) for corner in corners.tolist()} == {(r, c) for r in range(3) for c in range(6)}
    moved = placed(pixels, torch.arange(1.0, 49).view(3, 4, 4), corners)
    for image, (row, column) in zip(moved, corners.tolist(), strict=True):
        assert torch.equal(image[:, row : row + 4, column : column + 4], torch.arange(1.0, 49).view(3, 4, 4))
        assert image.count_nonzero() == 48


def test_placement_equals_slicing_with_its_gradient():
    source = torch.Generator().manual_seed(0)
    pixels = torch.rand(20, 2, 7, 5, generator=source, dtype=torch.float64)
    corners = random_corners(pixels, 3, generators(range(20)))
    weights = torch.rand(pixels.shape, generator=source, dtype=torch.float64)

    def sliced(patch):
        moved = pixels.clone()
        for image, (row, column) in enumerate(corners.tolist()):
            moved[image, :, row : row + 3, column : column + 3] = patch
        return moved

    gradients = []
    for place in (lambda patch: placed(pixels, patch, corners), sliced):
        patch = torch.linspace(0, 1, 18, dtype=torch.float64).view(2, 3, 3).requires_grad_(True)
        gradients.append(torch.autograd.grad((place(patch) * weights).sum(), patch)[0])
    fixed = torch.linspace(0, 1, 18, dtype=torch.float64).view(2, 3, 3)
    assert torch.equal(placed(pixels, fixed, corners), sliced(fixed))
    assert torch.allclose(*gradients, rtol=1e-14)


def test_a_patch_is_never_larger_than_its_area_and_never_smaller_than_it_could_be():
    source = np.random.default_rng(0)
    for _ in range(500):
        height, width = source.integers(4, 300, 2)
        area = float(source.uniform(0.07, 0.99))
        side = Patch(area=(area,)).side(torch.zeros(1, 1, 1, 1).expand(1, 1, height, width), area)
        assert side**2 <= area * height * width * (1 + 1e-9)
        assert (side + 1) ** 2 > area * height * width or side == min(height, width)


@pytest.mark.parametrize("side", range(4, 40))
def test_an_area_of_whole_pixels_is_used_in_full(side):
    image = torch.zeros(1, 1, side, side)
    assert [Patch().side(image, k**2 / side**2) for k in range(1, side)] == list(range(1, side))


def test_less_than_a_pixel_is_no_patch():
    with pytest.raises(AttackError, match="less than one pixel of 8x8"):
        Patch(area=(0.01,)).side(torch.zeros(1, 1, 8, 8), 0.01)


def test_all_samples_get_the_same_patch_at_their_own_place(patch, problem):
    pixels, targets = first(64)
    moved = patch.perturb(problem, pixels, targets, AREA, range(64))
    corners = random_corners(pixels, 3, generators(range(64)))
    found = {moved[i, :, r : r + 3, c : c + 3].numpy().tobytes() for i, (r, c) in enumerate(corners.tolist())}
    assert len(found) == 1
    assert len({tuple(corner) for corner in corners.tolist()}) > 20
    judged(problem, patch, pixels, moved, targets, AREA)


def test_the_place_depends_on_the_seed_alone(patch, problem):
    pixels, targets = first(20)
    together = patch.perturb(problem, pixels, targets, AREA, range(20))
    alone = [patch.perturb(problem, pixels[i : i + 1], targets[i : i + 1], AREA, [i]) for i in range(20)]
    assert torch.equal(together, torch.cat(alone))


def test_a_trained_patch_does_more_damage_than_grey_and_random_ones(patch, problem):
    pixels, targets = first(400)
    right = {"trained": patch.perturb(problem, pixels, targets, AREA, range(400))}
    right |= {name: control(pixels, AREA, range(400)) for name, control in patch.controls().items()}
    counts = {}
    for name, moved in right.items():
        counts[name] = 400 - int(judged(problem, patch, pixels, moved, targets, AREA).sum())
    assert set(counts) == {"trained", "random", "grey"}
    assert counts["trained"] < min(counts["random"], counts["grey"]) - 40, counts


def test_the_controls_lie_where_the_patch_lies_and_are_what_they_are_called(patch, problem):
    pixels, targets = first(30)
    pixels = pixels * 0 + 2.0  # a value that no patch has, so that every covered pixel shows
    covered = patch.perturb(problem, pixels, targets, AREA, range(30)) != pixels
    controls = {name: control(pixels, AREA, range(30)) for name, control in patch.controls().items()}
    for moved in controls.values():
        assert torch.equal(moved != pixels, covered)
    assert (controls["grey"][covered] == GREY).all()
    assert controls["random"][covered].view(30, 9).unique(dim=0).shape == (1, 9)


def test_training_is_reproducible(net, samples):
    patches = [
        Patch(area=(AREA,), steps=5).fit(problem_of(net), lambda: samples, seed=seed)._patches[0][1]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(patches[0], patches[1])
    assert not torch.equal(patches[0], patches[2])


def test_training_leaves_no_gradients_and_moves_no_global_generator(net, problem, samples):
    before = torch.get_rng_state()
    Patch(area=(AREA,), steps=2).fit(problem, lambda: samples, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in net.module.parameters())


def test_every_pixel_of_a_trained_patch_lies_in_the_bounds(patch):
    ((_, trained),) = patch._patches
    assert 0 <= trained.min() and trained.max() <= 1


REFUSED = {
    "no samples": (lambda net, x, y: Patch().fit(problem_of(net), lambda: (x[:0], y[:0]), seed=0), "the task has none"),
    "detached": (
        lambda net, x, y: Patch().fit(problem_of(lambda z: net(z).detach()), lambda: (x, y), seed=0),
        "no gradient",
    ),
    "unfitted": (lambda net, x, y: Patch().perturb(problem_of(net), x, y, 0.05, range(len(x))), "call fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_an_error(net, samples, case):
    act, message = REFUSED[case]
    with pytest.raises(AttackError, match=message):
        act(net, *samples)


@pytest.mark.parametrize("fields", [{"area": (1.0,)}, {"area": (0.2, 0.1)}, {"steps": 0}], ids=str)
def test_what_makes_no_sense_is_refused(fields):
    with pytest.raises(SpecError):
        Patch(**fields)
