"""The synthesis kind: the manifold of real images, attacks on latents, the judge, and the critic."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import FGSM, PGD
from suite.axes.base import Context
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.robustness.axis import Robustness
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.errors import DataError, ModelError, NotApplicableError, SpecError, TrainingError
from suite.kinds.base import NotApplicable, Outcomes, required
from suite.kinds.synthesis import critic, judge, metrics
from suite.kinds.synthesis.kind import PREDICTS_NOTHING, Synthesis
from suite.kinds.synthesis.manifold import Manifold
from suite.kinds.synthesis.metrics import detour, jump
from suite.kinds.synthesis.pools import sample_pools
from suite.kinds.synthesis.quality import IMAGE_MEMORIZATION, KID, PRECISION, QUALITY, quality_measures
from suite.metrics.generation import compared, kernel_distance, nearest
from suite.metrics.stats import auroc
from suite.metrics.table import Column, Table, collected
from suite.models.adapters.generator import TorchGenerator
from suite.models.training.gan import GanRecipe
from suite.types import IMAGE, LATENT, Sample
from tests.axes.contexts import finding_of
from tests.kinds.summarized import measures_of, table_of

CPU = torch.device("cpu")
SHAPE = (1, 8, 8)


def bars(count, name, *, labels=True, seed=0):
    """Return vertical or horizontal bright bars on black with random position, brightness and a little noise."""
    generator = np.random.default_rng([seed, len(name)])
    images, classes = np.zeros((count, *SHAPE), np.float32), np.arange(count) % 2
    for image, level in zip(images, classes, strict=True):
        place, bright = generator.integers(1, 6), generator.uniform(0.6, 0.9)
        image[0, place : place + 2] = bright
        image += generator.uniform(0, 0.1, SHAPE).astype(np.float32)
        if level:
            image[:] = image.transpose(0, 2, 1).copy()
    targets = classes.astype(np.int64) if labels else np.zeros(count, np.int64)
    return Split(tuple(f"{name}-{place}" for place in range(count)), images, targets)


def task(*, labels=True, train=240, validation=120, test=120):
    parts = [bars(count, name, labels=labels) for count, name in ((train, "a"), (validation, "bb"), (test, "ccc"))]
    info = TaskInfo("bars", "synthesis", "1", ("level", "upright") if labels else ("all",), SHAPE)
    return TaskData(info, *parts, DataReport({}), f"bars-{labels}")


class Planted(nn.Module):
    """Generates bars from the first component of a latent; the second blends them with gray, more the larger it is."""

    latent = 4

    class Generator(nn.Module):
        def __init__(self):
            super().__init__()
            self.bar = nn.Parameter(torch.zeros(SHAPE))
            with torch.no_grad():
                self.bar[0, 3:5] = 0.75

        def forward(self, latents):
            junk = (latents[:, 1].abs() / 2).clamp(0, 1).view(-1, 1, 1, 1)
            bright = (1 + 0.05 * latents[:, 0].clamp(-2, 2)).view(-1, 1, 1, 1)
            return ((1 - junk) * bright * self.bar + 0.05 + junk * 0.5).clamp(0, 1)

    class Critic(nn.Module):
        def forward(self, images):
            return 8 * (images.flatten(1).std(dim=1) - 0.29)

    def __init__(self):
        super().__init__()
        self.generator, self.critic = self.Generator(), self.Critic()


@pytest.fixture(scope="module")
def data():
    return task()


@pytest.fixture(scope="module")
def kind(data):
    return Synthesis().fit_to_model(lambda: (None, None), data)


CRITIC_ROWS = ("critic_ece", "critic_auroc", "critic_accuracy")


def context_for(data, kind, *, recipe=None, width=64):
    model = TorchGenerator(Planted(), recipe=recipe)
    model.width = width

    def members(count):
        raise NotApplicableError("no members")

    context = Context(
        kind.kind(),
        data,
        data.test,
        model,
        members,
        lambda items, label, total: iter(items),
        CPU,
        ("bars", "planted", "x"),
    )
    return context


# the judge


def test_judge_learns_is_cached_and_is_deterministic(data):
    first = judge.judge_of(data.train)
    predicted = first.logits(torch.from_numpy(data.test.pixels())).argmax(dim=1).numpy()
    assert (predicted == data.test.targets).mean() > 0.95
    assert judge.judge_of(data.train) is first
    judge._JUDGES.clear()
    torch.manual_seed(99)
    again = judge.judge_of(data.train)
    assert again is not first
    assert (again.features_of(data.test.pixels()) == first.features_of(data.test.pixels())).all()


def test_training_features_are_standardized(data):
    features = judge.judge_of(data.train).features_of(data.train.pixels())
    assert features.mean(axis=0) == pytest.approx(np.zeros(features.shape[1]), abs=1e-3)
    spread = features.std(axis=0)
    assert ((abs(spread - 1) < 1e-3) | (spread < 1e-3)).all()


def test_features_do_not_depend_on_the_batch(data):
    extractor, pixels = judge.judge_of(data.train), torch.from_numpy(data.test.pixels())
    assert np.array_equal(
        extractor.features_of(pixels)[:9], np.concatenate([extractor.features_of(pixels[i : i + 1]) for i in range(9)])
    )


@pytest.mark.parametrize("shape", [(1, 4, 16), (4, 4, 4), (3, 8, 8), (1, 9, 8), (8, 8)])
def test_images_of_another_shape_raise(data, kind, shape):
    """Some have the same number of values, and would get meaningless features."""
    extractor, images = judge.judge_of(data.train), torch.rand(3, *shape)
    both = f"generates images of shape {shape}, but the task's are {SHAPE} (channels, height, width)"
    questions = (
        extractor.features,
        extractor.logits,
        extractor.features_of,
        lambda made: kind.damage(made, torch.zeros(3)),
    )
    for calls in questions:
        with pytest.raises(ModelError, match=re.escape(both)):
            calls(images)


class Wide(Planted):
    """Generates images with as many pixels but another shape."""

    class Generator(Planted.Generator):
        def forward(self, latents):
            return super().forward(latents).view(-1, 1, 4, 16)


def test_generator_of_another_task_fails_on_every_axis(data, kind):
    context = context_for(data, kind)
    context = replace(context, model=TorchGenerator(Wide()))
    for axis in (Clean(), Robustness(attack="fgsm(eps=[0.2])", audit=4)):
        with pytest.raises(ModelError, match=r"\(1, 4, 16\).*\(1, 8, 8\)"):
            axis.measure(context)


def test_judge_learns_quarter_turns_of_unlabeled_square_images():
    plain = task(labels=False)
    assert judge.judge_of(plain.train).learned == "quarter turns"
    wide = replace(plain.train, source=plain.train.inputs[..., :6])
    with pytest.raises(NotApplicableError, match="labels of two classes or more"):
        judge.judge_of(wide)
    with pytest.raises(NotApplicableError, match="not enough"):
        judge.judge_of(plain.train.take(range(3)))


def test_few_samples_are_deterministic_and_nested(data):
    small, large = data.train.few(20), data.train.few(90)
    assert set(small.ids) < set(large.ids)
    assert data.train.few(10_000) is data.train


# sample quality


def quality_table(data, images, seed=0):
    """Return the table of some generated images."""
    whole = collected([sample_pools(data, images)])
    columns, facts = whole.columns, whole.all_facts
    return Table(tuple(columns), facts, seed=seed)


def rows(data, images, seed=0):
    return {(m.metric, m.params.get("space")): m for m in quality_measures(quality_table(data, images, seed))}


def test_quality_follows_from_stored_features(data):
    images = torch.from_numpy(bars(120, "fresh", seed=5).inputs)
    table = quality_table(data, images, seed=4)
    assert all(column.values.dtype.kind == "f" and not column.params for column in table.columns)
    extractor = judge.judge_of(data.train)
    features = [extractor.features_of(part.pixels()) for part in (data.test.few(120), data.validation.few(120))]
    real, control, generated = *features, extractor.features_of(images)
    assert np.array_equal(table.of("generated", "features"), generated)
    result = {(row.metric, row.params.get("space")): row for row in quality_measures(table)}
    assert list(dict.fromkeys(name for name, _ in result)) == [one.name for one in QUALITY]
    assert result[KID.name, None].value == kernel_distance(real, generated, seed=4).value
    assert result[KID.name, None].control == kernel_distance(real, control, seed=4).value
    assert result[PRECISION.name, None].value == compared(real, generated).realistic.mean()
    wide = {row.metric: row for row in quality_measures(replace(table, level=0.99))}
    assert all(row.level == 0.99 for row in wide.values())
    assert wide[KID.name].hi > result[KID.name, None].hi


def test_real_images_score_like_the_control_and_noise_does_not(data):
    real = rows(data, torch.from_numpy(bars(120, "fresh", seed=5).inputs))
    noise = rows(data, torch.rand(120, *SHAPE, generator=torch.Generator().manual_seed(0)))
    assert real["kid", None].lo <= 0.05
    assert noise["kid", None].lo > max(0.1, real["kid", None].hi)
    assert noise["fid", None].value > 5 * real["fid", None].value
    for name in ("precision", "coverage"):
        assert abs(real[name, None].value - real[name, None].control) < 0.15
        assert noise[name, None].value < 0.3
    assert real["image_memorization", "pixels"].value < 0.1
    assert all(row.n == 120 and row.params["features"] == "judge of labels" for row in real.values())


def test_copies_of_training_images_count_as_memorized(data):
    result = rows(data, torch.from_numpy(data.train.pixels()[:120]))
    assert result["image_memorization", "pixels"].value == 1.0
    assert result["image_memorization", "features"].value == 1.0
    assert result["image_memorization", "pixels"].control == pytest.approx(0.01, abs=0.01)


def test_collapsed_samples_have_low_coverage_and_non_finite_ones_are_counted(data):
    one = torch.from_numpy(data.test.pixels()[:1])
    collapsed = rows(data, one.repeat(120, 1, 1, 1))
    assert collapsed["coverage", None].value < 0.5 * collapsed["coverage", None].control
    assert collapsed["recall", None].value < 0.1
    broken = torch.from_numpy(bars(120, "fresh").inputs)
    broken[:30] = float("nan")
    result = rows(data, broken)
    assert {(row.n, row.n_failed) for row in result.values()} == {(90, 30)}


def test_too_few_samples_are_undefined_with_reasons(data):
    six, few, none = (rows(data, torch.from_numpy(bars(count, "few").inputs)) for count in (6, 3, 0))
    assert six["precision", None].value is not None
    assert six["fid", None].value is None
    assert "expected at least 66" in six["fid", None].reason
    for result in (few, none):
        assert all(row.value is None and row.reason for row in result.values())


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(9, 3, 8, 8), "the task's shape"),
        (torch.zeros(9, 8, 8), "the task's shape"),
        (torch.full((9, *SHAPE), -1.0), "expected 0 to 1"),
        (torch.full((9, *SHAPE), 255.0), "expected 0 to 1"),
    ],
)
def test_images_of_another_shape_or_range_raise(data, images, message):
    with pytest.raises(ModelError, match=message):
        rows(data, images)


# the kind


def test_labels_of_samples_are_optional():
    plain = Synthesis()
    assert plain.validate_sample(Sample("a", np.zeros((4, 4), np.uint8), None), None).target == "all"
    assert plain.validate_sample(Sample("a", np.zeros((4, 4), np.uint8), 1), ("x", "y")).value.shape == (1, 4, 4)
    with pytest.raises(DataError):
        plain.validate_sample(Sample("a", np.full((4, 4), np.nan), None), None)
    assert plain.stack(["y", "x", 0], ("x", "y")).tolist() == [1, 0, 0]


def test_pixels_outside_the_range_raise():
    with pytest.raises(ModelError, match="expected 0 to 1"):
        Synthesis().check_output(torch.full((2, *SHAPE), -0.5), ("a",))


def test_real_images_are_on_the_manifold_and_gray_is_not(data, kind):
    manifold = kind.manifold(CPU)
    assert (manifold.distances(data.test.pixels()) <= 0).mean() > 0.6
    assert (manifold.distances(np.full((5, *SHAPE), 0.5, np.float32)) > 0).all()
    centres, reach = manifold.centers.double().numpy(), manifold.radii.double().numpy()
    features = manifold.judge.features_of(data.test.pixels())
    slow = [min(np.linalg.norm(f - c) - r for c, r in zip(centres, reach, strict=True)) for f in features]
    assert manifold.distances(data.test.pixels()) == pytest.approx(slow, abs=1e-4)


def test_losses_agree_with_damage_and_tally(data, kind):
    images, nothing = torch.from_numpy(data.test.pixels()).clone(), torch.zeros(120)
    images[:40] = 0.5
    margin, smooth = (kind.attack_loss(images, nothing, name=name) for name in ("margin", "ce"))
    assert torch.equal(kind.damage(images, nothing) == 1, margin > 0)
    assert (kind.tally(images.numpy(), nothing.numpy()) == (margin <= 0).numpy()).all()
    assert (smooth <= margin).all()
    assert torch.equal(smooth, kind.attack_loss(images, nothing, name="scaled_ce"))
    with pytest.raises(SpecError, match="margin"):
        kind.attack_loss(images, nothing, name="dlr")


def test_loss_has_a_gradient_at_the_latents(kind):
    latents = torch.full((2, 4), 0.3, requires_grad=True)
    kind.attack_loss(Planted().generator(latents), torch.zeros(2), name="ce").sum().backward()
    assert (latents.grad[:, 1] != 0).all()
    assert (latents.grad[:, 2:] == 0).all()


def test_headline_has_a_clopper_pearson_interval(kind):
    tally = np.array([True] * 30 + [False] * 10)
    table, robust = Table((), {"real": 216}), PRECISION.under_attack()
    row = kind.headline_measure(table, robust, tally, params={"eps": 0.1}, control=0.5)
    assert row.params["real"] == 216 and "proxy" not in kind.headline_measure(table, PRECISION, tally).params
    assert (row.value, row.n, row.method, row.params["proxy"], row.params["eps"]) == (
        0.75,
        40,
        "clopper-pearson",
        True,
        0.1,
    )
    counts = np.array([[1.0] * 40, [2.0] * 20 + [0.0] * 20])
    assert kind.statistic(tally)(counts).tolist() == [0.75, 1.0]
    assert kind.statistic(tally)(None).tolist() == [0.75]


def test_kind_without_training_images_gives_a_reason():
    unsettled = Synthesis()
    with pytest.raises(NotApplicableError, match="not fitted to training images"):
        unsettled.damage(torch.zeros(1, *SHAPE), torch.zeros(1))
    few = task(train=3)
    with pytest.raises(NotApplicableError, match="not enough"):
        unsettled.fit_to_model(lambda: (None, None), few).manifold(CPU)
    assert isinstance(Synthesis().fit_to_model(lambda: (None, None)), Synthesis)


def test_checkpoint_score_needs_validation_images_and_separates_noise(data, kind):
    score = kind.scorer(data.train, data.validation)
    real, noise = score(torch.from_numpy(data.test.pixels())), score(torch.rand(120, *SHAPE))
    assert abs(real) < 0.1 < noise
    assert np.isnan(score(torch.full((9, *SHAPE), float("nan"))))
    with pytest.raises(TrainingError, match="validation images"):
        kind.scorer(data.train, data.validation.take([0]))


# the axes


def test_clean_rows_and_gallery(data, kind):
    finding = finding_of(Clean(), context_for(data, kind))
    named = {row.metric: row for row in finding.measures}
    assert {"precision", "kid", "fid", "recall", "density", "coverage", "image_memorization"} <= named.keys()
    assert {"interpolation_jump", "interpolation_detour"} <= named.keys()
    assert [row.metric for row in finding.measures].count("precision") == 1
    assert named["precision"].control > 0.6
    assert "proxy" not in named["precision"].params
    assert named["interpolation_jump"].value >= 1
    shapes = {name: values.shape for name, values in finding.arrays.items()}
    assert shapes == {"generated": (64, *SHAPE), "interpolated": (6, 10, *SHAPE), "nearest": (12, 2, *SHAPE)}
    assert all(values.dtype == np.uint8 for values in finding.arrays.values())
    assert len(finding.table["off_manifold"]) == 120
    assert finding.facts["real"] == len(kind.manifold(CPU).centers)


def test_rows_are_deterministic_for_any_width(data, kind):
    axis = Robustness(attack="pgd(eps=[0.2, 0.5], steps=3, restarts=1)", audit=8)
    first, again = (finding_of(axis, context_for(data, kind, width=size)) for size in (64, 7))
    assert [(row.metric, row.value, row.control) for row in first.measures] == [
        (row.metric, row.value, row.control) for row in again.measures
    ]
    assert (
        finding_of(Clean(), context_for(data, kind)).measures
        == finding_of(Clean(), context_for(data, kind, width=7)).measures
    )


@pytest.mark.parametrize("attack", [FGSM(eps=(0.5,)), PGD(eps=(0.5,), steps=5, restarts=1)])
def test_latent_attack_beats_random_perturbations(data, kind, attack):
    context = context_for(data, kind)
    problem = Problem.of(context.kind, context.model.raw, adapter=context.model)
    assert problem.bounds == (-8.0, 8.0)
    attack = attack.fit(problem, lambda: None, seed=0)
    latents, targets = context.pixels, context.targets
    seeds = torch.arange(len(latents))
    clean = problem.outcome(latents, targets)
    perturbed = attack.perturb(problem, latents, targets, 0.5, seeds)
    random = attack.controls()["random"](latents, 0.5, seeds)
    assert float((perturbed - latents).abs().max()) <= 0.5 + 1e-6
    attacked, control = (problem.outcome(point, targets) for point in (perturbed, random))
    assert float(attacked.mean()) > float(control.mean()) + 0.1 > float(clean.mean())


def test_robustness_rows_are_marked_as_proxies(data, kind):
    finding = finding_of(
        Robustness(attack="pgd(eps=[0.2, 0.5], steps=5, restarts=1)", audit=16), context_for(data, kind)
    )
    robust = [row for row in finding.measures if row.metric == "robust_precision"]
    assert [row.params["eps"] for row in robust] == [0.2, 0.5]
    assert all(row.params["proxy"] is True and row.control >= row.value for row in robust)
    assert finding.arrays["clean"].shape == (12, 4)
    assert finding.arrays["adversarial_generated"].shape == (12, *SHAPE)


def test_calibration_rows_are_skipped_except_for_the_critic(data, kind):
    finding = finding_of(Calibration(members=1), context_for(data, kind, recipe=GanRecipe()))
    assert [row.metric for row in finding.measures] == ["temperature", *CRITIC_ROWS]
    assert (finding.measures[0].status, finding.measures[0].reason) == ("skipped", PREDICTS_NOTHING)
    named = finding.measures[1:]
    assert all(row.params["proxy"] is True and row.n == 240 and row.lo < row.value < row.hi for row in named)


def test_wasserstein_critic_scores_are_calibrated_first(data, kind):
    context = context_for(data, kind, recipe=GanRecipe(objective="wasserstein"))
    with context.model.frozen(), torch.no_grad():
        rows = measures_of(context.outcomes, "critic")
        few = replace(context.outcomes, data=replace(data, validation=data.validation.take([])))
        alone = measures_of(few, "critic")
    assert rows[0].params["chance"] == "logistic fit on validation images"
    assert rows[0].value < 0.5
    assert {row.status for row in alone} == {"skipped"}


class Scored:
    """A critic whose scores of real and generated images are normal, so that the log odds of each score are known."""

    device, slope, middle = CPU, 0.05, 60.0
    deviation = 20.0

    def __init__(self, *, odds):
        self.scores_are_odds = odds

    def images(self, count, seed, real):
        drawn = np.random.default_rng(seed).normal(size=(count, 1)).astype(np.float32)
        shift = self.slope * self.deviation**2 / 2
        return self.middle + self.deviation * drawn + (shift if real else -shift)

    def sample(self, count, seed):
        return torch.from_numpy(self.images(count, seed, False))

    def critic_scores(self, images):
        return images[:, 0]

    def context_for(self, validation, test=1500):
        parts = [
            Split(tuple(f"{seed}/{place}" for place in range(count)), self.images(count, seed, True), np.zeros(count))
            for seed, count in ((1, validation), (2, test))
        ]
        given = TaskData(TaskInfo("scores", "synthesis", "1", ("all",), (1,)), parts[0], *parts, DataReport({}), "x")
        return Outcomes((), None, None, ("all",), 0, model=self, data=given)


def test_platt_scaling_recovers_known_log_odds():
    model = Scored(odds=False)
    line, how = critic._log_odds(model, model.context_for(3000).data.validation)
    assert how == "logistic fit on validation images"
    scores = model.middle + model.deviation * np.linspace(-2, 2, 9)
    assert line(scores) == pytest.approx(model.slope * (scores - model.middle), abs=0.2)


def test_fitted_probabilities_of_a_critic_are_calibrated():
    fitted, raw = (measures_of(Scored(odds=odds).context_for(1500), "critic") for odds in (False, True))
    assert [row.metric for row in fitted] == list(CRITIC_ROWS)
    assert {row.params["chance"] for row in fitted} == {"logistic fit on validation images"}
    assert {row.params["chance"] for row in raw} == {"logistic function of the score"}
    assert all(row.n == 3000 and row.params["proxy"] is True for row in (*fitted, *raw))
    assert fitted[0].value < 0.05 < 0.2 < raw[0].value
    assert fitted[1].value == raw[1].value == pytest.approx(0.76, abs=0.02)  # a linear map preserves the ranking
    assert fitted[2].value == pytest.approx(0.69, abs=0.02)


def test_scores_are_fitted_and_evaluated_on_different_images(monkeypatch):
    calls = []
    inner = Scored.critic_scores
    monkeypatch.setattr(Scored, "critic_scores", lambda self, images: calls.append(images) or inner(self, images))
    measures_of(Scored(odds=False).context_for(30, test=30), "critic")
    assert len(calls) == 4  # real and generated images, for fitting and for evaluation
    predicted = [set(images[:, 0].tolist()) for images in calls]
    assert len(set.union(*predicted)) == 4 * 30


@pytest.mark.parametrize("count", [0, 19, 20])
def test_platt_scaling_needs_twenty_validation_images(count):
    fitted, raw = (measures_of(Scored(odds=odds).context_for(count, test=40), "critic") for odds in (False, True))
    assert all(row.value is not None for row in raw)
    if count == 20:
        assert all(row.value is not None for row in fitted)
        return
    assert [row.metric for row in fitted] == list(CRITIC_ROWS)
    assert {(row.value, row.status) for row in fitted} == {(None, "skipped")}
    assert all(row.reason.startswith(f"{count} validation images are too few to fit") for row in fitted)


def test_auroc_by_pairs_and_by_resamples():
    generator = np.random.default_rng(0)
    scores, real = generator.integers(0, 6, 30).astype(float), generator.random(30) < 0.5

    def slow(scores, real):
        pairs = [(a > b) + 0.5 * (a == b) for a in scores[real] for b in scores[~real]]
        return np.mean(pairs)

    assert auroc(scores, real)(None)[0] == pytest.approx(slow(scores, real))
    rows = generator.integers(0, 30, (5, 30))
    counts = np.stack([np.bincount(row, minlength=30) for row in rows])
    assert auroc(scores, real)(counts) == pytest.approx([slow(scores[row], real[row]) for row in rows])
    assert np.isnan(auroc(scores, np.ones(30, bool))(None)[0])


def test_logistic_fit_matches_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    generator = np.random.default_rng(1)
    scores = generator.normal(0, 1, 400)
    real = generator.random(400) < 1 / (1 + np.exp(-(1.7 * scores - 0.4)))
    fitted = LogisticRegression(C=1e6, tol=1e-10, max_iter=1000).fit(scores[:, None], real)
    slope, offset = critic.platt(scores, real)
    assert (slope, offset) == pytest.approx((float(fitted.coef_[0, 0]), float(fitted.intercept_[0])), abs=1e-3)
    apart = critic.platt(np.array([-1.0, -1.0, 1.0, 1.0]), np.array([False, False, True, True]))
    assert np.isfinite(apart).all()


def test_jump_and_detour_by_hand():
    straight = np.stack([np.linspace(0, 3, 4), np.zeros(4)], axis=1)[None]
    bent = np.array([[[0.0, 0.0], [3.0, 0.0], [3.0, 3.0], [3.0, 4.0]]])
    still = np.zeros((1, 4, 2))
    assert jump(straight).tolist() == [1.0]
    assert detour(straight).tolist() == [1.0]
    assert jump(bent) == pytest.approx([3 / (7 / 3)])
    assert detour(bent) == pytest.approx([7 / 5])
    assert np.isnan([*jump(still), *detour(still)]).all()


def test_rationale_explains_the_class_that_the_judge_predicts(data, kind):
    context = context_for(data, kind)
    latents = context.pixels[:6]
    with context.model.frozen():
        outputs = context.model(latents)
        rationale = kind.explained(context.model, latents, outputs)
        rows = torch.arange(6)
        whole = rationale.score(torch.ones_like(latents, dtype=torch.bool), rows)
        predicted = kind.manifold(CPU).judge.logits(outputs)
        assert whole.tolist() == pytest.approx(predicted.double().softmax(dim=1).amax(dim=1).tolist())
        none = rationale.score(torch.zeros_like(latents, dtype=torch.bool), rows)
        assert none.tolist() == pytest.approx([none.tolist()[0]] * 6)  # the whole latent is deleted
        point = rationale.point.clone().requires_grad_(True)
        rationale.target(point, rows).sum().backward()
    assert rationale.point.shape == (6, 4, 1)
    assert (point.grad[:, 2:] == 0).all()
    assert rationale.arrays["images"].values.shape == (6, *SHAPE)


def test_latents_are_explained_one_by_one_and_predict_nothing(kind):
    whole = kind.kind()
    assert (whole.input, TorchGenerator(Planted()).input) == (IMAGE, LATENT)
    assert required(whole.features) is kind and whole.probabilities == NotApplicable(PREDICTS_NOTHING)
    with pytest.raises(NotApplicableError, match="rationale"):
        required(whole.maps)


def test_subset_of_latents_has_the_precision_of_its_images(data, kind):
    outcomes, few = context_for(data, kind).outcomes, np.array([7, 3, 50, 90, 91])
    (row,) = measures_of(outcomes, "synthesis_precision", rows=few)
    part = replace(outcomes, ids=tuple(outcomes.ids[n] for n in few), output=outcomes.output[few])
    assert [row] == measures_of(part, "synthesis_precision")
    assert row.value == kind.tally(outcomes.output[few], few).mean() and row.n == 5
    table = table_of(outcomes, "synthesis_precision")
    assert row.control == (table.of(metrics.HELD_OUT, "off_manifold") <= 0).mean()


def test_manifold_drops_the_widest_balls(data):
    manifold = Manifold.of(data.train)
    assert len(manifold.centers) == pytest.approx(0.9 * 240, abs=2)


# tasks and models


@pytest.mark.slow
def test_models_are_built_for_the_task_with_different_recipes():
    from suite.registry import resolve
    from suite.runner.preparation import prepare_task

    prepared = prepare_task("mnist-samples", 0)
    assert prepared.data.report.kept == {"train": 3500, "validation": 500, "test": 1000}
    assert prepared.data.train.inputs.dtype == np.uint8
    recipes = set()
    for name in ("dcgan", "wgan_gp", "dragan", "sn_hinge"):
        entry, spec = resolve("model", name)
        model = entry.build(spec, task=prepared.data.info)
        probe = torch.from_numpy(model.inputs(prepared.data.test.take(range(3))))
        with model.frozen(), torch.no_grad():
            prepared.kind.models.check_output(model(probe), prepared.data.info.classes)
        recipes.add(str(model.recipe))
    assert len(recipes) == 4
    entry, spec = resolve("model", "sn_hinge(full=True)")
    assert entry.build(spec, task=prepared.data.info).recipe.steps > model.recipe.steps


def test_image_folder_is_a_task(tmp_path):
    from PIL import Image

    from suite.runner.preparation import prepare_task

    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        for place in range(10):
            pixels = generator.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{place}.png")
    data = prepare_task(f"imagefolder_samples(path='{tmp_path}', size=32, grey=True)", 0).data
    assert data.info.classes == ("cats", "dogs")
    assert data.info.input_shape == (1, 32, 32)
    assert len(data.train) == 10


def test_image_memorization_counts_ties_by_their_share():
    train = np.zeros((20, 64))
    train[np.arange(20), np.arange(20)] = 8
    real = np.concatenate([train[:10], np.repeat(train[:1], 90, axis=0)])
    real[np.arange(100), 30 + np.arange(100) % 30] = 1  # every distance is 1, as between black and white images
    generated = np.concatenate([real[:3], 50 + train[:1]])
    columns = [
        Column(f"nearest_{space}", nearest(images, train)[1], {}, name)
        for name, images in (("real", real), ("generated", generated))
        for space in ("pixels", "features")
    ]
    columns += [
        Column("features", images, {}, name)
        for name, images in (("real", real), ("generated", generated), ("control", real))
    ]
    table = Table(tuple(columns), {"judge": "labels", "not_finite": 0})
    memorized = [row for row in quality_measures(table) if row.metric == IMAGE_MEMORIZATION.name]
    assert [(row.value, row.control, row.params["distance"]) for row in memorized] == [(0.0075, 0.01, 1.0)] * 2
    # Of 3 generated images as near as all 100 real ones, 3 * 1.01 / 101 lie below the place 1.01 of the real ones.


def test_scores_are_odds_can_be_declared_for_a_pretrained_critic():
    recipes = {objective: GanRecipe(objective=objective) for objective in ("bce", "hinge")}
    assert TorchGenerator(Planted(), recipe=recipes["bce"]).scores_are_odds
    assert not TorchGenerator(Planted(), recipe=recipes["hinge"]).scores_are_odds
    assert not TorchGenerator(Planted()).scores_are_odds
    assert TorchGenerator(Planted(), scores_are_odds=True).scores_are_odds
