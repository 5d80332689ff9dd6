"""The cascade: as strong as dear attacks on honest models, round the back of those that hide, and honest about both."""

from dataclasses import replace

import pytest
import torch

from suite.attacks.diagnostics.probes import probe
from suite.attacks.diagnostics.remedies import find_remedy
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
    """Return the problem of a fake defence with what the probes say of it, and the same for the bare network."""
    problem = problem_of(TorchClassifier(fakes.built(name)).raw)
    pixels, targets = first(COUNT)
    return replace(problem, probes=probe(problem.forward, pixels, targets))


def training():
    train = splits()[0].take(range(200))
    return torch.from_numpy(train.pixels()), torch.from_numpy(train.targets)


def left(attack, problem, count=COUNT):
    """Return how many samples stand behind the gate."""
    pixels, targets = first(count)
    moved = attack.perturb(problem, pixels, targets, EPS, as_seeds(range(count)))
    return int((validate(problem, attack, pixels, moved, targets, EPS) < 0.5).sum())


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_every_tier_is_at_least_as_strong_as_the_one_before_it(problem, norm):
    eps = {"linf": 0.1, "l2": 0.5, "l1": 3.0}[norm]
    pixels, targets = first(COUNT)
    found = []
    for tier in ("quick", "standard"):
        attack = Cascade((eps,), norm, tier=tier)
        search, _ = attack.explored(problem, pixels, targets, eps, as_seeds(range(COUNT)))
        assert (validate(problem, attack, pixels, search.best, targets, eps) > 0.5).equal(search.misclassified)
        found.append(int(search.misclassified.sum()))
    assert found[0] <= found[1] < COUNT
    moved = PGD((eps,), norm).perturb(problem, pixels, targets, eps, as_seeds(range(COUNT)))
    assert found[1] >= int((validate(problem, PGD((eps,), norm), pixels, moved, targets, eps) > 0.5).sum())


def test_the_dear_rungs_work_on_few_samples(problem):
    pixels, targets = first(COUNT)
    search, stages = Cascade((EPS,)).explored(problem, pixels, targets, EPS, as_seeds(range(COUNT)))
    everything = sum(2 * rung.steps * max(1, rung.goals) for rung in PLANS["standard"])
    assert problem.passes.total < 0.5 * everything * COUNT
    assert len(stages) == len(PLANS["standard"]) + 2  # the clean answers before, a search without gradients behind
    assert set(search.rung[search.misclassified].tolist()) <= set(range(len(stages)))
    assert (search.rung[~search.misclassified] == -1).all()


def test_batch_size_and_order_change_nothing(problem):
    pixels, targets = first(24)
    seeds, results = as_seeds(range(24)), []
    for batch_size in (1, 7, 256):
        asked = replace(problem, batch_size=batch_size)
        results.append(Cascade((EPS,), tier="quick").perturb(asked, pixels, targets, EPS, seeds))
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    shuffled = Cascade((EPS,), tier="quick").perturb(problem, pixels[order], targets[order], EPS, seeds[order])
    assert all(result.equal(results[0]) for result in results)
    assert shuffled.equal(results[0][order])


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1e-4, 50.0), (1e5, 0.0)])
def test_an_affine_change_of_the_logits_changes_next_to_nothing(net, scale, shift):
    plain = left(Cascade((EPS,), tier="quick"), problem_of(net))
    changed = left(Cascade((EPS,), tier="quick"), problem_of(lambda pixels: net(pixels) * scale + shift))
    assert abs(plain - changed) <= 1


@pytest.mark.parametrize(
    "name",
    ["softmax(50 x logits)", "one-hot", "8 levels", "thermometer", "flat in grad mode", "NaN in backward", "k-WTA"],
)
def test_a_fake_defence_falls_nearly_as_far_as_the_bare_network(net, name):
    problem = flagged(name)
    blinded = [item for item in problem.probes.values() if item.status == "fail"]
    assert blinded
    attack = Cascade((EPS,), tier="quick").fit(problem, training, seed=0)
    bare = left(Cascade((EPS,), tier="quick"), problem_of(net.raw))
    assert left(attack, problem) <= bare + (2 if attack.cures else 12)


def test_a_stand_in_only_guides_and_never_judges():
    problem = flagged("one-hot")
    pixels, targets = first(COUNT)
    remedy = find_remedy(problem, pixels, targets)
    assert remedy.problem.guide is not None
    assert remedy.problem.model is problem.model
    assert "gradient_nonzero" in remedy.cures


def test_bfloat16_finds_what_float32_finds_and_float32_judges(problem):
    fast = faster(problem, precision="bfloat16")
    attack = PGD((EPS,))
    assert abs(left(attack, fast) - left(attack, problem)) <= 1
    with pytest.raises(SpecError, match=r"precision='half'; expected one of float32, bfloat16"):
        faster(problem, precision="half")


def test_an_unknown_tier_is_refused():
    with pytest.raises(SpecError, match=r"tiers quick, standard, max; got tier='strong'"):
        Cascade(tier="strong")


def credulous(net):
    """Return a guide that is fooled long before the model is, and else leads the right way."""

    def guide(pixels):
        logits = net(pixels)
        return logits - 1.5 * torch.nn.functional.one_hot(logits.argmax(dim=1), 10)

    return guide


@pytest.mark.parametrize("attack", [PGD((EPS,)), APGD((EPS,), steps=20), Cascade((EPS,), tier="quick")], ids=str)
def test_who_fools_the_guide_alone_is_attacked_on(net, attack):
    problem = problem_of(net)
    plain, guided = left(attack, problem), left(attack, replace(problem, guide=credulous(net)))
    assert plain < 0.6 * COUNT and abs(guided - plain) <= 2


def test_twice_the_steps_are_twice_the_steps_for_a_random_model_too():
    problem, spent = replace(flagged("input noise"), draws=8), []
    attack = Cascade((EPS,)).fit(problem, training, seed=0)
    for tried in (attack, attack.with_double_steps()):
        before = problem.passes.total
        tried.perturb(problem, *first(2), EPS, as_seeds(range(2)))
        spent.append(problem.passes.total - before)
    assert spent[1] > 1.9 * spent[0]


def test_without_training_samples_there_is_no_surrogate_and_still_a_search():
    problem = flagged("NaN in backward")
    attack = Cascade((EPS,), tier="quick").fit(problem, lambda: (first(0)[0], first(0)[1]), seed=0)
    assert attack._transfer is None and attack._remedy.no_gradient
    assert left(attack, problem) < COUNT


def test_a_model_that_ascents_wear_down_late_is_searched_along_its_boundary(problem, monkeypatch):
    pixels, targets = first(COUNT)

    def stages():
        return Cascade((EPS,)).explored(problem, pixels, targets, EPS, as_seeds(range(COUNT)))[1]

    assert "boundary" not in stages()  # nothing falls late here
    monkeypatch.setattr("suite.attacks.images.cascade.STUBBORN", -1.0)
    assert "boundary" in stages()
