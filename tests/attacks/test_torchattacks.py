"""Attacks of torchattacks with validation, and the library's pitfalls."""

import random
import sys

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.constraints import constraint
from suite.attacks.engine.validation import validate
from suite.attacks.images import torchattacks as module
from suite.attacks.images.torchattacks import TorchAttack, torchattacks
from suite.attacks.rng import as_seeds
from suite.errors import AttackError, ModelError, PluginError, SpecError, UnknownNameError
from suite.models.base import TorchClassifier
from suite.registry import resolve
from tests.attacks.digits import first, problem_of, trained

EPS = {"linf": 0.15, "l2": 0.9}

# name: arguments, and the minimum number of 24 digits that must be misclassified (measured, with a wide margin)
WORKING = {
    "FGSM": ({}, 15),
    "BIM": ({"alpha": 0.03}, 15),
    "RFGSM": ({"alpha": 0.03}, 15),
    "PGD": ({"alpha": 0.03}, 15),
    "EOTPGD": ({"alpha": 0.03}, 15),
    "FFGSM": ({"alpha": 0.15}, 10),
    "TPGD": ({"alpha": 0.03}, 7),
    "MIFGSM": ({"alpha": 0.03}, 15),
    "UPGD": ({"alpha": 0.03}, 15),
    "APGD": ({}, 15),
    "APGD dlr": ({"loss": "dlr"}, 15),
    "APGD l2": ({"norm": "l2"}, 15),
    "APGDT": ({}, 15),
    "APGDT l2": ({"norm": "l2"}, 15),
    "DIFGSM": ({"alpha": 0.03}, 5),
    "Jitter": ({"alpha": 0.03}, 10),
    "NIFGSM": ({"alpha": 0.03}, 15),
    "PGDRS": ({"alpha": 0.03, "steps": 3}, 0),
    "SINIFGSM": ({"alpha": 0.03}, 5),
    "VMIFGSM": ({"alpha": 0.03}, 15),
    "VNIFGSM": ({"alpha": 0.03}, 15),
    "SPSA": ({"nb_sample": 16, "nb_iter": 2}, 0),
    "PGDL2": ({"alpha": 0.2}, 15),
    "PGDRSL2": ({"alpha": 0.2, "steps": 3}, 0),
    "FAB": ({}, 15),
    "FAB l2": ({"norm": "l2"}, 15),
    "Square": ({"n_queries": 60}, 5),
    "Square l2": ({"norm": "l2", "n_queries": 60}, 1),
    "CW": ({"steps": 40, "c": 20, "lr": 0.05}, 5),
    "GN": ({"std": 0.01}, 0),
    "VANILA": ({}, 0),
}


def seeds(count, first=0):
    return as_seeds(range(first, first + count))


def linf(delta):
    return constraint("linf").size(delta)


@pytest.fixture(scope="module")
def samples():
    pixels, targets = first(24)
    model = trained()
    with model.frozen():
        correct = model(pixels).argmax(1) == targets
    assert correct.all()
    return pixels, targets


@pytest.mark.parametrize("case", WORKING)
def test_attacks_of_the_library_pass_validation(problem, samples, case):
    pixels, targets = samples
    options, fewest = WORKING[case]
    attack = torchattacks(case.split()[0], **options)
    perturbed = attack.perturb(problem, pixels, targets, EPS[attack.norm], seeds(24))
    misclassified = validate(problem, attack, pixels, perturbed, targets, EPS[attack.norm])
    assert int(misclassified.sum()) >= fewest
    assert not perturbed.requires_grad and perturbed.grad_fn is None  # APGD of the library returns a graph
    unmoved = attack.perturb(problem, pixels, targets, 0.0, seeds(24))
    assert not validate(problem, attack, pixels, unmoved, targets, 0.0).any()
    assert "random" in attack.controls()


def test_deepfool_results_count_only_within_the_radius(problem, samples):
    pixels, targets = samples[0][:8], samples[1][:8]
    attack = torchattacks("DeepFool", steps=30)
    assert attack.norm == "l2"
    near = attack.perturb(problem, pixels, targets, 0.05, seeds(8))
    assert torch.equal(near, pixels)
    far = attack.perturb(problem, pixels, targets, 3.0, seeds(8))
    misclassified = validate(problem, attack, pixels, far, targets, 3.0) == 1
    assert misclassified.sum() >= 6  # the library itself stops short of the boundary for some samples
    assert ((far != pixels).flatten(1).any(dim=1) >= misclassified).all()


def test_results_beyond_the_radius_are_replaced_by_clean_inputs(problem, samples):
    pixels, targets = samples
    attack = torchattacks("GN", std=0.05)
    free = attack.perturb(problem, pixels, targets, 1.0, seeds(24))
    reach = linf(free - pixels)
    size = float(reach.median())
    limited = attack.perturb(problem, pixels, targets, size, seeds(24))
    assert [torch.equal(a, b) for a, b in zip(limited, pixels, strict=True)] == (reach > size + 1e-5).tolist()
    assert linf(limited - pixels).max() > 0


@pytest.mark.parametrize("name", ["PIFGSM", "PIFGSMPP"])
def test_a_radius_with_another_name_is_also_set(name):
    model = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 4)))
    pixels, targets = torch.full((4, 3, 8, 8), 0.5), torch.arange(4)
    with model.frozen():
        problem = problem_of(model)
        attack = torchattacks(name)
        for eps in (0.02, 0.2):
            perturbed = attack.perturb(problem, pixels, targets, eps, seeds(4))
            validate(problem, attack, pixels, perturbed, targets, eps)
            assert linf(perturbed - pixels).max() == pytest.approx(eps, rel=1e-4)


def test_the_library_gets_the_number_of_classes(monkeypatch, problem, samples):
    arguments = spy(monkeypatch, "APGDT")
    model = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 23)))
    with model.frozen():
        torchattacks("APGDT", steps=1).perturb(problem_of(model), *samples, 0.01, seeds(24))
    assert arguments["n_classes"] == 23
    torchattacks("APGDT", steps=1, n_classes=5).perturb(problem, *samples, 0.01, seeds(24))
    assert arguments["n_classes"] == 5


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_library_gets_size_norm_and_seed(monkeypatch, problem, samples, norm):
    arguments = spy(monkeypatch, "Square")
    torchattacks("Square", norm=norm, n_queries=2).perturb(problem, *samples, 0.07, seeds(24, 100))
    assert arguments == {"eps": 0.07, "norm": {"linf": "Linf", "l2": "L2"}[norm], "n_queries": 2, "seed": 100}


def spy(monkeypatch, name):
    import torchattacks as library

    arguments, original = {}, getattr(library, name)

    class Spy(original):
        def __init__(self, model, **options):
            arguments.clear()
            arguments.update(options)
            super().__init__(model, **options)

    Spy.__init__.__signature__ = __import__("inspect").signature(original.__init__)
    monkeypatch.setattr(library, name, Spy)
    return arguments


@pytest.mark.parametrize(
    ("name", "options", "count"), [("APGDT", {}, 3), ("APGDT", {}, 2), ("APGD", {"loss": "dlr"}, 2)]
)
def test_a_loss_that_needs_more_classes_is_an_error(name, options, count):
    model = TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, count)))
    pixels, _ = first(4)
    with model.frozen(), pytest.raises(AttackError, match=f"needs at least . classes; the model has {count}"):
        torchattacks(name, **options).perturb(problem_of(model), pixels, torch.zeros(4).long(), 0.1, seeds(4))


@pytest.mark.parametrize("fails", [False, True], ids=["normal", "exception inside"])
def test_the_mode_of_the_model_is_unchanged(samples, fails):
    model = trained()
    model.module[1].eval()  # a batch norm that the user froze; the library would switch it back to training
    modes = [m.training for m in model.module.modules()]
    calls = []

    def forward(x):
        calls.append(any(m.training for m in model.module.modules()))
        if fails and len(calls) > 3:
            raise ZeroDivisionError
        return model(x)

    try:
        with model.frozen():
            torchattacks("PGD", steps=5).perturb(problem_of(forward), *samples, 0.1, seeds(24))
    except ZeroDivisionError:
        assert fails
    assert len(calls) > 3 and not any(calls)
    assert [m.training for m in model.module.modules()] == modes
    assert all(p.grad is None for p in model.module.parameters())


@pytest.mark.parametrize("name", ["PGD", "Square", "FAB", "DIFGSM"])
def test_global_generators_are_seeded_and_restored(problem, samples, name):
    options = {"Square": {"n_queries": 20}}.get(name, {})
    attack = torchattacks(name, **options)
    results = []
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
        results.append(attack.perturb(problem, *samples, 0.1, seeds(24)))
        assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert torch.equal(*results)


@pytest.mark.parametrize("name", ["PGD", "Square"])
def test_another_seed_draws_other_numbers(problem, samples, name):
    attack = torchattacks(name, **({"n_queries": 40} if name == "Square" else {"steps": 1}))
    assert not torch.equal(*(attack.perturb(problem, *samples, 0.15, seeds(24, s)) for s in (0, 7)))


def test_generators_are_restored_after_an_exception():
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    with pytest.raises(ZeroDivisionError), module.seeded_globals(2**62 + 5):
        torch.rand(1), np.random.rand(), random.random()
        raise ZeroDivisionError
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before


class NanBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


@pytest.mark.parametrize("name", ["PGDL2", "CW"])
def test_nan_from_the_library_is_an_error(net, samples, name):
    attack = torchattacks(name, steps=2)
    problem = problem_of(lambda x: net(NanBackward.apply(x)))
    with pytest.raises((AttackError, ModelError), match="NaN or infinite"):
        perturbed = attack.perturb(problem, *samples, 0.5, seeds(24))
        validate(problem, attack, samples[0], perturbed, samples[1], 0.5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf], ids=str)
@pytest.mark.parametrize("name", ["PGD", "GN"], ids=["with radius", "without radius"])
def test_a_nonfinite_image_is_not_replaced_by_the_clean_one(monkeypatch, problem, samples, name, value):
    import torchattacks as library

    def forward(self, images, labels=None):
        images[3, 0, 0, 0] = value
        return images

    monkeypatch.setattr(getattr(library, name), "__call__", forward, raising=False)
    attack = torchattacks(name)
    perturbed = attack.perturb(problem, *samples, 0.1, seeds(24))
    with pytest.raises(AttackError, match="NaN or infinite pixels for 1 of 24"):
        validate(problem, attack, samples[0], perturbed, samples[1], 0.1)


def test_in_place_edits_by_the_library_do_not_reach_the_inputs(monkeypatch, problem, samples):
    import torchattacks as library

    def forward(self, images, labels=None):
        labels.zero_()
        return images.zero_()

    monkeypatch.setattr(library.PGD, "__call__", forward, raising=False)
    before = [value.clone() for value in samples]
    attack = torchattacks("PGD")
    perturbed = attack.perturb(problem, *samples, 0.1, seeds(24))
    assert all(torch.equal(a, b) for a, b in zip(samples, before, strict=True))
    with pytest.raises(AttackError, match="over the limit"):
        validate(problem, attack, samples[0], perturbed, samples[1], 0.1)


def test_cw_cannot_move_pixels_at_exactly_zero_and_one(problem, samples):
    """A known limit of the library (atanh of 1 is infinite); such an attack is weak, not wrong."""
    pixels, targets = samples
    perturbed = torchattacks("CW", steps=20, c=20, lr=0.05).perturb(problem, pixels, targets, 5.0, seeds(24))
    extreme = (pixels == 0) | (pixels == 1)
    assert extreme.float().mean() > 0.4
    assert (perturbed - pixels)[extreme].abs().max() < 1e-6
    assert (perturbed - pixels)[~extreme].abs().max() > 0.05


@pytest.mark.parametrize("parameters", [True, False], ids=["with", "without"])
def test_the_library_finds_the_device_of_a_model_without_parameters(capsys, samples, parameters):
    pixels, targets = samples
    weight = torch.randn(64, 10, generator=torch.Generator().manual_seed(0), requires_grad=parameters)
    problem = problem_of(lambda x: x.flatten(1) @ weight)
    torchattacks("PGD", steps=2).perturb(problem, pixels, targets, 0.1, seeds(24))
    assert capsys.readouterr().out == ""
    assert weight.grad is None


def test_with_double_steps_needs_an_attack_with_steps():
    assert torchattacks("PGD", steps=7).with_double_steps().options == {"steps": 14}
    assert torchattacks("PGD").with_double_steps().options == {"steps": 20}
    assert torchattacks("FGSM").with_double_steps() is None


@pytest.mark.parametrize("name", ["MultiAttack", "LGV"])
def test_combined_attacks_are_rejected(name):
    with pytest.raises(AttackError, match="use these attacks one by one"):
        torchattacks(name)


def test_unknown_names_and_arguments_get_a_suggestion(monkeypatch):
    with pytest.raises(UnknownNameError, match=r"no attack 'PDG'.* Did you mean .*'PGD'"):
        torchattacks("PDG")
    with pytest.raises(SpecError, match=r"no argument 'step'\. Did you mean 'steps'"):
        torchattacks("PGD", step=3)
    with pytest.raises(SpecError, match="no argument 'model'"):
        torchattacks("PGD", model=3)
    with pytest.raises(SpecError, match="ascending"):
        torchattacks("PGD", eps=[0.2, 0.1])
    for norm in ("l1", "l0", "l3"):
        with pytest.raises(SpecError, match=rf"APGD has no norm '{norm}'; expected one of linf, l2\."):
            torchattacks("APGD", norm=norm)
    with pytest.raises(SpecError, match="expected one of l0, l1, l2, linf"):
        torchattacks("GN", norm="l3")
    assert torchattacks("GN", norm="l1").norm == "l1"  # without a radius of its own, any norm can limit its result
    monkeypatch.setitem(sys.modules, "torchattacks", None)
    with pytest.raises(PluginError, match="pip install --no-deps torchattacks"):
        torchattacks("PGD")


def test_a_spec_string_builds_the_attack():
    entry, spec = resolve("attack", "torchattacks:CW(eps=[0.5, 1], c=3)")
    assert entry.build(spec) == TorchAttack(eps=(0.5, 1), norm="l2", name="CW", options={"c": 3})


def test_validation_tolerates_rounding_of_the_radius_and_no_more(problem, samples):
    pixels, targets = samples
    attack = torchattacks("PGD", alpha=0.05)
    perturbed = attack.perturb(problem, pixels, targets, 0.1, seeds(24))
    assert 0 < float(linf(perturbed - pixels).max()) - 0.1 < 1e-6
    validate(problem, attack, pixels, perturbed, targets, 0.1)
    with pytest.raises(AttackError, match="over the limit"):
        validate(problem, attack, pixels, perturbed, targets, 0.1 - 1e-5)


def test_an_exception_in_the_library_is_raised(problem, samples):
    with pytest.raises(ZeroDivisionError):  # it divides by a tenth of its iterations
        torchattacks("EADL1", max_iterations=5).perturb(problem, *samples, 1.0, seeds(24))


def test_a_zero_gradient_that_becomes_nan_in_the_library_is_an_error(net, samples):
    flat = problem_of(lambda x: net(x).detach() + 0 * x.sum())
    attack = torchattacks("NIFGSM")
    with pytest.raises((AttackError, ModelError), match="NaN or infinite"):
        validate(flat, attack, samples[0], attack.perturb(flat, *samples, 0.1, seeds(24)), samples[1], 0.1)


def test_the_autoattack_of_the_library_needs_its_prefix():
    entry, spec = resolve("attack", "torchattacks:AutoAttack(eps=[0.1])")
    assert spec.name == "torchattacks:AutoAttack" and entry.build(spec).name == "AutoAttack"
    with pytest.raises(UnknownNameError):
        resolve("attack", "AutoAttack")
