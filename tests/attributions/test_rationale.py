"""Rationales on a linear bag of words with known contributions."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from suite.attributions.features.curves import emptied, feature_counts, ranked, score_drops
from suite.attributions.features.faithfulness import CONTROLS, DROPS, RECENCY, evaluate
from suite.attributions.features.measures import rationale_measures
from suite.attributions.features.methods import (
    FeatureAttribution,
    Features,
    GradientXInput,
    LayerIntegratedGradients,
    Occlusion,
)
from suite.errors import MeasureError, ModelError
from suite.kinds.base import Rationale
from suite.metrics.table import Column, Table

torch.set_num_threads(1)
FRACTIONS = (0.01, 0.05, 0.1, 0.2, 0.5)
WORDS, WIDTH = 6, 4
METHODS = {
    "gradient_x_input": GradientXInput(),
    "layer_integrated_gradients": LayerIntegratedGradients(),
    "occlusion": Occlusion(),
}
ONLY = {"occlusion": Occlusion()}


def linear(count=1, *, words=WORDS, seed=0, absent=0, **more):
    """Return a bag of words whose logit is a sum over words, and the contribution of each word, (n, words)."""
    source = torch.Generator().manual_seed(seed)
    point = torch.randn(count, words + absent, WIDTH, generator=source, dtype=torch.float64)
    weights = torch.randn(count, WIDTH, generator=source, dtype=torch.float64)
    present = (torch.arange(words + absent) < words).expand(count, -1)
    added = torch.einsum("nfd,nd->nf", point, weights) * present

    def target(points, rows):
        return torch.einsum("nfd,nd->n", points * present[rows, :, None], weights[rows])

    def score(kept, rows):
        assert kept[:, words:].all(), "an absent feature was deleted"
        return (added[rows] * kept).sum(1).sigmoid()

    names = [[str(place) for place in range(words + absent)]] * count
    rationale = Rationale(present, point, torch.zeros_like(point), target, score, names, "left out", **more)
    return rationale, added


def features_of(rationale, **more):
    count = len(rationale.present)
    return Features(rationale, torch.arange(count), list(range(count)), **more)


def measures_of(result, **facts):
    """Return the measures of score drops, as the axis stores them."""
    columns = [
        Column(drop.name, result.values(method, drop.name), {"method": method})
        for method in result.drops
        for drop in DROPS
    ]
    for name, values in (("completeness_error", result.completeness_error), ("steps", result.steps)):
        columns += [Column(name, by_sample, {"method": method}) for method, by_sample in values.items()]
    given = {"methods": list(result.drops), "deletion": "left out", "proxy": False, "ends_matter": False, **facts}
    return rationale_measures(Table((*columns, Column("emptied", result.emptied)), given))


def by_hand(added, order, fractions=FRACTIONS):
    """Return comprehensiveness and sufficiency of an order of features of a single sample, in plain Python."""
    sigmoid = lambda value: 1 / (1 + np.exp(-value))  # noqa: E731
    added, whole = [float(one) for one in added], None
    whole = sigmoid(sum(added))
    without, alone = [], []
    for fraction in fractions:
        first = order[: max(1, int(np.ceil(fraction * len(added) - 1e-9)))]
        without.append(whole - sigmoid(sum(one for place, one in enumerate(added) if place not in first)))
        alone.append(whole - sigmoid(sum(added[place] for place in first)))
    return float(np.mean(without)), float(np.mean(alone))


@pytest.mark.parametrize("method", ["gradient_x_input", "layer_integrated_gradients"])
def test_gradients_of_a_linear_model_are_its_contributions(method):
    rationale, added = linear(5, absent=3)
    shares = METHODS[method](features_of(rationale))
    torch.testing.assert_close(shares.values, added, atol=1e-10, rtol=1e-9)
    assert (shares.values[:, WORDS:] == 0).all()


def test_occlusion_of_a_linear_model_ranks_by_contribution():
    rationale, added = linear(20)
    values = METHODS["occlusion"](features_of(rationale)).values
    assert torch.equal(values.argsort(1), added.argsort(1))
    whole = added.sum(1).sigmoid()
    torch.testing.assert_close(values[:, 0], whole - added[:, 1:].sum(1).sigmoid())


def test_both_metrics_equal_plain_python():
    rationale, added = linear(8)
    result = evaluate(features_of(rationale), ONLY, fractions=FRACTIONS)
    orders = added.argsort(1, descending=True).tolist()
    expected = [by_hand(values, order) for values, order in zip(added, orders, strict=True)]
    np.testing.assert_allclose(result.values("occlusion", "comprehensiveness"), [one for one, _ in expected])
    np.testing.assert_allclose(result.values("occlusion", "sufficiency"), [one for _, one in expected])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_true_order_is_the_best_of_all_orders(seed):
    rationale, added = linear(seed=seed)
    everyone = [by_hand(added[0], order) for order in permutations(range(WORDS))]
    result = evaluate(features_of(rationale), {"gradient_x_input": GradientXInput()}, fractions=FRACTIONS)
    assert result.values("gradient_x_input", "comprehensiveness")[0] == pytest.approx(max(c for c, _ in everyone))
    assert result.values("gradient_x_input", "sufficiency")[0] == pytest.approx(min(s for _, s in everyone))


def test_recency_deletes_the_last_words_first():
    rationale, added = linear(3, absent=2)
    result = evaluate(features_of(rationale), {}, fractions=FRACTIONS)
    expected = [by_hand(values[:WORDS], range(WORDS)[::-1])[0] for values in added]
    np.testing.assert_allclose(result.values(RECENCY, "comprehensiveness"), expected)


def test_fractions_are_rounded_up_to_at_least_one_word():
    present = torch.arange(20) < torch.tensor([[2], [15], [20]])
    assert feature_counts(present, FRACTIONS).tolist() == [[1, 1, 1, 1, 1], [1, 1, 2, 3, 8], [1, 1, 2, 4, 10]]


def test_absent_features_rank_last_and_ties_depend_on_the_seed():
    present = torch.tensor([[True, True, False, True]])
    assert ranked(torch.tensor([[-3.0, 5.0, 9.0, 0.0]]), present, [1]).tolist() == [[2, 0, 3, 1]]
    ties = [ranked(torch.zeros(1, 4), present, [seed])[0].tolist() for seed in range(40)]
    assert {tuple(rank[:2] + rank[3:]) for rank in ties} == set(permutations(range(3)))
    assert all(rank[2] == 3 for rank in ties)


def test_deleting_every_feature_gives_the_full_drop():
    rationale, added = linear(4, absent=1)
    torch.testing.assert_close(emptied(features_of(rationale)), added.sum(1).sigmoid() - 0.5)
    features = features_of(rationale)
    order = ranked(added, features.present, features.seeds)
    without, alone = score_drops(features, order, [1.0])
    torch.testing.assert_close(without[:, 0], emptied(features))
    torch.testing.assert_close(alone[:, 0], torch.zeros(4, dtype=torch.float64))


def test_random_control_averages_orders_and_loses_to_true_contributions():
    rationale, _ = linear(40)
    result = evaluate(features_of(rationale), METHODS, fractions=FRACTIONS)
    measures = {(m.params["method"], m.metric): m for m in measures_of(result)}
    for method in METHODS:
        assert measures[method, "comprehensiveness"].checks == {"beats_random": "pass"}
        assert measures[method, "sufficiency"].checks == {"beats_random": "pass"}
        assert measures[method, "comprehensiveness_gap"].value > 0.2
        assert measures[method, "comprehensiveness"].status == "ok"
    control = measures["random", "comprehensiveness"]
    assert control.control == control.value
    assert control.checks == {"beats_random": "n/a"}
    assert measures["occlusion", "sufficiency"].higher_is_better is False
    few = len(np.unique(np.round(result.drops["random"].comprehensiveness, 12)))
    assert few > 40, "a single order would give each sample one of six values at the smallest fraction"


def test_uninformative_method_does_not_beat_the_control():
    rationale, _ = linear(40)

    def guess(features):
        source = torch.Generator().manual_seed(5)
        values = torch.rand(features.present.shape, generator=source, dtype=torch.float64)
        return METHODS["occlusion"](features)._replace(values=values)

    result = evaluate(features_of(rationale), {"guess": guess}, fractions=FRACTIONS)
    guessed = next(m for m in measures_of(result) if m.params["method"] == "guess")
    assert guessed.checks == {"beats_random": "fail"}
    assert guessed.status == "suspect"
    assert guessed.reason == "does not beat the random control"


def test_methods_have_to_beat_recency_if_ends_matter():
    """The target depends on the last word only, so no order beats the one that deletes it first."""
    rationale, added = linear(30, ends_matter=True)
    added[:] = torch.tensor([0.0, 0.0, 0.0, 0.0, 0.0, 4.0], dtype=torch.float64)
    result = evaluate(features_of(rationale), ONLY, fractions=FRACTIONS)
    measures = measures_of(result, ends_matter=True)
    first = next(m for m in measures if m.metric == "comprehensiveness")
    assert first.checks == {"beats_random": "pass", "beats_recency": "fail"}
    assert "last features first" in first.reason


def test_gap_is_undefined_if_deletion_changes_nothing():
    rationale, added = linear(8)
    added[:] = 0
    result = evaluate(features_of(rationale), ONLY, fractions=FRACTIONS)
    gap = next(m for m in measures_of(result) if m.metric == "comprehensiveness_gap")
    assert gap.value is None
    assert "does not lower the score" in gap.reason


class Squashed(nn.Module):
    """A bag of words with a nonlinear layer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(30, WIDTH)
        self.head = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, ids):
        return self.head(self.embedding(ids).mul(3).sum(1))[:, 0]


@pytest.fixture
def nonlinear():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Squashed().double().requires_grad_(False)
    ids = torch.randint(1, 30, (7, 5), generator=torch.Generator().manual_seed(1))

    def target(points, rows):
        return model.head(points.mul(3).sum(1))[:, 0]

    def score(kept, rows):
        return model(torch.where(kept, ids[rows], 0)).sigmoid()

    point, blank = model.embedding(ids), model.embedding(torch.zeros_like(ids))
    return model, ids, Rationale(ids > 0, point, blank, target, score, [[""] * 5] * 7, "id 0")


def test_integrated_gradients_equal_captum_and_are_complete(nonlinear):
    captum = pytest.importorskip("captum.attr")
    model, ids, rationale = nonlinear
    shares = LayerIntegratedGradients()(features_of(rationale))
    layer = captum.LayerIntegratedGradients(model, model.embedding)
    for row, steps in enumerate(shares.steps.tolist()):
        theirs = layer.attribute(ids[row : row + 1], torch.zeros_like(ids[:1]), n_steps=steps).sum(2)
        torch.testing.assert_close(shares.values[row : row + 1], theirs, atol=1e-9, rtol=1e-6)
    difference = model(ids) - model(torch.zeros_like(ids))
    assert ((shares.values.sum(1) - difference).abs() <= 0.05 * difference.abs().clamp_min(0.01)).all()


def steep(slope):
    """Return a rationale of one text whose target jumps on the path from the blank text to the text."""
    point = torch.ones(1, 2, 1, dtype=torch.float64)

    def target(points, rows):
        return (slope * (points.sum((1, 2)) - 0.7131)).sigmoid()

    return Rationale(
        torch.ones(1, 2, dtype=torch.bool),
        point,
        torch.zeros_like(point),
        target,
        lambda kept, rows: kept.double().mean(1),
        [["a", "b"]],
        "0",
    )


def test_steep_target_gets_more_steps_until_attributions_are_complete():
    shares = LayerIntegratedGradients()(features_of(steep(400.0), batch_size=64))
    assert shares.steps.item() > 50
    assert shares.completeness_error.item() <= 0.05
    assert LayerIntegratedGradients()(features_of(steep(3.0))).steps.item() == 50


def test_attributions_that_violate_completeness_fail_the_check():
    result = evaluate(
        features_of(steep(1e7)), {"layer_integrated_gradients": LayerIntegratedGradients()}, fractions=FRACTIONS
    )
    row = next(m for m in measures_of(result) if m.metric == "convergence_delta")
    assert row.checks == {"adds_up": "fail"}
    assert row.status == "suspect"
    assert row.value > 0.9
    assert row.params["steps"] == 400


@pytest.mark.parametrize("batch_size", [1, 3, 7])
def test_values_do_not_depend_on_batch_size_or_other_samples(nonlinear, batch_size):
    _, _, rationale = nonlinear
    whole = evaluate(features_of(rationale), METHODS, fractions=FRACTIONS)
    some = Features(rationale, torch.tensor([4, 1]), [4, 1], batch_size)
    part = evaluate(some, dict(reversed(METHODS.items())), fractions=FRACTIONS)
    for method in (*METHODS, *CONTROLS):
        for metric in ("comprehensiveness", "sufficiency"):
            np.testing.assert_allclose(
                part.values(method, metric), whole.values(method, metric)[[4, 1]], atol=1e-12, err_msg=method
            )


def test_model_without_embeddings_supports_occlusion_only():
    rationale, _ = linear(8)
    blind = Rationale(rationale.present, None, None, None, rationale.score, rationale.names, "left out")
    result = evaluate(features_of(blind), METHODS, fractions=FRACTIONS)
    assert set(result.skipped) == {"gradient_x_input", "layer_integrated_gradients"}
    assert "features have no gradient" in result.skipped["gradient_x_input"]
    assert set(result.drops) == {"occlusion", *CONTROLS}


def test_watch_gets_every_name():
    called = []

    def watch(names):
        for name in names:
            yield name
            called.append(name)

    rationale, _ = linear(2)
    evaluate(features_of(rationale), ONLY, fractions=FRACTIONS, watch=watch)
    assert called == ["occlusion", "random", "recency"]


def test_non_finite_scores_are_refused():
    rationale, _ = linear(2)
    broken = Rationale(
        rationale.present, None, None, None, lambda kept, rows: kept.double().sum(1) / 0, rationale.names, "left out"
    )
    with pytest.raises(ModelError, match=r"score of a rationale.*not finite"):
        evaluate(features_of(broken), {}, fractions=FRACTIONS)
    wide = Rationale(rationale.present, None, None, None, lambda kept, rows: kept.double(), rationale.names, "")
    with pytest.raises(ModelError, match="one number for each input"):
        evaluate(features_of(wide), {}, fractions=FRACTIONS)


def test_attributions_of_the_wrong_shape_or_not_finite_are_refused():
    rationale, _ = linear(2)
    for values, message in (
        (torch.zeros(2, WORDS + 1), r"guess: returned attributions of shape \(2, 7\)"),
        (torch.full((2, WORDS), torch.nan), "attributions of guess: 12 of 12 values are not finite"),
    ):
        guess = lambda features, values=values: FeatureAttribution(values)  # noqa: E731
        with pytest.raises(ModelError, match=message):
            evaluate(features_of(rationale), {"guess": guess}, fractions=FRACTIONS)


def test_features_need_samples_and_seeds():
    rationale, _ = linear(2)
    with pytest.raises(MeasureError, match="one seed per sample"):
        Features(rationale, torch.arange(2), [1])


def test_every_input_is_scored_once_in_full_batches():
    rationale, _ = linear(3, words=9)
    seen = []

    def score(kept, rows):
        seen.append(torch.cat([kept.long(), rows[:, None]], 1))
        return rationale.score(kept, rows)

    features = features_of(replace(rationale, score=score), batch_size=8)
    result = evaluate(features, ONLY, fractions=FRACTIONS)
    inputs = torch.cat(seen)
    assert len(inputs.unique(dim=0)) == len(inputs)
    # Of all samples: emptied, whole and occlusion; then all orders, of which only the first features are new.
    assert [len(part) for part in seen[:6]] == [3, 3, 8, 8, 8, 3]
    assert all(len(part) == 8 for part in seen[6:-1])
    assert result.drops.keys() == {"occlusion", *CONTROLS}


def test_too_few_samples_are_named_instead_of_a_comparison():
    for count, reason in ((23, "too few samples (n = 23; at least 24 are needed)"), (24, None)):
        rationale, _ = linear(count)
        rows = measures_of(evaluate(features_of(rationale), ONLY, fractions=FRACTIONS))
        drops = {(m.params["method"], m.metric): m for m in rows if "beats_random" in m.checks}
        row = drops["occlusion", "comprehensiveness"]
        assert (row.checks["beats_random"] == "n/a") == (reason is not None)
        assert row.reason == reason or (reason is None and "too few" not in str(row.reason))
        assert drops["random", "comprehensiveness"].reason is None
