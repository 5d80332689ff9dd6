"""One attack at every size: the stored adversarial examples, stochastic models, and faulty attacks.

A lucky draw does not count as an adversarial example, and a faulty attack is never mistaken for robustness.
"""

import hashlib
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.constraints import constraint
from suite.attacks.engine.problem import Problem
from suite.attacks.images.boundary import Boundary
from suite.attacks.images.gradient import FGSM, PGD, NormAttack
from suite.axes.robustness.axis import Robustness
from suite.axes.robustness.inputs import FoundInputs
from suite.axes.robustness.setup import DRAWS
from suite.axes.robustness.sweep import AttackSweep
from suite.errors import AttackError
from suite.models.base import TorchClassifier
from suite.models.training.trainer import seeded
from tests.attacks.digits import trained
from tests.axes.contexts import Fake, context_of, finding_of, noisy_context, robust

EPS = (0.05, 0.1, 0.15)


def sweep_of(attack, context=None, **fields):
    """Return a finished sweep of an attack on a frozen model."""
    context = context or context_of()
    with context.model.frozen(), seeded(context.seed, context.device):
        problem = replace(Problem.of(context.kind, context.model.raw, adapter=context.model), **fields)
        sweep = AttackSweep(context, problem, attack)
        sweep.run()
    return sweep


def predict(model, pixels):
    with model.frozen(), torch.no_grad():
        return model(pixels).argmax(dim=1)


# Stored arrays and details


@pytest.fixture(scope="module", params=["pgd", "boundary", "cascade"])
def finding(request):
    options = {"pgd": "steps=10", "boundary": "steps=5, aimed=1", "cascade": "tier=quick"}[request.param]
    axis = Robustness(f"{request.param}(eps=[0.05, 0.1, 0.15], {options})", audit=0)
    return request.param, finding_of(axis, context_of())


def test_stored_adversarial_examples_agree_with_the_columns(finding):
    _, result = finding
    arrays, ids, context = result.arrays, result.column("id"), context_of()
    row_of = {name: row for row, name in enumerate(ids)}
    correct = {eps: result.quality(eps) for eps in EPS}
    misclassified = result.quality() & ~correct[EPS[-1]]
    assert 60 < misclassified.sum() < 120
    assert set(arrays["found_id"].tolist()) == {name for name, wrong in zip(ids, misclassified, strict=True) if wrong}
    assert len(arrays["found"]) == len(arrays["found_size"]) == len(arrays["found_rung"]) == misclassified.sum()
    for name, size in zip(arrays["found_id"], arrays["found_size"], strict=True):
        assert size == next(eps for eps in EPS if not correct[eps][row_of[name]])
    # The stored pixels alone suffice to re-check size, bounds and prediction.
    rows = [row_of[name] for name in arrays["found_id"]]
    moved = arrays["found"].astype(np.float64)
    distance = np.abs(moved - context.test.pixels()[rows]).reshape(len(rows), -1).max(axis=1)
    assert (distance <= arrays["found_size"] * (1 + 1e-5) + 1e-6).all()
    assert 0 <= moved.min() and moved.max() <= 1
    predictions = predict(context.model, torch.from_numpy(arrays["found"])).numpy()
    assert (predictions != context.test.targets[rows]).all()


def test_stages_passes_and_checksums_are_stored(finding):
    name, result = finding
    details, arrays = result.details, result.arrays
    row_of = {name: row for row, name in enumerate(result.column("id"))}
    rows = [row_of[name] for name in arrays["found_id"]]
    checksums = result.column("sha256")
    assert checksums[rows].tolist() == [hashlib.sha256(values.tobytes()).hexdigest() for values in arrays["found"]]
    assert all(text == "" for text in np.delete(checksums, rows))
    assert np.array_equal(result.column("found_size")[rows], arrays["found_size"])
    assert np.isnan(np.delete(result.column("found_size"), rows)).all()
    assert result.column("found_by")[rows].tolist() == arrays["found_rung"].tolist()
    assert result.facts["attack"]["draws"] == 1
    assert sum(details["found_by"].values()) == len(arrays["found"])
    names, counts = np.unique(arrays["found_rung"], return_counts=True)
    assert details["found_by"] == dict(zip(names.tolist(), counts.tolist(), strict=True))
    if name == "cascade":
        assert "" not in details["found_by"] and all("steps" in stage for stage in details["found_by"])
    else:
        assert set(details["found_by"]) == {name}
    passes = result.facts["passes"]
    assert 0 < passes["search"] <= passes["attack"] <= passes["with checks"]


def test_passes_count_the_forward_passes_of_the_model(monkeypatch):
    context, batch_sizes = context_of(count=40), []
    raw = context.model.raw

    def counted(pixels):
        batch_sizes.append(len(pixels))
        if pixels.requires_grad:
            pixels.register_hook(lambda gradient: batch_sizes.append(len(gradient)))
        return raw(pixels)

    problem = Problem.of(context.kind, counted, batch_size=16)
    with context.model.frozen():
        sweep = AttackSweep(context, problem, PGD(eps=(0.1,), steps=4))
        sweep.run()
    assert problem.passes.total == sum(batch_sizes) > 40 * 4


def test_quality_is_zero_or_one_for_a_deterministic_model():
    sweep = sweep_of(PGD(eps=EPS, steps=5))
    for correct in (sweep.clean, *sweep.quality.values(), *sweep.control["random"].values()):
        assert correct.dtype == np.float64 and set(np.unique(correct)) <= {0.0, 1.0}
    curve = [sweep.clean, *sweep.quality.values()]
    assert all((after <= before).all() for before, after in pairwise(curve))
    rows = np.flatnonzero(sweep.clean > 0.5)
    from_scratch = sweep.attacked(sweep.attack, rows, EPS[1])
    assert from_scratch.shape == rows.shape and set(np.unique(from_scratch)) == {0.0, 1.0}


def test_nothing_is_attacked_if_no_sample_is_correct():
    context = context_of(count=20)
    context.test.targets[:] = (predict(context.model, context.pixels).numpy() + 1) % 10
    sweep = sweep_of(PGD(eps=EPS, steps=2), context)
    assert not sweep.clean.any() and all(not correct.any() for correct in sweep.quality.values())
    inputs = FoundInputs.of(sweep, shown=True)
    assert inputs.values.shape == (0, 1, 8, 8) and inputs.ids.shape == (0,)
    assert inputs.to_json()["stored"] == inputs.to_json()["found"] == 0


# Minimum-norm attacks run once for all sizes


@dataclass(frozen=True)
class RecordingBoundary(Boundary):
    """The boundary attack, recording the number of samples of every run."""

    runs: list[int] = field(default_factory=list)

    def smallest(self, problem, pixels, targets, seeds):
        self.runs.append(len(pixels))
        return super().smallest(problem, pixels, targets, seeds)


def test_a_minimum_norm_attack_runs_once_for_all_sizes():
    one_size, many_sizes = (
        RecordingBoundary(eps=(0.1,), steps=4, aimed=1),
        RecordingBoundary(eps=tuple(np.linspace(0.01, 0.3, 30)), steps=4, aimed=1),
    )
    once, all_sizes = sweep_of(one_size), sweep_of(many_sizes)
    assert one_size.runs == many_sizes.runs == [int(once.clean.sum())]
    assert len(all_sizes.quality) == 30
    # Per size, only validation (one pass per remaining sample) and the control are left.
    extra_passes = all_sizes.problem.passes.total - once.problem.passes.total
    assert extra_passes <= 2 * 29 * len(once.clean)
    # The curve follows from the smallest distances.
    with once.context.model.frozen():
        rows = np.flatnonzero(once.clean)
        pixels, targets = once.pixels(rows)
        _, distance = one_size.smallest(once.problem, pixels, targets, once.seeds("smallest", rows))
    for size, correct in (*all_sizes.quality.items(), *once.quality.items()):
        assert np.array_equal(correct[rows] == 0, distance.numpy() <= size)


# Stochastic models


@pytest.fixture(scope="module")
def random_finding():
    return finding_of(Robustness("pgd(eps=[0.05, 0.1], steps=4, restarts=1)", audit=24), noisy_context())


def test_an_outcome_of_a_stochastic_model_is_a_share_of_32_draws(random_finding):
    assert DRAWS == 32
    for size in (0.0, 0.05, 0.1):
        shares = random_finding.quality(size)
        assert np.array_equal(shares * 32, np.round(shares * 32)) and shares.min() >= 0 and shares.max() <= 1
        assert len(np.unique(shares)) > 5
    for measure, eps in zip(robust(random_finding), (0.05, 0.1), strict=True):
        assert measure.params["draws"] == 32
        assert measure.value == pytest.approx(random_finding.quality(eps).mean(), abs=1e-12)
        assert measure.lo < measure.value < measure.hi and measure.n == 60
        assert measure.value < measure.control < 1
    controls = [m for m in random_finding.measures if m.metric == "control_accuracy"]
    assert all(m.params["draws"] == 32 and m.lo < m.value < m.hi for m in controls)
    assert random_finding.facts["attack"]["draws"] == 32
    point = random_finding.details["curve"][1]
    assert point["value_lo"] < point["value"] < point["value_hi"]
    assert point["value"] == pytest.approx(robust(random_finding)[0].value)


def test_a_stochastic_model_is_marked_but_not_suspect(random_finding):
    for measure in robust(random_finding):
        assert measure.checks["deterministic"] == "pass"  # because outcomes are shares of draws
        assert measure.checks["eps0_equals_clean"] == "pass"
    assert "share of 32 draws" in random_finding.facts["checks"]["deterministic"][1]


def test_only_inputs_misclassified_in_most_draws_are_stored(random_finding):
    arrays, context = random_finding.arrays, noisy_context()
    row_of = {name: row for row, name in enumerate(random_finding.column("id"))}
    rows = [row_of[name] for name in arrays["found_id"]]
    assert len(rows) > 5
    for row, size in zip(rows, arrays["found_size"], strict=True):
        assert random_finding.quality(float(size))[row] < 0.5
    moved, clean = torch.from_numpy(arrays["found"]), torch.from_numpy(context.test.pixels()[rows])
    excess = constraint("linf").excess(clean, moved, torch.from_numpy(arrays["found_size"]))
    assert (excess <= 0).all()  # also where a larger size failed by chance
    with torch.random.fork_rng(devices=[]), context.model.frozen():
        torch.manual_seed(5)
        problem = replace(Problem.of(context.kind, context.model), draws=200)
        again = problem.outcome(moved, torch.from_numpy(context.test.targets[rows]))
    assert (again > 0.3).all() and again.mean() > 0.5
    rows_without_example = [row for row in range(60) if row not in rows]
    small, clean = random_finding.quality(0.05), random_finding.quality()
    assert all(small[row] >= 0.5 or clean[row] == 0 for row in rows_without_example)


class WrongInOneOfTenDraws(nn.Module):
    """Predicts as the trained model does, except in one draw of ten, independently of the input."""

    def __init__(self):
        super().__init__()
        self.inner = trained().module

    def forward(self, x):
        logits = self.inner(x) * 1.0
        wrong = (torch.rand(len(x)) < 0.1).to(logits)[:, None]
        return logits - 2 * wrong * logits  # negated logits: the order of the classes is reversed


def test_one_misclassified_draw_is_no_adversarial_example():
    context = context_of(TorchClassifier(WrongInOneOfTenDraws()), count=80)
    finding = finding_of(Robustness("pgd(eps=[0.0001, 0.0002, 0.0003], steps=10)", audit=0), context)
    assert finding.facts["attack"]["draws"] == 32
    assert len(finding.arrays["found"]) == 0  # at least one of 30 draws is wrong in 96% of cases
    for eps in (0.0001, 0.0002, 0.0003):
        shares = finding.quality(eps)
        easy = finding.quality() > 0.5
        assert shares[easy].min() > 0.5 and shares[easy].mean() == pytest.approx(0.9, abs=0.02)
    # A lucky draw at a small size is not carried over to larger sizes.
    values = [measure.value for measure in robust(finding)]
    assert values[-1] == pytest.approx(values[0], abs=0.03)


@dataclass(frozen=True)
class BrightenBySize(NormAttack):
    """Adds the size to every pixel; the model of `scripted` decides how often that succeeds."""

    eps: tuple[float, ...] = (0.1, 0.2, 0.3)

    def perturb(self, problem, pixels, targets, size, seeds):
        return (pixels + size).clamp(0, 1)


def scripted(shares):
    """Return a sweep on one gray image; at each size the model misclassifies the given fraction of draws."""
    context = context_of(count=1)
    clean = torch.full((1, 1, 8, 8), 0.5)
    context.__dict__["pixels"] = clean
    calls: dict[float, int] = {}

    def forward(pixels):
        size = round(float((pixels - clean).abs().max()), 4)
        calls[size] = calls.get(size, 0) + 1
        wrong = (calls[size] - 1) % 4 < 4 * shares.get(size, 0)
        output = torch.zeros(len(pixels), 10)
        output[:, (int(context.targets[0]) + int(wrong)) % 10] = 1
        return output

    sweep = AttackSweep(context, replace(Problem.of(context.kind, forward), draws=4), BrightenBySize())
    sweep.run()
    return sweep


def test_an_adversarial_example_stays_if_a_larger_size_fails_by_chance():
    sweep = scripted({0.1: 0.25, 0.2: 0.75, 0.3: 0.5})
    assert [float(quality[0]) for quality in sweep.quality.values()] == [0.75, 0.25, 0.5]
    assert sweep.found_at.tolist() == [0.2]
    moved = FoundInputs.of(sweep, shown=True).values
    # The stored example is the successful one, not the larger perturbation, which did not succeed.
    assert np.abs(moved - 0.5).max() == pytest.approx(0.2, abs=1e-6)


def test_half_of_the_draws_is_no_majority():
    sweep = scripted({0.1: 0.5, 0.2: 0.5, 0.3: 0.5})
    assert np.isnan(sweep.found_at).all() and len(FoundInputs.of(sweep, shown=True).values) == 0
    # The gallery keeps the largest attempt.
    assert np.abs(sweep.adversarial.numpy() - 0.5).max() == pytest.approx(0.3, abs=1e-6)


def test_a_sample_that_is_always_misclassified_is_not_attacked_again():
    sweep = scripted({0.1: 1.0})
    assert [float(quality[0]) for quality in sweep.quality.values()] == [0, 0, 0]
    assert sweep.found_at.tolist() == [0.1]


# Faulty attacks


@dataclass(frozen=True)
class FaultyPGD(Fake):
    """PGD that fails for a fraction of the samples (0: only the first one) at sizes of at least `since`."""

    fault: str = "clean"
    since: float = 0.0
    fraction: float = 1.0

    def perturb(self, problem, pixels, targets, size, seeds):
        moved = super().perturb(problem, pixels, targets, size, seeds).clone()
        if size < self.since:
            return moved
        affected = (seeds % 1000).float() < 1000 * self.fraction
        affected[0] |= self.fraction == 0
        self.corrupt(moved, pixels, affected)
        return moved[:-1] if self.fault == "short" else moved

    def with_double_steps(self) -> Any:
        return self

    def corrupt(self, moved: Any, pixels: Any, affected: Any) -> None:
        if self.fault == "crash":
            raise RuntimeError("the attack crashed")
        if self.fault == "clean":
            moved[affected] = pixels[affected]
        elif self.fault == "far":
            moved[affected] = 1 - pixels[affected]
        elif self.fault != "short":
            moved[affected] = {"nan": torch.nan, "infinite": torch.inf, "outside": 1.5, "negative": -0.01}[self.fault]


FAULTY = {
    "crash": (RuntimeError, "the attack crashed"),
    "nan": (AttackError, "NaN or infinite pixels"),
    "infinite": (AttackError, "NaN or infinite pixels"),
    "outside": (AttackError, r"pixels outside \[0, 1\]"),
    "negative": (AttackError, r"pixels outside \[0, 1\]"),
    "far": (AttackError, "perturbations over the limit"),
    "short": (AttackError, "returned shape"),
}


@pytest.mark.parametrize("since", [0.0, EPS[-1]], ids=["always", "largest size"])
@pytest.mark.parametrize("fraction", [1.0, 0.0], ids=["all", "one"])
@pytest.mark.parametrize("fault", FAULTY)
def test_a_faulty_attack_is_an_error(measured, fault, fraction, since):
    error, message = FAULTY[fault]
    with pytest.raises(error, match=message):
        measured(FaultyPGD(fault=fault, fraction=fraction, since=since), context_of(count=100), audit=8)


@pytest.mark.parametrize("since", [0.0, EPS[-1]], ids=["always", "largest size"])
@pytest.mark.parametrize("fraction", [1.0, 0.7], ids=["all", "most"])
def test_an_attack_that_returns_clean_inputs_is_suspect(measured, fraction, since):
    finding = measured(FaultyPGD(fault="clean", fraction=fraction, since=since))
    correct_attack = sweep_of(Fake())
    for measure in robust(finding):
        assert measure.status == "suspect" and "fail" in measure.checks.values()
        assert measure.value >= correct_attack.quality[measure.params["eps"]].mean() - 1e-12


@pytest.mark.parametrize("fault", ["nan", "crash"])
def test_an_error_at_one_size_discards_all_sizes(measured, fault):
    """Results at smaller sizes are discarded too: an incomplete curve would look complete."""
    with pytest.raises((AttackError, RuntimeError)):
        measured(FaultyPGD(fault=fault, since=EPS[1]), context_of(count=30), audit=0)


def test_a_control_that_violates_the_norm_is_an_error(measured):
    class InvalidControl(FGSM):
        def controls(self):
            return {"random": lambda pixels, size, seeds: pixels.add(2 * size).clamp(0, 1)}

    with pytest.raises(AttackError, match="over the limit"):
        measured(InvalidControl(eps=(0.1,)), context_of(count=20), audit=0)


def test_an_attack_cannot_influence_the_validation(measured):
    class TamperedOutcomes(Fake):
        def perturb(self, problem, pixels, targets, size, seeds):
            none_misclassified = lambda output, truth: torch.zeros(len(output), dtype=torch.bool)  # noqa: E731
            object.__setattr__(problem, "misclassified", none_misclassified)
            return super().perturb(problem, pixels, targets, size, seeds)

    finding = measured(TamperedOutcomes(), context_of(count=40), audit=16)
    assert all(measure.status != "ok" for measure in robust(finding))
