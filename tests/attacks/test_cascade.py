"""The cascade: as strong as more expensive attacks, also on models that mask their gradients."""

from dataclasses import replace

import pytest
import torch

from suite.attacks.diagnostics.probes import probe
from suite.attacks.diagnostics.workarounds import find_workaround
from suite.attacks.engine.precision import faster
from suite.attacks.engine.validation import validate
from suite.attacks.images.apgd import APGD
from suite.attacks.images.cascade import PLANS, Cascade
from suite.attacks.images.gradient import PGD
from suite.attacks.rng import as_seeds
from suite.errors import SpecError
from suite.models.base import TorchClassifier
from tests.attacks import fakes
from tests.attacks.digits import first, problem_of, splits

EPS = 0.1
COUNT = 48


def flagged(name):
    """Return the problem of a fake defense with its probes, and the same for the undefended network."""
    problem = problem_of(TorchClassifier(fakes.built(name)).raw)
    pixels, targets = first(COUNT)
    return replace(problem, probes=probe(problem.forward, pixels, targets))


def training():
    train = splits()[0].take(range(200))
    return torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)


def robust_count(attack, problem, count=COUNT):
    """Return how many samples are robust after validation."""
    pixels, targets = first(count)
    perturbed = attack.perturb(problem, pixels, targets, EPS, as_seeds(range(count)))
    return int((validate(problem, attack, pixels, perturbed, targets, EPS) < 0.5).sum())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_each_tier_is_at_least_as_strong_as_the_previous_one(problem, norm):
    eps = {"linf": 0.1, "l2": 0.5, "l1": 3.0}[norm]
    pixels, targets = first(COUNT)
    broken = []
    for tier in ("quick", "standard"):
        attack = Cascade((eps,), norm, tier=tier)
        search, _ = attack.explored(problem, pixels, targets, eps, as_seeds(range(COUNT)))
        assert (validate(problem, attack, pixels, search.best, targets, eps) > 0.5).equal(search.misclassified)
        broken.append(int(search.misclassified.sum()))
    assert broken[0] <= broken[1] < COUNT
    perturbed = PGD((eps,), norm).perturb(problem, pixels, targets, eps, as_seeds(range(COUNT)))
    assert broken[1] >= int((validate(problem, PGD((eps,), norm), pixels, perturbed, targets, eps) > 0.5).sum())


def test_expensive_stages_work_on_few_samples(problem):
    pixels, targets = first(COUNT)
    search, stages = Cascade((EPS,)).explored(problem, pixels, targets, EPS, as_seeds(range(COUNT)))
    everything = sum(2 * rung.steps * max(1, rung.goals) for rung in PLANS["standard"])
    assert problem.passes.total < 0.5 * everything * COUNT
    assert len(stages) == len(PLANS["standard"]) + 2  # the clean predictions before, the Square Attack after
    assert set(search.rung[search.misclassified].tolist()) <= set(range(len(stages)))
    assert (search.rung[~search.misclassified] == -1).all()


def test_result_does_not_depend_on_batch_size_or_order(problem):
    pixels, targets = first(24)
    seeds, results = as_seeds(range(24)), []
    for batch_size in (1, 7, 256):
        small = replace(problem, batch_size=batch_size)
        results.append(Cascade((EPS,), tier="quick").perturb(small, pixels, targets, EPS, seeds))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = Cascade((EPS,), tier="quick").perturb(problem, pixels[order], targets[order], EPS, seeds[order])
    assert all(result.equal(results[0]) for result in results)
    assert shuffled.equal(results[0][order])


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1e-4, 50.0), (1e5, 0.0)])
def test_an_affine_change_of_the_logits_hardly_changes_the_result(net, scale, shift):
    plain = robust_count(Cascade((EPS,), tier="quick"), problem_of(net))
    changed = robust_count(Cascade((EPS,), tier="quick"), problem_of(lambda pixels: net(pixels) * scale + shift))
    assert abs(plain - changed) <= 1


@pytest.mark.parametrize(
    "name",
    ["softmax(50 x logits)", "one-hot", "8 levels", "thermometer", "flat in grad mode", "NaN in backward", "k-WTA"],
)
def test_fake_defenses_are_nearly_as_vulnerable_as_the_undefended_network(net, name):
    problem = flagged(name)
    blinded = [item for item in problem.probes.values() if item.status == "fail"]
    assert blinded
    attack = Cascade((EPS,), tier="quick").fit(problem, training, seed=0)
    bare = robust_count(Cascade((EPS,), tier="quick"), problem_of(net.raw))
    assert robust_count(attack, problem) <= bare + (3 if attack.workarounds else 12)


def test_a_guide_gives_gradients_only_and_never_outcomes():
    problem = flagged("one-hot")
    pixels, targets = first(COUNT)
    workaround = find_workaround(problem, pixels, targets)
    assert workaround.applied(problem).guide is not None
    assert workaround.applied(problem).model is problem.model
    assert "gradient_nonzero" in workaround.handled


def test_bfloat16_attacks_match_float32_and_are_validated_in_float32(problem):
    fast = faster(problem, precision="bfloat16")
    attack = PGD((EPS,))
    assert abs(robust_count(attack, fast) - robust_count(attack, problem)) <= 1
    with pytest.raises(SpecError, match=r"precision='half'; expected one of float32, bfloat16"):
        faster(problem, precision="half")


def test_an_unknown_tier_is_rejected():
    with pytest.raises(SpecError, match=r"tiers quick, standard, max; got tier='strong'"):
        Cascade(tier="strong")


def fragile_guide(net):
    """Return a guide that misclassifies long before the model does, and otherwise has useful gradients."""

    def guide(pixels):
        logits = net(pixels)
        return logits - 1.5 * torch.nn.functional.one_hot(logits.argmax(dim=1), 10)

    return guide


@pytest.mark.parametrize("attack", [PGD((EPS,)), APGD((EPS,), steps=20), Cascade((EPS,), tier="quick")], ids=str)
def test_samples_misclassified_by_the_guide_alone_stay_under_attack(net, attack):
    problem = problem_of(net)
    plain, guided = robust_count(attack, problem), robust_count(attack, replace(problem, guide=fragile_guide(net)))
    assert plain < 0.6 * COUNT and abs(guided - plain) <= 2


def test_double_steps_also_double_the_steps_for_a_stochastic_model():
    problem, spent = replace(flagged("input noise"), draws=8), []
    attack = Cascade((EPS,)).fit(problem, training, seed=0)
    for tried in (attack, attack.with_double_steps()):
        before = problem.passes.total
        tried.perturb(problem, *first(2), EPS, as_seeds(range(2)))
        spent.append(problem.passes.total - before)
    assert spent[1] > 1.9 * spent[0]


def test_without_training_samples_the_search_runs_without_a_surrogate():
    problem = flagged("NaN in backward")
    attack = Cascade((EPS,), tier="quick").fit(problem, lambda: (first(0)[0], first(0)[1]), seed=0)
    assert attack._transfer is None and attack._workaround.no_gradient
    assert robust_count(attack, problem) < COUNT


def test_many_late_misclassifications_start_the_boundary_attack(problem, monkeypatch):
    pixels, targets = first(COUNT)

    def stages():
        return Cascade((EPS,)).explored(problem, pixels, targets, EPS, as_seeds(range(COUNT)))[1]

    assert "boundary" not in stages()  # no late misclassifications here
    for name in ("LATE_SHARE", "LATE_COUNT"):
        monkeypatch.setattr(f"suite.attacks.images.cascade.{name}", -1.0)
    assert "boundary" in stages()
