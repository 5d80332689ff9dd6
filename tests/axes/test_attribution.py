"""The attribution axis: method selection, method names, and progress."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import suite.axes.attribution
from suite.attributions.maps.faithfulness import AREAS, Faithfulness
from suite.axes.attribution import Attribution, _curves
from suite.axes.base import measure as measure_axis
from suite.errors import SpecError
from suite.kinds.base import NotApplicable
from suite.models.base import TorchClassifier
from suite.registry import REGISTRY, Entry, resolve
from suite.runner.settings import silent
from suite.spec import parse
from tests.attacks.digits import splits
from tests.axes.contexts import Finding, finding_of, split_context

FEW, MANY = "smoothgrad(samples=2)", "smoothgrad(samples=8)"


class Pooling(nn.Module):
    """A convolution with a spatial output, followed by global pooling and a 1x1 convolution without one."""

    def __init__(self):
        super().__init__()
        self.map, self.gate = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 10, 1)

    def forward(self, pixels):
        return self.gate(self.map(pixels).tanh().mean((2, 3), keepdim=True)).flatten(1)


def context_of(track=silent):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TorchClassifier(Pooling())
    context = split_context(splits()[1].take(range(20)), model)
    return replace(context, track=track, names=("digits", "pooling", "attribution"))


def measure(methods, track=silent, samples=12):
    return finding_of(Attribution(methods=methods, samples=samples, steps=4), context_of(track))


def methods_of(result):
    return {measure.params["method"] for measure in result.measures}


def values_of(result, method):
    matching = [m for m in result.measures if m.params["method"] == method and m.metric == "insertion_auc"]
    return {m.params["baseline"]: m.value for m in matching}


def test_two_specs_of_one_method_are_labeled_by_their_specs():
    both = measure((parse(FEW), parse(MANY), "saliency"))
    assert methods_of(both) == {FEW, MANY, "saliency", "random"}
    assert values_of(both, FEW) != values_of(both, MANY)
    alone = measure((parse(MANY),))
    assert methods_of(alone) == {"smoothgrad", "random"}
    assert values_of(alone, "smoothgrad") == values_of(both, MANY)
    assert {f"map_{FEW}", f"map_{MANY}", "map_saliency"} <= both.arrays.keys()


@pytest.mark.parametrize("method", ["saliency", parse("saliency"), parse(FEW)], ids=str)
def test_a_single_method_is_a_list_of_one(method):
    assert methods_of(measure(method)) == {parse(method).name, "random"}


@pytest.mark.parametrize("methods", ["random", ("saliency", "random"), (parse("random"), parse("random(stream=x)"))])
def test_the_name_of_the_control_is_reserved(monkeypatch, methods):
    entry = Entry("attribution", "random", lambda stream="": None, "test")
    monkeypatch.setitem(REGISTRY._entries, ("", "attribution", "random"), entry)
    with pytest.raises(SpecError, match=r"reserved for the random control.*Remove it"):
        measure(methods)


def test_progress_advances_by_one_per_cohort(monkeypatch):
    monkeypatch.setattr(suite.axes.attribution, "FEWEST", 5)
    monkeypatch.setattr(suite.axes.attribution, "MOST", 5)
    sizes = []

    def track(items, label, total):
        assert (label, total) == ("attribution", 3)
        for rows in items:
            yield rows
            sizes.append(len(rows))

    measure(("saliency", "occlusion"), track)
    assert sizes == [4, 4, 4]


def test_a_cohort_without_a_context_adds_nothing_to_the_curves_of_the_context():
    key, area = ("saliency", "context_deletion", "mean"), ("saliency", AREAS["context_deletion"].name, "mean")
    nothing = Faithfulness({area: np.full(2, np.nan)}, {key: np.full(3, np.nan)}, {}, {}, {})
    some = Faithfulness({area: np.array([0.5, np.nan])}, {key: np.array([1.0, 0.5, 0.0])}, {}, {}, {})
    assert _curves(nothing) == {}
    (curve,) = _curves(some).values()
    assert (curve.count, curve.to_json()) == (1, [1.0, 0.5, 0.0])


def test_gradcam_uses_a_layer_with_a_spatial_output():
    result = measure("gradcam")
    assert result.details["skipped"] == {}
    assert np.ptp(result.arrays["map_gradcam"]) > 0


def test_a_method_that_returns_total_contributions_has_no_infidelity():
    result = measure(("saliency", "integrated_gradients"))
    infidelity = {m.params["method"]: m for m in result.measures if m.metric == "infidelity"}
    assert infidelity["saliency"].status == "ok"
    assert infidelity["integrated_gradients"].status == "skipped"
    assert {"method": "integrated_gradients", "baseline": "noise"} not in result.table.conditions("infidelity")


def test_measures_of_some_samples_are_those_of_a_run_on_these_samples():
    result, part = measure(("saliency", "occlusion")), measure(("saliency", "occlusion"), samples=7)
    assert list(part.column("id")) == list(result.column("id")[:7])
    for summary, direct in zip(result.summarised(rows=range(7)), part.measures, strict=True):
        assert (summary.metric, summary.params, summary.n) == (direct.metric, direct.params, direct.n)
        assert (summary.checks, summary.status) == (direct.checks, direct.status)
        numbers = [[getattr(one, name) for name in ("value", "lo", "hi", "control")] for one in (summary, direct)]
        np.testing.assert_allclose(*np.array(numbers, float), rtol=1e-3)  # gradients round differently in batches


def test_a_higher_level_widens_the_intervals_and_leaves_the_checks():
    result = measure("saliency")
    for row, wide in zip(result.measures, result.summarised(level=0.99), strict=True):
        assert (row.value, row.checks) == (wide.value, wide.checks)
        assert wide.lo <= row.lo < row.hi <= wide.hi


def test_the_control_of_a_row_has_a_column_of_the_same_name():
    result = measure(("saliency", "occlusion"))
    for row in result.measures:
        if row.value is not None:
            method, baseline = row.params["method"], row.params["baseline"]
            assert row.value == result.column(row.metric, method=method, baseline=baseline).mean()
            assert row.control == result.column(row.metric, method="random", baseline=baseline).mean()


def test_a_kind_without_maps_gives_the_reason():
    context = context_of()
    context = replace(context, kind=replace(context.kind, maps=NotApplicable("a text has no pixels")))
    (row,) = Finding(Attribution(), context.kind, measure_axis(Attribution(), context)).measures
    assert (row.metric, row.status, row.reason) == ("insertion_auc", "skipped", "a text has no pixels")


def test_a_method_that_does_not_apply_is_a_skipped_row():
    context = replace(context_of(), model=TorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
    finding = finding_of(Attribution(methods="gradcam", samples=3, steps=4), context)
    assert finding.facts["methods"] == ["random"]
    row = finding.measures[-1]
    assert (row.metric, row.params, row.status) == ("insertion_auc", {"method": "gradcam"}, "skipped")
    assert "without a convolution" in row.reason


def test_methods_of_maps_and_of_features_are_told_apart():
    with pytest.raises(SpecError, match="'gradient_x_input' is a feature attribution, not an attribution"):
        measure("gradient_x_input")
    with pytest.raises(SpecError, match="'saliency' is an attribution, not a feature attribution"):
        resolve("feature_attribution", "saliency")
    assert resolve("attribution", "occlusion")[0].factory is not resolve("feature_attribution", "occlusion")[0].factory
