"""A folder of images and a folder of masks with the same names."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from suite.data.formats.image_files import mask_sample, read_mask
from suite.data.formats.image_pairs import Pairs
from suite.data.split_files import files_by_stem, folder, part_folders, portion
from suite.types import Rejected, Sample


def read_mask_folder(path: str, split: str, *, seed: int, size: int | None = None) -> Iterator[Sample | Rejected]:
    """Yield the images of one split, each with its mask of class indices, 255 for pixels that are not judged.

    Args:
        path: the folder with ``images/`` and ``masks/``, or ``images/train/`` and ``masks/train/``, or
            ``train/images/`` and ``train/masks/``; `split_files.portion` says which part a
            split takes.
        split: train, validation or test.
        seed: seed of the split, where the data have none of their own.
        size: side in pixels of the square to which images and masks are scaled; None to take them as they are.

    Raises:
        DataError: there is no such layout.
    """
    root = folder(path)
    images, masks = part_folders(root, "images"), part_folders(root, "masks")
    share = portion(images, split)
    if share.part is None:
        return
    pairs = Pairs(files_by_stem(images[share.part]), files_by_stem(masks.get(share.part), {".png"}), share.part)
    yield from pairs.read(share.take(pairs.names, split, seed=seed), partial(_mask, size))


def _mask(size: int | None, name: str, image: Path, file: Path) -> Iterator[Sample | Rejected]:
    yield mask_sample(name, image, read_mask(file), size=size)
