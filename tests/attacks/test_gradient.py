"""FGSM and PGD: exact where the answer is known, strong, reproducible, and independent of their company."""

import pytest
import torch
from torch import nn

from suite.attacks import norms
from suite.attacks.gate import judged
from suite.attacks.gradient import FGSM, PGD
from suite.errors import AttackError, ModelError, SpecError
from suite.models.adapter import TorchClassifier
from tests.attacks.digits import Linear, first, problem_of, trained

NORMS = ("linf", "l2")
EPS = {"linf": 0.1, "l2": 0.6}
ATTACKS = {"fgsm": FGSM, "pgd": PGD}


def linear_task(seed, count=200, size=16):
    """Return a linear model and samples far from the bounds, with margins around what an attack can move."""
    source = torch.Generator().manual_seed(seed)
    weight = torch.randn(size, generator=source)
    pixels = 0.5 + 0.1 * (torch.rand(count, 1, 4, 4, generator=source) - 0.5)
    model = Linear(weight, -0.5 * float(weight.sum()))
    return model, pixels, (model(pixels)[:, 1] > 0).long()


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(3))
def test_on_a_linear_model_the_robust_accuracy_is_the_closed_form(attack, norm, seed):
    model, pixels, targets = linear_task(seed)
    margin = (2 * model(pixels)[:, 1]).abs()
    dual = float(model.weight.abs().sum() if norm == "linf" else model.weight.norm())
    problem = problem_of(model)
    for share in (0.2, 0.5, 0.8):
        eps = float(margin.quantile(share)) / dual
        clear = (margin - eps * dual).abs() > 1e-4 * margin.max()
        found = ATTACKS[attack](eps=(eps,), norm=norm).perturb(problem, pixels, targets, eps, range(len(pixels)))
        fooled = judged(problem, ATTACKS[attack](eps=(eps,), norm=norm), pixels, found, targets, eps)
        assert torch.equal(fooled[clear], (margin < eps * dual)[clear])
        assert clear.float().mean() > 0.95


@pytest.mark.parametrize("norm", NORMS)
def test_pgd_is_at_least_as_strong_as_fgsm_and_breaks_what_random_noise_cannot(problem, norm):
    pixels, targets = first(200)
    right = {}
    for name, attack in ATTACKS.items():
        moved = attack(norm=norm).perturb(problem, pixels, targets, EPS[norm], range(200))
        right[name] = 200 - int(problem.outcome(moved, targets).sum())
    noise = norms.random_perturbation(pixels, norm, EPS[norm], range(200))
    right["random"] = 200 - int(problem.outcome(noise, targets).sum())
    assert right["pgd"] <= right["fgsm"]
    assert right["fgsm"] < right["random"] - 40


@pytest.mark.parametrize("eps", [0.06, 0.1, 0.15])
def test_pgd_leaves_no_more_than_the_pgd_of_torchattacks_at_equal_passes(net, problem, eps):
    import torchattacks

    pixels, targets = first(400)
    ours = PGD(steps=20, restarts=2).perturb(problem, pixels, targets, eps, range(400))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = torchattacks.PGD(net.module, eps=eps, alpha=0.02, steps=40)(pixels, targets)
    left = [1 - problem.outcome(moved, targets).float().mean().item() for moved in (ours, theirs)]
    assert left[0] <= left[1] + 0.01, left


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("norm", NORMS)
def test_box_and_norm_hold_for_many_random_cases(attack, norm):
    source = torch.Generator().manual_seed(7)
    for case in range(40):
        model, _, _ = linear_task(case)
        pixels = torch.rand(8, 1, 4, 4, generator=source).round(decimals=int(case % 3))
        targets = torch.randint(2, (8,), generator=source)
        eps = float(10 ** (torch.rand((), generator=source) * 4 - 3))
        value = ATTACKS[attack](eps=(eps,), norm=norm)
        moved = value.perturb(problem_of(model), pixels, targets, eps, range(case, case + 8))
        judged(problem_of(model), value, pixels, moved, targets, eps)
        assert 0 <= moved.min() and moved.max() <= 1
        assert norms.size(moved.double() - pixels.double(), norm).max() <= eps * (1 + 1e-5) + 1e-6


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_never_depends_on_the_rest_of_its_batch(problem, norm, stop):
    pixels, targets = first(70)
    attack = PGD(norm=norm, steps=8, restarts=2, stop=stop)

    def in_batches(size, order):
        found = torch.empty_like(pixels)
        for rows in order.split(size):
            found[rows] = attack.perturb(problem, pixels[rows], targets[rows], EPS[norm], rows.tolist())
        return found

    whole = in_batches(100, torch.arange(70))
    shuffled = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    for size in (1, 7, 64):
        assert torch.equal(in_batches(size, torch.arange(70)), whole), size
    assert torch.equal(in_batches(7, shuffled), whole)


def test_seeds_reproduce_and_differ(problem):
    pixels, targets = first(20)
    attack = PGD(steps=3, stop=False)
    once, again, other = (
        attack.perturb(problem, pixels, targets, 0.05, seeds) for seeds in (range(20), range(20), range(20, 40))
    )
    assert torch.equal(once, again)
    assert (once != other).flatten(1).any(dim=1).float().mean() > 0.5  # some reach the same corner of the box


def test_global_generators_are_neither_read_nor_moved(problem):
    pixels, targets = first(10)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    once = PGD(steps=2).perturb(problem, pixels, targets, 0.05, range(10))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(PGD(steps=2).perturb(problem, pixels, targets, 0.05, range(10)), once)


@pytest.mark.parametrize("scale", [1e-4, 100, 1e5], ids=str)
@pytest.mark.parametrize("norm", NORMS)
def test_the_margin_loss_does_not_care_for_the_scale_of_the_logits(net, norm, scale):
    pixels, targets = first(150)
    plain, scaled = problem_of(net), problem_of(lambda x: scale * net(x))
    attack = PGD(norm=norm, steps=10)
    outcomes = [
        problem.outcome(attack.perturb(problem, pixels, targets, EPS[norm], range(150)), targets)
        for problem in (plain, scaled)
    ]
    assert torch.equal(*outcomes)
    assert 30 < outcomes[0].sum() < 140


def test_without_stop_the_iterate_of_the_highest_loss_is_returned(net):
    pixels, targets = first(40)
    seen = []

    def loss(output, truth, name):
        losses = plain.loss(output, truth, name)
        seen.append(losses.detach())
        return losses

    plain = problem_of(net)
    watched = problem_of(net)
    object.__setattr__(watched, "loss", loss)
    moved = PGD(steps=6, restarts=2, stop=False).perturb(watched, pixels, targets, 0.1, range(40))
    assert len(seen) == 2 * 7
    reached = plain.loss(net(moved), targets, "margin")
    assert torch.equal(reached, torch.stack(seen).amax(dim=0))


def test_with_stop_a_fooled_sample_is_never_asked_again(net):
    pixels, targets = first(60)
    sizes = []

    def counted(x):
        sizes.append(len(x))
        return net(x)

    problem = problem_of(counted)
    moved = PGD(steps=10, restarts=2).perturb(problem, pixels, targets, 0.1, range(60))
    standing = int((~problem.outcome(moved, targets)).sum())
    assert sizes[0] == 60
    assert sizes[:-1] == sorted(sizes[:-1], reverse=True)
    assert sizes[-2] == standing > 0


def test_more_restarts_never_find_less(problem):
    pixels, targets = first(200)
    counts = [
        int(problem.outcome(PGD(steps=5, restarts=n).perturb(problem, pixels, targets, 0.1, range(200)), targets).sum())
        for n in (1, 2, 4)
    ]
    assert counts == sorted(counts)
    assert counts[-1] > counts[0]


class _NanBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        broken = gradient.clone()
        broken[0] = torch.nan
        return broken


HIDDEN = {
    "nan": (lambda net: lambda x: net(_NanBackward.apply(x)), "NaN or infinite"),
    "detached": (lambda net: lambda x: net(x).detach(), "no gradient exists"),
    "one-hot": (lambda net: lambda x: nn.functional.one_hot(net(x).argmax(1), 10).float(), "no gradient exists"),
    "constant": (lambda net: lambda x: torch.zeros(len(x), 10, requires_grad=True), "no gradient exists"),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("way", HIDDEN)
def test_a_missing_gradient_is_an_error_and_never_robustness(net, attack, way):
    wrap, message = HIDDEN[way]
    pixels, targets = first(4)
    with pytest.raises(AttackError, match=message):
        ATTACKS[attack]().perturb(problem_of(wrap(net)), pixels, targets, 0.1, range(4))


def test_a_model_that_answers_nan_on_the_way_is_an_error():
    class Fragile(nn.Linear):
        calls = 0

        def forward(self, x):
            self.calls += 1
            return super().forward(x.flatten(1)) * (torch.nan if self.calls > 3 else 1)

    pixels, targets = first(8)
    with pytest.raises(ModelError, match="NaN or infinite logits"):
        PGD(stop=False).perturb(problem_of(TorchClassifier(Fragile(64, 10))), pixels, targets, 0.1, range(8))


@pytest.mark.parametrize("fails", [False, True], ids=["normal", "exception inside"])
def test_mode_and_parameters_are_left_as_they_were(fails):
    model = trained()
    pixels, targets = first(8)
    model.module[0].weight.requires_grad_(False)
    model.module[1].eval()  # a batch norm that the user froze
    modes = [m.training for m in model.module.modules()]
    wanted = [p.requires_grad for p in model.module.parameters()]
    state = {name: value.clone() for name, value in model.module.state_dict().items()}

    def forward(x):
        output = model(x)
        assert not any(m.training for m in model.module.modules())
        return output * torch.nan if fails else output

    try:
        with model.frozen():
            PGD(steps=3).perturb(problem_of(forward), pixels, targets, 0.1, range(8))
    except AttackError:
        assert fails
    assert [m.training for m in model.module.modules()] == modes
    assert [p.requires_grad for p in model.module.parameters()] == wanted
    assert all(p.grad is None for p in model.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())


def test_the_given_pixels_stay_untouched_and_carry_no_graph(problem):
    pixels, targets = first(10)
    before = pixels.clone()
    for attack in (FGSM(), PGD(steps=3, stop=False)):
        moved = attack.perturb(problem, pixels, targets, 0.1, range(10))
        assert torch.equal(pixels, before)
        assert not pixels.requires_grad and not moved.requires_grad


def test_longer_doubles_the_steps_and_nothing_else():
    attack = PGD(eps=(0.1,), norm="l2", steps=7, restarts=3)
    assert attack.longer() == PGD(eps=(0.1,), norm="l2", steps=14, restarts=3)
    assert FGSM().longer() is None


WRONG = {
    "zero": lambda: PGD(eps=(0.0, 0.1)),
    "descending": lambda: PGD(eps=(0.2, 0.1)),
    "repeated": lambda: FGSM(eps=(0.1, 0.1)),
    "nan": lambda: PGD(eps=(float("nan"),)),
    "infinite": lambda: PGD(eps=(float("inf"),)),
    "boolean": lambda: PGD(eps=(True,)),
    "text": lambda: FGSM(eps="0.1"),
    "none": lambda: FGSM(eps=()),
    "norm": lambda: PGD(norm="l1"),
    "steps": lambda: PGD(steps=0),
    "restarts": lambda: PGD(restarts=0),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_makes_no_sense_is_refused(case):
    with pytest.raises(SpecError):
        WRONG[case]()


def test_an_unknown_loss_is_refused(problem):
    pixels, targets = first(2)
    with pytest.raises(SpecError, match="loss=ce or loss=margin"):
        PGD(loss="hinge").perturb(problem, pixels, targets, 0.1, range(2))
