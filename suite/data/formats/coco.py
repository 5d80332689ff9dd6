"""Detection data in COCO format: one JSON file per part, boxes as x, y, width, height."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from suite.data.formats.coco_contents import Contents, listed_images, read_contents
from suite.data.formats.coco_paths import (
    CocoFiles,
    annotation_files,
    image_file,
    image_folders,
    images_in,
    without_listed,
)
from suite.data.formats.coco_records import CocoImage
from suite.data.formats.image_files import Photo, detection_sample
from suite.data.formats.pixel_format import AS_STORED, PixelFormat, agreed_format
from suite.data.groups import Grouping
from suite.data.regular_files import existing_folder
from suite.data.split_files import file_contents, portion, sample_name
from suite.errors import DataError
from suite.escaping import escaped_name
from suite.types import ClassNames, Rejected, Remark, Sample

Find = Callable[[Sequence[str]], Path]
"""Takes the spellings of an image's path and returns its file, or raises a DataError."""


def read_coco(
    files: CocoFiles,
    split: str,
    *,
    seed: int,
    classes: Sequence[str] | None = None,
    pixels: PixelFormat = AS_STORED,
    group: str | None = None,
) -> Iterator[Sample | Rejected | Remark | ClassNames]:
    """Yield the images of one split, each with its objects; labels are category names, and crowds are ignored objects.

    An image is rejected if one of its annotations cannot be read, since models would be blamed for what they find.

    Args:
        files: the folder and the annotation files; `split_files.portion` says which of them a split takes.
        split: train, validation or test.
        seed: seed of the split, if the data do not come with one.
        classes: class names in the order of the models' outputs; None for the categories in the order of their ids.
        pixels: how images become arrays; they are scaled to their square, and not cropped.
        group: how ids name groups of images that belong together; see `suite.data.groups.Grouping`.

    Raises:
        DataError: no annotation file, or one without images, annotations or categories, or no id names a group.
    """
    annotations = annotation_files(files)
    folders = {part: image_folders(files, part, file) for part, file in annotations.items()}
    images = {part: images_in(places) for part, places in folders.items()}
    form, looks = agreed_format(sorted({file for found in images.values() for file in found}), pixels)
    share = portion(annotations, split)
    yield from (*looks, *share.remarks)
    if (part := share.part) is None:
        return
    content = read_contents(annotations[part])
    yield from _class_names(annotations[part], list(content.names.values()), classes)
    grouping, ids = Grouping(group), [sample_name(part, record.name) for record in content.images]
    if share.reports:
        yield from content.rejected
        yield from content.notes.remarks(annotations[part].name)
        searched = {annotations[other]: folders[other] for other in (part, *annotations)}  # its own file first
        yield from _unlisted(images[part], content, searched)
        yield from grouping.remarks(ids)
    find = partial(image_file, existing_folder(files.path), folders[part])
    contents, groups = partial(_contents, find), grouping.of_all(ids)
    chosen = share.take(content.images, split, seed=seed, contents=contents, groups=groups)
    yield from grouping.applied(
        _sample(sample_name(part, record.name), record, content, (find, form)) for record in chosen
    )


def _unlisted(images: Sequence[Path], content: Contents, folders: Mapping[Path, Sequence[Path]]) -> Iterator[Remark]:
    """Yield a remark if a part's folder of images has some that are in no annotation file: parts often share a folder.

    Args:
        images: the images in the part's folder.
        content: the part's annotations.
        folders: where the images of each annotation file may be.
    """
    left = list(images)
    for file, places in folders.items():
        if left:
            records = content.listed if file == content.file else listed_images(file)
            left = without_listed(left, places, (spelling for record in records for spelling in record.spellings))
    if left:
        count = f"{len(left):,} of {len(images):,} images"
        yield Remark(f"{count} are in none of the annotation files that are used, such as {left[0].name}")


def _class_names(file: Path, names: Sequence[str], classes: Sequence[str] | None) -> Iterator[ClassNames | Remark]:
    """Yield the order of classes, unless it is given.

    Raises:
        DataError: it is not given, and two categories have one name.
    """
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated and classes is None:
        raise DataError(
            f"{str(file)!r} has several categories of the name {repeated[0]!r}, so the numbers of classes are unclear; "
            "rename one, or give classes=['a', 'b'] in the order of the models' outputs."
        )
    if repeated:
        yield Remark(f"{file.name}: several categories of the name {repeated[0]!r} are one class")
    if classes is None:
        yield ClassNames(tuple(names), f"the category ids in {file.name}")


def _sample(name: str, record: CocoImage, content: Contents, options: tuple[Find, PixelFormat]) -> Sample | Rejected:
    find, form = options
    if errors := content.errors.get(record.id):
        more = f" (and {len(errors) - 1} more of this image)" if len(errors) > 1 else ""
        return Rejected(name, f"{errors[0]}{more}")
    try:
        photo = Photo(find(record.spellings), form, record.size)
        return detection_sample(name, photo, list(content.objects[record.id]))
    except DataError as error:
        return Rejected(name, str(error))


def _contents(find: Find, records: Sequence[CocoImage]) -> list[bytes]:
    return file_contents([_file(find, record) for record in records], [escaped_name(record.name) for record in records])


def _file(find: Find, record: CocoImage) -> Path | None:
    try:
        return find(record.spellings)
    except DataError:
        return None
