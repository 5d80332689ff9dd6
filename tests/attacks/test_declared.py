"""What attacks and norms declare: everything that the suite reads of them, in a form that a record can store."""

import json
import math
from dataclasses import dataclass

import pytest
import torch

from suite.attacks.constraints import Constraint, Norm, ball_norms, constraint, norm_of, register_norm
from suite.attacks.constraints.linf import Linf
from suite.attacks.engine.base import Attack
from suite.attacks.engine.validation import validate
from suite.attacks.images.gradient import PGD
from suite.errors import AttackError, SpecError
from suite.registry import REGISTRY

ATTACKS = [entry for entry in REGISTRY.names("attack") if not entry.family]


class Plain(Attack):
    """An attack that declares no more than it has to."""

    sizes = (0.1,)

    def perturb(self, problem, pixels, targets, size, seeds):
        return (pixels + size).clamp(0, 1)

    def controls(self):
        return {"random": lambda pixels, size, seeds: pixels}

    def violation(self, clean, adversarial, size):
        return torch.zeros(len(clean), dtype=torch.float64)


@pytest.mark.parametrize("entry", ATTACKS, ids=[entry.name for entry in ATTACKS])
def test_every_attack_of_the_suite_declares_a_known_norm(entry):
    attack = entry.factory()
    assert isinstance(attack, Attack)
    norm = norm_of(attack.norm)
    assert norm.quantity or norm.ball, "neither the axis of a figure nor a ball"
    assert attack.size_name == norm.size_name
    assert attack.changes_text == (norm.size_name == "edits") == bool(attack.changed_metrics)
    assert attack.goal is None and attack.workarounds == {} and attack.patches() == {}


def test_an_attack_declares_nothing_by_default(problem):
    attack = Plain()
    pixels, targets = torch.rand(2, 1, 8, 8), torch.zeros(2).long()
    seeds = torch.arange(2)
    assert (attack.norm, attack.size_name, attack.loss, attack.goal) == ("none", "eps", None, None)
    assert attack.state() == {} and attack.with_state({}, problem) is attack
    assert not attack.supports_graded_outcomes and not attack.changes_text
    assert attack.workarounds == {} and attack.patches() == {} and attack.changed_metrics == () and not attack.trained
    assert attack.fit(problem, lambda: (pixels, targets), seed=0) is attack
    assert attack.with_double_steps() is None
    assert attack.explored(problem, pixels, targets, 0.1, seeds) is None
    assert attack.smallest(problem, pixels, targets, seeds) is None
    assert attack.succeeded(problem, pixels, targets) is None
    assert attack.changes(pixels, pixels) is None
    assert validate(problem, attack, pixels, attack.perturb(problem, pixels, targets, 0.1, seeds), targets, 0.1).any()


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((1, 28, 28), 1024), ((3, 180, 180), 256), ((3, 224, 224), 128), ((3, 2048, 2048), 2), ((3, 8000, 8000), 1)],
)
def test_a_cohort_is_a_power_of_two_whose_inputs_take_at_most_128_mib(shape, expected):
    assert Plain().cohort(shape) == expected
    assert (
        expected == 1
        or 4 * math.prod(shape) * expected <= 2**27 < 4 * math.prod(shape) * 2 * expected
        or (expected == 1024)
    )


def test_the_largest_cohort_can_be_set_and_an_attack_may_fix_its_own(monkeypatch):
    class Fixed(Plain):
        fixed_cohort = 32

    assert Fixed().cohort((3, 8000, 8000)) == 32
    monkeypatch.setattr("suite.data.cohorts.LARGEST", 200)
    assert Plain().cohort((1, 8, 8)) == 128


def test_a_class_without_sizes_is_no_attack():
    with pytest.raises(TypeError, match="abstract"):
        Attack()


# -- norms


def test_the_declaration_of_every_norm_can_be_stored():
    declared = {name: norm_of(name).to_json() for name in (*ball_norms(), "patch", "words", "characters", "trigger")}
    assert json.loads(json.dumps(declared)) == declared
    units = {name: (norm["size_name"], norm["unit"]) for name, norm in declared.items()}
    assert units == {
        **dict.fromkeys(("l0", "l1", "l2", "linf"), ("eps", "")),
        "patch": ("area", "%"),
        "words": ("edits", "word"),
        "characters": ("edits", "character"),
        "trigger": ("edits", "token"),
    }


def test_an_unknown_norm_is_a_number_without_a_ball():
    norm = norm_of("wasserstein")
    assert norm == Norm("wasserstein")
    assert norm.ball is None and norm.edits is None and norm.size_name == "eps"
    with pytest.raises(SpecError, match="'wasserstein'; expected one of l0, l1, l2, linf"):
        constraint("wasserstein")


@dataclass(frozen=True)
class HalfLinf(Linf):
    """The ball of half the radius."""

    def limit(self, eps):
        return super().limit(eps / 2)

    def clip(self, point, clean, eps):
        return super().clip(point, clean, eps / 2)


@pytest.fixture
def half(monkeypatch):
    """Register a norm for one test."""
    monkeypatch.setattr("suite.attacks.constraints.norms._NORMS", {"linf": norm_of("linf")})
    return register_norm(Norm("half", ball=HalfLinf))


def test_a_registered_norm_works_in_attacks_and_is_validated(problem, half):
    assert ball_norms() == ("linf", "half")
    pixels, targets = torch.full((4, 1, 8, 8), 0.5), torch.zeros(4).long()
    attack = PGD(eps=(0.2,), norm="half", steps=3)
    moved = attack.perturb(problem, pixels, targets, 0.2, torch.arange(4))
    assert isinstance(attack.constraint, Constraint)
    assert 0.09 < float((moved - pixels).abs().max()) <= 0.1 + 1e-6
    assert len(validate(problem, attack, pixels, moved, targets, 0.2)) == 4
    with pytest.raises(AttackError, match="over the limit"):
        validate(problem, attack, pixels, pixels + 0.15, targets, 0.2)
