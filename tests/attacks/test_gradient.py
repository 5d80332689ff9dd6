"""FGSM and PGD: exact on linear models, strong, reproducible, and independent of the batch."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from suite.attacks.constraints import ball_norms, constraint
from suite.attacks.engine.validation import validate
from suite.attacks.images.gradient import FGSM, PGD
from suite.attacks.rng import as_seeds
from suite.errors import AttackError, ModelError, SpecError
from suite.models.base import TorchClassifier
from tests.attacks.digits import Linear, NanBackward, first, problem_of, trained

NORMS = ball_norms()

EPS = {"linf": 0.1, "l2": 0.6, "l1": 4.0, "l0": 3}
DENSE = ("linf", "l2")
"""The norms in which a single full step is optimal on a linear model."""
ATTACKS = {"fgsm": FGSM, "pgd": PGD}


def seeds(count, first=0):
    return as_seeds(range(first, first + count))


def linear_task(seed, count=200, size=16):
    """Return a linear model and samples far from the bounds, with margins in reach of the attack."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, generator=source)
    pixels = 0.5 + 0.1 * (torch.rand(count, 1, 4, 4, generator=source) - 0.5)
    model = Linear(weight, -0.5 * float(weight.sum()))
    return model, pixels, (model(pixels)[:, 1] > 0).long()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", DENSE)
@pytest.mark.parametrize("seed", range(3))
def test_robust_accuracy_on_a_linear_model_matches_the_closed_form(attack, norm, seed):
    model, pixels, targets = linear_task(seed)
    margin = (2 * model(pixels)[:, 1]).abs()
    dual = float(model.weight.abs().sum() if norm == "linf" else model.weight.norm())
    problem = problem_of(model)
    for share in (0.2, 0.5, 0.8):
        eps = float(margin.quantile(share)) / dual
        clear = (margin - eps * dual).abs() > 1e-4 * margin.max()
        adversarial = ATTACKS[attack](eps=(eps,), norm=norm).perturb(problem, pixels, targets, eps, seeds(len(pixels)))
        misclassified = validate(problem, ATTACKS[attack](eps=(eps,), norm=norm), pixels, adversarial, targets, eps)
        assert torch.equal(misclassified[clear], (margin < eps * dual)[clear].float())
        assert clear.float().mean() > 0.95


@pytest.mark.parametrize("norm", DENSE)
def test_pgd_is_at_least_as_strong_as_fgsm_and_stronger_than_noise(problem, norm):
    pixels, targets = first(200)
    correct = {}
    for name, attack in ATTACKS.items():
        perturbed = attack(eps=(EPS[norm],), norm=norm).perturb(problem, pixels, targets, EPS[norm], seeds(200))
        correct[name] = 200 - int(problem.outcome(perturbed, targets).sum())
    noise = PGD(eps=(EPS[norm],), norm=norm).controls()["random"](pixels, EPS[norm], seeds(200))
    assert constraint(norm).size(noise.double() - pixels.double()).max() > 0.9 * EPS[norm]
    correct["random"] = 200 - int(problem.outcome(noise, targets).sum())
    assert correct["pgd"] <= correct["fgsm"]
    assert correct["fgsm"] < correct["random"] - 40


@pytest.mark.parametrize("eps", [0.06, 0.1, 0.15])
def test_pgd_is_at_least_as_strong_as_torchattacks_at_equal_passes(net, problem, eps):
    import torchattacks

    pixels, targets = first(400)
    ours = PGD(steps=20, restarts=2).perturb(problem, pixels, targets, eps, seeds(400))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torchattacks.PGD(net.module, eps=eps, alpha=0.02, steps=40)(pixels, targets)
    left = [400 - int(problem.outcome(perturbed, targets).sum()) for perturbed in (ours, theirs)]
    assert left[0] <= left[1] + 4, left


def size_of(delta, norm):
    """Return norms, computed independently of the code under test."""
    flat = delta.flatten(1)
    if norm == "l0":
        return delta.ne(0).any(dim=1).flatten(1).sum(dim=1).double()
    return {"linf": flat.abs().amax(dim=1), "l2": flat.square().sum(dim=1).sqrt(), "l1": flat.abs().sum(dim=1)}[norm]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_bounds_and_norm_hold_for_many_random_cases(attack, norm):
    source = torch.Generator().manual_seed(7)
    for case in range(40):
        model, _, _ = linear_task(case)
        pixels = torch.rand(8, 1, 4, 4, generator=source).round(decimals=int(case % 3))
        targets = torch.randint(2, (8,), generator=source)
        eps = float(10 ** (torch.rand((), generator=source) * 4 - 3)) + (norm == "l0")
        value = ATTACKS[attack](eps=(eps,), norm=norm)
        perturbed = value.perturb(problem_of(model), pixels, targets, eps, seeds(8, case))
        validate(problem_of(model), value, pixels, perturbed, targets, eps)
        assert 0 <= perturbed.min() and perturbed.max() <= 1
        assert size_of(perturbed.double() - pixels.double(), norm).max() <= eps * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_result_does_not_depend_on_the_rest_of_the_batch(problem, norm, stop):
    pixels, targets = first(32)
    attack = PGD(eps=(EPS[norm],), norm=norm, steps=4, restarts=2, stop=stop)

    def in_batches(size, order):
        adversarial = torch.empty_like(pixels)
        for rows in order.split(size):
            adversarial[rows] = attack.perturb(problem, pixels[rows], targets[rows], EPS[norm], as_seeds(rows))
        return adversarial

    whole = in_batches(100, torch.arange(32))
    shuffled = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    for size in (1, 7, 64):
        assert torch.equal(in_batches(size, torch.arange(32)), whole), size
    assert torch.equal(in_batches(7, shuffled), whole)


def test_equal_seeds_reproduce_and_other_seeds_differ(problem):
    pixels, targets = first(20)
    attack = PGD(steps=3, stop=False)
    once, again, other = (attack.perturb(problem, pixels, targets, 0.05, seeds(20, begin)) for begin in (0, 0, 20))
    assert torch.equal(once, again)
    assert (once != other).flatten(1).any(dim=1).float().mean() > 0.5  # some reach the same corner of the box


def test_global_generators_are_neither_used_nor_changed(problem):
    pixels, targets = first(10)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = PGD(steps=2).perturb(problem, pixels, targets, 0.05, seeds(10))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(PGD(steps=2).perturb(problem, pixels, targets, 0.05, seeds(10)), once)


@pytest.mark.parametrize("scale", [1e-4, 100, 1e5], ids=str)
@pytest.mark.parametrize("norm", DENSE)
@pytest.mark.parametrize("loss", ["margin", "scaled_ce"])
def test_these_losses_are_invariant_to_the_scale_of_the_logits(net, norm, scale, loss):
    pixels, targets = first(150)
    plain, scaled = problem_of(net), problem_of(lambda x: scale * net(x))
    attack = PGD(norm=norm, loss=loss, steps=10)
    outcomes = [
        problem.outcome(attack.perturb(problem, pixels, targets, EPS[norm], seeds(150)), targets)
        for problem in (plain, scaled)
    ]
    assert torch.equal(*outcomes)
    assert 30 < outcomes[0].sum() < 140


@pytest.mark.parametrize("attack", [FGSM(), PGD(loss="ce", steps=10)], ids=["fgsm", "pgd"])
def test_cross_entropy_has_a_useful_gradient_where_the_model_is_confident(net, attack):
    """The log odds of a wrong class have the same gradient direction and do not vanish."""
    pixels, targets = first(150)
    point = pixels.clone().requires_grad_(True)
    textbook = nn.functional.cross_entropy(1000 * net(point), targets, reduction="sum")
    gradient = torch.autograd.grad(textbook, point)[0]
    blind = ~gradient.flatten(1).any(dim=1)
    assert blind.float().mean() > 0.9
    plain, confident = problem_of(net), problem_of(lambda x: 1000 * net(x))
    misclassified = [
        problem.outcome(attack.perturb(problem, pixels, targets, 0.1, seeds(150)), targets)
        for problem in (plain, confident)
    ]
    assert abs(int(misclassified[0].sum() - misclassified[1].sum())) <= 15
    assert misclassified[1][blind].sum() > 30


def test_without_stop_the_iterate_with_the_highest_margin_is_returned(net):
    pixels, targets = first(40)
    recorded = []

    def loss(output, truth, name, target_classes):
        losses = plain.loss(output, truth, name, target_classes)
        if name == "margin":
            recorded.append(losses.detach())
        return losses

    plain = problem_of(net)
    watched = replace(problem_of(net), loss=loss)
    perturbed = PGD(loss="scaled_ce", steps=6, restarts=2, stop=False).perturb(watched, pixels, targets, 0.1, seeds(40))
    assert len(recorded) == 2 * 7  # points are compared by the margin, whatever loss is maximized
    reached = plain.loss(net(perturbed), targets, "margin", None)
    assert torch.equal(reached, torch.stack(recorded).amax(dim=0))


def test_with_stop_a_misclassified_sample_is_never_evaluated_again(net):
    pixels, targets = first(60)
    evaluated, errors = [], []

    def misclassified(output, truth):
        evaluated.append(len(output))
        errors.append(int((output.argmax(dim=1) != truth).sum()))
        return output.argmax(dim=1) != truth

    problem = replace(problem_of(net), misclassified=misclassified)
    perturbed = PGD(steps=10, restarts=2).perturb(problem, pixels, targets, 0.1, seeds(60))
    assert evaluated[0] == 60 and len(evaluated) == 2 * 11
    assert evaluated[1:] == [count - gone for count, gone in zip(evaluated, errors, strict=True)][:-1]
    remaining = int((problem_of(net).outcome(perturbed, targets) < 0.5).sum())
    assert evaluated[-1] - errors[-1] == remaining > 0
    assert sum(errors) == 60 - remaining


def test_more_restarts_are_at_least_as_strong(problem):
    pixels, targets = first(200)
    counts = [
        int(problem.outcome(PGD(steps=5, restarts=n).perturb(problem, pixels, targets, 0.1, seeds(200)), targets).sum())
        for n in (1, 2, 4)
    ]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


HIDDEN = {
    "nan": (lambda net: lambda x: net(NanBackward.apply(x)), "NaN or infinite"),
    "detached": (lambda net: lambda x: net(x).detach(), "no gradient exists"),
    "one-hot": (lambda net: lambda x: nn.functional.one_hot(net(x).argmax(1), 10).float(), "no gradient exists"),
    "constant": (lambda net: lambda x: torch.zeros(len(x), 10, requires_grad=True), "no gradient exists"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("way", HIDDEN)
def test_a_missing_gradient_is_an_error(net, attack, way):
    wrap, message = HIDDEN[way]
    pixels, targets = first(4)
    with pytest.raises(AttackError, match=message):
        ATTACKS[attack]().perturb(problem_of(wrap(net)), pixels, targets, 0.1, seeds(4))


@pytest.mark.parametrize("checked", [True, False], ids=["checked outputs", "raw outputs"])
def test_nan_outputs_during_the_attack_are_an_error(checked):
    class Fragile(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x.flatten(1)) * (torch.nan if self.calls > 3 else 1)

    pixels, targets = first(8)
    model = TorchClassifier(Fragile(64, 10))
    with pytest.raises(ModelError if checked else AttackError, match="NaN or infinite"):
        PGD(stop=False).perturb(problem_of(model if checked else model.raw), pixels, targets, 0.1, seeds(8))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_few_nonfinite_outputs_fail_the_whole_attack(net, attack):
    def forward(x):
        output = net.raw(x)
        return torch.where(x.flatten(1).sum(dim=1, keepdim=True) > limit, torch.nan, output)

    pixels, targets = first(16)
    limit = pixels.flatten(1).sum(dim=1).quantile(0.8)
    with pytest.raises(AttackError, match=r"of \d+ of 16 samples is NaN or infinite"):
        ATTACKS[attack]().perturb(problem_of(forward), pixels, targets, 0.01, seeds(16))


@pytest.mark.parametrize("fails", [False, True], ids=["normal", "exception inside"])
def test_mode_and_parameters_are_unchanged(fails):
    model = trained()
    pixels, targets = first(8)
    model.module[0].weight.requires_grad_(False)
    model.module[1].eval()  # a batch norm that the user froze
    modes = [m.training for m in model.module.modules()]
    expected = [p.requires_grad for p in model.module.parameters()]
    state = {name: value.clone() for name, value in model.module.state_dict().items()}

    def forward(x):
        output = model(x)
        assert not any(m.training for m in model.module.modules())
        return output * torch.nan if fails else output

    try:
        with model.frozen():
            PGD(steps=3).perturb(problem_of(forward), pixels, targets, 0.1, seeds(8))
    except AttackError:
        assert fails
    assert [m.training for m in model.module.modules()] == modes
    assert [p.requires_grad for p in model.module.parameters()] == expected
    assert all(p.grad is None for p in model.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())


def test_inputs_are_unchanged_and_outputs_have_no_graph(problem):
    pixels, targets = first(10)
    before = pixels.clone()
    for attack in (FGSM(), PGD(steps=3, stop=False)):
        perturbed = attack.perturb(problem, pixels, targets, 0.1, seeds(10))
        assert torch.equal(pixels, before)
        assert not pixels.requires_grad and not perturbed.requires_grad


def test_with_double_steps_doubles_only_the_steps():
    attack = PGD(eps=(0.1,), norm="l2", steps=7, restarts=3)
    assert attack.with_double_steps() == PGD(eps=(0.1,), norm="l2", steps=14, restarts=3)
    assert FGSM().with_double_steps() is None


WRONG = {
    "zero": lambda: PGD(eps=(0.0, 0.1)),
    "descending": lambda: PGD(eps=(0.2, 0.1)),
    "repeated": lambda: FGSM(eps=(0.1, 0.1)),
    "nan": lambda: PGD(eps=(float("nan"),)),
    "infinite": lambda: PGD(eps=(float("inf"),)),
    "boolean": lambda: PGD(eps=(True,)),
    "text": lambda: FGSM(eps="0.1"),
    "none": lambda: FGSM(eps=()),
    "norm": lambda: PGD(norm="l3"),
    "goal": lambda: PGD(goal=-1),
    "name for a goal": lambda: FGSM(goal="toaster"),
    "truth for a goal": lambda: PGD(goal=True),
    "steps": lambda: PGD(steps=0),
    "restarts": lambda: PGD(restarts=0),
}


@pytest.mark.parametrize("case", WRONG)
def test_invalid_options_are_rejected(case):
    with pytest.raises(SpecError):
        WRONG[case]()


def test_an_unknown_loss_is_rejected(problem):
    pixels, targets = first(2)
    with pytest.raises(SpecError, match="no attack loss 'hinge'; choose one of margin, ce, "):
        PGD(loss="hinge").perturb(problem, pixels, targets, 0.1, seeds(2))


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_targeted_attack_reaches_the_target_class_and_skips_its_samples(net, problem, attack):
    pixels, targets = first(150)
    aimed, free = (ATTACKS[attack](goal=goal, **({"steps": 10} if attack == "pgd" else {})) for goal in (8, None))
    perturbed = aimed.perturb(problem, pixels, targets, 0.2, seeds(150))
    own = targets == 8
    assert own.any() and torch.equal(perturbed[own], pixels[own])
    predicted = net(perturbed).argmax(dim=1)
    reached = (predicted == 8) & ~own
    assert torch.equal(aimed.succeeded(problem, perturbed, targets), reached)
    accident = net(free.perturb(problem, pixels, targets, 0.2, seeds(150))).argmax(dim=1)
    assert reached.sum() > ((accident == 8) & ~own).sum()
    assert reached.sum() > {"fgsm": 30, "pgd": 100}[attack]
    assert torch.equal(free.succeeded(problem, perturbed, targets), predicted != targets)


def test_an_unknown_target_class_is_an_error(problem):
    with pytest.raises(AttackError, match="goal=10, but the model has 10 classes"):
        PGD(goal=10).perturb(problem, *first(4), 0.1, seeds(4))


def test_a_number_of_pixels_below_one_is_rejected():
    with pytest.raises(SpecError, match="expected numbers of pixels"):
        PGD(eps=(0.5,), norm="l0")
