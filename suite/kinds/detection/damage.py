"""How wrong the detections in an image are, from 0 to 1."""

from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from suite.kinds.base import Array
from suite.kinds.detection.losses import covered_share
from suite.kinds.detection.targets import CLASS, IGNORED
from suite.metrics import detection as boxes

AIMS = MappingProxyType({"mislabel": 1, "vanish": 2, "fabricate": 3})
"""Losses that aim at one state of objects, and its column in `suite.metrics.detection.states`."""

NOTHING = np.array([0, 0, 0, 0, 0, -1], dtype=np.float32)
"""A padding row of detections."""


def damage(output: Tensor, targets: Tensor, threshold: float, aim: str | None) -> Tensor:
    """Return the LRP error of each image, or the fraction of objects in the aimed state; 1 for non-finite outputs.

    An image without objects has none that could vanish or be mislabeled: its damage is 1 from the start. An image
    whose objects are all covered or ignored has damage 0.

    Args:
        output: detections (n, 100, 6).
        targets: true boxes (n, M, 6).
        threshold: the lowest score of a detection.
        aim: one of `AIMS`; None for the LRP error.
    """
    table, truth = output.detach().cpu().numpy(), targets.cpu().numpy()
    invalid = ~np.isfinite(table).all(axis=(1, 2))
    finite = np.where(invalid[:, None, None], NOTHING, table)
    if aim is None:
        errors = boxes.image_errors(finite, truth, threshold)
    else:
        errors = _share_in_state(boxes.states(finite, truth, threshold).astype(np.float64), truth, aim)
    return torch.from_numpy(np.where(invalid, 1.0, errors)).to(output.device)


def _share_in_state(states: Array, truth: Array, aim: str) -> Array:
    reached = states[:, AIMS[aim]]
    if aim == "fabricate":
        return np.asarray(reached / (reached + 1))
    objects = states[:, :3].sum(axis=1)
    without = np.where((truth[..., CLASS] >= 0).any(axis=1), 0.0, 1.0)  # covered or ignored objects: no damage
    return np.where(objects > 0, reached / np.maximum(objects, 1), without)


def ignore_covered(targets: Tensor, covered: Tensor) -> Tensor:
    """Return targets (n, M, 6) that ignore boxes of which more than half is covered, bool (n, h, w)."""
    share = covered_share(targets[..., :4], covered)
    masked = targets.clone()
    masked[..., IGNORED][(share > 0.5) & (targets[..., CLASS] >= 0)] = 1
    return masked
