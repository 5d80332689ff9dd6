"""The axes on detection and segmentation: attacks, controls and checks on models with known exact results."""

import functools
import io
import itertools
import json

import numpy as np
import pytest
import torch
from rich.console import Console

from suite.attacks.constraints.patch import covered
from suite.attacks.engine.problem import Problem
from suite.attacks.engine.validation import validate_and_score
from suite.attacks.images.image_patch import ImagePatch
from suite.axes.attribution import Attribution
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.corruption import Corruption
from suite.axes.occlusion import Occlusion
from suite.axes.robustness.axis import Robustness
from suite.errors import ModelError, SpecError, SuiteError
from suite.kinds.detection import losses
from suite.leaderboard import board
from suite.leaderboard.text import board_table, footnotes
from suite.metrics.detection import states
from suite.metrics.table import Table
from suite.models.adapters.detector import TorchDetector
from suite.registry import resolve
from suite.runner.harness import Harness, plan
from suite.runner.settings import Settings
from suite.store import Store
from tests.axes.contexts import finding_of, fitted_sweep, robust, with_width
from tests.kinds.planted import KINDS, LIMIT, SLOPE, PlantedDetector, context_of, model_of
from tests.stores import measures

EPS = "eps=[0.02, 0.05, 0.1]"
PIXELS = {
    "fgsm": f"fgsm({EPS})",
    "pgd": f"pgd({EPS}, steps=5, restarts=1)",
    "worst_case": f"worst_case({EPS}, steps=3, losses=[ce, mask_ce])",
}
PATCHES = {
    "patch": "patch(area=[0.1, 0.2], steps=10, restarts=1)",
    "image_patch": "image_patch(area=[0.1, 0.2], position=random, tries=1, steps=5)",
}
ATTACKS = [
    (kind, name)
    for kind in KINDS
    for name in (*PIXELS, *PATCHES)
    if (kind, name) != ("detection", "worst_case")  # its losses exist for segmentation only
]


@functools.cache
def attacked(kind, name, way="regular"):
    spec = {**PIXELS, **PATCHES}.get(name, name)
    return finding_of(Robustness(spec, audit=16), context_of(kind, model_of(kind, way)).fit_to_model())


def values(result, metric, **params):
    return [m for m in result.measures if m.metric == metric and all(m.params.get(k) == v for k, v in params.items())]


@pytest.mark.parametrize("kind", KINDS)
def test_the_planted_model_is_always_correct(kind):
    result = finding_of(Clean(), context_of(kind).fit_to_model())
    for measure in result.measures:
        lower = measure.higher_is_better is False
        assert measure.value == (0 if lower else 1) or measure.metric == "ar1", measure
    output = context_of(kind).outcomes.output
    assert output.dtype == np.float32 and np.isfinite(output).all()


@pytest.mark.parametrize(("kind", "name"), ATTACKS)
def test_an_attack_lowers_the_headline_much_more_than_its_random_control(kind, name):
    result = attacked(kind, name)
    headline = robust(result)
    assert headline[-1].value < (0.2 if name in PIXELS else 0.7) and headline[-1].control > 0.9
    assert headline[-1].value < headline[-1].control - 0.25
    curve = result.details["curve"]
    assert curve[0]["value"] == curve[0]["random"] == 1
    assert [point["value"] for point in curve[1:]] == [measure.value for measure in headline]
    assert all(point["value_lo"] <= point["value"] <= point["value_hi"] for point in curve)
    assert [point["value"] for point in curve] == sorted((p["value"] for p in curve), reverse=True)


@pytest.mark.parametrize(("kind", "name"), ATTACKS)
def test_a_correct_attack_on_a_correct_model_is_valid(kind, name):
    for measure in robust(attacked(kind, name)):
        assert measure.status == "ok", measure.reason
        assert measure.checks["random_does_less"] == "pass"
        assert measure.checks["deterministic"] == measure.checks["alone_equals_batch"] == "pass"


@pytest.mark.parametrize(("kind", "name"), ATTACKS)
def test_a_model_with_masked_gradients_is_suspect(kind, name):
    result = attacked(kind, name, "blind")
    assert robust(result)[-1].value > 0.9  # the attack is no evidence of robustness
    assert {measure.status for measure in robust(result)} == {"suspect"}
    assert all(measure.reason for measure in robust(result))


@pytest.mark.parametrize(("kind", "name"), ATTACKS)
def test_quality_never_increases_with_the_size(kind, name):
    context = context_of(kind).fit_to_model()
    entry, spec = resolve("attack", {**PIXELS, **PATCHES}[name])
    sweep = fitted_sweep(entry.build(spec), context)
    quality = [sweep.clean, *sweep.quality.values()]
    for before, after in itertools.pairwise(quality):
        assert (after <= before).all()
    assert quality[-1].mean() < quality[0].mean() - 0.2
    for control in sweep.control.values():
        parts = [sweep.clean, *control.values()]
        assert all((after <= before).all() for before, after in itertools.pairwise(parts))
    assert all(((q >= 0) & (q <= 1)).all() for q in quality)


def test_the_worst_case_is_at_least_as_strong_as_each_of_its_losses():
    result = attacked("segmentation", "worst_case")
    alone = [
        robust(attacked("segmentation", f"pgd({EPS}, steps=3, restarts=1, loss={loss})")) for loss in ("ce", "mask_ce")
    ]
    for worst, *others in zip(robust(result), *alone, strict=True):
        assert worst.value <= min(other.value for other in others) + 0.02
    assert result.details["found_by"] and set(result.details["found_by"]) <= {"ce", "mask_ce"}


def rates(result, size):
    return {
        metric: values(result, metric, eps=size)[0]
        for metric in ("map50", "mislabel_rate", "disappearance_rate", "false_positives_per_image")
    }


def test_vanishing_removes_all_objects_with_little_effect_on_average_precision():
    result = attacked("detection", "pgd(eps=[0.075], steps=5, restarts=1, loss=vanish)")
    rates_at_size = rates(result, 0.075)
    assert rates_at_size["disappearance_rate"].value == 1 and rates_at_size["disappearance_rate"].control == 0
    assert rates_at_size["false_positives_per_image"].value == rates_at_size["mislabel_rate"].value == 0
    assert robust(result)[0].value > 0.8


def test_fabrication_adds_false_positives_and_keeps_objects():
    rates_at_size = rates(attacked("detection", "pgd(eps=[0.1], steps=5, restarts=1, loss=fabricate)"), 0.1)
    assert (
        rates_at_size["false_positives_per_image"].value > 4 and rates_at_size["false_positives_per_image"].control == 0
    )
    assert rates_at_size["disappearance_rate"].value == rates_at_size["mislabel_rate"].value == 0


def states_after_ascent(name, eps, steps=8):
    """Return the object states after plain gradient-sign ascent on a loss, without early stopping."""
    context = context_of("detection").fit_to_model()
    point = context.pixels.clone()
    for _ in range(steps):
        point.requires_grad_()
        loss, _ = losses.loss_and_detections(context.model, point, context.targets, name)
        (gradient,) = torch.autograd.grad(loss.sum(), point)
        moved = point.detach() + eps / 4 * gradient.sign()
        point = torch.min(torch.max(moved, context.pixels - eps), context.pixels + eps).clamp(0, 1)
    with torch.no_grad():
        output = context.model(point).numpy()
    return states(output, context.test.targets, context.kind.scoring.threshold).sum(axis=0)


@pytest.mark.parametrize(
    ("name", "eps", "expected"), [("vanish", 0.075, (0, 0, 33, 0)), ("mislabel", 0.25, (0, 33, 0, 0))]
)
def test_the_object_states_after_ascent_on_one_objective(name, eps, expected):
    assert tuple(states_after_ascent(name, eps)) == expected


def test_ascent_on_fabrication_fills_every_empty_cell():
    detected, mislabeled, missed, hallucinated = states_after_ascent("fabricate", 0.2)
    assert (detected, mislabeled, missed, hallucinated) == (33, 0, 0, 20 * 9 - 33)


class OneSided(PlantedDetector):
    """Each class compares its own channel with blue, so an object may belong to neither class or to both."""

    def odds(self, images):
        means = torch.einsum("nkhw,chw->nck", images, self.reader.inside)
        return SLOPE * (means[..., :2] - means[..., 2:] - LIMIT)


@pytest.mark.parametrize(
    ("loss", "expected"),
    [("vanish", (0, 0, 1, 0)), ("mislabel", (0, 1, 0, 0)), ("fabricate", (1, 0, 0, 2 * (20 * 9 - 33) / 20))],
)
def test_an_objective_has_its_own_effect_only(loss, expected):
    """`expected`: shares of detected, mislabeled and missed objects, and hallucinated boxes per image."""
    attack = f"pgd(eps=[0.3], steps=10, restarts=1, loss={loss})"
    result = finding_of(Robustness(attack, audit=0), context_of("detection", TorchDetector(OneSided())).fit_to_model())
    rates_at_size = rates(result, 0.3)
    mislabeled, missed = rates_at_size["mislabel_rate"].value, rates_at_size["disappearance_rate"].value
    assert (1 - mislabeled - missed, mislabeled, missed) == expected[:3]
    # An empty cell may get both classes; a search stops once no object is correct, before all cells are filled.
    assert expected[3] / 2 <= rates_at_size["false_positives_per_image"].value <= expected[3]
    controls = [
        rates_at_size[name].control for name in ("mislabel_rate", "disappearance_rate", "false_positives_per_image")
    ]
    assert max(controls) < 0.5


def test_mislabeling_changes_the_class_of_objects():
    rates_at_size = rates(attacked("detection", "pgd(eps=[0.25], steps=8, restarts=1, loss=mislabel)"), 0.25)
    assert rates_at_size["mislabel_rate"].value > 0.5 and rates_at_size["mislabel_rate"].control < 0.1


@pytest.mark.parametrize("name", ["pgd", "patch", "pgd(eps=[0.1], steps=5, restarts=1, loss=fabricate)"])
def test_secondary_metrics_exist_at_every_size_and_agree_with_the_states(name):
    result = attacked("detection", name)
    context = context_of("detection").fit_to_model()
    for measure in values(result, "disappearance_rate"):
        assert measure.params["threshold"] == round(context.kind.scoring.threshold, 4)
        where = {k: v for k, v in measure.params.items() if k in ("eps", "area")}
        (mislabeled,) = values(result, "mislabel_rate", **where)
        assert 0 <= measure.value + mislabeled.value <= 1 and measure.control is not None
    sizes = [m.params.get("eps", m.params.get("area")) for m in values(result, "map50")]
    assert sizes == [0.0, *(m.params.get("eps", m.params.get("area")) for m in robust(result))]
    assert values(result, "map50")[0].value == values(result, "map50")[0].control == 1


AXES = {
    "pgd": Robustness("pgd(eps=[0.05, 0.1], steps=3, restarts=1)", audit=4),
    "patch": Robustness("patch(area=[0.2], steps=4, restarts=2)", audit=4),
    "image_patch": Robustness("image_patch(area=[0.2], position=search, tries=2, steps=3)", audit=4),
    "calibration": Calibration(members=2, dropout_samples=2),
    "corruption": Corruption(names=("gaussian_noise",), severities=(3,)),
    "occlusion": Occlusion(fractions=(0.1, 0.3), places=2, grid=2),
    "attribution": Attribution(methods=("saliency", "occlusion"), samples=8, steps=4),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", AXES)
def test_no_number_depends_on_the_batch_size_or_the_run(kind, name):
    models = (with_width(model_of(kind, "regular"), size) for size in (64, 7, 1))
    first, *others = (finding_of(AXES[name], context_of(kind, model, count=9).fit_to_model()) for model in models)
    for other in others:
        assert first.measures == other.measures
        assert first.details == other.details
        assert {**first.facts, "passes": {}} == {**other.facts, "passes": {}}  # passes include padding
        for one, same in zip(first.result.columns, other.result.columns, strict=True):
            assert (one.name, one.params, one.population) == (same.name, same.params, same.population)
            assert np.array_equal(one.values, same.values, equal_nan=one.values.dtype.kind == "f")
    assert any(measure.value is not None for measure in first.measures)


@pytest.mark.xfail(
    strict=False,  # depends on the vector width of the processor
    reason="vectorized sigmoids round the end of a batch differently unless its size is a multiple of 32",
)
def test_no_score_depends_on_its_position_in_the_batch():
    model = TorchDetector(PlantedDetector(single=True))
    contrast = torch.linspace(0.05, 0.3, 800 * 9).view(800, 3, 3)
    pixels = torch.full((800, 3, 24, 24), 0.5)
    pixels[:, 0] += contrast.repeat_interleave(8, 1).repeat_interleave(8, 2)
    with model.frozen(), torch.no_grad():
        original, shifted = model.candidates(pixels), model.candidates(pixels.roll(1, 0)).roll(-1, 0)
    assert torch.equal(original, shifted)


def single_object_scene():
    """Return the first scene with a single object: its row, the context, and the object's box."""
    context = context_of("detection").fit_to_model()
    row = int(np.flatnonzero((context.test.targets[..., 4] >= 0).sum(axis=1) == 1)[0])
    return row, context, context.test.targets[row, 0, :4]


@pytest.mark.parametrize(("rows", "damage"), [(6, 0.0), (4, 0.0), (3, 1.0), (0, 0.0)])
def test_an_object_mostly_under_the_patch_is_not_scored(rows, damage):
    """A gray patch covers rows of the only object: half of it makes the model miss it, more than half removes it."""
    row, context, box = single_object_scene()
    pixels, targets = context.pixels[[row]], context.targets[[row]]
    problem = Problem.of(context.kind, context.model.raw, adapter=context.model)
    x1, y1, x2, _ = map(int, box)
    changed = pixels.clone()
    changed[:, :, y1 : y1 + rows, x1:x2] = 0.9
    measured, tally = validate_and_score(problem, ImagePatch(area=(0.1,)), pixels, changed, targets, 0.1)
    assert measured.item() == damage
    assert tally[0, 100, 5] == (rows > 3) and targets[0, 0, 5] == 0
    measure = context.kind.scoring.headline_measure(Table(()), context.kind.scoring.headline, tally)
    assert measure.value is None if rows > 3 else measure.value == 1  # its score is low, but still the highest


def test_pixels_under_the_patch_are_not_scored():
    context = context_of("segmentation")
    pixels, targets = context.pixels, context.targets
    problem = Problem.of(context.kind, context.model.raw, adapter=context.model)
    changed = pixels.clone()
    changed[:, :, 8:16, 8:16] = 0.9
    damage, tally = validate_and_score(problem, ImagePatch(area=(0.2,)), pixels, changed, targets, 0.2)
    assert (damage == 0).all()  # a cell without contrast is background, and its former target is masked
    assert (tally.sum(axis=(1, 2)) == 24 * 24 - 64).all()
    whole = context.kind.scoring.tally(context.outcomes.output, context.test.targets)
    assert (whole.sum(axis=(1, 2)) == 24 * 24).all() and (whole != tally).any()


def test_norm_bounded_perturbations_mask_no_targets():
    context = context_of("segmentation")
    problem = Problem.of(context.kind, context.model.raw, adapter=context.model)
    entry, spec = resolve("attack", "pgd(eps=[0.1])")
    moved = context.pixels + 0.05
    _, tally = validate_and_score(problem, entry.build(spec), context.pixels, moved, context.targets, 0.1)
    assert (tally.sum(axis=(1, 2)) == 24 * 24).all()
    assert covered(context.pixels, moved).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PATCHES)
def test_controls_of_a_patch_mask_the_same_targets(kind, name):
    """Attack and controls cover the same position, so the same targets remain."""
    context = context_of(kind).fit_to_model()
    entry, spec = resolve(
        "attack", PATCHES[name].replace("steps=", "position=[0, 8], steps=").replace("position=random, ", "")
    )
    attack = entry.build(spec)
    with context.model.frozen():
        problem = Problem.of(context.kind, context.model.raw, adapter=context.model)
        attack = attack.fit(problem, lambda: (context.pixels, context.targets), seed=0)
        seeds = torch.arange(len(context.pixels))
        parts = [attack.perturb(problem, context.pixels, context.targets, 0.2, seeds)]
        parts += [control(context.pixels, 0.2, seeds) for control in attack.controls().values()]
        tallies = [validate_and_score(problem, attack, context.pixels, part, context.targets, 0.2)[1] for part in parts]
    assert len(parts) == 3
    for tally in tallies:
        truth = tally[:, 100:, 5] if kind == "detection" else tally.sum(axis=2)
        assert np.array_equal(truth, tallies[0][:, 100:, 5] if kind == "detection" else tallies[0].sum(axis=2))
        assert truth.sum() > 0


FILE = '''"""Planted scenes."""

from suite import Sample, model, task
from tests.axes.contexts import finding_of, fitted_sweep, robust, with_width
from tests.kinds.planted import CLASSES, LANDMARKS, boxes_of, masks_of, model_of, scenes

COUNT = {"train": 24, "validation": 30, "test": 20}


def samples(kind, split):
    place = list(COUNT).index(split)
    images, things = scenes(COUNT[split], place)
    targets = boxes_of(things) if kind == "detection" else masks_of(things)
    for number, (image, target) in enumerate(zip(images, targets, strict=True)):
        if kind == "detection":
            real = target[target[:, 4] >= 0]
            target = {"boxes": real[:, :4], "labels": [int(label) for label in real[:, 4]]}
        yield Sample(f"{split}-{number}", image, target)


@task(kind="detection", classes=CLASSES["detection"])
def boxes(split, seed):
    """Boxes of planted objects."""
    yield from samples("detection", split)


@task(kind="segmentation", classes=CLASSES["segmentation"])
def masks(split, seed):
    """Masks of planted objects."""
    yield from samples("segmentation", split)


@model(kind="detection")
def detector(*, way="regular"):
    """A planted detector."""
    return model_of("detection", way)


@model(kind="segmentation")
def segmenter(*, way="regular"):
    """A planted segmenter."""
    return model_of("segmentation", way)
'''

NAMES = {"detection": ("boxes", "detector"), "segmentation": ("masks", "segmenter")}


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("planted") / "planted.py"
    path.write_text(FILE)
    return path


def cells_of(file, kind, axes, *ways):
    task, model = NAMES[kind]
    return plan([f"{file}:{task}"], [f"{file}:{model}(way={way!r})" for way in ways], axes)


ALL_AXES = [
    "clean",
    f"robustness(attack={PIXELS['fgsm']}, audit=4)",
    f"robustness(attack={PATCHES['image_patch']}, audit=4)",
    "calibration(members=2, dropout_samples=2)",
    "corruption(names=[fog], severities=[3])",
    "occlusion(fractions=[0.2], places=1, grid=2)",
    "attribution(methods=[saliency], samples=6, steps=3)",
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("way", ["nan", "nan once"])
def test_nan_fails_the_cell_on_every_axis(tmp_path, file, kind, way):
    outcome = Harness(Store(tmp_path), Settings()).run(cells_of(file, kind, ALL_AXES, way))
    assert len(outcome.failed) == len(outcome.ran) == len(ALL_AXES)
    rows = Store(tmp_path).rows()
    assert set(rows["status"]) == {"failed"} and rows["value"].isna().all()
    assert rows["reason"].str.contains("NaN or infinite", regex=False).all(), rows["reason"].tolist()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("attack", ["fgsm(eps=[0.1])", PIXELS["pgd"]])
def test_nan_only_under_attack_fails_the_cell(tmp_path, file, kind, attack):
    axes = ["clean", f"robustness(attack={attack}, audit=4)"]
    outcome = Harness(Store(tmp_path), Settings()).run(cells_of(file, kind, axes, "nan moved"))
    assert [(cell.axis.split("(")[0], status) for cell, status, _ in outcome.ran] == [
        ("clean", "ok"),
        ("robustness", "failed"),
    ]
    ((_, reason),) = outcome.failed
    assert "AttackError" in reason and "NaN or infinite" in reason and "robust" in reason


@pytest.mark.parametrize("kind", KINDS)
def test_nan_while_fitting_a_patch_is_an_error(kind):
    """Validation covers test images only; NaN outputs while the patch is trained must be reported as well."""
    context = context_of(kind, model_of(kind, "nan moved"))
    with pytest.raises(SuiteError, match="NaN or infinite"):
        Robustness("patch(area=[0.9], steps=3, restarts=1)", audit=0).measure(context)


@pytest.mark.parametrize("kind", KINDS)
def test_the_adapter_rejects_nan(kind):
    model, pixels = model_of(kind, "nan once"), context_of(kind).pixels
    with pytest.raises(ModelError, match="for 1 of 20 images, first at row 7"):
        model(pixels)
    raw = model.raw(pixels)
    assert torch.isnan(raw[7]).any() and torch.isfinite(raw[torch.arange(20) != 7]).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_without_predictions_gets_numbers_reasons_and_a_board(tmp_path, file, kind):
    store = Store(tmp_path)
    outcome = Harness(store, Settings()).run(cells_of(file, kind, ALL_AXES, "regular", "silent"))
    assert outcome.failed == []
    rows = store.rows()
    assert rows[rows["value"].isna()]["reason"].notna().all()
    silent = rows[rows["model"].str.contains("silent")]
    explained = silent[silent["axis"] == "attribution"]
    assert explained["status"].tolist() == ["skipped"]
    assert explained["reason"].tolist() == ["the model makes no prediction that could be explained"]
    by_metric = silent.set_index("metric")
    if kind == "detection":
        calibrated = silent[silent["axis"] == "calibration"].set_index("metric")
        assert set(calibrated.loc[["laece", "laace"], "status"]) == {"inconclusive"}
        assert calibrated.loc["oce", "value"] == 1
        clean = by_metric.loc["map"]
        assert clean["value"] == clean["lo"] == 0 < clean["hi"] < 0.5
        assert by_metric.loc["corruption_retention", "status"] == "inconclusive"
    else:
        assert by_metric.loc["miou", "value"] < 0.4
    changed = silent[silent["metric"].str.startswith(("corrupted_", "occluded_"))]
    assert set(changed["status"]) <= {"ok", "inconclusive"} and changed["value"].notna().all()
    attacked = silent[silent["metric"].str.startswith("robust_")]
    assert set(attacked["status"]) <= {"ok", "suspect"} and len(attacked) == 5
    ranking = board(store, rows["task"].iloc[0])
    assert len(ranking.frame) == 2
    console = Console(width=120, file=io.StringIO(), color_system=None)
    console.print(board_table(ranking, width=120))
    for note in footnotes(ranking):
        console.print(note)
    printed = console.file.getvalue()
    assert "regular" in printed and "silent" in printed and "nan" not in printed.lower()


def test_rows_of_graded_kinds_are_reproducible_with_interval_checks_and_control(tmp_path, file):
    for kind in KINDS:
        stores = [Store(tmp_path / kind / str(size)) for size in (64, 7)]
        for store, size in zip(stores, (64, 7), strict=True):
            Harness(store, Settings(batch_size=size)).run(cells_of(file, kind, ALL_AXES[:4], "regular"))
        assert measures(stores[0]).equals(measures(stores[1]))
        rows = stores[0].rows()
        measured = rows[rows["value"].notna() & (rows["metric"] != "temperature") & (rows["status"] != "inconclusive")]
        assert measured["lo"].notna().all() and measured["hi"].notna().all() and (measured["n"] > 0).all()
        attacked = rows[rows["metric"].str.startswith("robust_")]
        assert attacked["control"].notna().all()
        assert all("random_does_less" in json.loads(checks) for checks in attacked["checks"])


def test_a_model_of_the_wrong_kind_is_an_error(tmp_path, file):
    cells = plan([f"{file}:boxes"], [f"{file}:segmenter"], ["clean"])
    ((_, reason),) = Harness(Store(tmp_path), Settings()).run(cells).failed
    assert "is of kind segmentation" in reason


GOALS = ("fgsm(eps=[0.1], goal=1)", "image_patch(area=[0.1], position=random, tries=1, steps=1, goal=1)")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "attack",
    [*GOALS, "patch(goal=1)", "pgd(goal=1)", "cascade(eps=[0.05])", "boundary(eps=[0.05])", "transfer", "square"],
)
def test_an_attack_on_single_labels_is_rejected_for_graded_kinds(kind, attack):
    with pytest.raises(SpecError, match=r"several targets"):
        Robustness(attack, audit=0).measure(context_of(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_attribution_highlights_the_pixels_the_model_uses(kind):
    result = finding_of(AXES["attribution"], context_of(kind).fit_to_model())
    by_name = {(m.metric, m.params["method"], m.params.get("baseline")): m for m in result.measures}
    assert by_name["pointing_game", "saliency", "none"].value == 1
    assert by_name["energy_inside", "saliency", "none"].value == pytest.approx(1)
    assert by_name["pointing_game", "random", "none"].value < 0.7
    assert by_name["insertion_auc", "saliency", "mean"].status == "ok"
    region = result.arrays["region"]
    assert region.shape == (8, 24, 24) and (region.sum(axis=(1, 2)) % 36 == 0).all() and region.any(axis=(1, 2)).all()
    assert np.isfinite(result.column("deletion_auc", method="saliency", baseline="mean")).all()
    end = result.details["curves"]["saliency"]["deletion/mean"][-1]
    assert end < 0.05  # with everything deleted the detection is gone: a score near zero, not a missing value


@pytest.mark.parametrize("kind", KINDS)
def test_gradcam_explains_more_images_than_one_padded_batch(kind):
    result = finding_of(Attribution(methods=("gradcam",), samples=12, steps=3), context_of(kind).fit_to_model())
    assert next(m for m in result.measures if m.metric == "pointing_game").value == 1


class SubpixelBox(torch.nn.Module):
    """Predicts a box narrower than a pixel with high confidence."""

    classes, channels = 2, 3

    def raw(self, images):
        boxes = torch.tensor([[5.1, 5.0, 5.4, 9.0]]).expand(len(images), 1, 4)
        odds = images.mean(dim=(1, 2, 3))[:, None, None].expand(-1, 1, 2) + torch.tensor([3.0, -9.0])
        return torch.cat([boxes, odds.sigmoid()], dim=2)

    def losses(self, images, targets):
        return self.raw(images)[:, 0, 4]


def test_a_detection_smaller_than_a_pixel_does_not_affect_others():
    result = finding_of(AXES["attribution"], context_of("detection", TorchDetector(SubpixelBox())))
    assert result.measures


def test_the_kind_is_fitted_on_validation_samples_first():
    context = context_of("detection")
    fitted = context.fit_to_model()
    assert context.kind.scoring.threshold == 0.5 != fitted.kind.scoring.threshold
    assert fitted.kind.scoring.threshold == pytest.approx(
        (context.validation_output[..., 4].max(1).max() + 0.05) / 2, abs=0.1
    )
    assert fitted.outcomes.kind is fitted.kind
