"""The autoencoding kind: code lengths by hand, models in closed form, and attacks on a small model."""

import math
from copy import copy
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from suite.axes.attribution import Attribution
from suite.axes.base import Context
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.robustness.axis import Robustness
from suite.data import load
from suite.data.builtin.binarized import binarize, binarize_samples
from suite.errors import AttackError, DataError, MeasureError, ModelError, NotApplicableError, SpecError
from suite.kinds.autoencoding import losses, metrics, robustness
from suite.kinds.autoencoding.calibration import autoencoding_calibration, pixels_of
from suite.kinds.autoencoding.kind import Autoencoding, autoencoding
from suite.kinds.autoencoding.losses import CODE_LENGTH
from suite.kinds.autoencoding.out_of_distribution import TRANSFORMS, auroc, pairwise_wins
from suite.kinds.autoencoding.rank_test import rank_p_values, rank_spread, simulated_ranks
from suite.kinds.base import Outcomes, Prediction
from suite.metrics.table import Table, collected
from suite.models.adapters.autoencoder import NO_SPREAD, AutoencoderOutput, TorchAutoencoder
from suite.models.networks.vae import ConvAutoencoder
from suite.models.recipe import Recipe
from suite.models.training.trainer import TrainingData, train
from suite.registry import Entry
from suite.runner.settings import silent
from suite.spec import parse
from suite.types import Rejected, Sample
from tests.axes.contexts import finding_of
from tests.kinds.summarized import measures_of, table_of

SIDE = 8


def bars(count, seed):
    """Return binary images of one vertical and one horizontal bar with a little noise, as a task yields them."""
    random = np.random.default_rng(seed)
    images = random.random((count, SIDE, SIDE)) < 0.06
    for image, (row, column) in zip(images, random.integers(0, SIDE - 1, (count, 2)), strict=True):
        image[row : row + 2] = True
        image[:, column] = True
    return (images * 255).astype(np.uint8)


def loaded(given, kind=None):
    """Load a task of these images by split."""
    meta = {"kind": "autoencoding", "classes": None, "version": "1", "source": ""}

    def samples(split, seed):
        return (Sample(f"{split}{n}", image, None) for n, image in enumerate(given.get(split, ())))

    entry = Entry("task", "given", samples, "here", meta=meta)
    return load(entry, parse("given"), seed=0, kind=kind or autoencoding())


def net(variational=True, latent=4):
    torch.manual_seed(0)
    module = ConvAutoencoder((1, SIDE, SIDE), latent=latent, width=8, hidden=32, variational=variational)
    return TorchAutoencoder(module, shape=(1, SIDE, SIDE), variational=variational, layer=module.last_map)


def context(model, data, count=24):
    return Context(
        kind=autoencoding(),
        data=data,
        test=data.test.take(range(count)),
        model=model,
        members=lambda count: [model] * count,
        track=silent,
        device=torch.device("cpu"),
        names=("bars", "net", "axis"),
    ).fit_to_model()


@pytest.fixture(scope="module")
def data():
    return loaded({"train": bars(320, 0), "validation": bars(60, 1), "test": bars(60, 2)})


@pytest.fixture(scope="module")
def trained(data):
    """Return a variational and a plain autoencoder after a little training, and their histories."""
    models = {"vae": net(), "plain": net(variational=False)}
    recipe = Recipe(epochs=20, batch_size=32, learning_rate=8e-3, patience=20)
    training_data = TrainingData(data.train, data.validation, Autoencoding(), 0, silent)
    return models, {n: train(m, recipe, training_data, device=torch.device("cpu")) for n, m in models.items()}


def output_of(logits, mean, log_variance):
    return torch.tensor([[*logits, *mean, *log_variance]], dtype=torch.float64)


# code lengths

WHITE = torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])


def test_code_length_by_hand():
    output = output_of([2.0, -1.0, 0.0, 3.0], [1.0, 0.0], [0.0, math.log(4)])
    p_values = [expit(2.0), 1 - expit(-1.0), 0.5, expit(3.0)]
    pixels = -sum(math.log2(chance) for chance in p_values) / 4
    code = (0.5 + 0.5 * (4 - 1 - math.log(4))) / math.log(2) / 4
    assert float(losses.reconstruction(output, WHITE)) == pytest.approx(pixels)
    assert float(losses.divergence(output, WHITE)) == pytest.approx(code)
    assert float(losses.code_length(output, WHITE)) == pytest.approx(pixels + code)
    assert float(Autoencoding().damage(output, WHITE)) == pytest.approx(1 - 2 ** -(pixels + code))
    assert float(Autoencoding(reference=0.5).damage(output, WHITE)) == pytest.approx(1 - 4 ** -(pixels + code))
    tally = Autoencoding().tally(output.numpy(), WHITE.numpy())
    assert tally[0] == pytest.approx([pixels, code])
    overall = Autoencoding().headline_measure(Table(()), CODE_LENGTH, tally)
    assert (overall.value, overall.higher_is_better, overall.n) == (pytest.approx(pixels + code), False, 1)


def test_point_codes_have_zero_divergence():
    output = output_of([2.0, -1.0, 0.0, 3.0], [5.0], [NO_SPREAD])
    assert float(losses.divergence(output, WHITE)) == 0
    assert float(losses.code_length(output, WHITE)) == float(losses.reconstruction(output, WHITE))


def test_covered_pixels_are_ignored():
    output = output_of([2.0, 50.0, 0.0, 3.0], [0.0], [0.0])
    covered = torch.tensor([[[False, True], [False, False]]])
    masked = Autoencoding().mask_covered_targets(WHITE, covered)
    assert float(losses.reconstruction(output, WHITE)) > 10
    expected = -sum(math.log2(chance) for chance in (expit(2.0), 0.5, expit(3.0))) / 3
    assert float(losses.reconstruction(output, masked)) == pytest.approx(expected)
    everything = Autoencoding().mask_covered_targets(WHITE, torch.ones_like(covered))
    assert float(losses.reconstruction(output, everything)) == 0
    assert np.isfinite(Autoencoding().tally(output.numpy(), masked.numpy())).all()


def test_unknown_losses_and_target_classes_raise():
    output, kind = output_of([0.0] * 4, [0.0], [0.0]), Autoencoding()
    assert kind.attack_loss(output, WHITE, name="ce") == kind.attack_loss(output, WHITE, name="code_length")
    with pytest.raises(SpecError, match="no attack loss 'margn'"):
        kind.attack_loss(output, WHITE, name="margn")
    with pytest.raises(AttackError, match="no targeted attacks"):
        kind.attack_loss(output, WHITE, name="ce", target_classes=torch.zeros(1))


def test_output_without_code_raises():
    with pytest.raises(ModelError, match="then the means and log variances"):
        losses.code_length(torch.zeros(1, 7), WHITE)
    with pytest.raises(ModelError, match="expected"):
        Autoencoding().check_output(torch.zeros(1, 2, 2), ())
    with pytest.raises(MeasureError, match="call fit_to_model first"):
        Autoencoding().output_arrays(np.zeros((1, 6), np.float32))


# samples


def test_image_is_its_own_target(data):
    assert data.test.targets.dtype == np.float32 and data.test.targets.shape == (len(data.test), 1, SIDE, SIDE)
    assert np.array_equal(data.test.targets, data.test.pixels()) and set(np.unique(data.test.targets)) == {0, 1}
    assert data.info.classes == ()


def test_invalid_images_are_dropped_with_a_reason():
    good = bars(3, 0)
    wrong = [np.full((SIDE, SIDE), 2.0), np.full((SIDE, SIDE), np.nan), np.zeros((SIDE, SIDE), np.int64), "text"]
    task = loaded({"test": [*good, *wrong]})
    reasons = " ".join(reason for _, reason in task.report.dropped["unusable"])
    assert task.report.kept["test"] == 3 and len(task.report.dropped["unusable"]) == 4
    assert all(
        part in reasons for part in ("expected 0..1", "NaN or infinite", "of type int64", "an image of shape ()")
    )


def test_images_of_different_sizes_raise():
    with pytest.raises(DataError, match="inputs of 2 shapes"):
        loaded({"test": [*bars(2, 0), np.zeros((5, 5), np.uint8)]})


def test_binarization_depends_only_on_the_id():
    gray = np.full((200, 200), 51, np.uint8)
    drawn = binarize(gray, "a", "random")
    assert set(np.unique(drawn)) == {0, 255} and (drawn > 0).mean() == pytest.approx(0.2, abs=0.01)
    assert np.array_equal(drawn, binarize(gray, "a", "random")) and (drawn != binarize(gray, "b", "random")).any()
    ramp = np.array([0, 127, 128, 255], np.uint8)
    assert binarize(ramp, "a", "threshold").tolist() == [0, 0, 255, 255]
    assert binarize(np.array([0.0, 0.49, 0.5, 1.0]), "a", "threshold").tolist() == [0, 0, 255, 255]
    assert all(binarize(ramp, str(n), "random")[[0, 3]].tolist() == [0, 255] for n in range(20))
    given = [Sample("a", ramp, 1), Rejected("b", "broken")]
    kept, refused = binarize_samples(given, "threshold")
    assert kept.input.tolist() == [0, 0, 255, 255] and refused is given[1]
    assert [s.id for s in binarize_samples(given, "no")] == ["a", "b"] and next(
        binarize_samples(given, "no")
    ).input is ramp
    with pytest.raises(SpecError, match="expected one of random, threshold, no"):
        next(binarize_samples(given, "dither"))


# measures

UNCERTAINTY = ("elbo_gap", "latent_ranks", "out_of_distribution_auroc")


def test_subsets_have_the_measures_of_their_outputs(trained, data):
    """Also where bounds and out-of-distribution scores are known of a subset only."""
    whole, rows = context(trained[0]["vae"], data, len(data.test)), np.array([5, 3, 8, 21, 40])
    part = replace(whole, test=data.test.take(rows.tolist()))
    names = ("code_length", "evidence", "independent_pixels", "active_units", "elbo_gap", "out_of_distribution_auroc")
    direct = measures_of(part.outcomes, *names)
    assert len(direct) == 15 and all(row.value is not None for row in direct)
    assert measures_of(whole.outcomes, *names, rows=rows) == direct
    table = table_of(whole.outcomes, "evidence")
    assert metrics.evidence(table.take(rows)) == metrics.evidence(table_of(part.outcomes, "evidence"))


def test_bounds_are_computed_on_a_subset_of_many_images(trained, data, monkeypatch):
    outcomes = context(trained[0]["vae"], data, len(data.test)).outcomes
    everything = table_of(outcomes, "evidence", "elbo_gap")
    monkeypatch.setattr("suite.kinds.autoencoding.evidence.IMAGES", 10)
    table = table_of(outcomes, "evidence", "elbo_gap")
    known = np.isfinite(table["evidence_importance"])
    assert known.sum() == 10
    assert np.array_equal(table["evidence_importance"][known], everything["evidence_importance"][known])
    assert {row.n for row in metrics.evidence(table)} == {10}
    half = np.arange(30)
    assert {row.n for row in metrics.evidence(table.take(half))} == {known[half].sum()}
    none = metrics.evidence(table.take(~known))
    assert all(row.value is None and "none of these images" in row.reason for row in none)


def test_trained_elbo_beats_independent_pixels(trained, data):
    models, histories = trained
    outcomes = context(models["vae"], data, len(data.test)).outcomes
    measures = {m.metric: m for m in measures_of(outcomes, "evidence", "independent_pixels")}
    chance = (data.train.targets.sum(axis=0) + 1) / (len(data.train) + 2)
    by_hand = -np.log(np.where(data.test.targets > 0, chance, 1 - chance)).sum(axis=(1, 2, 3)).mean()
    assert measures["independent_pixels_nll"].value == pytest.approx(by_hand)
    assert measures["importance_weighted_nll"].value < -measures["elbo"].value < by_hand
    whole = measures["reconstruction"].value + measures["divergence"].value
    assert measures["elbo"].value == pytest.approx(-whole)
    bits = measures["importance_weighted_nll"].value / (SIDE * SIDE * math.log(2))
    assert measures["importance_weighted_bits"].value == pytest.approx(bits)
    losses_met = [epoch["validation_loss"] for epoch in histories["vae"]["epochs"]]
    assert losses_met[-1] < 0.7 * losses_met[0]
    for measure in measures.values():
        assert measure.n == len(data.test) and measure.lo < measure.value < measure.hi and measure.params["binarised"]


def test_plain_autoencoder_has_no_likelihood(trained, data):
    outcomes = context(trained[0]["plain"], data).outcomes
    rows = measures_of(outcomes, "evidence", "independent_pixels", "active_units", *UNCERTAINTY)
    skipped = {row.metric for row in rows if row.status == "skipped"}
    assert skipped >= {"importance_weighted_nll", "elbo", "active_units", "elbo_gap", "latent_ranks_failed"}
    assert all(row.reason for row in rows if row.status == "skipped")
    (length, wrong) = measures_of(outcomes, "code_length")
    assert "bounds no likelihood" in length.reason and 0 < wrong.value < 0.2
    with pytest.raises(NotApplicableError):
        outcomes.model.sample(2, 0)


def test_gray_images_have_code_lengths_but_no_likelihood(trained, data):
    gray = replace(data, test=replace(data.test, targets=data.test.targets * 0.5, source=data.test.pixels() * 0.5))
    outcomes = context(trained[0]["vae"], gray).outcomes
    rows = {row.metric: row for row in measures_of(outcomes, "evidence", "independent_pixels")}
    assert all(
        (row.status == "skipped" and "binarise" in row.reason) or "Bernoulli" in row.reason for row in rows.values()
    )
    assert measures_of(outcomes, "code_length")[0].params["binarised"] is False
    by_name = {row.metric: row.status for row in measures_of(outcomes, *UNCERTAINTY)}
    assert (by_name["elbo_gap"], by_name["latent_ranks_failed"], by_name["out_of_distribution_auroc"]) == (
        "skipped",
        "skipped",
        "ok",
    )
    with pytest.raises(NotApplicableError, match="some lie between"):
        Autoencoding().rescaling(outcomes.output, outcomes.targets)


def outcomes_with(mean):
    """Return outcomes of images of 4 pixels whose codes have the given means."""
    mean = np.asarray(mean, np.float32)
    output = np.concatenate([np.zeros((len(mean), 4), np.float32), mean, np.zeros_like(mean)], axis=1)
    ids, targets = tuple(map(str, range(len(mean)))), np.zeros((len(mean), 1, 2, 2), np.float32)
    return Outcomes(ids, output, targets, (), 0, autoencoding(), model=SimpleNamespace(variational=True))


def test_collapsed_model_has_no_active_units():
    random = np.random.default_rng(0)
    mean = random.normal(size=(300, 5)) * [1.0, 0.5, 0.2, 0.05, 0.0]
    (result,) = measures_of(outcomes_with(mean), "active_units")
    assert (result.value, result.lo, result.hi, result.status) == (3, None, None, "inconclusive")
    assert result.reason == "all resamples count the same number"
    assert result.value == sum(np.var(mean.astype(np.float32), axis=0, ddof=1) > 0.01)
    (none,) = measures_of(outcomes_with(np.ones((300, 5)) * 3), "active_units")
    assert none.value == 0


def test_active_units_of_one_image_are_undefined():
    (result,) = measures_of(outcomes_with([[1.0, 2.0]]), "active_units")
    assert result.value is None and "one image" in result.reason


# calibration


class OneLatent(nn.Module):
    """One latent determines all pixels; with many pixels and a small slope its posterior is nearly Gaussian."""

    SLOPE = 0.2

    def __init__(self, narrower=1.0):
        super().__init__()
        self.slope, self.narrower = nn.Parameter(torch.tensor(self.SLOPE)), narrower

    def encode(self, pixels):
        count = pixels[0].numel()
        precision = 1 + count * self.SLOPE**2 / 4
        mean = self.slope * (pixels.flatten(1) - 0.5).sum(dim=1, keepdim=True) / precision
        return mean, torch.full_like(mean, -math.log(precision * self.narrower))

    def decode(self, codes):
        return (codes * self.slope)[:, :, None, None].expand(-1, 1, 20, 20)


def one_latent(narrower=1.0):
    return TorchAutoencoder(OneLatent(narrower), shape=(1, 20, 20))


def test_ranks_are_uniform_only_for_the_exact_posterior():
    exact, narrow, wide = (simulated_ranks(one_latent(narrower), 1000, 7) for narrower in (1.0, 4.0, 0.25))
    assert exact.min() >= 0 and exact.max() <= 99
    p_values = [float(rank_p_values(ranks, 99, 10)[0]) for ranks in (exact, narrow, wide)]
    assert p_values[0] > 0.01 and p_values[1] < 1e-10 and p_values[2] < 1e-10
    spreads = [float(rank_spread(ranks, 99).mean()) for ranks in (exact, narrow, wide)]
    assert spreads[0] == pytest.approx(1, abs=0.1) and spreads[1] > 1.4 and spreads[2] < 0.7


def test_rank_test_has_its_nominal_level():
    ranks = np.random.default_rng(0).integers(0, 100, (500, 400))
    assert (rank_p_values(ranks, 99, 10) < 0.05).mean() == pytest.approx(0.05, abs=0.03)
    assert rank_spread(ranks, 99).mean() == pytest.approx(1, abs=0.01)
    with pytest.raises(MeasureError, match="multiple of bins"):
        rank_p_values(ranks, 98, 10)
    with pytest.raises(MeasureError, match="Simulate more"):
        rank_p_values(ranks[:20], 99, 10)


def pixel_table(predicted, targets, logits=None):
    """Return the table of predicted pixels, from logits or from a mean of several predictions."""
    codes = np.zeros((len(predicted), 2))
    output = None if logits is None else np.concatenate([logits.reshape(len(logits), -1), codes], axis=1)
    whole = collected([pixels_of(Prediction("pixel", predicted, output, targets, bins=10))])
    columns, facts = whole.columns, whole.all_facts
    return Table(tuple(columns), {**facts, "bins": 10})


def test_pixel_calibration_matches_a_direct_count():
    random = np.random.default_rng(0)
    logits = random.normal(size=(30, 1, 6, 5)) * 3
    predicted = expit(logits)
    targets = (random.random(logits.shape) < predicted**1.5).astype(np.float32)
    table = pixel_table(predicted, targets, logits)
    rows = {m.metric: m for m in autoencoding_calibration(table)}
    p, y = predicted.ravel(), targets.ravel()
    bins = np.ceil(p * 10).astype(int) - 1
    ece = sum(abs((p - y)[bins == b].sum()) for b in range(10)) / len(p)
    assert rows["pixel_ece"].value == pytest.approx(ece) and rows["pixel_ece"].lo < ece < rows["pixel_ece"].hi
    nll = -np.where(y > 0, np.log(p), np.log1p(-p)).mean()
    assert rows["nll"].value == pytest.approx(nll)
    assert rows["brier"].value == pytest.approx(((p - y) ** 2).mean())
    mean_of_several = autoencoding_calibration(pixel_table(predicted, targets))
    assert [m.value for m in mean_of_several] == pytest.approx([m.value for m in rows.values()])
    assert sum(table.facts["reliability"]["count"]) == 900
    few = np.array([3, 20, 7])
    assert autoencoding_calibration(table.take(few)) == autoencoding_calibration(
        pixel_table(predicted[few], targets[few], logits[few])
    )
    impossible = autoencoding_calibration(pixel_table(np.zeros_like(predicted), targets))
    nll = {m.metric: m for m in impossible}["nll"]
    assert nll.value is None and "of 30 images were given probability 0" in nll.reason


def test_temperature_rescales_pixels_and_not_the_code():
    random = np.random.default_rng(1)
    logits = random.normal(size=(40, 64)) * 2
    targets = (random.random(logits.shape) < expit(logits)).astype(np.float32).reshape(40, 1, 8, 8)
    output = np.concatenate([logits * 3, random.normal(size=(40, 6))], axis=1).astype(np.float32)
    result = Autoencoding().rescaling(output, targets)
    assert result.value == pytest.approx(3, abs=0.3)
    fixed = result.apply(output)
    assert fixed[:, :64] == pytest.approx(output[:, :64] / result.value)
    assert np.array_equal(fixed[:, 64:], output[:, 64:])


def test_auroc_counts_pairs_with_longer_out_of_distribution_codes():
    own, others = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.5, 2.0, 5.0, 0.5])
    pairs = [(o > i) + 0.5 * (o == i) for o in others for i in own]
    assert auroc(pairwise_wins(others, own))[0] == pytest.approx(np.mean(pairs))
    twice = np.array([[2.0, 0.0, 1.0, 1.0]])
    rows = [0, 0, 2, 3]
    again = [(others[o] > own[i]) + 0.5 * (others[o] == own[i]) for o in rows for i in rows]
    assert auroc(pairwise_wins(others, own), twice)[0] == pytest.approx(np.mean(again))
    image = torch.arange(12.0).view(1, 1, 3, 4) / 12
    for name, made in TRANSFORMS.items():
        result = made(image)
        assert result.shape == image.shape and (name == "inverted") == bool(result.max() == 1)
    assert torch.equal(TRANSFORMS["shuffled"](image).flatten().sort().values, image.flatten())
    assert torch.equal(TRANSFORMS["mirrored"](image), image.flip(-1)) and not TRANSFORMS["black"](image).any()


def test_calibration_axis_has_all_rows(trained, data):
    result = finding_of(Calibration(members=2), context(trained[0]["vae"], data))
    rows = {(m.metric, m.params.get("uncertainty")): m for m in result.measures}
    assert rows["pixel_ece", "pixel"].value < 0.1 and rows["pixel_ece", "ensemble"].value is not None
    assert rows["pixel_ece", "mc_dropout"].status == "skipped"
    assert rows["elbo_gap", None].value > 0
    assert 0 <= rows["latent_ranks_failed", None].value <= 1 and rows["latent_ranks_failed", None].n == 4
    assert rows["temperature", None].value > 0
    by_name = {
        m.params["out_of_distribution"]: m.value for m in result.measures if m.metric == "out_of_distribution_auroc"
    }
    assert set(by_name) == set(TRANSFORMS) and by_name["inverted"] > 0.9 and by_name["mirrored"] < 0.8


# axes


def test_attacks_beat_random_perturbations(trained, data):
    spec = "pgd(eps=[0.1, 0.3], steps=8, restarts=1, loss=ce)"
    for name in ("vae", "plain"):
        result = finding_of(Robustness(spec, audit=8), context(trained[0][name], data))
        rows = [m for m in result.measures if m.metric == "robust_code_length"]
        clean = measures_of(context(trained[0][name], data).outcomes, "code_length")[0].value
        assert clean < rows[0].value < rows[1].value
        assert all(m.control < m.value and m.higher_is_better is False for m in rows)
        parts = {m.metric: m.value for m in result.measures if m.params.get("eps") == 0.3}
        assert parts["robust_reconstruction"] + parts["robust_divergence"] == pytest.approx(rows[1].value)
        if name == "plain":
            assert parts["robust_divergence"] == 0


def test_divergence_alone_can_be_attacked(trained, data):
    ctx = context(trained[0]["vae"], data)
    result = {
        loss: finding_of(Robustness(f"pgd(eps=[0.3], steps=8, restarts=1, loss={loss}, stop=False)", audit=4), ctx)
        for loss in ("kl", "reconstruction")
    }
    parts = {
        loss: {m.metric: m.value for m in one.measures if m.params.get("eps") == 0.3} for loss, one in result.items()
    }
    assert parts["kl"]["robust_divergence"] > parts["reconstruction"]["robust_divergence"]
    assert parts["reconstruction"]["robust_reconstruction"] > parts["kl"]["robust_reconstruction"]


def test_patch_is_scored_outside_itself(trained, data):
    result = finding_of(
        Robustness("patch(area=[0.06], steps=4, restarts=1, loss=ce)", audit=4),
        context(trained[0]["vae"], data),
    )
    rows = {m.metric: m for m in result.measures if m.params.get("area") == 0.06 and "control" not in m.params}
    assert np.isfinite(rows["robust_code_length"].value)


@pytest.mark.slow
def test_axes_are_deterministic_for_any_width(trained, data):
    ctx, narrow = context(trained[0]["vae"], data), copy(trained[0]["vae"])
    narrow.width = 5
    small = context(narrow, data)
    for axis in (Robustness("pgd(eps=[0.2], steps=4, restarts=1, loss=ce)", audit=4), Calibration(members=1)):
        first, second, third = (finding_of(axis, c) for c in (ctx, context(trained[0]["vae"], data), small))
        assert first.measures == second.measures == third.measures


def test_gallery_and_columns_are_stored(trained, data, monkeypatch):
    recorded = {}

    def stub(data, images):
        recorded["images"] = images
        raise NotApplicableError("not measured here")

    with monkeypatch.context() as patch:
        patch.setattr(metrics, "sample_pools", stub)
        result = finding_of(Clean(), context(trained[0]["vae"], data))
    shapes = {name: values.shape for name, values in result.arrays.items()}
    assert shapes == {
        "images": (12, 1, 8, 8),
        "reconstructed": (12, 1, 8, 8),
        "interpolated": (4, 9, 1, 8, 8),
        "generated": (64, 1, 8, 8),
    }
    assert recorded["images"].shape == (24, 1, 8, 8) and set(recorded["images"].unique().tolist()) == {0, 1}
    given, back = result.arrays["images"].astype(int), result.arrays["reconstructed"]
    assert np.abs(given - back).mean() < 0.9 * np.abs(np.roll(given, 1, axis=0) - back).mean()
    table = result.table
    assert table["code_length"] == pytest.approx(table["reconstruction"] + table["divergence"])
    assert len(result.facts["divergence_by_latent"]) == 4 and result.facts["variational"]
    roles = {name: (display.type, display.role) for name, display in result.result.arrays.items()}
    assert roles["images"] == ("image", "input") and roles["generated"] == ("image", "generated")
    plain = finding_of(Clean(), context(trained[0]["plain"], data))
    assert "generated" not in plain.arrays and {m.metric for m in plain.measures} >= {"kid", "fid", "code_length"}


def test_one_image_suffices(trained, data, monkeypatch):
    def stub(data, images):
        raise NotApplicableError("not measured here")

    monkeypatch.setattr(metrics, "sample_pools", stub)
    result = finding_of(Clean(), context(trained[0]["vae"], data, 1))
    assert all(m.n == 1 or m.value is None for m in result.measures) and "interpolated" not in result.arrays


def test_attribution_highlights_pixels_that_change_the_code(trained, data):
    axis = Attribution(("integrated_gradients", "saliency", "centre"), samples=12)
    for name in ("vae", "plain"):
        result = finding_of(axis, context(trained[0][name], data))
        rows = {
            (m.metric, m.params["method"]): m
            for m in result.measures
            if m.params.get("baseline") == "mean" and m.status == "ok"
        }
        gained = rows["insertion_auc", "integrated_gradients"]
        assert gained.value > gained.control
        assert rows["deletion_auc", "integrated_gradients"].value < rows["deletion_auc", "random"].value
        assert result.arrays["reconstruction"].dtype == np.uint8


def test_attribution_score_is_one_on_the_clean_image(trained, data):
    ctx = context(trained[0]["vae"], data)
    outputs = torch.from_numpy(ctx.outcomes.output)
    assert ctx.kind.maps.explainable(ctx.outcomes.output).all()
    with ctx.model.frozen(), torch.no_grad():
        scalars = ctx.kind.maps.explained(ctx.model, ctx.pixels, outputs)
        rows = torch.arange(24)
        assert scalars.score(ctx.pixels, rows).numpy() == pytest.approx(np.ones(24), abs=1e-5)
        gray = scalars.score(torch.full_like(ctx.pixels, 0.5), rows)
    assert float(gray.min()) >= 0 and float(gray.max()) <= 1 and float(gray.mean()) < 0.9


def test_collapsed_code_is_not_explainable():
    kind = Autoencoding(shape=(1, 2, 2))
    output = np.zeros((3, 4 + 4), np.float32)
    output[2, 4] = 1.5
    assert kind.explainable(output).tolist() == [False, False, True]


def test_latent_shift_matches_torch_divergence():
    draw = torch.Generator().manual_seed(0)
    moments = [torch.randn(4, 3, generator=draw, dtype=torch.float64) for _ in range(4)]
    before, after = (
        AutoencoderOutput(torch.zeros(4, 9), *moments[:2]),
        AutoencoderOutput(torch.zeros(4, 9), *moments[2:]),
    )
    normal = [torch.distributions.Normal(output.mean, (output.log_variance / 2).exp()) for output in (before, after)]
    divergence = torch.distributions.kl_divergence
    expected = (divergence(*normal) + divergence(*normal[::-1])).sum(dim=1)
    torch.testing.assert_close(losses.shift(before, after), expected)


def test_latent_shift_by_hand():
    """From N(0, 1) to N(1, 4) it is ln 2 + 2 / 8 - 1 / 2 nats, and back 5 / 2 - 1 / 2 - ln 2: in total 7 / 4."""
    targets = np.zeros((2, 1, 1, 2), np.float32)

    def shifts(*outputs):
        return robustness.shifts(*(Outcomes((), output, targets, (), 0) for output in outputs))

    before = np.array([[0, 0, 0, 0], [3, -3, 1, 0.5]], np.float32)
    after = np.array([[9, 9, 1, math.log(4)], [3, -3, 1, 0.5]], np.float32)
    assert shifts(before, after)["latent_shift"] == pytest.approx([1.75, 0], abs=1e-6)
    assert shifts(after, before)["latent_shift"] == pytest.approx([1.75, 0], abs=1e-6)
    plain = np.concatenate([before[:, :3], np.full((2, 1), -30, np.float32)], axis=1)
    assert shifts(plain, after) == {}


def test_latent_shift_is_reported_only_for_variational_models(trained, data):
    spec = "fgsm(eps=[0.1, 0.3], loss=ce)"
    ctx = context(trained[0]["vae"], data)
    result = finding_of(Robustness(spec, audit=4), ctx)
    (row,) = [m for m in result.measures if m.metric == "latent_shift"]
    assert (row.unit, row.higher_is_better, row.n, row.params["eps"]) == ("nat", False, 24, 0.3)
    assert 0 < row.control < row.value and row.lo <= row.value <= row.hi
    assert "codes" not in row.params
    plain = finding_of(Robustness(spec, audit=4), context(trained[0]["plain"], data))
    assert not [m for m in plain.measures if m.metric == "latent_shift"]
    robust = [m for m in plain.measures if m.metric == "robust_code_length"]
    assert [m.params["codes"] for m in robust] == ["points, at no cost"] * 2


def test_reported_shift_is_the_mean_between_clean_and_attacked_codes(trained, data, monkeypatch):
    recorded = []
    inner = losses.shift
    monkeypatch.setattr(losses, "shift", lambda *sides: recorded.append(sides) or inner(*sides))
    ctx = context(trained[0]["vae"], data)
    result = finding_of(Robustness("fgsm(eps=[0.3], loss=ce)", audit=4), ctx)
    (row,) = [m for m in result.measures if m.metric == "latent_shift"]

    def divergence(before, after):
        mean, log_variance = (
            np.stack([getattr(side, name).numpy().astype(float) for side in (before, after)])
            for name in ("mean", "log_variance")
        )
        variance, apart = np.exp(log_variance), (mean[0] - mean[1]) ** 2
        there = (log_variance[1] - log_variance[0] + (variance[0] + apart) / variance[1] - 1) / 2
        back = (log_variance[0] - log_variance[1] + (variance[1] + apart) / variance[0] - 1) / 2
        return (there + back).sum(axis=1).mean()

    attacked, random = recorded
    assert all(np.array_equal(before.mean, ctx.outcomes.output[:, 64:68]) for before, _ in recorded)
    assert row.value == pytest.approx(divergence(*attacked), rel=1e-4)
    assert row.control == pytest.approx(divergence(*random), rel=1e-4)


def test_point_codes_are_recognized_without_validation_images(trained, data):
    without = replace(data, validation=data.validation.take([]))
    plain, vae = (context(trained[0][name], without) for name in ("plain", "vae"))
    for ctx, params in ((plain, {"codes": "points, at no cost"}), (vae, {})):
        scoring = ctx.kind.scoring
        tally = scoring.tally(ctx.outcomes.output, ctx.outcomes.targets)
        assert scoring.headline_measure(Table(()), CODE_LENGTH, tally).params == params
    result = finding_of(Robustness("fgsm(eps=[0.1], loss=ce)", audit=4), plain)
    assert not [m for m in result.measures if m.metric == "latent_shift"]


def test_code_length_states_that_it_is_no_bound(trained, data):
    for name in ("vae", "plain"):
        ctx = context(trained[0][name], data)
        assert "bounds no likelihood" in measures_of(ctx.outcomes, "code_length")[0].reason
