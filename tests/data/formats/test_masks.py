"""Images with masks: mask folders, Penn-Fudan and the Oxford-IIIT pets."""

import numpy as np
import pytest
from PIL import Image

from suite.data import resolved
from suite.data.formats.mask_files import LOOKED_AT, meaning_of, white_is_foreground
from suite.data.formats.masks import read_mask_folder
from suite.data.formats.pennfudan import read_pennfudan, read_pennfudan_masks
from suite.data.formats.pets import read_pet_heads, read_pet_masks
from suite.data.formats.pixel_format import PixelFormat
from suite.data.formats.voc import read_voc_masks
from suite.errors import DataError
from suite.types import Remark
from tests.data.formats.files import SPLITS, mask, over_splits, photo, sorted_out, text, voc_annotation, voc_object

CLASSES = ("background", "cat", "dog")

VALUES = np.arange(200, dtype=np.uint8).reshape(10, 20) % 3


def everything(read, *arguments, **options):
    """Return the samples and rejections of all splits."""
    return sorted_out(item for split in ("train", "validation", "test") for item in read(*arguments, split, **options))


def test_masks_are_paired_with_images_by_name(tmp_path):
    values = VALUES.copy()
    values[0, :3] = 255, 77, 0
    for name in ("a", "sub/b", "lonely"):
        photo(tmp_path / "images" / f"{name}.jpg", seed=len(name))
    for name in ("a", "sub/b", "orphan"):
        mask(tmp_path / "masks" / f"{name}.png", values, palette=name == "a")
    kept, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert set(kept) == {"a", "sub/b"} and all((sample.target == values).all() for sample in kept.values())
    assert "no label file" in rejected["lonely"] and "no usable image" in rejected["orphan"] and len(rejected) == 2


def test_a_mask_of_another_size_is_rejected_even_with_scaling(tmp_path):
    photo(tmp_path / "images" / "a.png", 20, 10)
    mask(tmp_path / "masks" / "a.png", VALUES.T)
    [kept, rejected] = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES, pixels=PixelFormat(8))
    assert not kept and rejected == {"a": "20x10 pixels, but the annotation was made for 10x20"}


def test_scaling_masks_does_not_mix_classes(tmp_path):
    values = np.where(np.arange(20) < 10, 1, 200).astype(np.uint8)[None].repeat(10, axis=0)
    photo(tmp_path / "images" / "test" / "a.png")
    mask(tmp_path / "masks" / "test" / "a.png", values)
    [sample] = map(resolved, read_mask_folder(str(tmp_path), "test", seed=0, classes=CLASSES, pixels=PixelFormat(8)))
    assert sample.id == "test/a" and sample.input.shape == (3, 8, 8)
    assert sample.target.tolist() == [[1] * 4 + [200] * 4] * 8


def test_16_bit_masks_may_hold_values_up_to_255(tmp_path):
    for name, last in (("a", 255), ("b", 256)):
        photo(tmp_path / "images" / f"{name}.png", seed=last)
        deep = VALUES.astype(np.uint16)
        deep[0, 0] = last
        (tmp_path / "masks").mkdir(exist_ok=True)
        Image.fromarray(deep).save(tmp_path / "masks" / f"{name}.png")
    kept, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert kept["a"].target[0, 0] == 255 and "0 to 256" in rejected["b"]


def test_two_images_with_one_name_are_rejected_and_the_others_kept(tmp_path):
    for name in ("a.png", "a.jpg", "b.png"):
        photo(tmp_path / "images" / name, seed=len(name) + ord(name[0]))
    for name in "ab":
        mask(tmp_path / "masks" / f"{name}.png", VALUES)
    kept, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert set(kept) == {"b"}
    assert rejected == {
        "a": "no usable image of this name",
        "images/a.jpg": "a.jpg and a.png have one name; rename or remove one of them",
        "images/a.png": "a.jpg and a.png have one name; rename or remove one of them",
    }


def test_everything_in_the_folders_is_kept_or_rejected(tmp_path):
    for name in ("images/train/a.png", "images/val/b.png", "images/loose.png", "images/more/x.png"):
        photo(tmp_path / name, seed=len(name))
    for name in ("masks/train/a.png", "masks/val/b.png", "masks/test/c.png"):
        mask(tmp_path / name, VALUES)
    text(tmp_path / "images/val/list.txt", "b")
    text(tmp_path / "masks/train/a.jpg", "")
    kept, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert set(kept) == {"train/a", "validation/b"}
    beside = "it is not in the folder of a part, such as train"
    assert {name: reason for name, reason in rejected.items() if "suffix" not in reason} == {
        "images/loose.png": beside,
        "images/more": beside,
        "masks/test": beside,
    }
    assert rejected["images/val/list.txt"].startswith("a file with the suffix .txt; those that are read: .apng")
    assert rejected["masks/train/a.jpg"].startswith("a file with the suffix .jpg; those that are read: .bmp .gif .pgm")


def test_a_mask_of_colors_names_them(tmp_path):
    colors = np.zeros((10, 20, 3), dtype=np.uint8)
    colors[:2], colors[2:3] = (255, 0, 0), (0, 0, 255)
    photo(tmp_path / "images" / "a.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(colors).save(tmp_path / "masks" / "a.png")
    _, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert rejected == {
        "a": "a mask in mode RGB with 3 colors ((0, 0, 0), (255, 0, 0), (0, 0, 255)); expected one number per pixel: "
        "save class indices, not colors"
    }


def test_a_jpeg_file_is_no_mask(tmp_path):
    photo(tmp_path / "images" / "a.png")
    mask(tmp_path / "masks" / "a.jpg", VALUES)
    (tmp_path / "masks" / "a.jpg").rename(tmp_path / "masks" / "a.png")
    _, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=CLASSES)
    assert rejected == {"a": "a.png is a JPEG file, which changes the values of masks; save them as PNG"}


def masks_of(folder, *values):
    """Write a mask for each list of values; return their files."""
    for number, row in enumerate(values):
        mask(folder / f"{number}.png", [row])
    return sorted(folder.glob("*.png"))


def test_masks_of_0_and_255_are_read_as_two_classes_and_a_remark_says_so(tmp_path):
    for number in range(12):
        photo(tmp_path / "images" / f"{number}.png", 3, 1, seed=number)
    masks_of(tmp_path / "masks", *([0, 255, 255] for _ in range(11)), [0, 0, 0])
    kept, rejected = everything(read_mask_folder, str(tmp_path), seed=0, classes=("background", "crack"))
    assert not rejected and kept["0"].target.tolist() == [[0, 1, 1]] and kept["11"].target.tolist() == [[0, 0, 0]]
    said = {
        item.text
        for split in ("train", "validation", "test")
        for item in read_mask_folder(str(tmp_path), split, seed=0, classes=("background", "crack"))
        if isinstance(item, Remark)
    }
    assert said == {
        "masks hold only 0 and 255 (11 looked at): 255 is read as the class 'crack'; save class indices if 255 is to "
        "be ignored"
    }


def test_voc_masks_of_0_and_255_are_read_as_two_classes(tmp_path):
    for number in range(8):
        photo(tmp_path / "JPEGImages" / f"{number}.jpg", 3, 1, seed=number)
    masks_of(tmp_path / "SegmentationClass", *([0, 255, 255] for _ in range(8)))
    kept, rejected = everything(read_voc_masks, str(tmp_path), seed=0, classes=("background", "crack"))
    assert not rejected and {str(sample.target.tolist()) for sample in kept.values()} == {"[[0, 1, 1]]"}


@pytest.mark.parametrize("values", [[[0, 1, 255]], [[0, 255, 255], [1, 255, 0]], [[0, 1]], [[0, 0]], []])
def test_255_stays_ignored_where_masks_have_classes(tmp_path, values):
    (tmp_path / "m").mkdir()
    meaning = meaning_of(masks_of(tmp_path / "m", *values), ("background", "crack"))
    assert meaning.to_classes is None and not meaning.remarks


def test_masks_of_0_and_255_and_others_of_0_and_1_are_said(tmp_path):
    meaning = meaning_of(masks_of(tmp_path, [0, 255], [0, 1], [0, 255]), ("background", "crack"))
    [remark] = meaning.remarks
    assert meaning.to_classes is None and remark.text == (
        "of 3 masks looked at, 2 with only 0 and 255, and 1 with other values: 255 is ignored in all of them"
    )


def test_masks_of_0_and_255_for_three_classes_are_an_error(tmp_path):
    with pytest.raises(
        DataError, match=r"hold only 0 and 255 \(1 looked at\).*is any of cat, dog. Save class indices 0"
    ):
        meaning_of(masks_of(tmp_path, [0, 255]), CLASSES)


def test_rare_foreground_is_found(tmp_path):
    files = masks_of(tmp_path, *([[0, 0]] * (3 * LOOKED_AT)), [0, 255])
    assert meaning_of(files, ("background", "crack")).to_classes is white_is_foreground


def test_another_value_among_white_masks_is_an_error():
    with pytest.raises(DataError, match=r"the values \[7\], among masks of only 0 and 255"):
        white_is_foreground(np.array([[0, 255, 7]], np.uint8))


def test_missing_folders_are_errors(tmp_path):
    photo(tmp_path / "images" / "a.png")
    with pytest.raises(DataError, match="no folder 'masks'"):
        list(read_mask_folder(str(tmp_path), "test", seed=0, classes=CLASSES))
    for read in (read_pennfudan, read_pennfudan_masks, read_pet_heads, read_pet_masks):
        with pytest.raises(DataError, match="folders"):
            list(read(str(tmp_path), "test", seed=0))


@pytest.fixture
def pedestrians(tmp_path):
    people = np.zeros((10, 20), dtype=np.uint8)
    people[2:7, 3:6], people[0:10, 18:20] = 1, 3
    for number in range(1, 11):
        photo(tmp_path / "PNGImages" / f"FudanPed{number:05d}.png", seed=number)
        mask(tmp_path / "PedMasks" / f"FudanPed{number:05d}_mask.png", people)
    mask(tmp_path / "PedMasks" / "FudanPed00010_mask.png", np.zeros((10, 20)))
    (tmp_path / "PedMasks" / "FudanPed00009_mask.png").unlink()
    return people, tmp_path


def test_pedestrian_boxes_are_tight(pedestrians):
    _, root = pedestrians
    kept, rejected = everything(read_pennfudan, str(root), seed=0)
    assert kept["FudanPed00001"].target["boxes"].tolist() == [[3, 2, 6, 7], [18, 0, 20, 10]]
    assert kept["FudanPed00001"].target["labels"] == ["person", "person"]
    assert kept["FudanPed00010"].target["boxes"].shape == (0, 4)
    assert list(rejected) == ["FudanPed00009"] and len(kept) == 9


def test_every_pedestrian_number_becomes_the_person_class(pedestrians):
    people, root = pedestrians
    ids, _ = over_splits(lambda split: read_pennfudan_masks(str(root), split, seed=0))
    assert sum(map(len, ids.values())) == 9 and all(ids.values())
    kept, _ = everything(read_pennfudan_masks, str(root), seed=0)
    assert (kept["FudanPed00001"].target == (people > 0)).all()


def test_pedestrian_boxes_are_scaled_with_their_image(pedestrians):
    _, root = pedestrians
    kept, _ = everything(read_pennfudan, str(root), seed=0, pixels=PixelFormat(5))
    np.testing.assert_allclose(kept["FudanPed00001"].target["boxes"][0], [0.75, 1, 1.5, 3.5])


@pytest.fixture
def pets(tmp_path):
    trimap = np.full((10, 20), 2, dtype=np.uint8)
    trimap[3:8, 3:8], trimap[4:7, 4:7] = 3, 1
    names = [f"Abyssinian_{number}" for number in range(1, 14)]
    for number, name in enumerate(names):
        photo(tmp_path / "images" / f"{name}.jpg", seed=number)
        mask(tmp_path / "annotations" / "trimaps" / f"{name}.png", trimap)
    text(tmp_path / "annotations" / "trimaps" / "._Abyssinian_1.png", "left by macOS")
    text(tmp_path / "annotations" / "list.txt", "#Image CLASS-ID SPECIES BREED ID\n")
    text(tmp_path / "annotations" / "trainval.txt", "".join(f"{name} 1 1 1\n" for name in names[:10]))
    text(tmp_path / "annotations" / "test.txt", "".join(f"{name} 1 1 1\n" for name in names[10:]))
    for name in names[:8]:
        text(tmp_path / "annotations" / "xmls" / f"{name}.xml", voc_annotation(voc_object("cat", (4, 4, 7, 7))))
    return names, tmp_path


def test_trimaps_become_classes_and_the_border_is_ignored(pets):
    names, root = pets
    kept, rejected = everything(read_pet_masks, str(root), seed=0)
    assert set(kept) == set(names) and not rejected
    target = kept[names[0]].target
    assert target[5, 5] == 1 and target[0, 0] == 0 and target[3, 3] == 255
    assert [(target == value).sum() for value in (1, 0, 255)] == [9, 175, 16]


def test_pets_are_split_by_their_lists(pets):
    names, root = pets
    ids, _ = over_splits(lambda split: read_pet_masks(str(root), split, seed=0))
    assert ids["test"] == set(names[10:]) and ids["train"] | ids["validation"] == set(names[:10])
    assert len(ids["train"]) > len(ids["validation"]) > 0
    for file in ("trainval.txt", "test.txt"):
        (root / "annotations" / file).unlink()
    ids, _ = over_splits(lambda split: read_pet_masks(str(root), split, seed=0))
    assert set.union(*ids.values()) == set(names)


def test_a_trimap_with_another_value_is_rejected(pets):
    names, root = pets
    mask(root / "annotations" / "trimaps" / f"{names[0]}.png", np.zeros((10, 20)))
    _, rejected = everything(read_pet_masks, str(root), seed=0)
    assert list(rejected) == [names[0]] and "values [0]" in rejected[names[0]]


def test_heads_are_read_from_photographs_with_boxes(pets):
    names, root = pets
    (root / "images" / f"{names[7]}.jpg").unlink()
    ids, rejected = over_splits(lambda split: read_pet_heads(str(root), split, seed=0))
    assert set.union(*ids.values()) == set(names[:7]) and list(rejected) == [names[7]]
    kept, _ = everything(read_pet_heads, str(root), seed=0)
    assert kept[names[0]].target["boxes"].tolist() == [[3, 3, 7, 7]] and kept[names[0]].target["labels"] == ["cat"]


def test_transparency_is_counted_over_all_parts(tmp_path):
    for part in ("train", "test"):
        for name in "ab":
            photo(tmp_path / part / "images" / f"{name}.png")
            mask(tmp_path / part / "masks" / f"{name}.png", np.ones((10, 20)))
    Image.new("RGBA", (20, 10)).save(tmp_path / "train" / "images" / "a.png")
    said = "1 of 4 images looked at has transparency, which is left out, as by torchvision (for example a.png)"
    for split in SPLITS:
        items = read_mask_folder(str(tmp_path), split, seed=0, classes=CLASSES)
        assert [item.text for item in items if isinstance(item, Remark)] == [said]
