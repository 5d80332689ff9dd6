"""Metrics that are registered wrongly are refused before anything runs, or fail their cell with a clear reason."""

import pytest

from suite import Harness, Metric, Store, metric, plan
from suite.errors import PluginError
from suite.registry import REGISTRY

OWN = Metric("own", "own", "a metric of this test")


@pytest.fixture
def fresh(monkeypatch, toy):
    """Let a test register metrics that are forgotten afterwards."""
    REGISTRY.get("model", toy("quick"))  # what is loaded once has to stay
    for role in ("kind", "axis", "metric"):
        REGISTRY.names(role)
    monkeypatch.setattr(REGISTRY, "_entries", dict(REGISTRY._entries))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"entries": []}, "expected a list of suite.Metric"),
        ({"entries": OWN}, "expected a list of suite.Metric"),
        ({"entries": ["own"]}, "expected a list of suite.Metric"),
        ({"entries": [OWN], "per_method": True}, "only the axis calibration has methods"),
    ],
)
def test_wrong_arguments_of_the_decorator_are_refused(options, message):
    with pytest.raises(PluginError, match=message):
        metric(kind="classification", **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "clasification"}, "the kind 'clasification', which does not exist. Did you mean 'classification'"),
        ({"axis": "cleen"}, "the axis 'cleen', which does not exist. Did you mean 'clean'"),
        ({"entries": [Metric("accuracy", "mine", "another accuracy")]}, "declare the name 'accuracy'; rename one"),
    ],
)
def test_a_metric_that_could_not_be_shown_is_refused_before_anything_runs(fresh, toy, options, message):
    metric(**{"kind": "classification", "entries": [OWN], "name": "own", **options})(lambda table: [])
    with pytest.raises(PluginError, match=message):
        plan([toy("toy")], [toy("quick")], ["clean"])


AXES = (
    "clean",
    "corruption(names=[fog], severities=[1])",
    "occlusion(fractions=[0.2], places=1)",
    "robustness(attack=fgsm(eps=[0.1]), audit=4)",
    "calibration(members=1)",
    "attribution(methods=[saliency], samples=6, steps=4)",
)


def test_a_metric_of_any_axis_is_asked(fresh, toy, tmp_path):
    for axis in (spec.partition("(")[0] for spec in AXES):
        own = Metric(f"own_{axis}", axis, "the number of samples", unit="samples", bounds=(0, 100))

        def count(table, own=own):
            return [table.mean(own, [float(len(table))] * 2)]

        metric(kind="classification", axis=axis, entries=[own], name=f"own_{axis}")(count)
    store = Store(tmp_path)
    assert not Harness(store).run(plan([toy("toy")], [toy("quick")], AXES, n=8)).failed
    rows = store.rows()
    for axis in (spec.partition("(")[0] for spec in AXES):
        own = rows[rows["metric"] == f"own_{axis}"]
        assert set(own["axis"]) == {axis}
        assert set(own["value"]) == {6.0 if axis == "attribution" else 8.0}


def test_a_metric_of_another_kind_changes_no_key(fresh, toy, tmp_path):
    cells = plan([toy("toy")], [toy("quick")], ["clean"], n=8)
    Harness(Store(tmp_path)).run(cells)
    metric(kind="detection", entries=[OWN], name="own")(lambda table: [])
    assert len(Harness(Store(tmp_path)).run(cells).stored) == 1
    metric(kind="classification", entries=[OWN], name="own")(lambda table: [table.rate(OWN, [True])])
    assert len(Harness(Store(tmp_path)).run(cells).ran) == 1


@pytest.mark.parametrize(
    ("measure", "summary", "message"),
    [
        (None, lambda table: table.rate(OWN, [True]), "returned Measure; expected a list of Measure"),
        (lambda outcomes: None, lambda table: [], "measured nothing; return arrays by name"),
        (None, lambda table: [table.rate(Metric("other", "", ""), [True])], "The metric 'other' is not declared"),
        (lambda outcomes: {"x": [1.0]}, lambda table: [table.mean(OWN, table["x"])], "'x'"),
    ],
)
def test_a_metric_that_misbehaves_fails_its_cell_with_the_reason(fresh, toy, tmp_path, measure, summary, message):
    metric(kind="classification", entries=[OWN], name="own", measure=measure)(summary)
    outcome = Harness(Store(tmp_path)).run(plan([toy("toy")], [toy("quick")], ["clean"], n=8))
    assert message in outcome.failed[0][1]
