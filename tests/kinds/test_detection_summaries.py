"""Measures of detection follow from stored columns: of any rows, at any level, without the model."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.kinds.base import Outcomes, Prediction
from suite.kinds.detection import metrics
from suite.kinds.detection.calibration import detection_calibration, scored_detections
from suite.kinds.detection.kind import Detection
from suite.kinds.detection.targets import class_count
from suite.metrics import detection as boxes
from suite.metrics.stats import mean_defined
from suite.metrics.table import Column, Table, collected
from suite.models.adapters.detector import TorchDetector
from tests.kinds.planted import PlantedDetector, table
from tests.metrics.detection.scenes import detections, scene, truths

KIND = Detection(0.4)
CLEAN = (
    metrics.mean_average_precision,
    metrics.average_recall,
    metrics.localisation_recall_precision,
    metrics.states_of_objects,
)
ROWS = np.array([1, 2, 4, 5, 7, 8, 10])


def output_and_truth(images=12):
    detections, truth, classes = scene(3, images=images, classes=3)
    return table(detections), truth.copy(), tuple("abc"[:classes])


def clean_table(output, truth, classes, rows=slice(None)):
    """Return the table of the clean axis for some images."""
    ids = tuple(map(str, np.arange(len(output))[rows]))
    whole = collected([KIND.measured(Outcomes(ids, output[rows], truth[rows], classes, 0, KIND))])
    columns, facts = whole.columns, whole.all_facts
    return Table(tuple(columns), facts)


def method_table(output, truth, method="score", rows=slice(None)):
    """Return the table of one uncertainty method for some images, as the axis calibration narrows it."""
    prediction = Prediction(method, KIND.probabilities(output[rows]), output[rows], truth[rows])
    whole = collected([scored_detections(prediction)], uncertainty=method)
    columns, facts = whole.columns, whole.all_facts
    return Table((Column("boxes", truth[rows]), *columns), facts).at(uncertainty=method)


def attacked_table(output, truth, rows=slice(None)):
    return Table((Column("tally", KIND.tally(output, truth)[rows]),), {"threshold": KIND.threshold})


def computed(summary, stored):
    return [measure for one in summary for measure in one(stored)]


def by_name(measures):
    """Return the values by metric and class, NaN where they are undefined."""
    named = ((one, (one.metric, one.params.get("class"))) for one in measures)
    return {name: np.nan if one.value is None else one.value for one, name in named}


def test_clean_measures_of_some_rows_equal_those_of_their_outputs():
    output, truth, classes = output_and_truth()
    stored = clean_table(output, truth, classes)
    assert computed(CLEAN, stored.take(ROWS)) == computed(CLEAN, clean_table(output, truth, classes, ROWS))
    mask = np.isin(np.arange(len(output)), ROWS)
    assert computed(CLEAN, stored.take(mask)) == computed(CLEAN, stored.take(ROWS))

    given = output[ROWS], truth[ROWS]
    matches = boxes.match(*given, len(classes))
    ap = boxes.average_precision(matches)[0]
    values = by_name(computed(CLEAN, stored.take(ROWS)))
    expected = {("map", None): ap, ("map50", None): ap[:, [0]], ("map75", None): ap[:, [5]]}
    expected |= {("class_map", name): ap[[place]] for place, name in enumerate(classes)}
    expected = {key: float(boxes.mean_ap(part)) for key, part in expected.items()}
    expected |= {
        (f"ar{limit}", None): boxes.mean_ap(boxes.average_recall(matches, (limit,)))[0, 0] for limit in (1, 10)
    }
    expected["ar100", None] = boxes.mean_ap(boxes.average_recall(matches))[2, 0]
    expected["olrp", None] = mean_defined(boxes.optimal_lrp(boxes.match(*given, len(classes), (0.5,))))[0]
    expected |= {
        (metric.name, None): value
        for metric, value in zip(boxes.RATES, boxes.rates(boxes.states(*given, KIND.threshold))[0], strict=True)
    }
    assert values == pytest.approx(expected, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize("method", ["score", "score+temperature"])
def test_calibration_of_some_rows_equals_that_of_their_outputs(method):
    output, truth, _ = output_and_truth()
    few = detection_calibration(method_table(output, truth, method).take(ROWS))
    assert few == detection_calibration(method_table(output, truth, method, ROWS))

    least = 0.0 if method.endswith("temperature") else boxes.LEAST_SCORE
    given, classes = (output[ROWS], truth[ROWS]), class_count(output[ROWS], truth[ROWS])
    hits, overlaps = (boxes.events(*given, classes, tau, least=least) for tau in (0.5, 0.0))
    expected = {
        ("d_ece", None): boxes.d_ece(hits)[0],
        ("laece", None): boxes.laece(overlaps)[0],
        ("laace", None): boxes.laace(overlaps)[0],
        ("oce", None): boxes.oce(boxes.objects(*given, classes, least=least))[0],
    }
    assert by_name(few) == pytest.approx(expected, abs=1e-12)
    assert all(one.params["uncertainty"] == method and one.params["detections"] == len(hits.image) for one in few)


def test_measures_under_attack_of_some_rows_equal_those_of_their_outputs():
    output, truth, _ = output_and_truth()
    few = metrics.detection_under_attack(attacked_table(output, truth).take(ROWS))
    assert few == metrics.detection_under_attack(attacked_table(output, truth, ROWS))
    given = output[ROWS], truth[ROWS]
    rates = boxes.rates(boxes.states(*given, KIND.threshold))[0, 1:]
    ap50 = boxes.mean_ap(boxes.average_precision(boxes.match(*given, class_count(*given), (0.5,))))[0]
    assert [measure.value for measure in few] == pytest.approx([ap50, *rates], abs=1e-12)


def test_the_level_widens_the_interval_and_keeps_the_value():
    output, truth, classes = output_and_truth()
    cases = [
        *((one, clean_table(output, truth, classes)) for one in CLEAN),
        (detection_calibration, method_table(output, truth)),
        (metrics.detection_under_attack, attacked_table(output, truth)),
    ]
    for summary, stored in cases:
        pairs = zip(summary(replace(stored, level=0.5)), summary(replace(stored, level=0.99)), strict=True)
        widths = []
        for narrow, wide in pairs:
            assert narrow.value == wide.value
            if narrow.value is not None:
                assert (narrow.level, wide.level) == (0.5, 0.99) and wide.lo <= narrow.lo <= narrow.hi <= wide.hi
                widths.append((narrow.hi - narrow.lo, wide.hi - wide.lo))
        assert widths and any(narrow < wide for narrow, wide in widths)


def test_columns_are_small_and_facts_are_json():
    output, truth, classes = output_and_truth()
    clean, scored = clean_table(output, truth, classes), method_table(output, truth)
    for stored in (clean, scored):
        assert sum(column.values[0].nbytes for column in stored.columns) < 16_000
        assert json.loads(json.dumps(stored.facts)) == stored.facts
    assert clean["detections"].dtype == np.float32 and np.array_equal(clean["boxes"], truth)
    assert clean.facts["threshold"] == 0.4


def test_rates_under_attack_have_a_column_only_where_an_attack_aims_at_them():
    shown = {metric.name: metric.columns for metric in metrics.ATTACKED_RATES}
    assert {name: columns[0].title for name, columns in shown.items()} == {
        "mislabel_rate": "{attack} {size} mislabel",
        "disappearance_rate": "{attack} {size} disappearance",
        "false_positives_per_image": "{attack} {size} false positives per image",
    }
    assert {name: columns[0].where["loss"] for name, columns in shown.items()} == {
        "mislabel_rate": "mislabel",
        "disappearance_rate": "vanish",
        "false_positives_per_image": "fabricate",
    }
    assert metrics.ATTACKED_MAP50.columns == () and boxes.MAP50.columns


def test_the_facets_are_fitted_and_aimed_together():
    output, truth, _ = output_and_truth()
    kind = Detection().kind().fit_to_model(lambda: (output, truth))
    threshold = boxes.best_threshold(output, truth)
    assert kind.scoring.measured(Outcomes((), output, truth, ("a",), 0)).facts["threshold"] == threshold != 0.5
    aimed = kind.for_attack_loss("vanish")
    pair = torch.from_numpy(output), torch.from_numpy(truth)
    expected = Detection(threshold, "vanish").damage(*pair)
    assert torch.equal(aimed.attacks.damage(*pair), expected)
    assert not torch.equal(kind.attacks.damage(*pair), expected)


def test_outputs_of_a_detector_are_compared_on_the_scale_of_scores():
    rows = torch.tensor([[[12.0, 6.0, 24.0, 18.0, 0.5, 1.0]]])
    scaled = TorchDetector(PlantedDetector()).normalized_output(rows, torch.zeros(1, 3, 12, 24))
    assert scaled.tolist() == [[[0.5, 0.5, 1.0, 1.5, 0.5, 1.0]]]


def test_perfect_boxes_have_an_interval_and_a_class_in_one_image_has_none():
    rows = [(image, 0, 0, 10, 10, 0) for image in range(30)]
    rows += [(image, 50, 0, 60, 10, 1) for image in range(3)] + [(0, 80, 0, 90, 10, 2)]
    found = table(detections(*((*row[:5], 0.9, row[5]) for row in rows)))
    stored = clean_table(found, truths(*((*row, 0) for row in rows)), ("a", "b", "c"))
    *means, common, rare, once = metrics.mean_average_precision(stored)
    assert {one.value for one in (*means, common, rare, once)} == {1.0}
    assert 0.8 < common.lo < 0.95 and rare.lo < 0.5 and common.status == rare.status == "ok"
    assert once.status == "inconclusive" and "images with c (n = 1" in once.reason and once.lo is None
    others = computed(CLEAN[1:], stored)
    assert all(one.lo < one.hi for one in others if one.lo is not None)
    assert [one.metric for one in others if one.lo is None] == ["false_positives_per_image"]
