"""The evaluation on planted attributions: the true one beats the random control, uninformative ones do not."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from suite.attributions.maps.base import RandomAttribution
from suite.attributions.maps.explained import Explained
from suite.attributions.maps.faithfulness import CONTROL, INSERTION, Settings, evaluate
from suite.attributions.maps.gradcam import GradCam
from suite.attributions.maps.measures import FEWEST, RARE_LOSS, beats, too_few
from suite.attributions.maps.methods import IntegratedGradients, Saliency, SmoothGrad
from suite.attributions.maps.occlusion import Occlusion
from suite.errors import MeasureError, ModelError
from tests.attributions.measured import measures_of

torch.set_num_threads(1)
SIDE = 8
SAMPLES = 60
AREAS = {"deletion_auc", "insertion_auc"}
GENERATOR = torch.Generator().manual_seed(0)
INPUTS = torch.rand(SAMPLES, 1, SIDE, SIDE, generator=GENERATOR).double()
WEIGHTS = torch.randn(SAMPLES, 1, SIDE, SIDE, generator=GENERATOR).double()


def additive(x, rows):
    return (x * WEIGHTS[rows]).sum((1, 2, 3))


def probability(x, rows):
    return additive(x, rows).sigmoid()


@dataclass(frozen=True)
class Planted:
    """The exact contribution of each pixel relative to the mean of the image."""

    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained):
        return WEIGHTS[: len(explained)] * (explained.inputs - explained.inputs.mean((2, 3), keepdim=True))


@dataclass(frozen=True)
class Constant:
    """A constant map."""

    magnitude: ClassVar[bool] = False
    local: ClassVar[bool] = False

    def __call__(self, explained):
        return torch.ones_like(explained.inputs)


def explain(count=SAMPLES, first_seed=2000):
    return Explained(INPUTS[:count], additive, probability, seeds=range(first_seed, first_seed + count))


def count_passes(listed):
    checks = [m.checks["beats_random"] for m in listed if m.metric in AREAS and m.params["method"] != CONTROL]
    return checks.count("pass"), len(checks)


@pytest.fixture(scope="module")
def result():
    methods = {
        "planted": Planted(),
        "gradient": IntegratedGradients(steps=2),
        "saliency": Saliency(),
        "constant": Constant(),
        "broken": RandomAttribution("broken"),
        "gradcam": GradCam(),
    }
    return evaluate(explain(), methods)


@pytest.fixture(scope="module")
def measures(result):
    listed = measures_of(result)
    return {(m.params["method"], m.metric, m.params["baseline"]): m for m in listed}


def test_random_control_loses_against_the_true_attribution(measures):
    for metric in AREAS:
        measure = measures["planted", metric, "mean"]
        assert measure.checks == {"beats_random": "pass"}
        assert measure.status == "ok"
        assert measure.reason is None
        better = measure.value - measure.control if metric == "insertion_auc" else measure.control - measure.value
        assert better > 0.1


def test_gradient_of_a_linear_model_has_zero_infidelity(measures):
    gradient = measures["saliency", "infidelity_scaled", "noise"]
    assert gradient.value < 1e-10
    assert gradient.checks == {"beats_random": "pass"}
    assert measures["saliency", "infidelity", "noise"].checks == {"beats_random": "n/a"}


@pytest.mark.parametrize("method", ["constant", "broken"])
@pytest.mark.parametrize("metric", sorted(AREAS))
@pytest.mark.parametrize("baseline", ["mean", "blur"])
def test_uninformative_map_does_not_beat_the_control(measures, method, metric, baseline):
    measure = measures[method, metric, baseline]
    assert measure.checks == {"beats_random": "fail"}
    assert measure.status == "suspect"
    assert measure.reason == "does not beat the random control"


def test_random_maps_rarely_beat_the_control():
    """The check uses one side of a 99 % interval, so about one of 200 random maps passes."""
    others = {f"chance{draw}": RandomAttribution(f"chance{draw}") for draw in range(30)}
    listed = measures_of(evaluate(explain(), others, settings=Settings(steps=8)))
    passes, comparisons = count_passes(listed)
    assert comparisons == 120
    assert passes <= 4


def test_constant_map_rarely_beats_the_control():
    listed = []
    for draw in range(30):
        result = evaluate(explain(first_seed=1000 * draw), {"constant": Constant()}, settings=Settings(steps=8))
        listed += measures_of(result)
    passes, comparisons = count_passes(listed)
    assert comparisons == 120
    assert passes <= 4


def test_control_has_no_comparison(measures):
    control = measures[CONTROL, "deletion_auc", "blur"]
    assert control.checks == {"beats_random": "n/a"}
    assert control.control == control.value


def test_only_local_methods_have_infidelity(result, measures):
    local = {"saliency", "broken", CONTROL}
    assert {method for method, metric, _ in result.values if metric.startswith("infidelity")} == local
    skipped = [measure for measure in measures.values() if measure.status == "skipped"]
    assert {measure.params["method"] for measure in skipped} == {"planted", "gradient", "constant"}
    assert {(m.metric, m.params["baseline"], m.value) for m in skipped} == {("infidelity", "noise", None)}
    assert all("total contribution to the output" in measure.reason for measure in skipped)


@pytest.mark.parametrize(
    ("method", "local"),
    [(Saliency, True), (SmoothGrad, True), (IntegratedGradients, False), (Occlusion, False), (GradCam, False)],
)
def test_gradients_are_local_and_total_contributions_are_not(method, local):
    assert method.local is local


def test_watch_is_called_around_every_method():
    called = []

    @dataclass(frozen=True)
    class Watched(Constant):
        name: str = ""

        def __call__(self, explained):
            called.append(self.name)
            return super().__call__(explained)

    progress = []

    def watch(everyone):
        assert [name for name, _ in everyone] == ["a", "b", CONTROL]
        for pair in everyone:
            yield pair
            progress.append((pair[0], list(called)))

    methods = {"a": Watched("a"), "b": Watched("b")}
    evaluate(explain(3), methods, settings=Settings(steps=4), watch=watch)
    assert progress == [("a", ["a"]), ("b", ["a", "b"]), (CONTROL, ["a", "b"])]


def test_measures_have_units_directions_and_params(measures):
    for (_, metric, _), measure in measures.items():
        if measure.status == "skipped":
            continue
        assert measure.n == SAMPLES
        assert measure.lo <= measure.value <= measure.hi
        assert measure.higher_is_better == (metric == "insertion_auc")
        assert measure.unit == ("fraction" if metric in AREAS else "squared scalar")


def test_results_are_plain_arrays(result):
    methods = {"planted", "gradient", "saliency", "constant", "broken", CONTROL}
    assert set(result.maps) == methods == {method for method, _, _ in result.values}
    assert all(maps.shape == (8, SIDE, SIDE) and maps.dtype == np.float32 for maps in result.maps.values())
    assert all(values.shape == (SAMPLES,) and values.dtype == np.float64 for values in result.values.values())
    assert all(curve.shape == (17,) for curve in result.curves.values())
    assert {key[1:] for key in result.curves} == {(d, b) for d in ("deletion", "insertion") for b in ("mean", "blur")}


def test_methods_that_do_not_apply_are_skipped_with_a_reason(result):
    assert set(result.skipped) == {"gradcam"}
    assert "without a convolution" in result.skipped["gradcam"]


def test_deletion_and_insertion_share_their_end_points(result):
    for baseline in ("mean", "blur"):
        deletion, insertion = (result.curves["planted", way, baseline] for way in ("deletion", "insertion"))
        assert deletion[0] == pytest.approx(insertion[-1], abs=1e-12)
        assert deletion[-1] == pytest.approx(insertion[0], abs=1e-12)


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_values_do_not_depend_on_batch_size_or_other_samples(batch_size):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(3 * SIDE * SIDE, 4)
        model = nn.Sequential(*layers).double()

    def logit(x, rows):
        return model(x).gather(1, rows[:, None] % 4)[:, 0]

    def score(x, rows):
        return model(x).softmax(1).gather(1, rows[:, None] % 4)[:, 0]

    def run(count, size):
        methods = {
            "saliency": Saliency(),
            "ig": IntegratedGradients(steps=4),
            "smoothgrad": SmoothGrad(samples=3),
            "occlusion": Occlusion(stride=2),
            "gradcam": GradCam(),
        }
        explained = Explained(INPUTS[:count], logit, score, range(count), layer=model[0], batch_size=size)
        return evaluate(explained, methods, settings=Settings(steps=4))

    whole, parts = run(9, 256), run(4, batch_size)
    for key, values in parts.values.items():
        np.testing.assert_allclose(values, whole.values[key][:4], atol=1e-12, rtol=1e-10, err_msg=str(key))


def test_fewer_samples_than_could_be_significant_have_no_comparison():
    assert (RARE_LOSS / (1 + RARE_LOSS)) ** FEWEST <= 0.005  # n equal gains are significant, on one side of 99 %
    whole = evaluate(explain(FEWEST), {"planted": Planted()})
    few = [m for m in measures_of(whole, range(FEWEST - 1)) if m.status != "skipped"]
    assert {m.checks["beats_random"] for m in few} == {"n/a"}
    assert {m.status for m in few} == {"ok"}
    reasons = {m.params["method"]: m.reason for m in few if m.metric in AREAS}
    assert reasons == {"planted": "too few samples (n = 23; at least 24 are needed)", CONTROL: None}
    enough = [m for m in measures_of(whole) if m.metric in AREAS and m.params["method"] == "planted"]
    assert all(m.checks["beats_random"] != "n/a" and "too few" not in (m.reason or "") for m in enough)


def test_the_check_asks_for_more_than_gains_of_all_samples():
    even, none = np.full(40, 0.5), np.zeros(40)
    rare = np.where(np.arange(40) % 20 == 0, -9.5, 0.5)  # the mean of the gains is 0
    metric = replace(INSERTION, bounds=(None, None))
    assert beats(even, none, metric, 0) == "pass"
    assert beats(none, even, replace(metric, higher_is_better=False), 0) == "pass"
    assert beats(none, even, metric, 0) == beats(rare, none, metric, 0) == beats(none, none, metric, 0) == "fail"
    assert beats(even, none, metric, 0, np.arange(40) // 4) == "n/a", "10 groups are too few"
    assert too_few(40, np.arange(40) // 4) == "too few groups of samples (n = 10; at least 24 are needed)"
    assert beats(np.full(50, 0.5), np.zeros(50), metric, 0, np.arange(50) // 2) == "pass"


def test_the_loss_that_could_occur_is_within_the_bounds_of_the_metric():
    gains = np.full(24, 0.3)
    gains[0] = 0.9  # twice this is more than an AUC can lose
    assert beats(gains, 0 * gains, INSERTION, 0) == "pass"
    assert beats(gains, 0 * gains, replace(INSERTION, bounds=(-5, 5)), 0) == "fail"


def counted(count, methods, settings, batch_size=256):
    """Return the inputs of each call of the score during an evaluation, and the evaluation."""
    calls = []

    def score(x, rows):
        calls.append(x.clone())
        return probability(x, rows)

    explained = Explained(INPUTS[:count], additive, score, seeds=range(count), batch_size=batch_size)
    return calls, evaluate(explained, methods, settings=settings)


def test_every_image_is_scored_once_in_full_batches():
    copies = {"planted": Planted(), "again": Planted(), "saliency": Saliency()}
    calls, result = counted(5, copies, Settings(steps=8), batch_size=16)
    images = torch.cat(calls).flatten(1)
    assert len(images.unique(dim=0)) == len(images)
    assert [len(call) for call in calls[:-1]] == [16] * (len(calls) - 1)
    # planted, saliency and random have 7 inner points on 4 curves; clean and the two baselines are shared.
    assert len(images) == 5 * (3 * 4 * 7 + 3)
    for (method, *rest), values in result.values.items():
        if method == "again":
            np.testing.assert_array_equal(values, result.values["planted", *rest])


@pytest.mark.parametrize(("side", "steps"), [(8, 16), (28, 16), (64, 16), (224, 10)])
def test_curves_of_large_images_follow_a_budget(side, steps):
    image = torch.rand(1, 1, side, side)
    explained = Explained(image, lambda x, r: x.sum((1, 2, 3)), lambda x, r: x.mean((1, 2, 3)), [0])
    result = evaluate(explained, {"occlusion": Occlusion()})
    assert result.curves[CONTROL, "deletion", "mean"].shape == (steps + 1,)
    assert f" {steps} steps, {4 * (steps - 1)} forwards per image and method, budget " in result.costs["curves"]
    assert result.costs["occlusion"] == Occlusion().cost(side, side)
    chosen = evaluate(explained, {}, settings=Settings(steps=16))
    assert chosen.curves[CONTROL, "deletion", "mean"].shape == (17,)


def test_a_single_sample_has_no_interval():
    listed = measures_of(evaluate(explain(1), {"planted": Planted()}))
    assert all(m.lo is None and m.value is not None for m in listed if m.status != "skipped")


def test_image_of_few_cells_gets_fewer_steps():
    tiny = Explained(
        INPUTS[:, :, :2, :3], lambda x, r: x.sum((1, 2, 3)), lambda x, r: x.mean((1, 2, 3)), range(SAMPLES)
    )
    assert evaluate(tiny, {}).curves[CONTROL, "deletion", "mean"].shape == (7,)


def test_name_of_the_control_is_reserved():
    with pytest.raises(MeasureError, match="'random'"):
        evaluate(explain(3), {CONTROL: Planted()})
    assert evaluate(explain(3), {CONTROL: RandomAttribution()}).values


def test_non_finite_scores_are_refused():
    broken = Explained(INPUTS[:3], additive, lambda x, rows: probability(x, rows) / 0 - np.inf, range(3))
    with pytest.raises(ModelError, match=r"score function: .* not finite"):
        evaluate(broken, {})


@pytest.mark.parametrize("fields", [{"baselines": ("white",)}, {"baselines": ()}, {"steps": 0}, {"gallery": -1}])
def test_invalid_settings_are_refused(fields):
    with pytest.raises(MeasureError, match="expected"):
        Settings(**fields)


def test_measures_of_some_samples_equal_plain_numbers(result):
    rows = np.arange(0, SAMPLES, 3)
    for measure in measures_of(result, rows):
        if measure.status == "skipped":
            continue
        key = measure.metric, measure.params["baseline"]
        own, control = (result.values[name, *key][rows] for name in (measure.params["method"], CONTROL))
        assert (measure.n, measure.value, measure.control) == (20, own.mean(), control.mean())
