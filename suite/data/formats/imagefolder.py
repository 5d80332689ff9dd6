"""Images on disk in the ImageFolder layout: one folder per class, with or without split folders above them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from suite.data.split_files import SPLIT_FOLDERS
from suite.data.splitting import SPLITS, stratified
from suite.errors import DataError
from suite.types import Rejected, Sample


def read_folder(
    path: str, split: str, *, seed: int, size: int | None = None, grey: bool = False
) -> Iterator[Sample | Rejected]:
    """Yield the images of one split; a file that is not a readable image is rejected by name and reason.

    Args:
        path: the folder, either ``train/ validation/ test/`` with class folders inside, or class folders alone,
            which are then split 50 : 20 : 30 within each class.
        split: train, validation or test.
        seed: seed of that split.
        size: side in pixels; images are scaled to cover a square of it and cropped at the centre. None to take them
            as they are.
        grey: read as one channel instead of three.

    Raises:
        DataError: no such folder, or no class folders in it.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"{path!r} is not a folder; expected one folder per class inside it.")
    found = {name: folder for name in SPLITS if (folder := _split_folder(root, name)) is not None}
    if "test" in found:
        files = _files(found[split]) if split in found else []
    elif found:
        raise DataError(
            f"{path!r} has {', '.join(found)} but no test folder; add one, it is what models are judged on."
        )
    else:
        every = _files(root)
        chosen = stratified([file.relative_to(root).parts[0] for file in every], split, seed=seed)
        files = [every[position] for position in chosen]
    base = found.get(split, root)
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
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file) as image:
            upright = ImageOps.exif_transpose(image)
            return Sample(name, _pixels(upright, *options), label)
    except UnidentifiedImageError:
        return Rejected(name, f"not an image that can be read ({file.stat().st_size} bytes)")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return Rejected(name, f"{type(error).__name__}: {error}")


def _pixels(image: Any, size: int | None, grey: bool) -> npt.NDArray[np.uint8]:
    from PIL import Image, ImageOps

    if image.mode.startswith("I;16"):  # Pillow would clip 16 bits to 8 instead of scaling them
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"pixels in mode {image.mode} have no known range; save the image with 8 or 16 bits")
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if grey else np.moveaxis(pixels, -1, 0)
