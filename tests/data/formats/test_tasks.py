"""The tasks for these formats, and the rule that assigns parts on disk to splits."""

import numpy as np
import pytest

from suite.data import resolved
from suite.data.split_files import EVERYTHING, portion
from suite.registry import resolve
from suite.types import Sample
from tests.data.formats.files import mask, photo, text

DETECTION = ("digit-scenes-detection", "coco", "yolo", "voc", "pennfudan", "pets_detection")
SEGMENTATION = ("digit-scenes-segmentation", "maskfolder", "voc_segmentation", "pennfudan_segmentation", "pets")


@pytest.mark.parametrize("name", [*DETECTION, *SEGMENTATION])
def test_every_task_is_registered_under_its_kind(name):
    entry, _ = resolve("task", name)
    assert entry.meta["kind"] == ("detection" if name in DETECTION else "segmentation")
    assert entry.meta["source"] and entry.summary.endswith(".")


@pytest.mark.parametrize("kind", ["detection", "segmentation"])
def test_the_number_of_scenes_is_configurable(kind):
    entry, spec = resolve("task", f"digit-scenes-{kind}(train=3, validation=2, test=1)")
    counts = [len(list(entry.build(spec, split=split, seed=0))) for split in ("train", "validation", "test")]
    assert counts == [3, 2, 1] and len(entry.meta["classes"]) == {"detection": 10, "segmentation": 11}[kind]


def test_arguments_of_a_spec_reach_the_reader(tmp_path):
    photo(tmp_path / "images" / "test" / "a.png")
    mask(tmp_path / "masks" / "test" / "a.png", np.ones((10, 20)))
    text(tmp_path / "labels" / "test" / "a.txt", "1 0.5 0.5 1 1")
    specs = (
        f"yolo(path='{tmp_path}', classes=[cat, dog], size=8)",
        f"maskfolder(path='{tmp_path}', classes=[b, p], size=8)",
    )
    for spec_text in specs:
        entry, spec = resolve("task", spec_text)
        [sample] = map(resolved, entry.build(spec, split="test", seed=0))
        assert isinstance(sample, Sample) and sample.input.shape == (3, 8, 8)


def test_voc_has_twenty_classes_and_a_background():
    boxes, masks = (resolve("task", name)[0].meta["classes"] for name in ("voc", "voc_segmentation"))
    assert len(boxes) == 20 and masks == ("background", *boxes) and sorted(boxes) == list(boxes)


RULE = {
    (): ((EVERYTHING, 0.5), (EVERYTHING, 0.2), (EVERYTHING, 0.3)),
    (EVERYTHING,): ((EVERYTHING, 0.5), (EVERYTHING, 0.2), (EVERYTHING, 0.3)),
    ("train",): (("train", 0.5), ("train", 0.2), ("train", 0.3)),
    ("validation",): ((None, 0), (None, 0), ("validation", 1)),
    ("test",): ((None, 0), (None, 0), ("test", 1)),
    ("train", "validation"): (("train", 0.8), ("train", 0.2), ("validation", 1)),
    ("train", "test"): (("train", 0.8), ("train", 0.2), ("test", 1)),
    ("validation", "test"): ((None, 0), ("validation", 1), ("test", 1)),
    ("train", "validation", "test"): (("train", 1), ("validation", 1), ("test", 1)),
}


@pytest.mark.parametrize("parts", RULE, ids=str)
def test_portions_follow_the_documented_table(parts):
    reports, remarks = [], []
    for split, (part, fraction) in zip(("train", "validation", "test"), RULE[parts], strict=True):
        share = portion(parts, split)
        assert share.part == part
        if part is not None:
            taken = share.take(range(2000), split, seed=0, contents=lambda items: [b"%d" % item for item in items])
            spread = 4 * (2000 * fraction * (1 - fraction)) ** 0.5  # parts are binomial
            assert abs(len(taken) - 2000 * fraction) <= spread
            reports += [part] * share.reports
            remarks += share.remarks
    assert sorted(reports) == sorted({part for part, _ in RULE[parts] if part is not None})
    assert bool(remarks) == ("validation" in parts and "test" not in parts)
    with pytest.raises(ValueError):
        portion(parts, "dev")
