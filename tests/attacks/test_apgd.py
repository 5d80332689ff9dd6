"""APGD, its targeted form, and attacks with one target class."""

import math
from dataclasses import replace

import pytest
import torch

from suite.attacks.constraints import constraint
from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate
from suite.attacks.images.apgd import APGD, AutoSteps, checkpoints
from suite.attacks.images.gradient import FGSM, PGD, targeted
from suite.errors import AttackError, SpecError
from suite.kinds.classification.kind import Classification
from suite.registry import resolve
from tests.attacks.digits import Linear, NanBackward, first, trained

EPS = {"linf": 0.1, "l2": 0.6, "l1": 3.0, "l0": 4.0}
TARGETED = {"fgsm": FGSM, "pgd": PGD, "apgd": APGD}


def problem_of(model, batch_size=256):
    return Problem.of(Classification().kind(), model, batch_size=batch_size)


@pytest.fixture
def problem(net):
    return problem_of(net)


def attacked(attack, problem, pixels, targets, eps, seeds=None):
    """Return adversarial inputs, and which are misclassified according to the validation."""
    seeds = torch.arange(len(pixels)) if seeds is None else seeds
    perturbed = attack.perturb(problem, pixels, targets, eps, seeds)
    return perturbed, validate(problem, attack, pixels, perturbed, targets, eps).bool()


def linear_task(seed, count=200, size=16):
    """Return a linear model and samples far from the bounds, with margins in reach of the attack."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, generator=source)
    pixels = 0.5 + 0.1 * (torch.rand(count, 1, 4, 4, generator=source) - 0.5)
    model = Linear(weight, -0.5 * float(weight.sum()))
    return model, pixels, (model(pixels)[:, 1] > 0).long()


def test_checkpoints_match_the_paper():
    assert sorted(checkpoints(100)) == [22, 41, 57, 70, 80, 87, 93, 99]
    shares = [0.0, 0.22]
    while shares[-1] < 1:
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    for steps in (1, 7, 20, 50, 100, 333, 1000):
        expected = {math.ceil(share * steps - 1e-9) for share in shares[1:] if share < 1}
        assert checkpoints(steps) == expected


def steps_of(count, length=1.0):
    """Return the step rule for samples of one pixel each."""
    return AutoSteps.begin(torch.zeros(count, 1), torch.full((count,), length), Budget(100, first=1.0))


def test_step_size_is_halved_if_fewer_than_three_quarters_of_the_steps_rise():
    steps, paths = steps_of(2), torch.tensor([[0.0, 1, 2, 3, 2.5], [0.0, 1, 2, 1.9, 1.8]]).double()
    for place, losses in enumerate(paths.T):
        steps.update(torch.full((2, 1), float(place)), torch.full((2, 1), 10.0 + place), lambda losses=losses: losses)
    point, gradient = steps.check(torch.full((2, 1), 4.0), torch.full((2, 1), 14.0), torch.tensor([4, 4]))
    assert steps.length.tolist() == [1, 0.5]
    assert point.tolist() == [[4], [2]]  # the second returns to its best point and the gradient there
    assert gradient.tolist() == [[14], [12]]
    assert steps.last.tolist() == [2.5, 2.0]
    assert steps.halved.tolist() == [False, True] and steps.rises.tolist() == [0, 0]


def test_step_size_is_halved_without_a_new_best_unless_just_halved():
    steps = steps_of(2)
    here, slope = torch.zeros(2, 1), torch.ones(2, 1)
    steps.update(here, slope, lambda: torch.tensor([9.0, 9.0]).double())
    steps.update(here, slope, lambda: torch.tensor([0.0, 9.5]).double())
    steps.check(here, slope, torch.tensor([1, 1]))
    assert steps.length.tolist() == [0.5, 1]  # the loss of the first fell
    for losses in ([1.0, 1.0], [2.0, 2.0], [3.0, 3.0], [4.0, 4.0], [5.0, 5.0]):
        steps.update(here, slope, lambda losses=losses: torch.tensor(losses).double())
    assert steps.rises.tolist() == [4, 4]  # enough, but neither has exceeded its best
    steps.check(here, slope, torch.tensor([5, 5]))
    assert steps.length.tolist() == [0.5, 0.5]


def test_only_samples_at_a_checkpoint_are_checked():
    steps, here = steps_of(3), torch.zeros(3, 1)
    steps.update(here, here, lambda: torch.tensor([9.0, 9.0, 9.0]).double())
    steps.update(here, here, lambda: torch.tensor([0.0, 0.0, 0.0]).double())
    steps.update(here + 1, here + 1, lambda: torch.tensor([1.0, 1.0, 1.0]).double())
    point, _ = steps.check(here + 1, here + 1, torch.tensor([0, 22, 0]))
    assert steps.length.tolist() == [1, 0.5, 1] and steps.halved.tolist() == [False, True, False]
    assert point[:, 0].tolist() == [1, 0, 1] and steps.rises.tolist() == [1, 0, 1]


def test_steps_after_the_first_have_momentum():
    rule, clean, eps = constraint("linf", (-100.0, 100.0)), torch.zeros(1, 1), torch.full((1,), 50.0)
    steps, slope = steps_of(1, 8.0), torch.ones(1, 1)
    one = steps.step_from(torch.tensor([0]), rule, clean, slope, clean, eps)
    two = steps.step_from(torch.tensor([1]), rule, one, -slope, clean, eps)
    three = steps.step_from(torch.tensor([2]), rule, two, slope, clean, eps)
    assert one.item() == 8
    assert two.item() == 8 - 0.75 * 8 + 0.25 * 8
    assert three.item() == 4 + 0.75 * 8 + 0.25 * (4 - 8)


@pytest.mark.parametrize("loss", ["margin", "scaled_ce"])
def test_halved_steps_climb_higher_on_a_narrow_ridge(monkeypatch, loss):
    def ridge(pixels):
        height = pixels[:, 0] - 30 * (pixels[:, 1] - 0.5).abs() - 10
        return torch.stack([torch.zeros_like(height), height], dim=1)

    def climbed():
        search = Search.of(torch.full((5, 2), 0.5), torch.zeros(5).long(), 0.3, torch.arange(5))
        maximize(problem_of(ridge), search, constraint("l2"), Budget(100, loss, first=2.0, step_rule=AutoSteps.begin))
        return search.score

    halved = climbed()
    monkeypatch.setattr(AutoSteps, "check", lambda self, point, gradient, taken: (point, gradient))
    assert (halved > climbed() + 0.05).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("target", [{}, {"goals": 1}, {"goal": 1}], ids=["any", "rival", "goal"])
def test_robust_accuracy_on_a_linear_model_matches_the_closed_form(norm, seed, target):
    model, pixels, targets = linear_task(seed)
    if "goal" in target:
        pixels, targets = pixels[targets == 0], targets[targets == 0]
    margin = (2 * model(pixels)[:, 1]).abs()
    dual = float(model.weight.abs().sum() if norm == "linf" else model.weight.norm())
    for share in (0.2, 0.5, 0.8):
        eps = float(margin.quantile(share)) / dual
        clear = (margin - eps * dual).abs() > 1e-4 * margin.max()
        attack = APGD(eps=(eps,), norm=norm, **{"steps": 30, "loss": "margin"} | target)
        _, misclassified = attacked(attack, problem_of(model), pixels, targets, eps)
        assert torch.equal(misclassified[clear], (margin < eps * dual)[clear])
        assert clear.float().mean() > 0.95


@pytest.mark.parametrize("norm", EPS)
def test_apgd_respects_every_norm_and_is_stronger_than_noise(problem, norm):
    pixels, targets = first(100)
    attack = APGD(eps=(EPS[norm],), norm=norm, steps=30)
    _, misclassified = attacked(attack, problem, pixels, targets, EPS[norm])
    noise = attack.controls()["random"](pixels, EPS[norm], torch.arange(100))
    by_chance = validate(problem, attack, pixels, noise, targets, EPS[norm])
    assert misclassified.sum() > by_chance.sum() + 20
    _, by_pgd = attacked(PGD(eps=(EPS[norm],), norm=norm, steps=30, restarts=1), problem, pixels, targets, EPS[norm])
    assert misclassified.sum() >= by_pgd.sum() - (6 if norm == "l0" else 2)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(("goals", "count", "steps"), [(0, 150, 100), (3, 80, 40)], ids=["untargeted", "targeted"])
def test_apgd_is_as_strong_as_autoattack_at_equal_steps_with_fewer_passes(net, norm, goals, count, steps):
    base = pytest.importorskip("pyautoattack.autopgd_base")
    pixels, targets = first(count)
    problem = problem_of(net)
    attack = APGD(eps=(EPS[norm],), norm=norm, goals=goals, steps=steps)
    _, misclassified = attacked(attack, problem, pixels, targets, EPS[norm])
    passes = []

    def counted(x):
        passes.append(len(x) * (2 if x.requires_grad else 1))
        return net(x)

    kwargs = {"n_iter": steps, "norm": norm.capitalize(), "eps": EPS[norm], "seed": 0, "device": "cpu"}
    with torch.random.fork_rng(devices=[]):
        if goals:
            theirs = base.APGDAttack_targeted(counted, n_target_classes=goals, **kwargs)
        else:
            theirs = base.APGDAttack(counted, loss="ce", **kwargs)
        adversarial = theirs.perturb(pixels.clone(), targets.clone()).detach()
    left = [float((~misclassified).float().mean()), float((net(adversarial).argmax(dim=1) == targets).float().mean())]
    assert left[0] <= left[1] + 2 / count + 1e-6, left
    assert 0.1 < left[0] < 0.9
    assert problem.passes.total < sum(passes)


@pytest.mark.parametrize("attack", [APGD(steps=6), APGD(steps=3, goals=2), APGD(steps=4, goal=3), PGD(steps=3, goal=3)])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_result_does_not_depend_on_batch_size_or_order(net, attack, norm):
    pixels, targets = first(24)
    attack, seeds = replace(attack, norm=norm), torch.arange(24)
    whole = attack.perturb(problem_of(net), pixels, targets, EPS[norm], seeds)
    for size in (1, 7):
        assert torch.equal(attack.perturb(problem_of(net, size), pixels, targets, EPS[norm], seeds), whole), size
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = attack.perturb(problem_of(net, 7), pixels[order], targets[order], EPS[norm], seeds[order])
    assert torch.equal(shuffled, whole[order])


def test_equal_seeds_reproduce_and_other_seeds_differ(problem):
    pixels, targets = first(20)
    attack, seeds = APGD(steps=3), torch.arange(20)
    once, again, other = (attack.perturb(problem, pixels, targets, 0.03, used) for used in (seeds, seeds, seeds + 20))
    assert torch.equal(once, again)
    assert (once != other).flatten(1).any(dim=1).float().mean() > 0.5


def test_misclassified_samples_leave_the_batch_and_others_cost_two_passes_per_step(net):
    pixels, targets = first(60)
    sizes = []

    def counted(x):
        sizes.append(len(x))
        return net(x)

    problem = problem_of(counted)
    perturbed = APGD(steps=10).perturb(problem, pixels, targets, 0.1, torch.arange(60))
    remaining = int((problem_of(net).outcome(perturbed, targets) == 0).sum())
    assert len(sizes) == 11 and sizes[0] == 60
    assert sizes == sorted(sizes, reverse=True)
    assert remaining <= sizes[-1] < 60
    assert problem.passes.forward == sum(sizes) and problem.passes.backward == sum(sizes[:-1])


def test_target_classes_are_the_nearest_rivals_of_the_clean_sample(net):
    pixels, targets = first(40)
    correct = net(pixels).argmax(dim=1) == targets
    pixels, targets, plain, classes = pixels[correct], targets[correct], problem_of(net), []

    def loss(output, truth, name, target_classes):
        if target_classes is not None and (not classes or not torch.equal(classes[-1], target_classes)):
            classes.append(target_classes)
        return plain.loss(output, truth, name, target_classes)

    APGD(steps=2, goals=3).perturb(replace(plain, loss=loss), pixels, targets, 1e-4, torch.arange(len(pixels)))
    assert len(classes) == 1
    assert torch.equal(classes[0].view(-1, 3), plain.rivals(net(pixels), targets, 3))


def test_more_target_classes_than_exist_are_accepted():
    model, pixels, targets = linear_task(0, count=20)
    attack = APGD(goals=9, loss="margin", steps=5)
    _, misclassified = attacked(attack, problem_of(model), pixels, targets, 0.05)
    assert misclassified.any()
    assert len(attack.perturb(problem_of(model), pixels[:0], targets[:0], 0.05, torch.arange(0))) == 0


@pytest.mark.parametrize("name", TARGETED)
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_target_class_is_reached_and_its_samples_are_unchanged(problem, net, name, norm):
    pixels, targets = first(120)
    attack = TARGETED[name](eps=(EPS[norm],), norm=norm, goal=8)
    eps = 2 * EPS[norm]
    perturbed, _ = attacked(attack, problem, pixels, targets, eps)
    assert torch.equal(perturbed[targets == 8], pixels[targets == 8]) and (targets == 8).any()
    reached = (net(perturbed).argmax(dim=1) == 8) & (targets != 8)
    assert torch.equal(attack.succeeded(problem, perturbed, targets), reached)
    untargeted = TARGETED[name](eps=(EPS[norm],), norm=norm)
    by_chance, misclassified = attacked(untargeted, problem, pixels, targets, eps)
    assert torch.equal(untargeted.succeeded(problem, by_chance, targets), misclassified)
    before = (net(by_chance).argmax(dim=1) == 8) & (targets != 8)
    assert reached.sum() > before.sum() + 30, (reached.sum(), before.sum())


def test_a_targeted_attack_returns_the_point_with_the_highest_target_margin(net):
    pixels, targets = first(30)
    plain, outputs = problem_of(net), []

    def forward(x):
        output = net(x)
        outputs.append(output.detach())
        return output

    perturbed = PGD(steps=6, restarts=2, stop=False, goal=8).perturb(
        problem_of(forward), pixels, targets, 0.05, torch.arange(30)
    )
    margins = -torch.stack([plain.loss(output, torch.full((len(output),), 8), "margin", None) for output in outputs])
    rows = targets != 8
    reached = -plain.loss(net(perturbed[rows]), torch.full((int(rows.sum()),), 8), "margin", None)
    torch.testing.assert_close(reached, margins.amax(dim=0))


def test_a_third_class_is_not_a_targeted_success():
    output, targets = torch.tensor([[0.0, 3.0, 5.0], [0.0, 5.0, 3.0]]), torch.tensor([0, 0])
    problem = targeted(problem_of(lambda x: output), 1)
    assert problem.misclassified(output, targets).tolist() == [False, True]
    assert problem.loss(output, targets, "margin", None).tolist() == [-2, 2]


def test_an_unknown_target_class_is_an_error(problem):
    pixels, targets = first(2)
    with pytest.raises(AttackError, match="goal=10, but the model has 10 classes"):
        PGD(goal=10).perturb(problem, pixels, targets, 0.1, torch.arange(2))


@pytest.mark.parametrize("goals", [0, 2])
def test_a_nonfinite_gradient_or_output_is_an_error(net, goals):
    pixels, targets = first(4)
    attack = APGD(steps=3, goals=goals)
    with pytest.raises(AttackError, match="gradient of 1 of 4"):
        attack.perturb(problem_of(lambda x: net(NanBackward.apply(x))), pixels, targets, 1e-4, torch.arange(4))
    with pytest.raises(AttackError, match="no gradient exists"):
        attack.perturb(problem_of(lambda x: net(x).detach()), pixels, targets, 1e-4, torch.arange(4))
    with pytest.raises(AttackError, match="output of 4 of 4"):
        attack.perturb(problem_of(lambda x: net(x) * torch.nan), pixels, targets, 1e-4, torch.arange(4))


def test_inputs_are_unchanged_and_outputs_have_no_graph():
    model, (pixels, targets) = trained(), first(10)
    before = pixels.clone()
    with model.frozen():
        for attack in (APGD(steps=3), APGD(steps=3, goal=1), FGSM(goal=1)):
            perturbed = attack.perturb(problem_of(model), pixels, targets, 0.1, torch.arange(10))
            assert torch.equal(pixels, before)
            assert not pixels.requires_grad and not perturbed.requires_grad


def test_the_spec_builds_apgd_with_its_default_loss():
    entry, spec = resolve("attack", "apgd(goals=9, eps=[0.1], norm=l2)")
    assert entry.build(spec) == APGD(goals=9, eps=(0.1,), norm="l2", loss="dlr")
    assert APGD().loss == "scaled_ce" and APGD(loss="ce", goals=2).loss == "ce"
    assert APGD(steps=7, goals=3).with_double_steps() == APGD(steps=14, goals=3)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"restarts": 0},
        {"goals": -1},
        {"goal": -1},
        {"goal": True},
        {"goal": "8"},
        {"goal": 1, "goals": 2},
    ],
    ids=str,
)
def test_invalid_options_are_rejected(options):
    with pytest.raises(SpecError):
        APGD(**options)
    if options.keys() == {"goal"}:
        for attack in (FGSM, PGD):
            with pytest.raises(SpecError, match="index of a class"):
                attack(**options)
