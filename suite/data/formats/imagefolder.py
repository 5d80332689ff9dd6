"""Images on disk in the ImageFolder layout: one folder per class, with or without split folders above them."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from suite.data.formats.image_files import convert, open_image
from suite.data.groups import Grouping
from suite.data.split_files import SPLIT_FOLDERS, file_contents, portion
from suite.data.splitting import SPLITS
from suite.errors import DataError
from suite.types import Deferred, Remark, Sample


def read_folder(
    path: str, split: str, *, seed: int, size: int | None = None, grey: bool = False, group: str | None = None
) -> Iterator[Sample | Remark]:
    """Yield the images of one split, which are read when they are needed.

    Args:
        path: the folder, either ``train/``, ``validation/`` and ``test/`` with class folders inside, or class folders
            alone; `split_files.portion` says which folder a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels; images are scaled to cover a square of it and cropped at the center. None to keep their
            size.
        grey: read one channel instead of three.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: no such folder, no class folders in it, or no id names a group.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{path!r} is not a folder; expected one folder per class inside it.")
    folders = {name: folder for name in SPLITS if (folder := _split_folder(root, name)) is not None}
    share = portion(folders, split)
    yield from share.remarks
    if share.part is None:
        return
    base = folders.get(share.part, root)
    files = _files(base)
    labels = [file.relative_to(base).parts[0] for file in files]
    grouping, ids = Grouping(group), [str(file.relative_to(root)) for file in files]
    if share.reports:
        yield from grouping.remarks(ids)
    groups = grouping.of_all(ids)
    for file in share.take(files, split, seed=seed, contents=_contents, labels=labels, groups=groups):
        image = Deferred(partial(_pixels, file, size, grey), (str(file),), f"cropped, size={size}, grey={grey}")
        name = str(file.relative_to(root))
        yield Sample(name, image, file.relative_to(base).parts[0], group=grouping.of(name))


def _contents(files: Sequence[Path]) -> list[bytes]:
    return file_contents(files, [file.name for file in files])


def _split_folder(root: Path, split: str) -> Path | None:
    return next((f for f in sorted(root.iterdir()) if f.is_dir() and f.name.lower() in SPLIT_FOLDERS[split]), None)


def _files(folder: Path) -> list[Path]:
    classes = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    if not classes:
        raise DataError(f"{str(folder)!r} has no folders inside; expected one folder per class.")
    return [file for name in classes for file in sorted(name.rglob("*")) if file.is_file()]


def _pixels(file: Path, size: int | None, grey: bool) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    with open_image(file) as raw:
        image = convert(ImageOps.exif_transpose(raw), "L" if grey else "RGB")
        if size is not None:
            image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0).copy()
