"""The corruption axis: its measures, the resampling unit of its intervals, and invariance to batches and order."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.axes.base import AxisResult, measure
from suite.axes.corruption import CORRUPTED_GALLERY, Corruption, mean_corrupted
from suite.corruptions.catalogue import COMMON, corrupt
from suite.data import Split
from suite.errors import SpecError, UnknownNameError
from suite.kinds.classification.kind import ACCURACY
from suite.metrics.table import Column
from suite.models.base import TorchClassifier
from suite.registry import resolve
from suite.runner.harness import plan
from suite.types import TEXT
from tests.attacks.digits import splits
from tests.axes.contexts import Finding, finding_of, split_context

FEW = Corruption(names=("gaussian_noise", "contrast", "motion_blur"), severities=(1, 3, 5))


@pytest.fixture(scope="module")
def context():
    return split_context(splits()[1].take(range(120)))


@pytest.fixture(scope="module")
def result(context):
    return finding_of(FEW, context)


def cells(result):
    measures = [m for m in result.measures if m.metric == "corrupted_accuracy"]
    return {(m.params["corruption"], m.params["severity"]): m for m in measures}


def only(result, metric):
    (measure,) = [m for m in result.measures if m.metric == metric]
    return measure


def test_every_corruption_and_severity_is_a_row_with_its_interval(context, result):
    assert cells(result).keys() == {(name, severity) for name in FEW.names for severity in FEW.severities}
    for (name, severity), row in cells(result).items():
        assert (row.n, row.method, row.status) == (120, "clopper-pearson", "ok")
        assert row.lo < row.value < row.hi
        assert row.value == np.mean(result.column("quality", corruption=name, severity=severity))
    assert list(result.column("id")) == list(context.test.ids)


def test_an_outcome_is_the_prediction_on_the_corrupted_image(context, result):
    seeds = context.sample_seeds("corruption gaussian_noise 5", range(120))
    with context.model.frozen(), torch.no_grad():
        predictions = context.model(corrupt(context.pixels, "gaussian_noise", 5, seeds)).argmax(dim=1)
    noisy = result.column("quality", corruption="gaussian_noise", severity=5)
    assert (noisy == (predictions == context.targets).numpy()).all()
    assert 0.1 < noisy.mean() < result.column("quality").mean() - 0.05


def test_summaries_are_plain_means(result):
    values = [row.value for row in cells(result).values()]
    clean = np.mean(result.column("quality"))
    error, retention = only(result, "mean_corruption_error"), only(result, "corruption_retention")
    assert error.value == pytest.approx(1 - np.mean(values))
    assert retention.value == pytest.approx(np.mean(values) / clean)
    assert (error.higher_is_better, retention.higher_is_better) == (False, True)
    for row in (error, retention):
        assert row.lo < row.value < row.hi
        assert row.method.startswith("bootstrap")
        assert row.params["conditions"] == 9


def outcomes(context, clean, corrupted):
    """Return the measures of planted outcomes: clean (n,), and of several corruptions (k, n)."""
    conditions = [{"corruption": f"c{place}", "severity": 1} for place in range(len(corrupted))]
    columns = [Column("quality", values, params) for values, params in zip(corrupted, conditions, strict=True)]
    result = AxisResult([Column("quality", clean), *columns], context.facts)
    return Finding(FEW, context.kind, result).measures


def test_intervals_resample_images_not_outcomes(context):
    """Nine copies of one outcome per image do not narrow the interval; nine independent outcomes do."""
    random = np.random.default_rng(0)
    clean = np.ones(300, dtype=bool)
    single = random.random(300) < 0.6
    widths = [
        row.hi - row.lo
        for right in (single[None], np.repeat(single[None], 9, axis=0), random.random((9, 300)) < 0.6)
        for row in outcomes(context, clean, right)[:1]
    ]
    assert widths[1] == pytest.approx(widths[0])
    assert widths[2] < widths[0] / 2


def test_retention_is_undefined_if_no_clean_sample_is_correct(context):
    error, retention, *_ = outcomes(context, np.zeros(5, dtype=bool), np.zeros((2, 5), dtype=bool))
    assert error.value == 1
    assert retention.value is None and "no clean sample correctly" in retention.reason


def test_curves_begin_with_the_clean_image(result):
    clean = np.mean(result.column("quality"))
    for name, points in result.details["corruptions"].items():
        assert [point["severity"] for point in points] == [0, 1, 3, 5]
        assert points[0]["value"] == clean
        assert [point["value"] for point in points[1:]] == [cells(result)[name, one].value for one in (1, 3, 5)]


def test_measures_of_some_samples_are_those_of_a_run_on_these_samples(result):
    rows = list(range(0, 120, 3))
    part = finding_of(FEW, split_context(splits()[1].take(rows)))
    assert result.summarised(rows=rows) == part.measures


def test_a_higher_level_widens_the_intervals(result):
    for row, wide in zip(result.measures, result.summarised(level=0.99), strict=True):
        assert (wide.value, wide.level) == (row.value, 0.99)
        assert wide.lo < row.lo < row.hi < wide.hi


def test_metrics_are_declared_with_the_skipped_one_first(context, result):
    declared = FEW.entries(context.kind)
    assert declared[0].name == "mean_corruption_error"
    assert {row.metric for row in result.measures} <= {metric.name for metric in declared}
    assert [column.title for metric in declared for column in metric.columns] == [
        "corruption retained",
        "corruption growth",
    ]
    assert mean_corrupted(ACCURACY).name == "mean_corrupted_accuracy"


def assert_equal(result, other, rows=slice(None)):
    """Assert that two results have the same columns, in the order `rows` of the first."""
    pairs = zip(result.result.columns, other.result.columns, strict=True)
    assert all((a.name, a.params) == (b.name, b.params) and np.array_equal(a.values[rows], b.values) for a, b in pairs)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
def test_results_do_not_depend_on_the_batch_size(result, batch_size):
    other = finding_of(FEW, split_context(splits()[1].take(range(120)), batch_size=batch_size))
    assert_equal(result, other)
    for name, values in result.arrays.items():
        same = np.allclose if values.dtype.kind == "f" else np.array_equal
        assert same(values, other.arrays[name]), name
    assert other.measures == result.measures


def test_results_do_not_depend_on_the_order_of_samples(result):
    order = np.random.default_rng(1).permutation(120)
    assert_equal(result, finding_of(FEW, split_context(splits()[1].take(order))), order)


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
        assert right == result.column("quality", corruption="motion_blur", severity=3)[row]


def test_displays_say_what_they_show(result):
    shown = result.result.arrays
    assert (shown["image_contrast"].type, shown["label"].type) == ("image", "class")
    assert (shown["image_clean"].role, shown["prediction_clean"].role) == ("input", "prediction")
    changed = shown["image_contrast"], shown["prediction_contrast"]
    assert [one.role for one in changed] == ["changed", "changed_prediction"]
    assert all(one.params == {"corruption": "contrast", "severity": 3} for one in changed)
    assert not shown["severity"].per_sample


def test_color_images_of_another_size_work():
    random = np.random.default_rng(0)
    inputs = random.random((6, 3, 33, 40)).astype(np.float32)
    test = Split(tuple(f"s{n}" for n in range(6)), inputs, np.arange(6) % 2)
    model = TorchClassifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 33 * 40, 2)))
    result = finding_of(Corruption(severities=(2,)), split_context(test, model))
    assert {name for name, _ in cells(result)} == set(COMMON)


def test_samples_that_are_not_images_give_a_skipped_row():
    context = split_context(replace(splits()[1].take(range(3)), source=np.zeros((3, 5), dtype=np.float32)))
    (row,) = Finding(FEW, context.kind, measure(FEW, context)).measures
    assert (row.status, row.metric) == ("skipped", "mean_corruption_error")
    assert "(5,)" in row.reason


def test_a_model_that_reads_texts_gives_a_skipped_row(context):
    class Reader(TorchClassifier):
        input = TEXT

    read = split_context(context.test, Reader(torch.nn.Flatten()))
    (row,) = Finding(FEW, read.kind, measure(FEW, read)).measures
    assert row.reason == "a sample is a text; expected an image of one or three channels"


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
