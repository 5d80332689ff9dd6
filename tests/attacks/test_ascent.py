"""The engine: what it keeps, whom it lets go, what it costs, and that nobody's result depends on their company."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from suite.attacks.constraints import NORMS, constraint
from suite.attacks.engine.ascent import CHECK_EVERY, Budget, Search, maximize
from suite.attacks.rng import as_seeds
from suite.errors import AttackError, SpecError
from tests.attacks.digits import first, problem_of, trained
from tests.attacks.test_problem import Counting

LINF = constraint("linf")
EPS = {"linf": 0.1, "l2": 0.6, "l1": 2.5, "l0": 3}


def search_of(count, eps=0.1):
    pixels, targets = first(count)
    return Search.of(pixels, targets, eps, as_seeds(range(count)))


FIELDS = ("best", "score", "misclassified", "invalid", "nonfinite_gradients", "rung")


def same(one, other, rows=None):
    """Return whether two searches found the same, bit by bit; rows of the one are all of the other."""
    index = slice(None) if rows is None else rows
    return all(torch.equal(getattr(one, name)[index], getattr(other, name)) for name in FIELDS)


# What a search takes down


def told(*rows):
    """Return outputs of three classes."""
    return torch.tensor(rows, dtype=torch.float32)


@pytest.fixture
def small():
    """Return a search on four samples of class 0 and a problem that is never asked."""

    def never(pixels):
        raise AssertionError("a search only takes down what it is told")

    search = Search.of(torch.zeros(4, 1, 1, 1), torch.zeros(4).long(), 1.0, as_seeds(range(4)))
    return search, problem_of(never)


def points(value, count=4):
    return torch.full((count, 1, 1, 1), float(value))


def test_a_search_begins_with_nothing(small):
    search, _ = small
    assert search.remaining.tolist() == [0, 1, 2, 3]
    assert search.score.tolist() == [-math.inf] * 4 and search.rung.tolist() == [-1] * 4
    assert torch.equal(search.best, search.pixels) and search.best is not search.pixels
    assert search.eps.tolist() == [1.0] * 4


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_output_that_is_not_finite_is_never_fooled_nor_best_and_is_marked(small, value, place):
    search, problem = small
    output = told([1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0])
    output[0, place] = output[1, place] = value
    done = search.update(problem, torch.arange(4), points(0.5), output)
    assert done.tolist() == [True, True, False, False]
    assert search.invalid.tolist() == [True, True, False, False]
    assert not search.misclassified.any() and search.rung.tolist() == [-1] * 4
    assert search.score[:2].tolist() == [-math.inf] * 2 and search.score[2:].isfinite().all()
    assert search.best.flatten().tolist() == [0, 0, 0.5, 0.5]
    assert search.remaining.tolist() == [2, 3]
    # Nor does what comes later wash it clean.
    search.update(problem, torch.arange(4), points(0.7), told(*[[0, 1, 0]] * 4))
    assert search.invalid.tolist() == [True, True, False, False] and len(search.remaining) == 0


def test_a_finite_output_after_which_the_yardstick_is_not_a_number_is_not_best(small):
    search, problem = small
    blank = replace(problem, loss=lambda o, t, n, g: torch.full((len(o),), torch.nan))
    search.update(blank, torch.arange(4), points(0.5), told(*[[1, 0, 0]] * 4))
    assert search.score.tolist() == [-math.inf] * 4 and not search.best.any() and not search.invalid.any()


def test_the_best_point_is_that_of_the_highest_yardstick_and_a_fooled_one_beats_any_other(small):
    search, problem = small
    everyone = torch.arange(4)
    search.stage = 5
    search.update(problem, everyone, points(0.1), told([3, 0, 0], [3, 0, 0], [3, 0, 0], [3, 0, 0]))
    search.stage = 6
    done = search.update(problem, everyone, points(0.2), told([4, 0, 0], [2, 0, 0], [0, 1, 0], [0, 1, 0]))
    assert done.tolist() == search.misclassified.tolist() == [False, False, True, True]
    search.stage = 7
    search.update(problem, everyone, points(0.3), told([3, 0, 0], [3, 0, 0], [0, 0, 2], [1, 0, 0]))
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.1, 0.2, 0.3, 0.2]
    assert search.score.tolist() == [-3, -2, 2, 1]
    assert search.rung.tolist() == [-1, -1, 6, 6]  # the stage in which it fell, not that of its best point
    assert search.misclassified.tolist() == [False, False, True, True]


def test_notes_about_some_rows_touch_no_others(small):
    search, problem = small
    search.update(problem, torch.tensor([3, 1]), points(0.5, 2), told([0, 1, 0], [1, 0, 0]))
    assert search.misclassified.tolist() == [False, False, False, True]
    assert search.score.tolist() == [-math.inf, -1, -math.inf, 1]
    assert search.best.flatten().tolist() == [0, 0.5, 0, 0.5]


def test_of_several_points_of_a_row_the_best_counts_and_one_that_fools_before_one_that_does_not(small):
    search, problem = small
    search.misclassified[2:] = True  # two rows only
    tried = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).view(6, 1, 1, 1)
    output = told([3, 0, 0], [0, 1, 0], [0, 0, 2], [5, 0, 0], [4, 0, 0], [6, 0, 0])
    done = search.update(problem, torch.tensor([1, 0]), tried, output)
    assert done.tolist() == [True, False]
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.5, 0.3, 0, 0]
    assert search.score.tolist()[:2] == [-4, 2] and search.misclassified.tolist()[:2] == [False, True]
    # A point whose output is not finite marks its row, and is neither the best nor fooled.
    output[3:] = told([0, 1, 0], [torch.nan, 0, 0], [2, 0, 0])
    output[3, 2] = torch.inf
    search.update(problem, torch.tensor([1, 0]), tried, output)
    assert search.invalid.tolist() == [True, False, False, False] and not search.misclassified[0]
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.6, 0.3, 0, 0] and search.score[0] == -2


def test_a_tie_that_the_model_loses_counts_as_fooled(small):
    search, problem = small
    search.update(problem, torch.arange(4), points(0.1), told([1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]))
    tie = replace(problem, misclassified=lambda o, t: torch.tensor([True, False, True, False]))
    search.update(tie, torch.arange(4), points(0.9), told(*[[2, 0, 0]] * 4))  # a lower yardstick, and yet wrong
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.9, 0.1, 0.9, 0.1]


def test_the_nearest_are_a_share_of_those_that_stand_by_their_score(small):
    search, problem = small
    search.update(problem, torch.arange(4), points(0.1), told([5, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0]))
    assert search.nearest(1).tolist() == [1, 3, 0]
    assert search.nearest(0.34).tolist() == [1, 3]  # rounded up
    assert search.nearest(1 / 3).tolist() == [1]
    assert search.nearest(0).tolist() == []


def test_what_does_not_hold_when_the_model_is_asked_cleanly_is_taken_back(net):
    def two_faced(x):
        return net(x.flip(-1)) if torch.is_grad_enabled() else net(x)

    search, problem = search_of(120), problem_of(two_faced)
    maximize(problem, search, LINF, Budget(10, start="clean"))
    claimed = search.misclassified.clone()
    true = problem_of(net).outcome(search.best, search.targets) > 0.5
    lies = claimed & ~true
    assert lies.sum() > 10 and (claimed & true).any()
    before = search.best.clone()
    rows = claimed.nonzero()[:, 0]
    assert search.confirm(problem, rows) == int(lies.sum())
    assert torch.equal(search.misclassified, claimed & true)
    assert torch.equal(search.best[lies], search.pixels[lies]) and (search.score[lies] == -math.inf).all()
    assert (search.rung[lies] == -1).all() and (search.rung[claimed & true] == 0).all()
    assert torch.equal(search.best[~lies], before[~lies])
    assert search.confirm(problem, search.misclassified.nonzero()[:, 0]) == 0
    with pytest.raises(AttackError, match="neither robust nor misclassified"):
        search.confirm(problem_of(lambda x: net(x) * torch.nan), torch.arange(3))


def test_asking_takes_down_what_the_model_says_in_batches(net):
    search, model = search_of(20), Counting(net)
    search.evaluate(replace(problem_of(model), batch_size=8), torch.arange(5, 20), search.pixels[5:])
    assert model.sizes == [8, 7] and model.backward == 0
    assert (search.score[:5] == -math.inf).all() and search.score[5:].isfinite().all()


# The climb


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("start", ["random", "clean"])
def test_the_climb_fools_who_stands_inside_the_budget(problem, norm, start):
    search = search_of(100, EPS[norm])
    maximize(problem, search, constraint(norm), Budget(10, start=start))
    assert 25 < search.misclassified.sum() < 100
    wrong = problem.outcome(search.best, search.targets) > 0.5
    assert torch.equal(wrong, search.misclassified)
    excess = constraint(norm).excess(search.pixels, search.best, search.eps)
    assert (excess <= 0).all() and search.best.min() >= 0 and search.best.max() <= 1
    assert torch.equal(problem.loss(problem.forward(search.best), search.targets, "margin", None), search.score)
    assert not search.best.requires_grad and not search.nonfinite_gradients.any()


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "whole"])
@pytest.mark.parametrize("start", ["random", "clean", "best"])
def test_the_passes_counted_are_those_that_a_counting_model_sees(net, stop, start):
    model = Counting(net)
    problem, search, steps = replace(problem_of(model), batch_size=16), search_of(40), 6
    maximize(problem, search, LINF, Budget(steps, stop=stop, start=start))
    assert (problem.passes.forward, problem.passes.backward) == (model.forward, model.backward)
    assert max(model.sizes) == 16
    if stop:
        stood = int((~search.misclassified).sum())
        assert 0 < stood < 40
        assert stood * steps < model.backward < 40 * steps
        assert model.forward < 40 * (steps + 1)
    else:
        assert (model.forward, model.backward) == (40 * (steps + 1), 40 * steps)


def test_a_sample_leaves_as_soon_as_it_is_fooled_or_its_output_is_not_finite(net):
    asked = []

    def watched(output, targets):
        misclassified = output.argmax(dim=1) != targets
        asked.append((len(output), int((misclassified | ~output.isfinite().all(dim=1)).sum())))
        return misclassified

    pixels, _ = first(40)
    heavy = pixels.flatten(1).sum(dim=1).quantile(0.9)

    def forward(x):
        return net.raw(x) + torch.where(x.flatten(1).sum(dim=1, keepdim=True) > heavy, torch.nan, 0.0)

    search = search_of(40)
    maximize(replace(problem_of(forward), misclassified=watched), search, LINF, Budget(8))
    for (before, gone), (after, _) in pairwise(asked):
        assert after == before - gone
    assert search.invalid.sum() >= 4 and search.misclassified.any()
    assert not (search.invalid & search.misclassified).any()
    assert asked[-1][0] - asked[-1][1] == len(search.remaining) > 0


def test_a_batch_in_which_everybody_is_wrong_from_the_start_costs_one_step(net):
    model, search = Counting(net), search_of(20)
    search.targets = (net(search.pixels).argmax(dim=1) + 1) % 10
    maximize(problem_of(model), search, LINF, Budget(50, start="clean"))
    assert search.misclassified.all() and (model.forward, model.backward) == (20, 20)
    assert torch.equal(search.best, search.pixels)


def test_without_stop_a_fooled_sample_goes_on_to_a_higher_margin(problem):
    whole, early = search_of(40), search_of(40)
    maximize(problem, whole, LINF, Budget(10, stop=False))
    maximize(problem, early, LINF, Budget(10))
    assert (early.misclassified <= whole.misclassified).all() and early.misclassified.any()
    fell = early.misclassified
    assert (whole.score[fell] > early.score[fell]).all()
    assert torch.equal(whole.score[~whole.misclassified], early.score[~whole.misclassified])


def test_the_last_point_is_kept_where_it_is_asked_for(net):
    seen = []

    def forward(x):
        seen.append(x.detach().clone())
        return net(x)

    last, best = search_of(30), search_of(30)
    everyone = torch.arange(30)
    maximize(problem_of(forward), last, LINF, Budget(5, stop=False, last=True), rows=everyone)
    assert torch.equal(last.best, seen[-1])
    maximize(problem_of(net), best, LINF, Budget(5, stop=False), rows=everyone)
    reached = problem_of(net).loss(net(last.best), last.targets, "margin", None)
    assert (reached <= best.score).all()
    assert torch.equal(last.score, best.score)  # the yardstick of the best is still known


def test_rows_that_are_not_asked_for_are_not_touched(problem):
    search, rows = search_of(20), torch.tensor([3, 17, 5])
    maximize(problem, search, LINF, Budget(5, stop=False), rows=rows)
    others = torch.ones(20, dtype=torch.bool)
    others[rows] = False
    assert (search.score[rows].isfinite()).all() and (search.score[others] == -math.inf).all()
    assert torch.equal(search.best[others], search.pixels[others])


def test_only_those_that_stand_are_climbed_if_nobody_is_named(net):
    model, search = Counting(net), search_of(10)
    search.misclassified[:4] = True
    search.invalid[4] = True
    maximize(problem_of(model), search, LINF, Budget(1, stop=False))
    assert model.sizes == [5, 5]
    assert (search.score[:5] == -math.inf).all()
    search.misclassified[:] = True
    maximize(problem_of(model), search, LINF, Budget(1))
    assert model.sizes == [5, 5]


def test_a_goal_is_what_the_climb_brings_the_model_to_say(net):
    problem, search = problem_of(net), search_of(60, 0.2)
    target_classes = (search.targets[:, None] + 3) % 10
    rows, budget = torch.arange(60), Budget(15, stop=False, last=True)
    maximize(problem, search, LINF, budget, rows=rows, target_classes=target_classes)
    aimed = (net(search.best).argmax(dim=1) == target_classes[:, 0]).float().mean()
    free = search_of(60, 0.2)
    maximize(problem, free, LINF, budget, rows=rows)
    assert aimed > (net(free.best).argmax(dim=1) == target_classes[:, 0]).float().mean() + 0.3
    # The target_classes belong to the rows, in whatever order these are given.
    turned, order = search_of(60, 0.2), torch.randperm(60, generator=torch.Generator().manual_seed(0))
    maximize(problem, turned, LINF, budget, rows=order, target_classes=target_classes[order])
    assert same(turned, search)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 256])
def test_goals_follow_their_rows_when_others_leave_whatever_fits_into_a_batch(problem, batch_size):
    target_classes = (first(40)[1][:, None] + torch.tensor([3, 7, 1])) % 10
    together, alone, rows = search_of(40), search_of(40), torch.arange(40)
    maximize(
        replace(problem, batch_size=batch_size), together, LINF, Budget(6), rows=rows, target_classes=target_classes
    )
    chosen = rows[:: 40 if batch_size == 1 else 9]
    for row in chosen:
        maximize(problem, alone, LINF, Budget(6), rows=row[None], target_classes=target_classes[row][None])
    assert together.misclassified.any() and len(together.remaining)
    assert all(torch.equal(getattr(together, name)[chosen], getattr(alone, name)[chosen]) for name in FIELDS)


def test_several_goals_find_what_one_after_the_other_finds_from_streams_of_their_own(problem):
    target_classes = (first(40)[1][:, None] + torch.tensor([3, 7, 1])) % 10
    together, apart, rows = search_of(40), search_of(40), torch.arange(40)
    budget = Budget(6, stop=False)
    maximize(problem, together, LINF, budget, rows=rows, target_classes=target_classes, stream=5)
    for place in range(3):
        maximize(
            problem,
            apart,
            LINF,
            budget,
            rows=rows,
            target_classes=target_classes[:, place : place + 1],
            stream=5 + place,
        )
    assert torch.equal(together.misclassified, apart.misclassified) and torch.equal(together.score, apart.score)
    assert torch.equal(together.best, apart.best)


def test_no_goal_is_nothing_to_do(net):
    model, search = Counting(net), search_of(5)
    target_classes = torch.zeros(5, 0, dtype=torch.int64)
    maximize(problem_of(model), search, LINF, Budget(3), rows=torch.arange(5), target_classes=target_classes)
    assert model.sizes == [] and not search.misclassified.any()


def test_streams_start_elsewhere_and_repeat_themselves(problem):
    found = []
    for stream in (0, 1, 0, 7919):
        search = search_of(20)
        maximize(problem, search, LINF, Budget(1, stop=False, last=True), stream=stream)
        found.append(search.best)
    assert torch.equal(found[0], found[2])
    for one, other in ((0, 1), (1, 3), (0, 3)):
        assert (found[one] != found[other]).flatten(1).any(dim=1).all()


def test_a_climb_from_the_best_point_goes_on_where_the_last_one_ended(net):
    seen, search = [], search_of(12)

    def forward(x):
        seen.append(x.detach().clone())
        return net(x)

    maximize(problem_of(net), search, LINF, Budget(3, stop=False))
    before = search.best.clone(), search.score.clone()
    maximize(problem_of(forward), search, LINF, Budget(3, stop=False, start="best"), rows=torch.arange(12))
    assert torch.equal(seen[0], before[0])
    assert (search.score >= before[1]).all() and (search.score > before[1]).any()


def test_the_steps_grow_shorter_along_a_cosine():
    slope = torch.ones(64)
    seen = []

    def forward(x):
        seen.append(x.detach().clone())
        score = (x.flatten(1) * slope).sum(dim=1) - 100
        return torch.stack([-score / 2, score / 2], dim=1)

    search = Search.of(torch.full((1, 1, 8, 8), 0.1), torch.zeros(1).long(), 0.8, as_seeds([0]))
    maximize(problem_of(forward), search, LINF, Budget(4, start="clean", first=0.25))
    lengths = [float((after - before).max()) for before, after in pairwise(seen)]
    expected = [0.8 * 0.25 * 0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert lengths == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_neither_batch_size_nor_order_changes_a_bit(problem, norm, stop):
    count = 20

    def climbed(batch_size, rows):
        pixels, targets = first(count)
        search = Search.of(pixels[rows], targets[rows], EPS[norm], as_seeds(rows))
        for stream, start in enumerate(("random", "best")):
            budget = Budget(4, start=start, stop=stop)
            maximize(replace(problem, batch_size=batch_size), search, constraint(norm), budget, stream=stream)
        return search

    whole = climbed(256, torch.arange(count))
    for size in (1, 7):
        assert same(climbed(size, torch.arange(count)), whole), size
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    assert same(whole, climbed(7, shuffled), shuffled)
    assert same(whole, climbed(256, shuffled[:5]), shuffled[:5])


def test_each_sample_has_an_eps_of_its_own(problem):
    pixels, targets = first(20)
    eps = torch.linspace(0, 0.2, 20)
    search = Search.of(pixels, targets, eps, as_seeds(range(20)))
    maximize(problem, search, LINF, Budget(5, stop=False, last=True))
    sizes = LINF.size(search.best.double() - pixels.double())
    assert sizes[0] == 0 and (sizes <= eps + 1e-6).all() and (sizes[1:] > 0.9 * eps[1:]).all()
    alone = Search.of(pixels[7:8], targets[7:8], float(eps[7]), as_seeds([7]))
    maximize(problem, alone, LINF, Budget(5, stop=False, last=True))
    assert torch.equal(alone.best, search.best[7:8])


# What goes wrong


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0], ids=str)
def test_a_gradient_that_says_nothing_is_counted_moves_nothing_and_spoils_no_other(net, value):
    class Poison(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            spoilt = gradient.clone()
            spoilt[2] = value
            return spoilt

    healthy, poisoned = search_of(6, 0.03), search_of(6, 0.03)
    budget = Budget(5, stop=False, last=True)
    maximize(problem_of(net), healthy, LINF, budget)
    maximize(problem_of(lambda x: net(Poison.apply(x))), poisoned, LINF, budget)
    assert poisoned.nonfinite_gradients.tolist() == [0, 0, 0 if value == 0 else 5, 0, 0, 0]
    others = torch.tensor([0, 1, 3, 4, 5])
    assert torch.equal(poisoned.best[others], healthy.best[others])
    assert torch.equal(
        poisoned.best[2:3], LINF.start(*(part[2:3] for part in (healthy.pixels, healthy.eps, healthy.seeds)), 0)
    )
    assert poisoned.best.isfinite().all() and not poisoned.invalid.any()


@pytest.mark.parametrize("step", [1, 3, 6], ids=["first", "later", "last"])
def test_an_exception_in_the_model_leaves_nothing_changed(step):
    model = trained()
    model.module[1].eval()  # a batch norm that the user froze
    model.module[0].weight.requires_grad_(False)
    modes = [m.training for m in model.module.modules()]
    wanted = [p.requires_grad for p in model.module.parameters()]
    state = {name: value.clone() for name, value in model.module.state_dict().items()}
    calls = []

    def forward(x):
        calls.append(len(x))
        if len(calls) == step:
            raise ZeroDivisionError
        return model(x)

    search = search_of(8)
    before = search.pixels.clone()
    random = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError), model.frozen():
        maximize(problem_of(forward), search, LINF, Budget(5, stop=False))
    assert len(calls) == step and torch.is_grad_enabled()
    assert [m.training for m in model.module.modules()] == modes
    assert [p.requires_grad for p in model.module.parameters()] == wanted
    assert all(p.grad is None for p in model.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())
    assert torch.equal(search.pixels, before) and not search.pixels.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


def test_parameters_that_want_gradients_get_none():
    model = trained()
    model.module.eval()
    assert all(p.requires_grad for p in model.module.parameters())
    maximize(problem_of(model), search_of(8), LINF, Budget(3))
    assert all(p.grad is None for p in model.module.parameters())


def test_unknown_losses_are_refused(problem):
    with pytest.raises(SpecError, match="no attack loss 'hinge'"):
        maximize(problem, search_of(2), LINF, Budget(1, loss="hinge"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_an_accelerator_the_same_fall_though_it_is_asked_only_now_and_then():
    found = {}
    for device in ("cpu", "cuda"):
        model = trained().to(device)
        pixels, targets = (part.to(device) for part in first(60))
        search = Search.of(pixels, targets, 0.1, as_seeds(range(60), device))
        with model.frozen():
            maximize(problem_of(model), search, LINF, Budget(2 * CHECK_EVERY))
        found[device] = search.misclassified.cpu()
    assert (found["cpu"] != found["cuda"]).sum() <= 2
