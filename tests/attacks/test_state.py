"""The state of a fitted attack: arrays and JSON, from which it is rebuilt."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.attacks.diagnostics.probes import probe
from suite.attacks.engine.problem import Problem
from suite.attacks.images.cascade import Cascade
from suite.attacks.images.patch import Patch
from suite.attacks.images.transfer import Transfer, surrogate_state
from suite.attacks.rng import as_seeds
from suite.attacks.texts.trigger import Trigger
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.registry import REGISTRY
from tests.attacks import fakes
from tests.attacks.digits import first, splits
from tests.attacks.texts import toys

IMAGES, TEXTS = "images", "texts"

SETTINGS = {
    "transfer": {"steps": 3, "restarts": 1, "samples": 40, "rounds": 1},
    "patch": {"steps": 3, "restarts": 1, "goal": 3},
    "image_patch": {"steps": 2, "tries": 2, "goal": 3},
    "boundary": {"steps": 3, "aimed": 1},
    "decision": {"eps": (0.7,), "queries": 40},
    "square": {"queries": 20},
    "apgd": {"steps": 5},
    "cascade": {"tier": "quick"},
    "worst_case": {"losses": ("ce", "scaled_ce"), "steps": 3},
    "trigger": {"edits": (1,), "rounds": 1},
}

NAMES = sorted(entry.name for entry in REGISTRY.names("attack") if not entry.family)


def attack_of(name):
    (entry,) = [entry for entry in REGISTRY.names("attack") if entry.name == name]
    return entry.factory(**SETTINGS.get(name, {}))


def copied(value):
    """Return a state after a round trip through JSON, with its arrays stored apart, and through pickle."""
    arrays = []

    def out(item):
        if isinstance(item, np.ndarray):
            arrays.append(pickle.loads(pickle.dumps(item)))
            return {"array": len(arrays) - 1}
        if isinstance(item, dict):
            assert all(isinstance(key, str) for key in item)
            return {key: out(each) for key, each in item.items()}
        return [out(each) for each in item] if isinstance(item, list) else item

    def back(item):
        if isinstance(item, dict):
            return arrays[item["array"]] if item.keys() == {"array"} else {key: back(v) for key, v in item.items()}
        return [back(each) for each in item] if isinstance(item, list) else item

    return back(json.loads(json.dumps(out(value), allow_nan=False)))


def images_problem(module=None):
    model = TorchClassifier(module or fakes.built("none"))
    model.module.eval().requires_grad_(False)
    return Problem.of(Classification().kind(), model.raw, adapter=model)


def training(count=60):
    part = splits()[0].take(range(count))
    return torch.from_numpy(part.pixels()), torch.from_numpy(part.targets)


def setup_of(attack):
    """Return a problem, its training samples, and samples to attack."""
    if not attack.changes_text:
        return images_problem(), training, first(12)
    model = toys.linear()
    problem, codes = toys.problem_of(model), toys.coded(toys.texts(40))
    targets = toys.predictions(model, codes)
    return problem, lambda: (codes, targets), (codes[:12], targets[:12])


def same(attack, other, problem, samples):
    pixels, targets = samples
    size, seeds = attack.sizes[-1], as_seeds(range(len(pixels)))
    moved = [one.perturb(problem, pixels, targets, size, seeds) for one in (attack, other)]
    controls = [one.controls() for one in (attack, other)]
    assert torch.equal(*moved) and controls[0].keys() == controls[1].keys()
    for name in controls[0]:
        assert torch.equal(*(control[name](pixels, size, seeds) for control in controls))
    assert torch.equal(*(one.violation(pixels, moved[0], size) for one in (attack, other)))
    assert attack.workarounds == other.workarounds
    return moved[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_with_a_stored_state_attacks_as_the_fitted_one(name):
    attack = attack_of(name)
    problem, training_samples, samples = setup_of(attack)
    fitted = attack.fit(problem, training_samples, seed=3)
    again = attack.with_state(copied(fitted.state()), problem)
    moved = same(fitted, again, problem, samples)
    assert (moved != samples[0]).any()
    assert repr(again.state()) == repr(fitted.state())


@pytest.mark.parametrize("name", ["one-hot", "NaN in backward", "input noise"])
def test_the_state_of_a_cascade_holds_its_workaround(name):
    problem = images_problem(fakes.built(name))
    pixels, targets = first(24)
    problem = replace(problem, probes=probe(problem.forward, pixels, targets))
    attack = Cascade((0.1,), tier="quick")
    fitted = attack.fit(problem, training, seed=0)
    again = attack.with_state(copied(fitted.state()), problem)
    assert fitted._workaround is not None and again._workaround == fitted._workaround
    assert (again._transfer is None) == (fitted._transfer is None)
    if name != "input noise":
        same(fitted, again, problem, (pixels[:8], targets[:8]))


def test_patches_and_triggers_stand_in_the_state():
    problem = images_problem()
    patches = Patch((0.05, 0.1), steps=2, restarts=1).fit(problem, training, seed=0).state()["patches"]
    assert [area for area, _ in patches] == [0.05, 0.1] and patches[1][1].shape == (1, 2, 2)
    model = toys.linear()
    codes = toys.coded(toys.texts(30))
    trigger = Trigger(edits=(1, 2), rounds=1)
    fitted = trigger.fit(toys.problem_of(model), lambda: (codes, toys.predictions(model, codes)), seed=0)
    assert [(size, len(words)) for size, words in fitted.state()["triggers"]] == [(1, 1), (2, 2)]


def test_one_surrogate_serves_attacks_of_other_sizes_and_norms():
    problem, (pixels, targets) = images_problem(), first(20)
    learned = surrogate_state(problem, training, norm="linf", eps=0.1, samples=60, rounds=1, seed=0)
    before, seeds = problem.passes.total, as_seeds(range(20))
    for attack in (Transfer((0.1,), steps=4, restarts=1), Transfer((0.5,), "l2", steps=4, restarts=1)):
        shared = attack.with_surrogate(copied(learned), problem)
        assert problem.passes.total == before  # nothing is trained
        shared.perturb(problem, pixels, targets, attack.sizes[0], seeds)
        before = problem.passes.total
    alone = Transfer((0.1,), steps=4, restarts=1, samples=60, rounds=1).fit(problem, training, seed=0)
    shared = Transfer((0.1,), steps=4, restarts=1, samples=60, rounds=1).with_surrogate(learned, problem)
    same(alone, shared, problem, (pixels, targets))
