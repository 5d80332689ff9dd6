"""The attribution axis: method selection, method names, and progress."""

import numpy as np
import pytest
import torch
from torch import nn

from suite.axes.attribution import Attribution
from suite.axes.base import Context
from suite.data import DataReport, TaskData, TaskInfo
from suite.errors import SpecError
from suite.kinds.classification.kind import Classification
from suite.models.base import TorchClassifier
from suite.registry import REGISTRY, Entry
from suite.runner.settings import silent
from suite.spec import parse
from tests.attacks.digits import CLASSES, splits

FEW, MANY = "smoothgrad(samples=2)", "smoothgrad(samples=8)"


class Pooling(nn.Module):
    """A convolution with a spatial output, followed by global pooling and a 1x1 convolution without one."""

    def __init__(self):
        super().__init__()
        self.map, self.gate = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 10, 1)

    def forward(self, pixels):
        return self.gate(self.map(pixels).tanh().mean((2, 3), keepdim=True)).flatten(1)


def measure(methods, track=silent):
    train, test = splits()
    info = TaskInfo("digits", "classification", "1", CLASSES, (1, 8, 8))
    nothing = train.take(range(0))
    data = TaskData(info, nothing, nothing, test.take(range(20)), DataReport({}), "d")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = TorchClassifier(Pooling())
    context = Context(
        kind=Classification(),
        data=data,
        test=data.test,
        model=model,
        members=lambda count: [],
        track=track,
        device=torch.device("cpu"),
        names=("digits", "pooling", "attribution"),
    )
    return Attribution(methods=methods, samples=12, steps=4).measure(context)


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


def test_progress_advances_by_one_per_method():
    running, steps = [], []

    def track(items, label, total):
        items = list(items)
        assert (label, total) == ("attribution", len(items))
        for name, method in items:
            running.append(name)
            yield name, method
            steps.append(list(running))

    measure(("saliency", "occlusion"), track)
    assert steps == [["saliency"], ["saliency", "occlusion"], ["saliency", "occlusion", "random"]]


def test_gradcam_uses_a_layer_with_a_spatial_output():
    result = measure("gradcam")
    assert result.details["skipped"] == {}
    assert np.ptp(result.arrays["map_gradcam"]) > 0


def test_a_method_that_returns_total_contributions_has_no_infidelity():
    result = measure(("saliency", "integrated_gradients"))
    infidelity = {m.params["method"]: m for m in result.measures if m.metric == "infidelity"}
    assert infidelity["saliency"].status == "ok"
    assert infidelity["integrated_gradients"].status == "skipped"
    assert "infidelity@integrated_gradients/noise" not in result.samples
