"""Images on disk in the ImageFolder layout: one folder per class, with or without split folders above them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from suite.data.formats.image_files import convert, open_image
from suite.data.split_files import SPLIT_FOLDERS
from suite.data.splitting import SPLITS, stratified
from suite.errors import DataError
from suite.types import Rejected, Sample


def read_folder(
    path: str, split: str, *, seed: int, size: int | None = None, grey: bool = False
) -> Iterator[Sample | Rejected]:
    """Yield the images of one split; a file that is not a readable image is rejected with its name and the reason.

    Args:
        path: the folder, either ``train/ validation/ test/`` with class folders inside, or class folders alone,
            which are then split 50 : 20 : 30 within each class.
        split: train, validation or test.
        seed: seed of that split.
        size: side in pixels; images are scaled to cover a square of it and cropped at the center. None to keep their
            size.
        grey: read one channel instead of three.

    Raises:
        DataError: no such folder, or no class folders in it.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{path!r} is not a folder; expected one folder per class inside it.")
    folders = {name: folder for name in SPLITS if (folder := _split_folder(root, name)) is not None}
    if "test" in folders:
        files = _files(folders[split]) if split in folders else []
    elif folders:
        raise DataError(f"{path!r} has {', '.join(folders)} but no test folder; add one: models are evaluated on it.")
    else:
        files = _files(root)
        chosen = stratified([file.relative_to(root).parts[0] for file in files], split, seed=seed)
        files = [files[position] for position in chosen]
    base = folders.get(split, root)
    for file in files:
        yield _read(file, str(file.relative_to(root)), file.relative_to(base).parts[0], (size, grey))


def _split_folder(root: Path, split: str) -> Path | None:
    return next((f for f in sorted(root.iterdir()) if f.is_dir() and f.name.lower() in SPLIT_FOLDERS[split]), None)


def _files(folder: Path) -> list[Path]:
    classes = [child for child in sorted(folder.iterdir()) if child.is_dir() and not child.name.startswith(".")]
    if not classes:
        raise DataError(f"{str(folder)!r} has no folders inside; expected one folder per class.")
    return [file for name in classes for file in sorted(name.rglob("*")) if file.is_file()]


def _read(file: Path, name: str, label: str, options: tuple[int | None, bool]) -> Sample | Rejected:
    from PIL import Image, ImageOps

    size, grey = options
    try:
        with open_image(file) as raw:
            image = convert(ImageOps.exif_transpose(raw), "L" if grey else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            pixels = np.asarray(image, dtype=np.uint8)
    except DataError as error:
        return Rejected(name, str(error))
    return Sample(name, pixels[None] if grey else np.moveaxis(pixels, -1, 0), label)
