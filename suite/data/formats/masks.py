"""A folder of images and a folder of masks with the same names."""

from collections.abc import Iterator

from suite.data.formats.image_pairs import Pairs, mask_reader
from suite.data.split_files import existing_folder, files_by_stem, part_folders, portion
from suite.types import Rejected, Remark, Sample


def read_mask_folder(
    path: str, split: str, *, seed: int, size: int | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its mask of class indices; pixels with the value 255 are ignored.

    Args:
        path: the folder with ``images/`` and ``masks/``, or ``images/train/`` and ``masks/train/``, or
            ``train/images/`` and ``train/masks/``; `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels of the square to which images and masks are scaled; None to keep their size.

    Raises:
        DataError: the folder does not have this layout.
    """
    root = existing_folder(path)
    images, masks = part_folders(root, "images"), part_folders(root, "masks")
    share = portion(images, split)
    yield from share.remarks
    if share.part is None:
        return
    pairs = Pairs(files_by_stem(images[share.part]), files_by_stem(masks.get(share.part), {".png"}), share.part)
    names = share.take(pairs.names, split, seed=seed, contents=pairs.contents)
    yield from pairs.read(names, mask_reader(size))
