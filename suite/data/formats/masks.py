"""A folder of images and a folder of masks with the same names."""

from collections.abc import Iterator, Sequence

from suite.data.formats.image_pairs import Pairs
from suite.data.formats.mask_files import mask_reader, meaning_of
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.groups import Grouping
from suite.data.named_files import MASK_SUFFIXES, files_by_stem
from suite.data.regular_files import existing_folder
from suite.data.split_files import beside_parts, part_folders, portion
from suite.types import Rejected, Remark, Sample


def read_mask_folder(
    path: str,
    split: str,
    *,
    seed: int,
    classes: Sequence[str],
    pixels: PixelFormat = AS_STORED,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark]:
    """Yield the images of one split, each with its mask of class indices; pixels with the value 255 are ignored.

    If there are two classes and masks hold only 0 and 255, 255 is the second class; see `mask_files.meaning_of`.

    Args:
        path: the folder with ``images/`` and ``masks/``, or ``images/train/`` and ``masks/train/``, or
            ``train/images/`` and ``train/masks/``; `split_files.portion` says which part a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        classes: the classes in order.
        pixels: how images become arrays; they and their masks are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: the folder does not have this layout, it is unknown what the masks mean, or no id names a group.
    """
    root = existing_folder(path)
    folders, mask_folders = part_folders(root, "images"), part_folders(root, "masks")
    images = {part: files_by_stem(folder) for part, folder in folders.items()}
    masks = {part: files_by_stem(folder, MASK_SUFFIXES) for part, folder in mask_folders.items()}
    form, looks = agreed_format([file for files in images.values() for file in files.values()], pixels)
    meaning = meaning_of([file for files in masks.values() for file in files.values()], classes)
    share = portion(images, split)
    yield from (*looks, *meaning.remarks, *share.remarks)
    if split == "test":
        yield from beside_parts(root, "images", folders)
        yield from beside_parts(root, "masks", {part: mask_folders[part] for part in folders if part in mask_folders})
    if share.part is not None:
        labels = masks.get(share.part, files_by_stem(None))
        pairs = Pairs(images[share.part], labels, share.part, grouping=Grouping(group))
        yield from pairs.of_split(share, split, mask_reader(form, meaning.to_classes), seed=seed)
