"""Detection samples written to disk in the formats of others."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.errors import DataError
from suite.types import Sample


def to_coco(samples: Iterable[Sample], classes: Sequence[str], folder: str | Path, *, part: str = "test") -> Path:
    """Write samples as PNG images and one annotation file in COCO's format; return the file.

    Every box comes back from `suite.data.formats.coco.read_coco` as it was, up to the rounding of a sum of two doubles.

    Args:
        samples: images (3, h, w) uint8 with ``boxes``, ``labels`` and, if any are ignored, ``ignore``.
        classes: class names; their numbers in the file start at 1.
        folder: where ``annotations/`` and a folder of images are made.
        part: name of the images' folder, and in the file's name: train, validation or test.

    Raises:
        DataError: an image, a box or a label that the format cannot hold.
    """
    root = Path(folder)
    (root / part).mkdir(parents=True, exist_ok=True)
    (root / "annotations").mkdir(exist_ok=True)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, sample in enumerate(samples, start=1):
        height, width = _save(sample, root / part / f"{number:06d}.png")
        images.append({"id": number, "file_name": f"{number:06d}.png", "width": width, "height": height})
        for box, label, ignored in _things(sample, classes):
            annotations.append(_annotation(len(annotations) + 1, number, box, (label + 1, ignored)))
    categories = [{"id": index + 1, "name": name} for index, name in enumerate(classes)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    file = root / "annotations" / f"instances_{part}.json"
    file.write_text(json.dumps(content, allow_nan=False), "utf-8")
    return file


def to_yolo(samples: Iterable[Sample], classes: Sequence[str], folder: str | Path, *, part: str = "test") -> Path:
    """Write samples as PNG images and label files in YOLO's format; return the folder.

    Lengths are written as shares of the image's with 12 digits behind the point: a box comes back from
    `suite.data.formats.yolo.read_yolo` to 1e-8 pixels in images of up to 10,000 pixels.

    Args:
        samples: images (3, h, w) uint8 with ``boxes`` and ``labels``; none is ignored, for want of a word.
        classes: class names; their numbers in the files start at 0.
        folder: where ``images/``, ``labels/`` and names.txt are made.
        part: name of the folders below these: train, validation or test.

    Raises:
        DataError: an image, a box, a label or an ignored object that the format cannot hold.
    """
    root = Path(folder)
    for content in ("images", "labels"):
        (root / content / part).mkdir(parents=True, exist_ok=True)
    for number, sample in enumerate(samples, start=1):
        height, width = _save(sample, root / "images" / part / f"{number:06d}.png")
        rows = []
        for (left, top, right, lower), label, ignored in _things(sample, classes):
            if ignored:
                raise DataError(f"{sample.id}: YOLO's format has no ignored objects; leave the sample out.")
            shares = (
                (left + right) / 2 / width,
                (top + lower) / 2 / height,
                (right - left) / width,
                (lower - top) / height,
            )
            rows.append(" ".join([str(label), *(f"{share:.12f}" for share in shares)]))
        (root / "labels" / part / f"{number:06d}.txt").write_text("\n".join(rows), "utf-8")
    (root / "names.txt").write_text("\n".join(classes), "utf-8")
    return root


def _annotation(identity: int, image: int, box: Sequence[float], what: tuple[int, bool]) -> dict[str, Any]:
    left, top, right, lower = box
    width, height = right - left, lower - top
    return {
        "id": identity,
        "image_id": image,
        "category_id": what[0],
        "bbox": [left, top, width, height],
        "area": width * height,
        "iscrowd": int(what[1]),
    }


def _save(sample: Sample, file: Path) -> tuple[int, int]:
    """Write an image and return its height and width."""
    from PIL import Image

    pixels: npt.NDArray[Any] = np.asarray(sample.input)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[0] != 3:
        raise DataError(f"{sample.id}: got an image {pixels.shape} of {pixels.dtype}; expected (3, h, w) of uint8.")
    Image.fromarray(np.ascontiguousarray(np.moveaxis(pixels, 0, -1))).save(file)
    return pixels.shape[1], pixels.shape[2]


def _things(sample: Sample, classes: Sequence[str]) -> Iterator[tuple[list[float], int, bool]]:
    """Yield the box, the class index and whether it is ignored, of each object of a sample."""
    boxes, labels = np.asarray(sample.target["boxes"], dtype=np.float64), sample.target["labels"]
    if not np.isfinite(boxes).all():
        raise DataError(f"{sample.id}: a box is not finite; drop it, no file can hold it.")
    ignored = sample.target.get("ignore", np.zeros(len(boxes), dtype=bool))
    for box, label, flag in zip(boxes.reshape(-1, 4).tolist(), labels, ignored, strict=True):
        yield box, _index(sample.id, label, classes), bool(flag)


def _index(identity: str, label: Any, classes: Sequence[str]) -> int:
    if isinstance(label, str) and label in classes:
        return list(classes).index(label)
    if isinstance(label, int | np.integer) and not isinstance(label, bool) and 0 <= label < len(classes):
        return int(label)
    raise DataError(f"{identity}: label {label!r} is not one of {', '.join(classes)}.")
