"""The count of passes equals the rows that the network really sees, padding included."""

import pytest
import torch

from suite.attacks.engine.ascent import Budget, Search, maximize
from suite.attacks.engine.problem import Problem
from suite.attacks.images.apgd import APGD
from suite.attacks.images.boundary import Boundary
from suite.attacks.images.cascade import Cascade
from suite.attacks.images.decision import Decision
from suite.attacks.images.gradient import FGSM, PGD
from suite.attacks.images.image_patch import ImagePatch
from suite.attacks.images.patch import Patch
from suite.attacks.images.square import Square
from suite.attacks.images.transfer import Transfer
from suite.attacks.rng import as_seeds
from suite.attacks.texts.hotflip import HotFlip
from suite.kinds.classification.kind import Classification
from tests.attacks.digits import first, splits
from tests.attacks.texts import toys

WIDTH, EPS, COUNT = 16, 0.1, 43

ATTACKS = {
    "fgsm": FGSM((EPS,)),
    "pgd": PGD((EPS,), steps=7),
    "apgd": APGD((EPS,), steps=12),
    "apgd of rivals": APGD((EPS,), steps=6, goals=5),
    "cascade": Cascade((EPS,), tier="quick"),
    "square": Square((EPS,), queries=30),
    "decision": Decision((EPS,), queries=40),
    "patch": Patch((0.1,), steps=4, restarts=2, position="search", places=6),
    "image_patch": ImagePatch((0.1,), steps=3, tries=3),
    "transfer": Transfer((EPS,), steps=3, restarts=2, samples=40, rounds=1),
    "boundary": Boundary((EPS,), steps=4, aimed=2),
}


class Rows:
    """Rows of the forward and backward passes of a module, by hooks, and the sizes of its calls."""

    def __init__(self, module):
        self.forward = self.backward = 0
        self.sizes = set()
        module.register_forward_hook(self.count)

    def count(self, module, inputs, output):
        self.forward += len(output)
        self.sizes.add(len(output))
        if output.requires_grad:
            output.register_hook(self.count_backward)

    def count_backward(self, gradient):
        self.backward += len(gradient)


def problem_of(model, width=WIDTH):
    model.width = width
    return Problem.of(Classification().kind(), model.raw, adapter=model)


def training():
    part = splits()[0].take(range(50))
    return torch.from_numpy(part.pixels()), torch.from_numpy(part.targets)


@pytest.mark.parametrize("name", ATTACKS)
def test_passes_are_the_rows_that_the_network_sees(net, name):
    rows, problem, (pixels, targets) = Rows(net.module), problem_of(net), first(COUNT)
    attack = ATTACKS[name].fit(problem, training, seed=0)
    attack.perturb(problem, pixels, targets, attack.sizes[0], as_seeds(range(COUNT)))
    passes = problem.passes
    assert (passes.forward, passes.backward) == (rows.forward, rows.backward)
    assert rows.sizes == {WIDTH} and 0 < passes.padding < passes.total


def test_passes_of_texts_are_the_rows_that_the_network_sees():
    model, codes = toys.linear(), toys.coded(toys.texts(27))
    model.width = 8
    problem, targets = toys.problem_of(model), toys.predictions(model, codes)
    rows = Rows(model.module)
    attack = HotFlip(edits=(2,)).fit(problem, lambda: (codes, targets), seed=0)
    attack.perturb(problem, codes, targets, 2, as_seeds(range(27)))
    assert (problem.passes.forward, problem.passes.backward) == (rows.forward, rows.backward)
    assert rows.sizes == {8} and rows.backward > 0


def test_full_batches_have_no_padding(net):
    problem, (pixels, targets) = problem_of(net), first(48)
    problem.gradient(pixels, targets, "margin")
    assert (problem.passes.forward, problem.passes.backward, problem.passes.padding) == (48, 48, 0)
    problem.forward(pixels[:17])
    assert (problem.passes.forward, problem.passes.padding) == (48 + 32, 15)


@pytest.mark.parametrize("goals", [1, 3, 5])
def test_batches_of_an_ascent_stay_full_until_the_last_rows(net, goals):
    """Without early stopping the number of passes is known, up to the padding."""
    count, steps = 100, 10
    problem, (pixels, targets) = problem_of(net), first(count)
    classes = (targets[:, None] + torch.arange(1, goals + 1)) % 10
    search = Search.of(pixels, targets, EPS, as_seeds(range(count)))
    maximize(problem, search, PGD().constraint, Budget(steps, stop=False), target_classes=classes)
    needed = count * goals * (2 * steps + 1)
    assert needed <= problem.passes.total <= 1.06 * needed


def test_an_ascent_holds_few_paths_at_once_and_gives_the_same_results(net, monkeypatch):
    def run():
        problem, (pixels, targets) = problem_of(net), first(70)
        search = Search.of(pixels, targets, EPS, as_seeds(range(70)))
        budget = Budget(9, first=2.0)
        maximize(
            problem, search, PGD().constraint, budget, target_classes=(targets[:, None] + torch.tensor([1, 4])) % 10
        )
        return search

    whole = run()
    monkeypatch.setattr("suite.attacks.engine.ascent.HELD", 1)  # one batch at a time; rows that leave are replaced
    parts = run()
    assert torch.equal(whole.best, parts.best) and torch.equal(whole.rung, parts.rung)
    assert whole.misclassified.any() and len(whole.remaining)
