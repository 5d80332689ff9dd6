"""Arguments that say how images are prepared for a module."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from suite.errors import ModelError
from suite.models.base import TorchClassifier

NET = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"std": [0.0]}, r"std=\[0\.0\]; expected positive numbers, since pixels are divided by them"),
        ({"std": [-1.0]}, r"std=\[-1\.0\]; expected positive numbers"),
        ({"std": []}, r"std=\[\]; expected finite numbers"),
        ({"mean": [math.nan]}, r"mean=\[nan\]; expected finite numbers, one per channel or one for all, as a list"),
        ({"mean": 0.5}, r"mean=0\.5; expected finite numbers"),
        ({"mean": "0"}, "mean='0'; expected finite numbers"),
        ({"bounds": "01"}, "bounds='01' is not a range"),
        ({"bounds": (1, 0)}, r"bounds=\(1, 0\) is not a range"),
        ({"bounds": (math.nan, 1)}, r"bounds=\(nan, 1\) is not a range"),
        ({"bounds": (0, 128, 255)}, "is not a range"),
        ({"input_size": 8}, r"input_size=8; expected \(height, width\) in pixels"),
        ({"input_size": (0, 8)}, r"input_size=\(0, 8\); expected"),
        ({"input_size": (8.0, 8.0)}, "expected .height, width. in pixels"),
    ],
)
def test_what_prepares_no_image_is_refused(arguments, reason):
    with pytest.raises(ModelError, match=reason):
        TorchClassifier(NET, **arguments)


@pytest.mark.parametrize("convert", [list, tuple, np.array, torch.tensor])
def test_a_normalization_may_be_of_any_sequence(convert):
    model = TorchClassifier(NET, bounds=(0, 2), mean=convert([0.5]), std=convert([0.25]), input_size=(2, 2))
    assert torch.equal(model.prepare(torch.full((1, 1, 2, 2), 0.5)), torch.full((1, 1, 2, 2), 2.0))


def test_minus_infinity_of_a_logarithm_is_named():
    class Logarithm(nn.Module):
        def forward(self, images):
            return torch.tensor([[0.0, 1.0]]).log().expand(len(images), 2)

    with pytest.raises(ModelError, match=r"minus infinity in logits for 3 of 3 images.* use log_softmax in place"):
        TorchClassifier(Logarithm())(torch.zeros(3, 1, 2, 2))
