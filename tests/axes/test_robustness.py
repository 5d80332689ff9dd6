"""The robustness axis: the accuracy curve, its controls, and the checks that mark a number as suspect."""

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.diagnostics.probes import PROBES
from suite.attacks.images.gradient import FGSM, PGD
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.checks import CHECKS
from suite.data.digests import in_digest_order
from suite.errors import AttackError
from suite.models.base import TorchClassifier
from suite.registry import resolve
from tests.attacks.digits import trained
from tests.axes.contexts import EPS, Fake, context_of, finding_of, robust

ALL_CHECKS = (*CHECKS, *PROBES)


@pytest.fixture(scope="module")
def pgd():
    return finding_of(Robustness("pgd(eps=[0.05, 0.1, 0.15], steps=10)"), context_of())


def test_the_curve_starts_at_the_clean_accuracy_and_falls(pgd):
    clean = pgd.quality()
    curve = pgd.details["curve"]
    assert [point["size"] for point in curve] == [0, *EPS]
    assert curve[0]["value"] == curve[0]["random"] == clean.mean() > 0.95
    values = [point["value"] for point in curve]
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.5
    assert all(point["value_lo"] <= point["value"] <= point["value_hi"] for point in curve)
    assert all(point["random_lo"] <= point["random"] <= point["random_hi"] for point in curve)


def test_columns_measures_and_curve_agree(pgd):
    for eps, measure, point in zip(EPS, robust(pgd), pgd.details["curve"][1:], strict=True):
        correct = pgd.quality(eps)
        assert measure.params["eps"] == eps
        assert measure.value == correct.mean() == point["value"]
        assert measure.control == point["random"]
        assert measure.n == len(correct) == 120
        assert not (correct & ~pgd.quality()).any()
    correct = [pgd.quality(eps) for eps in EPS]
    assert not (correct[1] & ~correct[0]).any() and not (correct[2] & ~correct[1]).any()


def test_a_correct_attack_on_a_correct_model_passes_every_check(pgd):
    for measure in robust(pgd):
        assert measure.status == "ok"
        assert measure.reason is None
        assert measure.checks == dict.fromkeys(ALL_CHECKS, "pass")
    assert {name: status for name, (status, _) in pgd.facts["checks"].items()} == dict.fromkeys(ALL_CHECKS, "pass")
    assert pgd.facts["attack"]["draws"] == 1 and "draws" not in robust(pgd)[0].params


def test_every_size_has_its_random_control(pgd):
    controls = [m for m in pgd.measures if m.metric == "control_accuracy"]
    assert [(m.params["control"], m.params["eps"]) for m in controls] == [("random", eps) for eps in EPS]
    assert [m.value for m in controls] == [m.control for m in robust(pgd)]


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_exactly_one_size_is_the_reference(measured, count):
    sizes = EPS[:1] if count == 1 else tuple(np.linspace(0.02, 0.1, count).tolist())
    result = measured(FGSM(eps=sizes), context_of(count=20), audit=0)
    flagged = [m.params["eps"] for m in result.measures if m.params.get("reference")]
    assert flagged == [robust(result)[count // 2].params["eps"]]


def test_the_gallery_shows_the_first_samples_before_and_after_the_attack(pgd):
    context = context_of()
    arrays = pgd.arrays
    rows = in_digest_order(context.test.ids)[:12]
    assert arrays["ids"].tolist() == [context.test.ids[row] for row in rows]
    assert np.array_equal(arrays["clean"], context.test.pixels()[rows])
    assert arrays["label"].tolist() == context.test.targets[rows].tolist()
    moved = np.abs(arrays["adversarial"].astype(float) - arrays["clean"]).max(axis=(1, 2, 3))
    assert (moved <= arrays["eps"] + 1e-5).all()
    misclassified = arrays["adversarial_prediction"] != arrays["label"]
    assert np.array_equal(misclassified, ~pgd.quality(0.15)[rows])
    first = [next((eps for eps in EPS if not pgd.quality(eps)[row]), EPS[-1]) for row in rows]
    assert arrays["eps"].tolist() == first


def test_a_sample_misclassified_without_an_attack_appears_unchanged_in_the_gallery():
    context = context_of()
    for row in context.gallery:
        context.test.targets[row] = (context.test.targets[row] + 1) % 10
    arrays = finding_of(Robustness("fgsm(eps=[0.05])", audit=0), context).arrays
    assert arrays["eps"].tolist() == [0] * 12
    assert np.array_equal(arrays["adversarial"], arrays["clean"])


@dataclass(frozen=True)
class RecordingPGD(PGD):
    """PGD that records the images it attacks at each size."""

    eps: tuple[float, ...] = EPS
    steps: int = 5
    attacked: dict[float, list[Any]] = field(default_factory=dict)

    def perturb(self, problem, pixels, targets, size, seeds):
        self.attacked.setdefault(size, []).extend(image.numpy().tobytes() for image in pixels)
        return super().perturb(problem, pixels, targets, size, seeds)

    def with_double_steps(self):
        return None


def test_only_correctly_predicted_samples_are_attacked(measured):
    attack = RecordingPGD()
    result = measured(attack, audit=0)
    images = [image.tobytes() for image in context_of().test.pixels()]
    correct_before = [result.quality(), *(result.quality(eps) for eps in EPS)]
    for eps, before in zip(EPS, correct_before[:-1], strict=True):
        assert attack.attacked[eps] == [image for image, correct in zip(images, before, strict=True) if correct]
    assert len(attack.attacked[EPS[-1]]) < len(attack.attacked[EPS[0]]) < 120


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ("pgd(eps=[0.05, 0.1], steps=5)", (64, 7)),
        ("patch(area=[0.1], steps=10)", (64, 7)),
        # attacks of the library depend on the cohort of a sample, which is a multiple of the batch size
        ("torchattacks:PGDL2(eps=[0.5], steps=3)", (8, 4)),
    ],
)
def test_no_number_depends_on_the_batch_size(spec, sizes):
    one, other = (finding_of(Robustness(spec, audit=24), context_of(count=60, batch_size=size)) for size in sizes)
    assert one.measures == other.measures
    assert one.details == other.details
    assert {**one.facts, "passes": {}} == {**other.facts, "passes": {}}  # passes include padding
    for own, same in zip(one.result.columns, other.result.columns, strict=True):
        assert (own.name, own.params, own.population) == (same.name, same.params, same.population)
        assert np.array_equal(own.values, same.values, equal_nan=own.values.dtype.kind == "f")
    for name in one.arrays:
        if not name.endswith("confidence"):
            assert np.array_equal(one.arrays[name], other.arrays[name]), name


def test_a_patch_has_a_random_and_a_gray_control():
    result = finding_of(Robustness("patch(area=[0.15, 0.3], steps=40)"), context_of())
    controls = {(m.params["control"], m.params["area"]) for m in result.measures if m.metric == "control_accuracy"}
    assert controls == {(name, area) for name in ("random", "grey") for area in (0.15, 0.3)}
    for measure in robust(result):
        assert measure.checks["eps0_equals_clean"] == measure.checks["more_steps_never_help"] == "n/a"
        assert measure.value < measure.control - 0.05
        assert measure.status == "ok"
    assert result.arrays["patch"].shape == (1, 4, 4)


class PerturbsAtZero(Fake):
    def perturb(self, problem, pixels, targets, size, seeds):
        return super().perturb(problem, pixels, targets, size or 0.1, seeds)


class NanAtZero(Fake):
    def perturb(self, problem, pixels, targets, size, seeds):
        return super().perturb(problem, pixels, targets, size, seeds) if size else pixels * torch.nan


class Overshoots(Fake):
    def perturb(self, problem, pixels, targets, size, seeds):
        return super().perturb(problem, pixels, targets, size if size < EPS[-1] else EPS[0] / 10, seeds)


class WeakerWithMoreSteps(Fake):
    def with_double_steps(self):
        return Fake(share=0.1)


class StrongerWithMoreSteps(Fake):
    def with_double_steps(self):
        return Fake()


class DoesNothing(Fake):
    def perturb(self, problem, pixels, targets, size, seeds):
        return pixels

    def with_double_steps(self):
        return self

    def controls(self):
        return {"random": PGD().controls()["random"]}


class CapsSize(Fake):
    """Works at the sizes it is measured at, and ignores larger sizes."""

    def perturb(self, problem, pixels, targets, size, seeds):
        return super().perturb(problem, pixels, targets, min(size, self.eps[-1]), seeds)

    def with_double_steps(self):
        return self


WEAK = {"single_step_finds_no_more", "queries_find_no_more", "transfer_finds_no_more"}
"""Checks that a too-weak attack fails."""

# name: (attack, the exact set of failing checks, pattern of the reason)
FAULTS = {
    "perturbs at size zero": (
        PerturbsAtZero(),
        {"eps0_equals_clean"},
        "the attack raised an error at size 0: .*over the limit",
    ),
    "NaN at size zero": (NanAtZero(), {"eps0_equals_clean"}, "the attack raised an error at size 0: .*NaN"),
    "overshoots": (
        Overshoots(),
        {"falls_with_eps"},
        "with a larger eps the attack succeeds on fewer samples .*overshoots",
    ),
    "ignores larger sizes": (
        CapsSize(eps=(0.02, 0.05, 0.1)),
        {"chance_at_large_eps"},
        r"with unlimited perturbations, \d+ of 64 stay correct",
    ),
    "weaker with more steps": (
        WeakerWithMoreSteps(),
        {"more_steps_never_help"},
        "with twice the steps the attack succeeds on .* instead of",
    ),
    "stronger with more steps": (
        StrongerWithMoreSteps(share=0.12),
        {"chance_at_large_eps", "more_steps_find_no_more", *WEAK},
        "with twice the steps the attack succeeds on .* instead of",
    ),
    "does nothing": (
        DoesNothing(eps=(0.1, 0.35)),
        {"random_does_less", "chance_at_large_eps", *WEAK},
        "random perturbations did more damage than the attack at eps",
    ),
}


def test_every_check_fails_for_some_faulty_attack():
    assert set.union(*(fails for _, fails, _ in FAULTS.values())) == set(CHECKS) - {"misses_seen"}  # never fails


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_attack_fails_exactly_its_checks_and_is_suspect(measured, fault):
    attack, failing, pattern = FAULTS[fault]
    result = measured(attack)
    for measure in robust(result):
        assert {name for name, status in measure.checks.items() if status == "fail"} == failing
        assert measure.status == "suspect"
        assert measure.value is not None
        assert_matches(pattern, measure.reason)
        failures = [sentence for status, sentence in result.facts["checks"].values() if status == "fail"]
        assert measure.reason == "; ".join(failures)


def assert_matches(pattern, text):
    assert re.search(pattern, text), text


class Saturated(nn.Module):
    """Saturated probabilities, whose gradient is exactly zero."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return (1000 * self.inner(x)).softmax(dim=1)


@pytest.mark.parametrize("attack", [FGSM(eps=(0.05,)), PGD(eps=(0.05,), steps=3)], ids=["fgsm", "pgd"])
def test_a_model_with_masked_gradients_gets_a_suspect_number(measured, attack):
    result = measured(attack, context_of(TorchClassifier(Saturated(trained().module))))
    (measure,) = robust(result)
    assert measure.checks["gradient_nonzero"] == measure.checks["outputs_are_logits"] == "fail"
    assert measure.status == "suspect"
    assert_matches(r"gradient is zero on \d+ of 64 correctly classified samples", measure.reason)


class Scaled(nn.Module):
    """Logits so large that the cross-entropy and its gradient round to zero."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 1e4 * self.inner(x)


def test_a_confident_model_has_nonzero_cross_entropy_gradients(measured):
    pixels, targets = context_of().pixels.clone().requires_grad_(True), context_of().targets
    confident = TorchClassifier(Scaled(trained().module))
    with confident.frozen():
        torch.nn.functional.cross_entropy(confident(pixels), targets, reduction="sum").backward()
    assert (pixels.grad.flatten(1).abs().amax(dim=1) == 0).float().mean() > 0.9
    results = [
        measured(PGD(eps=(0.1,), steps=10, loss="ce"), context_of(model), audit=32) for model in (confident, trained())
    ]
    (scaled,), (plain,) = (robust(result) for result in results)
    assert scaled.status == plain.status == "ok"
    assert scaled.value == pytest.approx(plain.value, abs=0.03)
    assert plain.value < plain.control - 0.3


def test_a_model_that_is_never_correct_has_nothing_to_check(measured):
    context = context_of()
    context.test.targets[:] = context.forward(context.test).argsort(axis=1)[:, -2]  # the runner-up class
    result = measured(PGD(eps=(0.5,), steps=2), context)
    (measure,) = robust(result)
    assert measure.value == measure.control == 0  # a sample that noise corrects by chance does not count
    assert measure.checks == dict.fromkeys(CHECKS, "n/a")  # and no probe can run
    assert measure.status == "ok"


@dataclass(frozen=True)
class Faulty(Fake):
    """An attack that fails for a single sample."""

    fault: str = "nan"
    target_image: bytes = b""

    def perturb(self, problem, pixels, targets, size, seeds):
        moved = super().perturb(problem, pixels, targets, size, seeds).clone()
        for row, image in enumerate(pixels):
            if image.numpy().tobytes() == self.target_image:
                if self.fault == "crash":
                    raise ZeroDivisionError("the attack crashed")
                moved[row] = {"nan": torch.nan, "outside": 2.0, "far": 1.0 - image.round()}[self.fault]
        return moved


@pytest.mark.parametrize(
    ("fault", "error"),
    [("crash", ZeroDivisionError), ("nan", AttackError), ("outside", AttackError), ("far", AttackError)],
)
@pytest.mark.parametrize("row", [0, 77, 119])
def test_one_faulty_sample_can_never_raise_the_score(measured, fault, error, row):
    context = context_of()
    assert context.outcomes.output[row].argmax() == context.test.targets[row]
    with pytest.raises(error):
        measured(Faulty(fault=fault, target_image=context.test.pixels()[row].tobytes()), context)


class InPlace(Fake):
    """Modifies its input tensor in place, beyond the allowed size."""

    def perturb(self, problem, pixels, targets, size, seeds):
        return pixels.add_(0.9).clamp_(0, 1)


def test_an_attack_that_works_in_place_cannot_change_the_clean_inputs(measured):
    context = context_of()
    before = context.pixels.clone()
    with pytest.raises(AttackError, match="over the limit"):
        measured(InPlace(), context)
    assert torch.equal(context.pixels, before)


class Relabels(Fake):
    def perturb(self, problem, pixels, targets, size, seeds):
        targets.zero_()
        return pixels


def test_an_attack_cannot_change_the_targets(measured):
    result = measured(Relabels(eps=(0.01,)), audit=8)
    (measure,) = robust(result)
    assert measure.value == result.quality().mean() > 0.95


@pytest.mark.parametrize("fails", [False, True], ids=["normal", "exception inside"])
def test_the_model_is_unchanged_afterwards(measured, fails):
    model = trained()
    model.module[6].eval()  # dropout frozen by the user; batch norm stays in training mode
    modes = [m.training for m in model.module.modules()]
    state = {name: value.clone() for name, value in model.module.state_dict().items()}
    context = context_of(model)
    attack = (
        Faulty(fault="crash", target_image=context.test.pixels()[5].tobytes()) if fails else PGD(eps=(0.1,), steps=2)
    )
    try:
        measured(attack, context, audit=8)
    except ZeroDivisionError:
        assert fails
    assert [m.training for m in model.module.modules()] == modes
    assert all(p.requires_grad and p.grad is None for p in model.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())


def test_nan_outputs_under_attack_are_an_error(measured):
    class NanForPerturbedInputs(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = trained().module

        def forward(self, x):
            return self.inner(x) / (x.flatten(1).amax(1, keepdim=True) <= 1) * (1 / (x[:, :, 0, 0] <= 0.01))

    with pytest.raises(AttackError, match=r"output of \d+ of \d+ samples is NaN or infinite"):
        measured(PGD(eps=(0.1,), steps=3), context_of(TorchClassifier(NanForPerturbedInputs())))


class NanDuringSearch(nn.Module):
    """Returns NaN if the first pixel changes by more than a probe changes it, so a search fails there."""

    def __init__(self):
        super().__init__()
        self.inner = trained().module

    def forward(self, x):
        first = x[:, :1, 0, 0]
        return torch.where((first > 0.06) & (first < 0.5), torch.nan, self.inner(x))


@pytest.mark.parametrize("attack", ["cascade(eps=[0.1], tier=quick)", "square(eps=[0.1], queries=30)", "boundary"])
def test_nan_under_attack_never_counts_as_robust(attack):
    with pytest.raises(AttackError, match=r"NaN or infinite output .* neither robust nor misclassified"):
        finding_of(Robustness(attack), context_of(TorchClassifier(NanDuringSearch()), count=40))


def test_a_model_that_is_robust_at_a_tiny_size_is_not_suspect(measured):
    (measure,) = robust(measured(PGD(eps=(1e-6,), steps=5), context_of(count=40)))
    assert measure.checks["random_does_less"] == "n/a" and measure.checks["chance_at_large_eps"] == "pass"
    assert measure.status == "ok" and measure.value > 0.95


def test_an_attack_that_does_nothing_is_suspect(measured):
    entry, spec = resolve("attack", "torchattacks:VANILA(eps=[0.02])")
    result = measured(entry.build(spec), context_of())
    (measure,) = robust(result)
    assert measure.status == "suspect" and "succeeded on no sample" in measure.reason


class PoisonedGradient(nn.Module):
    """A model with NaN gradients, so that gradient-sign steps move no pixel."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient * torch.nan)
        return self.inner(x)


# Cases in which a torchattacks attack overestimates robustness: attack, model, and the check that fails.
OVERESTIMATED = {
    "saturated cross-entropy": ("torchattacks:PGD(eps=[0.1], alpha=0.02)", Scaled, "queries_find_no_more"),
    "steps too short for eps": ("torchattacks:PGD(eps=[0.2])", lambda inner: inner, "more_steps_find_no_more"),
    "NaN gradient": ("torchattacks:BIM(eps=[0.1], alpha=0.02)", PoisonedGradient, "gradient_finite"),
}


@pytest.mark.parametrize("case", OVERESTIMATED)
def test_a_weak_attack_of_torchattacks_is_suspect(case):
    spec, wrap, check = OVERESTIMATED[case]
    result = finding_of(Robustness(spec), context_of(TorchClassifier(wrap(trained().module))))
    (measure,) = robust(result)
    assert measure.checks[check] == "fail" and measure.status == "suspect"
    assert measure.params["attack"] == "torchattacks:" + spec.split(":")[1].split("(")[0]
