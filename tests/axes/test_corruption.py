"""The corruption axis: its measures, the resampling unit of its intervals, and invariance to batches and order."""

import dataclasses

import numpy as np
import pytest
import torch

from suite.axes.corruption import CORRUPTED_GALLERY, Corruption, summary
from suite.corruptions.catalogue import COMMON, corrupt
from suite.data import Split
from suite.errors import SpecError, UnknownNameError
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.registry import resolve
from suite.runner.harness import plan
from tests.attacks.digits import splits
from tests.axes.contexts import split_context

FEW = Corruption(names=("gaussian_noise", "contrast", "motion_blur"), severities=(1, 3, 5))


@pytest.fixture(scope="module")
def context():
    return split_context(splits()[1].take(range(120)))


@pytest.fixture(scope="module")
def result(context):
    return FEW.measure(context)


def cells(result):
    measures = [m for m in result.measures if m.metric == "corrupted_accuracy"]
    return {(m.params["corruption"], m.params["severity"]): m for m in measures}


def only(result, metric):
    (measure,) = [m for m in result.measures if m.metric == metric]
    return measure


def test_every_corruption_and_severity_is_a_row_with_its_interval(context, result):
    assert cells(result).keys() == {(name, severity) for name in FEW.names for severity in FEW.severities}
    for (name, severity), row in cells(result).items():
        assert (row.n, row.method, row.status) == (120, "wilson", "ok")
        assert row.lo < row.value < row.hi
        assert row.value == np.mean(result.samples[f"correct@{name}/{severity}"])
    assert list(result.samples["id"]) == list(context.test.ids)


def test_an_outcome_is_the_prediction_on_the_corrupted_image(context, result):
    seeds = context.sample_seeds("corruption gaussian_noise 5", range(120))
    with context.model.frozen(), torch.no_grad():
        predictions = context.model(corrupt(context.pixels, "gaussian_noise", 5, seeds)).argmax(dim=1)
    assert (result.samples["correct@gaussian_noise/5"] == (predictions == context.targets).numpy()).all()
    assert 0.1 < result.samples["correct@gaussian_noise/5"].mean() < result.samples["correct_clean"].mean() - 0.05


def test_summaries_are_plain_means(result):
    values = [row.value for row in cells(result).values()]
    clean = np.mean(result.samples["correct_clean"])
    error, retention = only(result, "mean_corruption_error"), only(result, "corruption_retention")
    assert error.value == pytest.approx(1 - np.mean(values))
    assert retention.value == pytest.approx(np.mean(values) / clean)
    assert (error.higher_is_better, retention.higher_is_better) == (False, True)
    for row in (error, retention):
        assert row.lo < row.value < row.hi
        assert row.method.startswith("bootstrap")
        assert row.params["conditions"] == 9


def test_intervals_resample_images_not_outcomes():
    """Nine copies of one outcome per image do not narrow the interval; nine independent outcomes do."""
    random = np.random.default_rng(0)
    clean = np.ones(300, dtype=bool)
    single = random.random(300) < 0.6
    widths = [
        row.hi - row.lo
        for right in (single[None], np.repeat(single[None], 9, axis=0), random.random((9, 300)) < 0.6)
        for row in summary(Classification(), clean, list(right), 1)[:1]
    ]
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] < widths[0] / 2


def test_retention_is_undefined_if_no_clean_sample_is_correct():
    error, retention = summary(Classification(), np.zeros(5, dtype=bool), list(np.zeros((2, 5), dtype=bool)), 0)
    assert error.value == 1
    assert retention.value is None and "no clean sample correctly" in retention.reason


def test_curves_begin_with_the_clean_image(result):
    clean = np.mean(result.samples["correct_clean"])
    assert result.details["clean"] == clean
    for name, points in result.details["corruptions"].items():
        assert [point["severity"] for point in points] == [0, 1, 3, 5]
        assert points[0]["accuracy"] == clean
        assert points[2]["accuracy"] == cells(result)[name, 3].value
        assert all(point["lo"] <= point["accuracy"] <= point["hi"] for point in points)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_results_do_not_depend_on_the_batch_size(result, batch_size):
    other = FEW.measure(split_context(splits()[1].take(range(120)), batch_size=batch_size))
    for name, values in result.samples.items():
        assert np.array_equal(values, other.samples[name])
    for name, values in result.arrays.items():
        same = np.allclose if values.dtype.kind == "f" else np.array_equal
        assert same(values, other.arrays[name]), name
    assert other.measures == result.measures


def test_results_do_not_depend_on_the_order_of_samples(result):
    order = np.random.default_rng(1).permutation(120)
    shuffled = FEW.measure(split_context(splits()[1].take(order)))
    for name, values in result.samples.items():
        assert np.array_equal(np.asarray(values)[order], shuffled.samples[name])


def test_the_gallery_shows_a_few_images_under_every_corruption(context, result):
    arrays = result.arrays
    assert int(arrays["severity"]) == 3
    assert list(arrays["ids"]) == [context.test.ids[row] for row in context.gallery[:CORRUPTED_GALLERY]]
    for name in ("clean", *FEW.names):
        assert arrays[f"image_{name}"].shape == (CORRUPTED_GALLERY, 1, 8, 8)
        assert arrays[f"image_{name}"].dtype == np.uint8
        assert arrays[f"prediction_{name}"].shape == arrays[f"confidence_{name}"].shape == (CORRUPTED_GALLERY,)
    for place, row in enumerate(context.gallery[:CORRUPTED_GALLERY]):
        right = arrays["prediction_motion_blur"][place] == arrays["label"][place]
        assert right == result.samples["correct@motion_blur/3"][row]


def test_color_images_of_another_size_work():
    random = np.random.default_rng(0)
    inputs = random.random((6, 3, 33, 40)).astype(np.float32)
    test = Split(tuple(f"s{n}" for n in range(6)), inputs, np.arange(6) % 2)
    model = TorchClassifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 33 * 40, 2)))
    result = Corruption(severities=(2,)).measure(split_context(test, model))
    assert {name for name, _ in cells(result)} == set(COMMON)


def test_samples_that_are_not_images_give_a_skipped_row():
    inputs = np.zeros((3, 5), dtype=np.float32)
    test = dataclasses.replace(splits()[1].take(range(3)), inputs=inputs)
    (row,) = FEW.measure(split_context(test)).measures
    assert row.status == "skipped" and "(5,)" in row.reason


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"names": ("fogg",)}, UnknownNameError, "Did you mean 'fog'"),
        ({"names": ()}, SpecError, "distinct"),
        ({"names": ("fog", "fog")}, SpecError, "distinct"),
        ({"severities": (6,)}, SpecError, "from 1"),
        ({"severities": (0, 1)}, SpecError, "ascending"),
        ({"severities": (2, 1)}, SpecError, "ascending"),
    ],
)
def test_invalid_options_are_rejected(options, error, message):
    with pytest.raises(error, match=message):
        Corruption(**options)


def test_the_axis_can_be_built_from_its_spec():
    entry, spec = resolve("axis", "corruption(names=fog, severities=[2, 4])")
    assert entry.build(spec) == Corruption(names=("fog",), severities=(2, 4))
    assert Corruption() == Corruption(names=tuple(COMMON), severities=(1, 2, 3, 4, 5))


def test_a_plain_run_of_the_robustness_axis_covers_corruption_and_occlusion():
    axes = [cell.axis.partition("(")[0] for cell in plan(["digits"], ["linear"], ["robustness"])]
    assert {"robustness", "corruption", "occlusion"} == set(axes)
