"""Regression tests of faults found in code review."""

import numpy as np
import pytest
import torch

from suite.attacks.images.worst_case import WorstCase
from suite.data.loading import _declared_classes
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Prediction
from suite.kinds.detection import losses
from suite.kinds.detection.calibration import detection_calibration, rescaling, scored_detections
from suite.kinds.detection.kind import Detection
from suite.metrics.table import Table, collected
from suite.models.adapters.detector import TorchDetector
from suite.registry import REGISTRY
from suite.spec import parse
from tests.kinds.planted import context_of

BOX = [10.0, 10, 30, 30]


def table(*rows):
    detections = torch.zeros(1, 100, 6)
    detections[..., 5] = -1
    for place, row in enumerate(rows):
        detections[0, place] = torch.tensor(row)
    return detections


@pytest.mark.parametrize("aim", ["vanish", "mislabel"])
def test_covered_object_has_neither_vanished_nor_been_mislabeled(aim):
    kind = Detection().for_attack_loss(aim)
    truth = torch.tensor([[[*BOX, 3.0, 0]]])
    covered = torch.zeros(1, 40, 40, dtype=torch.bool)
    covered[:, 5:35, 5:35] = True
    assert kind.damage(table(), kind.mask_covered_targets(truth, covered)).tolist() == [0]
    assert kind.damage(table(), truth).tolist() == [1.0 if aim == "vanish" else 0.0]
    assert kind.damage(table(), torch.tensor([[[0.0, 0, 0, 0, -1, 0]]])).tolist() == [1]  # no objects from the start


def test_box_without_candidates_has_the_lowest_log_odds():
    best = torch.tensor([[*BOX, 0.9, 0]])
    near = torch.tensor([[[*BOX, 0.06, 0.01]]])
    far = torch.tensor([[[60.0, 60, 80, 80, 0.9, 0.01]]], requires_grad=True)
    gone = losses.log_odds_on(far, best)
    assert gone < losses.log_odds_on(near, best) < 0
    (gradient,) = torch.autograd.grad(gone.sum(), far)
    assert torch.isfinite(gradient).all()


def test_temperature_drops_no_detection():
    generator = np.random.default_rng(0)
    output = np.zeros((200, 100, 6))
    output[..., 5] = -1
    truth = np.zeros((200, 1, 6), np.float32)
    truth[:, 0] = [*BOX, 0, 0]
    score = generator.uniform(0.06, 0.94, 200)
    output[:, 0] = [*BOX, 0, 0]
    output[:, 0, 4] = score
    output[:, 0, 5] = (generator.random(200) > 1 / (1 + (1 / score - 1) ** 3)).astype(int)  # unsure: T below 1
    fitted = rescaling(output, truth)
    assert fitted.value < 0.6 and fitted.ends is None
    corrected = fitted.apply(output)
    assert (corrected[:, 0, 4] < 0.05).any()
    whole = collected([{"boxes": truth}, scored_detections(Prediction("score+temperature", corrected, None, truth))])
    d_ece = detection_calibration(Table(tuple(whole.columns), whole.all_facts))[0]
    assert d_ece.params["detections"] == 200


def test_noise_around_a_bright_image_is_not_read_as_0_to_255():
    model = TorchDetector(context_of("detection").model.module)
    channels = context_of("detection").pixels.shape[1:]
    model(torch.full((1, *channels), 1.6))
    with pytest.raises(Exception, match="Divide 8-bit images by 255"):
        model(torch.full((1, *channels), 200.0))


def test_threshold_is_default_without_validation_samples():
    nothing = np.zeros((0,), np.float32)
    assert Detection().fit_to_model(lambda: (nothing, nothing)).threshold == 0.5


def test_mislabel_is_not_applicable_with_one_class():
    with pytest.raises(NotApplicableError, match="no wrong class"):
        losses.mislabel(torch.rand(1, 4, 5), torch.tensor([[[*BOX, 0.0, 0]]]))


def test_worst_case_accepts_detection_losses():
    with pytest.raises(SpecError, match=r"losses=\[js"):
        WorstCase(loss="js")


def test_single_class_name_is_not_split_into_letters():
    entry = REGISTRY.get("task", "maskfolder")
    assert _declared_classes(entry, parse("maskfolder(path=x, classes=cat)")) == ("cat",)
