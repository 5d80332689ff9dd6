"""A record is the same whichever order, groups and processes its cohorts are measured in."""

import multiprocessing
import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import suite.attacks.engine.base
import suite.axes.attribution
import suite.data.cohorts
from suite import Harness, plan
from suite.axes.clean import Clean, measured_outputs
from suite.axes.outputs import Outputs
from suite.axes.robustness.axis import Robustness
from suite.axes.rounds import Counts, Round, in_order, joined, run_cohort
from suite.data.cohorts import cohort_size, cohorts
from suite.errors import PluginError
from suite.metrics.table import Column, Part
from suite.models.base import TorchClassifier
from suite.runner.settings import Settings
from suite.store import Store
from tests.attacks.digits import trained
from tests.axes.contexts import context_of, finding_of
from tests.golden.matrix import HERE, summary

COHORT, SMALLER = 4, {"boxes": 2, "masks": 2}
"""Samples of a cohort, and fewer on tasks with expensive networks; each cell below has five cohorts."""

FILE = HERE / "small.py"
IMAGES = (
    "clean",
    "robustness(attack=pgd(eps=[0.1], steps=3, restarts=1), audit=20)",
    "corruption(names=[gaussian_noise], severities=[3])",
    "occlusion(fractions=[0.2], places=1)",
    "calibration(members=2, dropout_samples=2)",
    "attribution(methods=[saliency, occlusion], samples=20, steps=4)",
)
SMALL_MAPS = "attribution(methods=[saliency], samples=20, steps=2)"
CELLS = {
    ("images", "cnn"): (
        *IMAGES,
        "robustness(attack=cascade(eps=[0.05, 0.15], tier=quick), audit=20)",
        "robustness(attack=patch(area=[0.15], steps=5, restarts=1), audit=20, seeds=2)",
        "robustness(attack=transfer(eps=[0.1], steps=3, rounds=1, samples=64), audit=20)",
        "robustness(attack=spec('torchattacks:PGD(eps=[0.1], steps=2)'), audit=20)",
    ),
    ("boxes", "centernet"): (
        "clean",
        "robustness(attack=pgd(eps=[8/255], steps=2, restarts=1, loss=vanish), audit=4)",
        *IMAGES[2:4],
        "calibration",
    ),
    ("masks", "unet"): (
        "clean",
        "robustness(attack=fgsm(eps=[8/255]), audit=20)",
        *IMAGES[2:4],
        "calibration(members=1)",
        SMALL_MAPS,
    ),
    ("texts", "bag"): (
        "clean",
        "robustness(attack=typos(edits=[1]), audit=20)",
        "robustness(attack=trigger(edits=[1], restarts=1, rounds=1), audit=20, seeds=2)",
        "robustness(attack=fgsm(eps=[0.5]), space=embedding, audit=20)",
        "calibration(members=1, dropout_samples=2)",
        "rationale(samples=20)",
    ),
    ("characters", "char_gru"): (
        "clean",
        "robustness(attack=hotflip(edits=[1], unit=character), audit=20)",
        "calibration(members=1)",
        "rationale(samples=20, explainers=[gradient_x_input])",
    ),
    ("codes", "vae"): (
        "clean",
        "robustness(attack=fgsm(eps=[0.1]), audit=20)",
        *IMAGES[2:4],
        "calibration(members=1)",
        SMALL_MAPS,
    ),
    ("samples", "gan"): (
        "clean",
        "robustness(attack=fgsm(eps=[0.2]), audit=20)",
        "calibration(members=1)",
        "rationale(samples=20, explainers=[gradient_x_input])",
    ),
}
"""Axes by task and model."""


@pytest.fixture(autouse=True)
def small_cohorts(request, monkeypatch):
    """Make cohorts so small that every cell has several."""
    task = request.node.callspec.params.get("task", "") if hasattr(request.node, "callspec") else ""
    monkeypatch.setattr(suite.data.cohorts, "LARGEST", SMALLER.get(task, COHORT))
    monkeypatch.setattr(suite.axes.attribution, "FEWEST", SMALLER.get(task, COHORT))
    monkeypatch.setattr(suite.axes.attribution, "MOST", SMALLER.get(task, COHORT))


def fresh(context):
    """Return the context as another worker would have it: without anything that was computed before."""
    outputs = Outputs(context.model, context._whole.outputs.split, context.kind, context.device, context.seed)
    return replace(context, shared={}, outputs=outputs)


def in_groups(count, context, round_, cohorts, state):
    """Measure cohorts in groups and in a random order, each group with a context of its own."""
    order = np.random.default_rng(count).permutation(len(cohorts))
    for group in range(count):
        worker = fresh(context)
        for number in order[group::count]:
            yield int(number), run_cohort(worker, round_, cohorts[number], state)


class Groups:
    """An executor of several groups that counts the cohorts of each round."""

    def __init__(self, count):
        self.count, self.most = count, 0

    def __call__(self, context, round_, cohorts, state):
        self.most = max(self.most, len(cohorts))
        yield from in_groups(self.count, context, round_, cohorts, state)


def _work(context, message, connection):
    round_, chosen, state = pickle.loads(message)  # our own message
    try:
        parts = [(number, run_cohort(context, round_, rows, state)) for number, rows in chosen]
        connection.send_bytes(pickle.dumps(parts))
    except BaseException as error:
        connection.send_bytes(pickle.dumps(error))
        raise


def two_processes(context, round_, cohorts, state):
    """Measure every other cohort in another process, which gets the round and its state as bytes."""
    numbered = list(enumerate(cohorts))
    receiving, sending = multiprocessing.Pipe(duplex=False)
    message = pickle.dumps((round_, numbered[1::2], state))
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(fresh(context), message, sending))
    worker.start()
    yield from in_order(context, round_, cohorts[:1], state)
    yield from ((number, run_cohort(context, round_, rows, state)) for number, rows in numbered[2::2])
    result = pickle.loads(receiving.recv_bytes())  # our own message
    worker.join()
    if isinstance(result, BaseException):
        raise result
    yield from result


def records(root, task, model, executor):
    """Measure the axes of a task, and return the summaries of their records by axis."""
    store = Store(root)
    cells = plan([f"{FILE}:{task}"], [f"{FILE}:{model}"], CELLS[task, model], n=5 * SMALLER.get(task, COHORT))
    outcome = Harness(store, Settings(executor=executor, batch_size=SMALLER.get(task, COHORT))).run(cells)
    assert not outcome.failed, outcome.failed
    rows = store.rows().drop_duplicates("record")
    return {row.spec: summary(store, row.record) for row in rows.itertuples()}


@pytest.mark.slow
@pytest.mark.parametrize(("task", "model"), CELLS)
def test_records_do_not_depend_on_order_groups_and_processes_of_cohorts(task, model, tmp_path):
    torch.set_num_threads(1)
    whole = records(tmp_path / "whole", task, model, in_order)
    for name, executor in {"1": Groups(1), "3": Groups(3), "7": Groups(7), "two processes": two_processes}.items():
        root = tmp_path / name
        root.mkdir()
        for part in ("models", "nodes"):  # trained once
            if (tmp_path / "whole" / part).is_dir():
                shutil.copytree(tmp_path / "whole" / part, root / part)
        others = records(root, task, model, executor)
        assert others.keys() == whole.keys()
        for spec, expected in whole.items():
            assert others[spec] == expected, (name, spec)
        if isinstance(executor, Groups):
            assert executor.most >= 5


def test_a_surrogate_trains_once_for_all_cells_of_a_model(tmp_path):
    axes = [f"robustness(attack=pgd(eps=[{eps}], steps=2, restarts=1), audit=20)" for eps in (0.02, 0.03)]
    store = Store(tmp_path)
    Harness(store).run(plan([f"{FILE}:images"], [f"{FILE}:cnn"], axes))
    assert len(list((tmp_path / "nodes").iterdir())) == 1


def test_cohorts_are_equal_in_size_and_multiples_of_the_width():
    ids = [f"s{number}" for number in range(1100)]
    groups = cohorts(ids, np.arange(1100), 1024, 64)
    assert [len(rows) for rows in groups] == [576, 524]
    assert sorted(np.concatenate(groups).tolist()) == list(range(1100))
    assert all((np.diff(rows) > 0).all() for rows in groups)


def test_a_cohort_depends_on_ids_alone():
    ids = [f"s{number}" for number in range(50)]
    shuffled = np.random.default_rng(0).permutation(50)
    first = [{ids[row] for row in rows} for rows in cohorts(ids, np.arange(50), 16)]
    second = [
        {ids[shuffled[row]] for row in rows} for rows in cohorts([ids[row] for row in shuffled], np.arange(50), 16)
    ]
    assert first == second


def test_the_size_of_a_cohort_follows_from_the_memory_of_its_inputs(monkeypatch):
    monkeypatch.undo()
    assert cohort_size((1, 28, 28)) == 1024
    assert cohort_size((3, 224, 224)) == 128
    assert cohort_size((3, 4096, 4096)) == 1


def test_columns_come_back_in_the_order_of_the_rows():
    rows, groups = np.array([5, 1, 4, 0]), [np.array([0, 4]), np.array([1, 5])]
    parts = [(1, Part([Column("x", np.array([10, 50]))])), (0, Part([Column("x", np.array([0, 40]))]))]
    assert joined(rows, groups, parts).columns[0].values.tolist() == [50, 10, 40, 0]


def test_sums_are_added_in_the_order_of_the_cohorts():
    groups = [np.array([0]), np.array([1]), np.array([2])]
    values = [1e16, 1.0, -1e16]
    parts = [(number, Part(sums={"total": values[number], "n": Counts(a=1)})) for number in (2, 0, 1)]
    result = joined(np.arange(3), groups, parts)
    assert result.sums["total"] == values[0] + values[1] + values[2] != values[2] + values[0] + values[1]
    assert result.sums["n"].to_json() == {"a": 3}


def test_a_fact_that_differs_between_cohorts_is_refused_by_name():
    parts = [(0, Part(facts={"mean": 1})), (1, Part(facts={"mean": 2}))]
    with pytest.raises(PluginError, match="'mean' differs between cohorts"):
        joined(np.arange(2), [np.array([0]), np.array([1])], parts)


def test_columns_of_other_populations_are_padded_where_samples_differ_in_size():
    first = Part([Column("map", np.ones((1, 2)), {}, "gallery")])
    second = Part([Column("map", np.full((1, 3), 2.0), {}, "gallery")])
    result = joined(np.arange(2), [np.array([0]), np.array([1])], [(0, first), (1, second)])
    assert result.columns[0].values.tolist() == [[1, 1, 0], [2, 2, 2]]


def test_a_round_survives_pickling():
    assert pickle.loads(pickle.dumps(Round("outputs", measured_outputs, 4))) == Round("outputs", measured_outputs, 4)


class Picky(torch.nn.Module):
    """A classifier of digits that raises an exception for one image."""

    def __init__(self, image):
        super().__init__()
        self.net, self.image = trained().module, image

    def forward(self, pixels):
        if (pixels == self.image).flatten(1).all(dim=1).any():
            raise RuntimeError("this image is too dark")
        return self.net(pixels)


@pytest.mark.parametrize("attack", ["pgd(eps=[0.1], steps=3, restarts=1)", "cascade(eps=[0.1], tier=quick)"])
def test_a_sample_without_output_counts_as_wrong_with_its_reason(attack):
    plain = context_of(count=40)
    right = int(np.flatnonzero(finding_of(Clean(), plain).column("correct"))[0])
    picky = context_of(TorchClassifier(Picky(plain.pixels[right])), count=40)
    before, after = finding_of(Clean(), plain), finding_of(Clean(), picky)
    correct = before.column("correct").copy()
    correct[right] = False
    assert np.array_equal(after.column("correct"), correct)
    (accuracy,) = (one for one in after.measures if one.metric == "accuracy")
    assert (accuracy.value, accuracy.n, accuracy.n_failed) == (correct.mean(), 40, 1)
    assert "1 of 40 samples have no output and count as wrong" in accuracy.reason
    assert "this image is too dark" in accuracy.reason and plain.test.ids[right] in accuracy.reason
    robust = finding_of(Robustness(attack, audit=8), picky)
    assert not robust.quality(0.1)[right] and robust.measures[0].n_failed == 1


def test_a_model_that_always_raises_fails():
    class Broken(torch.nn.Module):
        def forward(self, pixels):
            raise RuntimeError("never")

    with pytest.raises(RuntimeError, match="never"):
        finding_of(Clean(), context_of(TorchClassifier(Broken()), count=20))
