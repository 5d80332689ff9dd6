"""A folder of images and a folder of masks with the same names."""

from collections.abc import Iterator

from suite.data.formats.image_pairs import Pairs, mask_reader
from suite.data.groups import Grouping
from suite.data.split_files import existing_folder, files_by_stem, part_folders, portion
from suite.types import Rejected, Remark, Sample


def read_mask_folder(
    path: str, split: str, *, seed: int, size: int | None = None, group: str | None = None
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its mask of class indices; pixels with the value 255 are ignored.

    Args:
        path: the folder with ``images/`` and ``masks/``, or ``images/train/`` and ``masks/train/``, or
            ``train/images/`` and ``train/masks/``; `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        size: side in pixels of the square to which images and masks are scaled; None to keep their size.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, or no id names a group.
    """
    root = existing_folder(path)
    images, masks = part_folders(root, "images"), part_folders(root, "masks")
    share = portion(images, split)
    yield from share.remarks
    if share.part is None:
        return
    labels = files_by_stem(masks.get(share.part), {".png"})
    pairs = Pairs(files_by_stem(images[share.part]), labels, share.part, grouping=Grouping(group))
    yield from pairs.of_split(share, split, mask_reader(size), seed=seed)
