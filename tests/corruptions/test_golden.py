"""Comparison with statistics of the package imagecorruptions 1.1.2 on two photographs, stored in golden.json."""

import json
from pathlib import Path

import pytest
import torch

from suite.corruptions.catalogue import COMMON, SEVERITIES, corrupt
from tests.corruptions.photos import CROPS, photo

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text("utf-8"))
TOLERANCE = {"glass_blur": 0.8, "motion_blur": 0.9, "snow": 0.9, "fog": 7.0, "frost": 8.0}
"""8-bit levels by which a statistic may differ: random corruptions need more, and frost uses our own textures."""
CLOSE = 0.3
DRAWS = {"motion_blur": 24, "snow": 12, "fog": 24, "frost": 24, "glass_blur": 2, "elastic_transform": 6}
FIXED = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


def statistics(images, clean):
    """Return the mean, standard deviation, mean change and mean difference of horizontal neighbors, in levels."""
    levels, before = images.double() * 255, clean.double() * 255
    steps = levels.diff(dim=3).abs().mean()
    return [levels.mean(), levels.std(dim=(1, 2, 3)).mean(), (levels - before).abs().mean(), steps]


@pytest.mark.parametrize("name", COMMON)
def test_statistics_match_the_reference(name):
    count = 1 if name in FIXED else DRAWS.get(name, 3)
    for severity in SEVERITIES:
        for number, file in enumerate(CROPS):
            clean = photo(file)
            output = corrupt(clean.expand(count, -1, -1, -1), name, severity, range(count))
            expected = torch.tensor(GOLDEN["statistics"][name][str(severity)][number], dtype=torch.float64)
            difference = (torch.stack(statistics(output, clean)) - expected).abs()
            assert (difference <= TOLERANCE.get(name, CLOSE)).all(), (severity, file, difference)


def test_the_tolerance_separates_severities():
    for name in COMMON:
        mildest, severest = (torch.tensor(GOLDEN["statistics"][name][severity]) for severity in "15")
        assert (mildest - severest).abs().max() > 1.5 * TOLERANCE.get(name, CLOSE), name
