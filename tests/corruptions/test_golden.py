"""Against the package imagecorruptions 1.1.2: its statistics on two photographs, measured once (golden.json)."""

import json
from pathlib import Path

import pytest
import torch

from suite.corruptions.catalogue import COMMON, SEVERITIES, corrupt
from tests.corruptions.photos import CROPS, photo

GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text("utf-8"))
TOLERANCE = {"glass_blur": 0.8, "motion_blur": 0.9, "snow": 0.9, "fog": 7.0, "frost": 8.0}
"""Levels of 8 bits by which a statistic may differ; what differs from draw to draw needs room, and frost is our own."""
CLOSE = 0.3
DRAWS = {"motion_blur": 24, "snow": 12, "fog": 24, "frost": 24, "glass_blur": 2, "elastic_transform": 6}
FIXED = ("defocus_blur", "zoom_blur", "brightness", "contrast", "pixelate", "jpeg_compression")


def statistics(images, clean):
    """Return the mean, the deviation, the mean change and the mean step between neighbours in a row, in levels."""
    levels, before = images.double() * 255, clean.double() * 255
    steps = levels.diff(dim=3).abs().mean()
    return [levels.mean(), levels.std(dim=(1, 2, 3)).mean(), (levels - before).abs().mean(), steps]


@pytest.mark.parametrize("name", COMMON)
def test_statistics_of_the_reference(name):
    count = 1 if name in FIXED else DRAWS.get(name, 3)
    for severity in SEVERITIES:
        for number, file in enumerate(CROPS):
            clean = photo(file)
            found = corrupt(clean.expand(count, -1, -1, -1), name, severity, range(count))
            wanted = torch.tensor(GOLDEN["statistics"][name][str(severity)][number], dtype=torch.float64)
            difference = (torch.stack(statistics(found, clean)) - wanted).abs()
            assert (difference <= TOLERANCE.get(name, CLOSE)).all(), (severity, file, difference)


def test_the_tolerance_tells_the_severities_apart():
    """Golden numbers that any severity meets would show nothing."""
    for name in COMMON:
        mildest, severest = (torch.tensor(GOLDEN["statistics"][name][severity]) for severity in "15")
        assert (mildest - severest).abs().max() > 1.5 * TOLERANCE.get(name, CLOSE), name
