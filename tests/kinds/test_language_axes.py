"""Axes on a language model: attacks on the context, calibration, rationales."""

import json
from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from suite.axes.base import Context
from suite.axes.calibration import Calibration
from suite.axes.clean import Clean
from suite.axes.rationale import RationaleAxis
from suite.axes.robustness.axis import Robustness
from suite.kinds.language.kind import Language
from suite.models.adapters.language import TorchLanguage
from suite.models.networks.language import Recurrent
from suite.models.recipe import Recipe
from suite.models.training.trainer import TrainingData, train
from tests.axes.contexts import finding_of
from tests.models.language.periodic import CLASSES, periodic


def silent(items, label, total):
    return iter(items)


@pytest.fixture(scope="module")
def context():
    """Return a model that has nearly learned a periodic text, and windows at different phases of the text."""
    torch.manual_seed(0)
    recipe = Recipe(epochs=5, batch_size=8, learning_rate=1e-2)
    module = Recurrent(len(CLASSES), width=16, hidden=24, dropout=0.1)
    model, data = TorchLanguage(module, CLASSES, length=32, recipe=recipe), periodic(few=14)
    train(model, recipe, TrainingData(data.train, data.validation, Language(), 0, silent), device=torch.device("cpu"))
    options = {"members": lambda count: [model] * count, "track": silent, "device": torch.device("cpu")}
    return Context(
        Language().kind(), data, data.test, model, names=("periodic", "gru", "axis"), **options
    ).fit_to_model()


def values(finding, metric, **params):
    measures = [m for m in finding.measures if m.metric == metric and params.items() <= dict(m.params).items()]
    return [measure.value for measure in measures]


def clean_bits(finding):
    return float(Language().statistic(finding.column("tally"))(None)[0])


def test_clean_axis_stores_generated_text(context):
    finding = finding_of(Clean(), context)
    (bits,) = values(finding, "bits_per_character")
    assert 0 < bits < 1
    assert finding.arrays["generated"].dtype == np.int32 and finding.column("bits").shape == (14,)
    assert finding.facts["context"] == 16
    narrow = copy(context.model)
    narrow.width = 3
    other = finding_of(Clean(), replace(context, model=narrow))
    assert values(other, "bits_per_character") == [pytest.approx(bits, rel=1e-5)]
    assert np.array_equal(other.arrays["generated"], finding.arrays["generated"])
    assert json.loads(json.dumps(finding.facts)) == finding.facts


def test_embedding_attack_on_the_context_increases_bits(context):
    axis = Robustness("pgd(eps=[0.1, 0.5], steps=5, restarts=1)", audit=4, space="embedding")
    finding = finding_of(axis, context)
    robust, random = (values(finding, f"{name}_bits_per_character") for name in ("robust", "control"))
    clean = clean_bits(finding)
    assert clean < robust[0] < robust[1]
    assert all(perturbed < worst for perturbed, worst in zip(random, robust, strict=True))
    row = next(m for m in finding.measures if m.metric == "robust_bits_per_character")
    assert row.higher_is_better is False and row.unit == "bits"


def test_character_attack_does_not_change_scored_characters(context):
    finding = finding_of(Robustness("hotflip(edits=[2], unit=character)", audit=2), context)
    adversarial, clean = finding.arrays["found"], dict(zip(context.test.ids, context.test.inputs, strict=True))
    assert len(adversarial)
    for text, name in zip(adversarial, finding.arrays["found_id"], strict=True):
        changed = np.flatnonzero(text != clean[name])
        assert 1 <= len(changed) <= 2 and (changed < 16).all()
    (robust,) = values(finding, "robust_bits_per_character")
    assert robust > clean_bits(finding)


def test_calibration_axis_has_all_rows(context):
    finding = finding_of(Calibration(members=1, dropout_samples=3), context)
    for way in ("softmax", "mc_dropout"):
        assert len(values(finding, "token_ece", uncertainty=way)) == 1
        (method,) = [one for one in finding.facts["methods"] if one["params"]["uncertainty"] == way]
        assert set(method["facts"]["reliability"]) == {"events", "edges", "count", "confidence", "accuracy"}
    (gap,) = values(finding, "entropy_gap")
    assert abs(gap) < 2
    assert json.loads(json.dumps(finding.facts)) == finding.facts


def test_occlusion_beats_random_order_if_the_last_characters_matter(context):
    finding = finding_of(RationaleAxis(explainers=("occlusion", "gradient_x_input"), samples=10), context)
    rows = [m for m in finding.measures if m.metric == "comprehensiveness" and m.params["method"] == "occlusion"]
    assert rows[0].value > rows[0].control
    assert "attribution_occlusion" in finding.arrays
