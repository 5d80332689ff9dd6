"""Gradient ascent: what a search records, when samples are dropped, pass counts, and independence of the batch."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from suite.attacks.constraints import ball_norms, constraint
from suite.attacks.engine.ascent import CHECK_EVERY, Budget, Search, maximize
from suite.attacks.rng import as_seeds
from suite.errors import AttackError, SpecError
from tests.attacks.digits import Counting, change_gradient, first, problem_of, trained

NORMS = ball_norms()

LINF = constraint("linf")
EPS = {"linf": 0.1, "l2": 0.6, "l1": 2.5, "l0": 3}


def search_of(count, eps=0.1):
    pixels, targets = first(count)
    return Search.of(pixels, targets, eps, as_seeds(range(count)))


FIELDS = ("best", "score", "misclassified", "invalid", "nonfinite_gradients", "rung")


def same(one, other, rows=None):
    """Return whether the selected rows of one search equal all rows of another, bit for bit."""
    index = slice(None) if rows is None else rows
    return all(torch.equal(getattr(one, name)[index], getattr(other, name)) for name in FIELDS)


# What a search records


def logits(*rows):
    """Return outputs of three classes."""
    return torch.tensor(rows, dtype=torch.float32)


@pytest.fixture
def small():
    """Return a search on four samples of class 0 and a problem whose model is never called."""

    def never(pixels):
        raise AssertionError("updating a search must not call the model")

    search = Search.of(torch.zeros(4, 1, 1, 1), torch.zeros(4).long(), 1.0, as_seeds(range(4)))
    return search, problem_of(never)


def points(value, count=4):
    return torch.full((count, 1, 1, 1), float(value))


def test_a_new_search_is_empty(small):
    search, _ = small
    assert search.remaining.tolist() == [0, 1, 2, 3]
    assert search.score.tolist() == [-math.inf] * 4 and search.rung.tolist() == [-1] * 4
    assert torch.equal(search.best, search.pixels) and search.best is not search.pixels
    assert search.eps.tolist() == [1.0] * 4


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf], ids=str)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_non_finite_output_is_marked_invalid_and_is_neither_misclassified_nor_best(small, value, place):
    search, problem = small
    output = logits([1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0])
    output[0, place] = output[1, place] = value
    done = search.update(problem, torch.arange(4), points(0.5), output)
    assert done.tolist() == [True, True, False, False]
    assert search.invalid.tolist() == [True, True, False, False]
    assert not search.misclassified.any() and search.rung.tolist() == [-1] * 4
    assert search.score[:2].tolist() == [-math.inf] * 2 and search.score[2:].isfinite().all()
    assert search.best.flatten().tolist() == [0, 0, 0.5, 0.5]
    assert search.remaining.tolist() == [2, 3]
    # Later outputs do not make the sample valid again.
    search.update(problem, torch.arange(4), points(0.7), logits(*[[0, 1, 0]] * 4))
    assert search.invalid.tolist() == [True, True, False, False] and len(search.remaining) == 0


def test_a_finite_output_with_a_nan_score_is_not_best(small):
    search, problem = small
    blank = replace(problem, loss=lambda o, t, n, g: torch.full((len(o),), torch.nan))
    search.update(blank, torch.arange(4), points(0.5), logits(*[[1, 0, 0]] * 4))
    assert search.score.tolist() == [-math.inf] * 4 and not search.best.any() and not search.invalid.any()


def test_the_best_point_has_the_highest_score_and_misclassified_points_come_first(small):
    search, problem = small
    everyone = torch.arange(4)
    search.stage = 5
    search.update(problem, everyone, points(0.1), logits([3, 0, 0], [3, 0, 0], [3, 0, 0], [3, 0, 0]))
    search.stage = 6
    done = search.update(problem, everyone, points(0.2), logits([4, 0, 0], [2, 0, 0], [0, 1, 0], [0, 1, 0]))
    assert done.tolist() == search.misclassified.tolist() == [False, False, True, True]
    search.stage = 7
    search.update(problem, everyone, points(0.3), logits([3, 0, 0], [3, 0, 0], [0, 0, 2], [1, 0, 0]))
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.1, 0.2, 0.3, 0.2]
    assert search.score.tolist() == [-3, -2, 2, 1]
    assert search.rung.tolist() == [-1, -1, 6, 6]  # the stage of the first misclassification, not of the best point
    assert search.misclassified.tolist() == [False, False, True, True]


def test_updating_some_rows_leaves_the_others_unchanged(small):
    search, problem = small
    search.update(problem, torch.tensor([3, 1]), points(0.5, 2), logits([0, 1, 0], [1, 0, 0]))
    assert search.misclassified.tolist() == [False, False, False, True]
    assert search.score.tolist() == [-math.inf, -1, -math.inf, 1]
    assert search.best.flatten().tolist() == [0, 0.5, 0, 0.5]


def test_of_several_points_per_row_the_best_counts_and_misclassified_points_come_first(small):
    search, problem = small
    search.misclassified[2:] = True  # two rows only
    tried = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]).view(6, 1, 1, 1)
    output = logits([3, 0, 0], [0, 1, 0], [0, 0, 2], [5, 0, 0], [4, 0, 0], [6, 0, 0])
    done = search.update(problem, torch.tensor([1, 0]), tried, output)
    assert done.tolist() == [True, False]
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.5, 0.3, 0, 0]
    assert search.score.tolist()[:2] == [-4, 2] and search.misclassified.tolist()[:2] == [False, True]
    # A point with a non-finite output marks its row as invalid and is neither best nor misclassified.
    output[3:] = logits([0, 1, 0], [torch.nan, 0, 0], [2, 0, 0])
    output[3, 2] = torch.inf
    search.update(problem, torch.tensor([1, 0]), tried, output)
    assert search.invalid.tolist() == [True, False, False, False] and not search.misclassified[0]
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.6, 0.3, 0, 0] and search.score[0] == -2


def test_a_misclassified_point_with_a_lower_score_still_counts(small):
    search, problem = small
    search.update(problem, torch.arange(4), points(0.1), logits([1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]))
    tie = replace(problem, misclassified=lambda o, t: torch.tensor([True, False, True, False]))
    search.update(tie, torch.arange(4), points(0.9), logits(*[[2, 0, 0]] * 4))  # a lower score, yet misclassified
    assert [round(v, 1) for v in search.best.flatten().tolist()] == [0.9, 0.1, 0.9, 0.1]


def test_nearest_returns_a_share_of_the_remaining_rows_by_score(small):
    search, problem = small
    search.update(problem, torch.arange(4), points(0.1), logits([5, 0, 0], [1, 0, 0], [0, 1, 0], [3, 0, 0]))
    assert search.nearest(1).tolist() == [1, 3, 0]
    assert search.nearest(0.34).tolist() == [1, 3]  # rounded up
    assert search.nearest(1 / 3).tolist() == [1]
    assert search.nearest(0).tolist() == []


def test_confirm_resets_what_the_model_classifies_correctly_without_gradients(net):
    def deceptive(x):
        return net(x.flip(-1)) if torch.is_grad_enabled() else net(x)

    search, problem = search_of(120), problem_of(deceptive)
    maximize(problem, search, LINF, Budget(10, start="clean"))
    claimed = search.misclassified.clone()
    real = problem_of(net).outcome(search.best, search.targets) > 0.5
    false = claimed & ~real
    assert false.sum() > 10 and (claimed & real).any()
    before = search.best.clone()
    rows = claimed.nonzero()[:, 0]
    assert search.confirm(problem, rows) == int(false.sum())
    assert torch.equal(search.misclassified, claimed & real)
    assert torch.equal(search.best[false], search.pixels[false]) and (search.score[false] == -math.inf).all()
    assert (search.rung[false] == -1).all() and (search.rung[claimed & real] == 0).all()
    assert torch.equal(search.best[~false], before[~false])
    assert search.confirm(problem, search.misclassified.nonzero()[:, 0]) == 0
    with pytest.raises(AttackError, match="neither robust nor misclassified"):
        search.confirm(problem_of(lambda x: net(x) * torch.nan), torch.arange(3))


def test_evaluate_records_outputs_in_batches(net):
    search, model = search_of(20), Counting(net)
    search.evaluate(replace(problem_of(model), batch_size=8), torch.arange(5, 20), search.pixels[5:])
    assert model.sizes == [8, 7] and model.backward == 0
    assert (search.score[:5] == -math.inf).all() and search.score[5:].isfinite().all()


# The ascent


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("start", ["random", "clean"])
def test_an_ascent_changes_predictions_within_eps(problem, norm, start):
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
def test_pass_counts_match_those_of_a_counting_model(net, stop, start):
    model = Counting(net)
    problem, search, steps = replace(problem_of(model), batch_size=16), search_of(40), 6
    maximize(problem, search, LINF, Budget(steps, stop=stop, start=start))
    assert (problem.passes.forward, problem.passes.backward) == (model.forward, model.backward)
    assert max(model.sizes) == 16
    if stop:
        robust = int((~search.misclassified).sum())
        assert 0 < robust < 40
        assert robust * steps < model.backward < 40 * steps
        assert model.forward < 40 * (steps + 1)
    else:
        assert (model.forward, model.backward) == (40 * (steps + 1), 40 * steps)


def test_a_sample_is_dropped_once_it_is_misclassified_or_invalid(net):
    batches = []

    def watched(output, targets):
        misclassified = output.argmax(dim=1) != targets
        batches.append((len(output), int((misclassified | ~output.isfinite().all(dim=1)).sum())))
        return misclassified

    pixels, _ = first(40)
    heavy = pixels.flatten(1).sum(dim=1).quantile(0.9)

    def forward(x):
        return net.raw(x) + torch.where(x.flatten(1).sum(dim=1, keepdim=True) > heavy, torch.nan, 0.0)

    search = search_of(40)
    maximize(replace(problem_of(forward), misclassified=watched), search, LINF, Budget(8))
    for (before, dropped), (after, _) in pairwise(batches):
        assert after == before - dropped
    assert search.invalid.sum() >= 4 and search.misclassified.any()
    assert not (search.invalid & search.misclassified).any()
    assert batches[-1][0] - batches[-1][1] == len(search.remaining) > 0


def test_a_batch_that_is_misclassified_from_the_start_costs_one_step(net):
    model, search = Counting(net), search_of(20)
    search.targets = (net(search.pixels).argmax(dim=1) + 1) % 10
    maximize(problem_of(model), search, LINF, Budget(50, start="clean"))
    assert search.misclassified.all() and (model.forward, model.backward) == (20, 20)
    assert torch.equal(search.best, search.pixels)


def test_without_stop_the_margin_of_misclassified_samples_keeps_increasing(problem):
    whole, early = search_of(40), search_of(40)
    maximize(problem, whole, LINF, Budget(10, stop=False))
    maximize(problem, early, LINF, Budget(10))
    assert (early.misclassified <= whole.misclassified).all() and early.misclassified.any()
    wrong = early.misclassified
    assert (whole.score[wrong] >= early.score[wrong]).all()
    assert (whole.score[wrong] > early.score[wrong]).double().mean() > 0.9
    assert torch.equal(whole.score[~whole.misclassified], early.score[~whole.misclassified])


def test_budget_last_keeps_the_last_point(net):
    inputs = []

    def forward(x):
        inputs.append(x.detach().clone())
        return net(x)

    last, best = search_of(30), search_of(30)
    everyone = torch.arange(30)
    maximize(problem_of(forward), last, LINF, Budget(5, stop=False, last=True), rows=everyone)
    assert torch.equal(last.best, inputs[-1])
    maximize(problem_of(net), best, LINF, Budget(5, stop=False), rows=everyone)
    margins = problem_of(net).loss(net(last.best), last.targets, "margin", None)
    assert (margins <= best.score).all()
    assert torch.equal(last.score, best.score)  # the score is still that of the best point


def test_other_rows_are_left_unchanged(problem):
    search, rows = search_of(20), torch.tensor([3, 17, 5])
    maximize(problem, search, LINF, Budget(5, stop=False), rows=rows)
    others = torch.ones(20, dtype=torch.bool)
    others[rows] = False
    assert (search.score[rows].isfinite()).all() and (search.score[others] == -math.inf).all()
    assert torch.equal(search.best[others], search.pixels[others])


def test_by_default_only_the_remaining_rows_are_attacked(net):
    model, search = Counting(net), search_of(10)
    search.misclassified[:4] = True
    search.invalid[4] = True
    maximize(problem_of(model), search, LINF, Budget(1, stop=False))
    assert model.sizes == [5, 5]
    assert (search.score[:5] == -math.inf).all()
    search.misclassified[:] = True
    maximize(problem_of(model), search, LINF, Budget(1))
    assert model.sizes == [5, 5]


def test_target_classes_are_predicted_more_often_after_the_ascent(net):
    problem, search = problem_of(net), search_of(60, 0.2)
    target_classes = (search.targets[:, None] + 3) % 10
    rows, budget = torch.arange(60), Budget(15, stop=False, last=True)
    maximize(problem, search, LINF, budget, rows=rows, target_classes=target_classes)
    share = (net(search.best).argmax(dim=1) == target_classes[:, 0]).float().mean()
    free = search_of(60, 0.2)
    maximize(problem, free, LINF, budget, rows=rows)
    assert share > (net(free.best).argmax(dim=1) == target_classes[:, 0]).float().mean() + 0.3
    # Target classes belong to their rows, whatever the order of the rows.
    shuffled, order = search_of(60, 0.2), torch.randperm(60, generator=torch.Generator().manual_seed(0))
    maximize(problem, shuffled, LINF, budget, rows=order, target_classes=target_classes[order])
    assert same(shuffled, search)


@pytest.mark.parametrize("batch_size", [1, 7, 16, 256])
def test_target_classes_stay_with_their_rows_for_any_batch_size(problem, batch_size):
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


def test_target_classes_in_parallel_equal_separate_ascents_with_their_own_streams(problem):
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


def test_zero_target_classes_take_no_passes(net):
    model, search = Counting(net), search_of(5)
    target_classes = torch.zeros(5, 0, dtype=torch.int64)
    maximize(problem_of(model), search, LINF, Budget(3), rows=torch.arange(5), target_classes=target_classes)
    assert model.sizes == [] and not search.misclassified.any()


def test_streams_give_different_reproducible_starts(problem):
    results = []
    for stream in (0, 1, 0, 7919):
        search = search_of(20)
        maximize(problem, search, LINF, Budget(1, stop=False, last=True), stream=stream)
        results.append(search.best)
    assert torch.equal(results[0], results[2])
    for one, other in ((0, 1), (1, 3), (0, 3)):
        assert (results[one] != results[other]).flatten(1).any(dim=1).all()


def test_an_ascent_from_the_best_point_continues_the_last_one(net):
    inputs, search = [], search_of(12)

    def forward(x):
        inputs.append(x.detach().clone())
        return net(x)

    maximize(problem_of(net), search, LINF, Budget(3, stop=False))
    before = search.best.clone(), search.score.clone()
    maximize(problem_of(forward), search, LINF, Budget(3, stop=False, start="best"), rows=torch.arange(12))
    assert torch.equal(inputs[0], before[0])
    assert (search.score >= before[1]).all() and (search.score > before[1]).any()


def test_step_lengths_follow_a_cosine():
    slope = torch.ones(64)
    inputs = []

    def forward(x):
        inputs.append(x.detach().clone())
        score = (x.flatten(1) * slope).sum(dim=1) - 100
        return torch.stack([-score / 2, score / 2], dim=1)

    search = Search.of(torch.full((1, 1, 8, 8), 0.1), torch.zeros(1).long(), 0.8, as_seeds([0]))
    maximize(problem_of(forward), search, LINF, Budget(4, start="clean", first=0.25))
    lengths = [float((after - before).max()) for before, after in pairwise(inputs)]
    expected = [0.8 * 0.25 * 0.5 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert lengths == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("stop", [True, False], ids=["stop", "whole"])
@pytest.mark.parametrize("norm", NORMS)
def test_results_do_not_depend_on_batch_size_or_order(problem, norm, stop):
    count = 20

    def run(batch_size, rows):
        pixels, targets = first(count)
        search = Search.of(pixels[rows], targets[rows], EPS[norm], as_seeds(rows))
        for stream, start in enumerate(("random", "best")):
            budget = Budget(4, start=start, stop=stop)
            maximize(replace(problem, batch_size=batch_size), search, constraint(norm), budget, stream=stream)
        return search

    whole = run(256, torch.arange(count))
    for size in (1, 7):
        assert same(run(size, torch.arange(count)), whole), size
    shuffled = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    assert same(whole, run(7, shuffled), shuffled)
    assert same(whole, run(256, shuffled[:5]), shuffled[:5])


def test_each_sample_has_its_own_eps(problem):
    pixels, targets = first(20)
    eps = torch.linspace(0, 0.2, 20)
    search = Search.of(pixels, targets, eps, as_seeds(range(20)))
    maximize(problem, search, LINF, Budget(5, stop=False, last=True))
    sizes = LINF.size(search.best.double() - pixels.double())
    assert sizes[0] == 0 and (sizes <= eps + 1e-6).all() and (sizes[1:] > 0.9 * eps[1:]).all()
    alone = Search.of(pixels[7:8], targets[7:8], float(eps[7]), as_seeds([7]))
    maximize(problem, alone, LINF, Budget(5, stop=False, last=True))
    assert torch.equal(alone.best, search.best[7:8])


# Failures


@pytest.mark.parametrize("value", [torch.nan, torch.inf, 0.0], ids=str)
def test_a_useless_gradient_moves_nothing_and_affects_no_other_sample(net, value):
    def corrupted(gradient):
        gradient = gradient.clone()
        gradient[2] = value
        return gradient

    intact, corrupt = search_of(6, 0.03), search_of(6, 0.03)
    budget = Budget(5, stop=False, last=True)
    maximize(problem_of(net), intact, LINF, budget)
    maximize(problem_of(lambda x: net(change_gradient(x, corrupted))), corrupt, LINF, budget)
    assert corrupt.nonfinite_gradients.tolist() == [0, 0, 0 if value == 0 else 5, 0, 0, 0]
    others = torch.tensor([0, 1, 3, 4, 5])
    assert torch.equal(corrupt.best[others], intact.best[others])
    assert torch.equal(
        corrupt.best[2:3], LINF.start(*(part[2:3] for part in (intact.pixels, intact.eps, intact.seeds)), 0)
    )
    assert corrupt.best.isfinite().all() and not corrupt.invalid.any()


@pytest.mark.parametrize("step", [1, 3, 6], ids=["first", "later", "last"])
def test_an_exception_in_the_model_leaves_everything_unchanged(step):
    model = trained()
    model.module[1].eval()  # a batch norm frozen by the user
    model.module[0].weight.requires_grad_(False)
    modes = [m.training for m in model.module.modules()]
    expected = [p.requires_grad for p in model.module.parameters()]
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
    assert [p.requires_grad for p in model.module.parameters()] == expected
    assert all(p.grad is None for p in model.module.parameters())
    assert all(torch.equal(value, state[name]) for name, value in model.module.state_dict().items())
    assert torch.equal(search.pixels, before) and not search.pixels.requires_grad
    assert torch.equal(torch.get_rng_state(), random)


def test_parameters_receive_no_gradients():
    model = trained()
    model.module.eval()
    assert all(p.requires_grad for p in model.module.parameters())
    maximize(problem_of(model), search_of(8), LINF, Budget(3))
    assert all(p.grad is None for p in model.module.parameters())


def test_unknown_losses_are_refused(problem):
    with pytest.raises(SpecError, match="no attack loss 'hinge'"):
        maximize(problem, search_of(2), LINF, Budget(1, loss="hinge"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same_results_although_it_checks_less_often():
    results = {}
    for device in ("cpu", "cuda"):
        model = trained().to(device)
        pixels, targets = (part.to(device) for part in first(60))
        search = Search.of(pixels, targets, 0.1, as_seeds(range(60), device))
        with model.frozen():
            maximize(problem_of(model), search, LINF, Budget(2 * CHECK_EVERY))
        results[device] = search.misclassified.cpu()
    assert (results["cpu"] != results["cuda"]).sum() <= 2
