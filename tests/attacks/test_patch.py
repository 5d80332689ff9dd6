"""Adversarial patches: position, size, search, training and targeted attacks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.engine.problem import Problem
from suite.attacks.images.image_patch import ImagePatch
from suite.attacks.images.patch import Patch
from suite.attacks.images.patch_common import GREY, apply_patch, center_crop, random_corners
from suite.attacks.images.patch_placement import best_patch_gain, patch_gain, rank_corners
from suite.attacks.rng import as_seeds, uniform
from suite.errors import AttackError, SpecError
from suite.kinds.classification.losses import attack_loss, rivals
from tests.attacks.digits import first, splits

AREA = 0.15  # a 3x3 patch on 8x8 images
BIG = 0.25  # a 4x4 patch
GOAL = 8


def problem_of(model, **fields):
    return Problem(model, attack_loss, lambda output, targets: output.argmax(1) != targets, rivals, **fields)


@pytest.fixture
def problem(net):
    return problem_of(net)


@pytest.fixture(scope="module")
def samples():
    train = splits()[0].take(range(300))
    return torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)


@pytest.fixture
def patch(problem, samples):
    return Patch(area=(AREA,), steps=30, restarts=1).fit(problem, lambda: samples, seed=0)


def correct(problem, perturbed, targets):
    return len(perturbed) - int(problem.outcome(perturbed, targets).sum())


def checked(attack, clean, perturbed, area=AREA):
    assert perturbed.shape == clean.shape and perturbed.dtype == clean.dtype
    assert 0 <= perturbed.min() and perturbed.max() <= 1
    assert (attack.violation(clean, perturbed, area) <= 0).all()
    return perturbed


# Position and size


def test_random_corners_cover_every_position_inside_the_image():
    pixels = torch.zeros(500, 3, 6, 9)
    corners = random_corners(pixels, 4, as_seeds(range(500)))
    assert {tuple(corner) for corner in corners.tolist()} == {(r, c) for r in range(3) for c in range(6)}
    perturbed = apply_patch(pixels, torch.arange(1.0, 49).view(3, 4, 4), corners)
    for image, (row, column) in zip(perturbed, corners.tolist(), strict=True):
        assert torch.equal(image[:, row : row + 4, column : column + 4], torch.arange(1.0, 49).view(3, 4, 4))
        assert image.count_nonzero() == 48


def test_apply_patch_matches_slicing_and_its_gradient():
    source = torch.Generator().manual_seed(0)
    pixels = torch.rand(20, 2, 7, 5, generator=source, dtype=torch.float64)
    corners = random_corners(pixels, 3, as_seeds(range(20)))
    weights = torch.rand(pixels.shape, generator=source, dtype=torch.float64)

    def sliced(patch):
        perturbed = pixels.clone()
        for image, (row, column) in enumerate(corners.tolist()):
            perturbed[image, :, row : row + 3, column : column + 3] = patch
        return perturbed

    gradients = []
    for place in (lambda patch: apply_patch(pixels, patch, corners), sliced):
        patch = torch.linspace(0, 1, 18, dtype=torch.float64).view(2, 3, 3).requires_grad_(True)
        gradients.append(torch.autograd.grad((place(patch) * weights).sum(), patch)[0])
    fixed = torch.linspace(0, 1, 18, dtype=torch.float64).view(2, 3, 3)
    assert torch.equal(apply_patch(pixels, fixed, corners), sliced(fixed))
    assert torch.allclose(*gradients, rtol=1e-12)


@pytest.mark.parametrize("side", range(1, 41))
def test_an_unscaled_patch_is_copied_bit_for_bit(side):
    patch = torch.rand((4, 3, side, side), generator=torch.Generator().manual_seed(side))
    perturbed = apply_patch(torch.full((4, 3, 50, 45), 2.0), patch, torch.tensor([[0, 0], [3, 4], [10, 5], [7, 1]]))
    assert torch.equal(perturbed[2, :, 10 : 10 + side, 5 : 5 + side], patch[2])
    assert (perturbed != 2).sum() == 4 * 3 * side**2


@pytest.mark.parametrize("to", [2, 3, 5, 6])
def test_a_scaled_patch_matches_linear_interpolation(to):
    patch = torch.rand((3, 6, 6), generator=torch.Generator().manual_seed(0))
    perturbed = apply_patch(torch.full((1, 3, 9, 9), 2.0), patch, torch.tensor([[1, 2]]), torch.tensor([to]))
    expected = nn.functional.interpolate(patch[None], size=(to, to), mode="bilinear", align_corners=False)
    assert torch.allclose(perturbed[:, :, 1 : 1 + to, 2 : 2 + to], expected, atol=1e-6)
    assert (perturbed != 2).sum() == 3 * to**2


def test_side_is_the_largest_that_fits_into_the_area():
    source = np.random.default_rng(0)
    for _ in range(500):
        height, width = source.integers(4, 300, 2)
        area = float(source.uniform(0.07, 0.99))
        side = Patch(area=(area,)).side(torch.zeros(1, 1, 1, 1).expand(1, 1, height, width), area)
        assert side**2 <= area * height * width * (1 + 1e-9)
        assert (side + 1) ** 2 > area * height * width or side == min(height, width)


@pytest.mark.parametrize("side", range(4, 40))
def test_an_area_of_whole_pixels_is_used_fully(side):
    image = torch.zeros(1, 1, side, side)
    assert [Patch().side(image, k**2 / side**2) for k in range(1, side)] == list(range(1, side))


def test_an_area_below_one_pixel_is_rejected():
    with pytest.raises(AttackError, match="less than one pixel of 8x8"):
        Patch(area=(0.01,)).side(torch.zeros(1, 1, 8, 8), 0.01)


def test_a_fixed_corner_is_used_and_must_fit():
    pixels = torch.zeros(2, 1, 8, 8)
    assert ImagePatch(position=(5, 4)).corners(pixels, 3, [0, 1]).tolist() == [[5, 4]] * 2
    with pytest.raises(AttackError, match=r"position=\[5, 6\] extends beyond.*column up to 5"):
        ImagePatch(position=(5, 6)).corners(pixels, 3, [0, 1])


def test_violation_is_the_excess_of_the_bounding_box():
    clean = torch.zeros(4, 1, 8, 8)
    perturbed = clean.clone()
    perturbed[1, 0, 2:5, 3:6] = 1  # exactly a patch
    perturbed[2, 0, 0, 0] = perturbed[2, 0, 7, 1] = 1  # two pixels, far apart
    perturbed[3, 0, 4, 1:5] = 1e-6  # one column too wide, by a tiny change
    assert Patch().violation(clean, perturbed, AREA).tolist() == [-3, 0, 5, 1]


# Promising positions


def test_patch_gain_is_exact_for_a_linear_model():
    source = torch.Generator().manual_seed(0)
    pixels, gradient = torch.rand((5, 2, 7, 6), generator=source), torch.randn((5, 2, 7, 6), generator=source)
    patch = torch.rand((2, 3, 3), generator=source)
    gain, best = patch_gain(pixels, gradient, patch), best_patch_gain(pixels, gradient, 3, (0, 1))
    assert gain.shape == best.shape == (5, 5, 4)
    for row in range(5):
        for column in range(4):
            corners = torch.tensor([[row, column]]).expand(5, 2)
            perturbed = apply_patch(pixels, patch, corners)
            assert torch.allclose(gain[:, row, column], ((perturbed - pixels) * gradient).sum(dim=(1, 2, 3)), atol=1e-5)
            window = apply_patch(pixels, torch.full((2, 3, 3), 2.0), corners) == 2
            ideal = torch.where(window, (gradient > 0).float(), pixels)
            assert torch.allclose(best[:, row, column], ((ideal - pixels) * gradient).sum(dim=(1, 2, 3)), atol=1e-5)


def test_corners_are_ranked_by_gain_with_close_ones_last():
    gain = torch.zeros(1, 5, 5)
    gain[0, 1, 1], gain[0, 1, 2], gain[0, 4, 4] = 3, 2, 1
    order = rank_corners(gain, 100, 2)[0].tolist()
    assert order[:2] == [[1, 1], [4, 4]]
    assert len(order) == len({tuple(place) for place in order}) == 25
    apart = [place for place in order if place == [1, 2]]
    assert apart and order.index([1, 2]) > 2
    assert rank_corners(torch.full((1, 3, 3), torch.nan), 4, 1).shape == (1, 4, 2)


# The universal patch


def test_all_samples_get_the_same_patch_at_their_own_positions(patch, problem):
    pixels, targets = first(64)
    perturbed = checked(patch, pixels, patch.perturb(problem, pixels, targets, AREA, range(64)))
    corners = random_corners(pixels, 3, as_seeds(range(64)))
    patches = {perturbed[i, :, r : r + 3, c : c + 3].numpy().tobytes() for i, (r, c) in enumerate(corners.tolist())}
    assert len(patches) == 1
    assert len({tuple(corner) for corner in corners.tolist()}) > 20


def test_a_trained_patch_is_stronger_than_grey_and_random_patches(patch, problem):
    pixels, targets = first(400)
    perturbed = {"trained": patch.perturb(problem, pixels, targets, AREA, range(400))}
    perturbed |= {name: control(pixels, AREA, range(400)) for name, control in patch.controls().items()}
    counts = {name: correct(problem, checked(patch, pixels, one), targets) for name, one in perturbed.items()}
    assert set(counts) == {"trained", "random", "grey"}
    assert counts["trained"] < min(counts["random"], counts["grey"]) - 40, counts


def test_searched_positions_are_stronger_and_all_positions_strongest(patch, problem):
    pixels, targets = first(200)
    searches = [patch, replace(patch, position="search", places=4), replace(patch, position="search", places=100)]
    left = [correct(problem, p.perturb(problem, pixels, targets, AREA, range(200)), targets) for p in searches]
    everywhere = torch.zeros(200, dtype=torch.bool)
    for row in range(6):
        for column in range(6):
            perturbed = apply_patch(pixels, patch._patches[0][1], torch.tensor([[row, column]]).expand(200, 2))
            everywhere |= problem.outcome(perturbed, targets).bool()
    assert left[0] > left[1] > left[2] == 200 - int(everywhere.sum())


def test_a_patch_at_a_fixed_corner_changes_only_its_square(problem, samples):
    attack = Patch(area=(AREA,), steps=20, restarts=1, position=[3, 2]).fit(problem, lambda: samples, seed=0)
    pixels, targets = first(50)
    perturbed = attack.perturb(problem, pixels, targets, AREA, range(50))
    inside = torch.zeros(8, 8, dtype=torch.bool)
    inside[3:6, 2:5] = True
    assert torch.equal(perturbed[..., ~inside], pixels[..., ~inside])
    assert perturbed[..., inside].unique(dim=0).shape[0] == 1


def test_the_restart_that_is_best_on_held_out_samples_is_kept(problem, samples):
    attack = Patch(area=(AREA,), steps=5, restarts=4)
    scores = {}

    class Watched(Patch):
        def _score(self, *arguments):
            scores[arguments[1].numpy().tobytes()] = super()._score(*arguments)
            return scores[arguments[1].numpy().tobytes()]

    kept = Watched(**{name: getattr(attack, name) for name in ("area", "steps", "restarts")}).fit(
        problem, lambda: samples, seed=0
    )
    assert len(set(scores.values())) == 4
    assert scores[kept._patches[0][1].numpy().tobytes()] == max(scores.values())


def test_transformed_patches_stay_in_the_square_and_the_bounds():
    pixels = torch.full((400, 1, 12, 12), 0.5)
    numbers = uniform(as_seeds(range(400)), 7, (5,)).double()
    patch = torch.rand((1, 5, 5), generator=torch.Generator().manual_seed(0)) * 0.3 + 0.6
    attack = Patch(area=(25 / 144,), position=(4, 3), scale=0.6, brightness=0.3)
    views = attack.transformed(pixels, patch, numbers, (0.0, 1.0))
    inside = torch.zeros(12, 12, dtype=torch.bool)
    inside[4:9, 3:8] = True
    assert (views[..., ~inside] == 0.5).all() and views.min() >= 0 and views.max() == 1
    assert (attack.violation(pixels, views, attack.area[0]) <= 0).all()
    widths = (views != 0.5).any(dim=1).any(dim=1).sum(dim=1)
    assert set(widths.tolist()) == {3, 4, 5}
    means = torch.stack([view[view != 0.5].mean() for view in views])
    assert means.min() < 0.5 < patch.mean() < 0.9 < means.max()
    free = replace(attack, position="random").transformed(pixels, patch, numbers, (0.0, 1.0))
    assert (attack.violation(pixels, free, attack.area[0]) <= 0).all()
    assert (free != 0.5).any(dim=0).all()


def test_with_a_random_position_training_covers_the_whole_image(samples):
    """A bright patch works in the left half and a dark one in the right half; on average bright is better."""
    signs = torch.tensor([2.0, 2, 2, 2, -1, -1, -1, -1]).expand(8, 8)

    def model(pixels):
        return torch.stack([torch.full((len(pixels),), 5.0), ((pixels - 0.5) * signs).sum(dim=(1, 2, 3))], dim=1)

    pixels, targets = torch.full((64, 1, 8, 8), 0.5), torch.zeros(64, dtype=torch.long)
    trained = {}
    for position in ("random", (2, 5), (2, 0)):
        attack = Patch(area=(AREA,), steps=30, restarts=1, position=position, loss="margin")
        trained[position] = attack.fit(problem_of(model), lambda: (pixels, targets), seed=0)._patches[0][1].mean()
    assert trained["random"] > 0.95 and trained[2, 0] > 0.95 and trained[2, 5] < 0.05, trained


def test_training_is_reproducible(problem, samples):
    patches = [
        Patch(area=(AREA,), steps=5, restarts=1).fit(problem, lambda: samples, seed=seed)._patches[0][1]
        for seed in (0, 0, 1)
    ]
    assert torch.equal(patches[0], patches[1])
    assert not torch.equal(patches[0], patches[2])


def test_training_leaves_gradients_and_global_generators_unchanged(net, problem, samples):
    before = torch.get_rng_state()
    Patch(area=(AREA,), steps=2).fit(problem, lambda: samples, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(p.grad is None for p in net.module.parameters())


def test_training_skips_samples_with_nonfinite_gradients(net, samples):
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, pixels):
            return pixels.clone()

        @staticmethod
        def backward(ctx, gradient):
            return torch.where(torch.arange(len(gradient))[:, None, None, None] < poisoned, torch.nan, gradient)

    problem = problem_of(lambda pixels: net(Poison.apply(pixels)))
    attack = Patch(area=(AREA,), steps=5, restarts=1)
    poisoned = 3
    assert torch.isfinite(attack.fit(problem, lambda: samples, seed=0)._patches[0][1]).all()
    poisoned = 1000
    with pytest.raises(AttackError, match="NaN or infinite"):
        attack.fit(problem, lambda: samples, seed=0)


# The image-specific patch


@pytest.mark.parametrize("position", ["search", "random", (2, 3)], ids=str)
def test_image_specific_patches_are_stronger_than_the_universal_one(problem, samples, position):
    pixels, targets = first(150)
    general = Patch(area=(AREA,), steps=30, restarts=1, position=position).fit(problem, lambda: samples, seed=0)
    own = ImagePatch(area=(AREA,), position=position, tries=8)
    perturbed = checked(own, pixels, own.perturb(problem, pixels, targets, AREA, range(150)))
    left = [
        correct(problem, m, targets) for m in (general.perturb(problem, pixels, targets, AREA, range(150)), perturbed)
    ]
    assert left[1] < left[0] - (10 if position != "search" else 0), left
    if position != "search":
        allowed = apply_patch(pixels, torch.full((1, 3, 3), 2.0), own.corners(pixels, 3, range(150))) == 2
        assert torch.equal(perturbed[~allowed], pixels[~allowed])


def test_image_patch_is_optimal_on_a_linear_model():
    weight = torch.randn(64, generator=torch.Generator().manual_seed(3))
    problem = problem_of(lambda pixels: torch.stack([pixels.flatten(1) @ weight + 100, torch.zeros(len(pixels))], 1))
    pixels, targets = first(20)[0], torch.zeros(20, dtype=torch.long)
    attack = ImagePatch(area=(AREA,), loss="margin", tries=2)
    perturbed = attack.perturb(problem, pixels, targets, AREA, range(20))
    drop = ((pixels - perturbed) * weight.view(8, 8)).sum(dim=(1, 2, 3))
    best = best_patch_gain(pixels, -weight.view(1, 1, 8, 8).expand_as(pixels), 3, (0, 1)).flatten(1).amax(dim=1)
    assert torch.allclose(drop, best, atol=1e-4)


def test_more_tries_and_steps_are_at_least_as_strong(problem):
    pixels, targets = first(100)
    attack = ImagePatch(area=(0.07,), tries=1, steps=4)
    left = [
        correct(problem, a.perturb(problem, pixels, targets, 0.07, range(100)), targets)
        for a in (attack, replace(attack, tries=8), replace(attack, tries=8).with_double_steps())
    ]
    assert left[0] > left[1] >= left[2] - 1, left
    assert attack.with_double_steps().steps == 8


# Targeted attacks


def attacks_to_goal(problem, samples):
    return {
        "universal": Patch(area=(BIG,), goal=GOAL, position=(2, 2), steps=40, restarts=1).fit(
            problem, lambda: samples, seed=0
        ),
        "per image": ImagePatch(area=(BIG,), goal=GOAL, tries=8).fit(problem, lambda: samples, seed=0),
    }


@pytest.mark.parametrize("which", ["universal", "per image"])
def test_the_target_class_is_predicted_far_more_often_than_under_controls(problem, samples, which):
    pixels, targets = first(200)
    attack = attacks_to_goal(problem, samples)[which]
    perturbed = {"goal": attack.perturb(problem, pixels, targets, BIG, range(200))}
    perturbed |= {name: control(pixels, BIG, range(200)) for name, control in attack.controls().items()}
    counts = {
        n: int(attack.succeeded(problem, checked(attack, pixels, m, BIG), targets).sum()) for n, m in perturbed.items()
    }
    assert set(counts) == {"goal", "random", "grey", "example"}
    assert counts["goal"] > max(counts["random"], counts["grey"], counts["example"]) + 20, counts


def test_success_counts_samples_of_other_classes_predicted_as_the_target():
    predictions = torch.tensor([8, 8, 3, 8, 1])
    problem = problem_of(lambda pixels: nn.functional.one_hot(predictions, 10).float())
    targets = torch.tensor([1, 8, 3, 4, 5])
    pixels = torch.zeros(5, 1, 8, 8)
    assert Patch(goal=8).succeeded(problem, pixels, targets).tolist() == [1, 0, 0, 1, 0]
    assert Patch().succeeded(problem, pixels, targets).tolist() == [1, 0, 0, 1, 1]


def test_the_example_is_a_center_crop_of_a_training_image_of_the_target_class(problem, samples):
    attack = attacks_to_goal(problem, samples)["per image"]
    example = attack.controls()["example"](torch.full((1, 1, 8, 8), 2.0), BIG, [0])
    cut = example[example != 2].view(4, 4)
    pixels, targets = samples
    assert any(torch.equal(cut, center_crop(image, 4)[0]) for image in pixels[targets == GOAL])
    with pytest.raises(AttackError, match="goal=11"):
        ImagePatch(goal=11).fit(problem, lambda: samples, seed=0)


# Both kinds of patch


def both(problem, samples):
    universal = Patch(area=(AREA,), steps=2, restarts=2).fit(problem, lambda: samples, seed=0)
    return [
        universal,
        replace(universal, position="search", places=6),
        ImagePatch(area=(AREA,), tries=2, steps=3),
        ImagePatch(area=(AREA,), tries=2, steps=3, position="random", goal=GOAL),
    ]


def test_result_does_not_depend_on_batch_size_or_order(net, samples):
    pixels, targets = first(15)
    order = torch.randperm(15, generator=torch.Generator().manual_seed(0))
    results = []
    for size in (1, 7, 256):
        problem = problem_of(net, batch_size=size)
        results.append([a.perturb(problem, pixels, targets, AREA, range(15)) for a in both(problem, samples)])
    for attack, *perturbed in zip(both(problem_of(net), samples), *results, strict=True):
        assert torch.equal(perturbed[0], perturbed[1]) and torch.equal(perturbed[0], perturbed[2])
        shuffled = attack.perturb(problem_of(net), pixels[order], targets[order], AREA, order)
        assert torch.equal(shuffled, perturbed[0][order])


def test_an_affine_change_of_the_logits_hardly_changes_the_result(net, samples):
    pixels, targets = first(200)
    for scale, shift in ((1e5, 0.0), (1e-4, 50.0)):
        left = []
        for model in (net, lambda x, scale=scale, shift=shift: net(x).double() * scale + shift):
            problem = problem_of(model)
            attack = Patch(area=(AREA,), steps=20, restarts=1).fit(problem, lambda: samples, seed=0)
            left.append(correct(problem, attack.perturb(problem, pixels, targets, AREA, range(200)), targets))
        assert abs(left[0] - left[1]) <= 4, left


def test_all_passes_are_counted(net, samples):
    passes = []

    def counting(pixels):
        passes.append(len(pixels))
        return net(pixels)

    problem = problem_of(counting)
    for attack in both(problem, samples):
        attack.perturb(problem, *first(20), AREA, range(20))
    assert problem.passes.forward == sum(passes)
    assert 0 < problem.passes.backward < problem.passes.forward


def test_controls_have_the_position_of_the_patch_and_the_named_contents(patch, problem):
    pixels, targets = first(30)
    pixels = pixels * 0 + 2.0  # a value that no patch has, so that every covered pixel is detected
    covered = patch.perturb(problem, pixels, targets, AREA, range(30)) != pixels
    controls = {name: control(pixels, AREA, range(30)) for name, control in patch.controls().items()}
    for perturbed in controls.values():
        assert torch.equal(perturbed != pixels, covered)
    assert (controls["grey"][covered] == GREY).all()
    assert controls["random"][covered].view(30, 9).unique(dim=0).shape == (1, 9)


def test_an_empty_batch_is_accepted(patch, problem):
    pixels, targets = first(5)
    for attack in (patch, replace(patch, position="search"), ImagePatch(area=(AREA,))):
        assert attack.perturb(problem, pixels[:0], targets[:0], AREA, []).shape == (0, 1, 8, 8)


REFUSED = {
    "no samples": (lambda net, x, y: Patch().fit(problem_of(net), lambda: (x[:0], y[:0]), seed=0), "the task has none"),
    "detached": (
        lambda net, x, y: Patch().fit(problem_of(lambda z: net(z).detach()), lambda: (x, y), seed=0),
        "no gradient",
    ),
    "unfitted": (lambda net, x, y: Patch().perturb(problem_of(net), x, y, 0.05, range(len(x))), "call fit"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_cases_are_errors(net, samples, case):
    act, message = REFUSED[case]
    with pytest.raises(AttackError, match=message):
        act(net, *samples)


NONSENSE = [
    {"area": (1.0,)},
    {"area": (0.2, 0.1)},
    {"steps": 0},
    {"scale": 0.0},
    {"brightness": 1.0},
    {"position": "corner"},
    {"position": (1,)},
    {"position": (-1, 2)},
    {"goal": -1},
    {"goal": 1.5},
]


@pytest.mark.parametrize("fields", NONSENSE, ids=str)
def test_invalid_options_are_rejected(fields):
    with pytest.raises(SpecError):
        Patch(**fields)
    with pytest.raises(SpecError):
        ImagePatch(tries=0)
