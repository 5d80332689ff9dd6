"""Two public sentiment benchmarks on disk: SST-2 in the format of GLUE, and the IMDB reviews."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.data.formats.plain_text import decoded
from suite.data.split_files import existing_folder, file_contents, lines, portion, text_contents
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

CLASSES = ("negative", "positive")

GLUE_FILES = {"train": "train.tsv", "validation": "dev.tsv"}
"""Part to file; test.tsv is not read, because its labels are not public."""

PHRASES = (
    "train.tsv has several phrases of one sentence and does not say which, so parts of it have sentences in common"
)


def read_sst2(path: str, split: str, *, seed: int) -> Iterator[Sample | Rejected | Remark]:
    """Yield the texts of one split of SST-2: dev.tsv is the test part, and train.tsv is split 80 : 20.

    Most texts in train.tsv are phrases of longer sentences, so train and validation contain parts of the same reviews;
    dev.tsv has whole sentences from other reviews.

    Args:
        path: the folder with train.tsv and dev.tsv: columns sentence and label (0 negative, 1 positive), separated by
            tabs; quotation marks have no special meaning.
        split: train, validation or test.
        seed: seed of the stratified split.

    Raises:
        DataError: there are no such files, they are not UTF-8, or they have other columns.
    """
    root = existing_folder(path)
    files = {part: root / name for part, name in GLUE_FILES.items() if (root / name).is_file()}
    if not files:
        raise DataError(f"{path!r} has neither train.tsv nor dev.tsv; give GLUE's folder SST-2.")
    share = portion(files, split)
    yield from share.remarks
    if share.part is None:
        return
    if share.part == "train" and share.reports:
        yield Remark(PHRASES)
    records = _glue(files[share.part])
    texts = [record for record in records if isinstance(record, Sample)]
    if share.reports:
        yield from (record for record in records if isinstance(record, Rejected))
    labels = [text.target for text in texts]
    yield from share.take(texts, split, seed=seed, contents=text_contents, labels=labels)


def _glue(file: Path) -> list[Sample | Rejected]:
    lines = decoded(file.read_bytes(), file.name).replace("\r\n", "\n").split("\n")
    header = lines[0].split("\t")
    if header != ["sentence", "label"]:
        raise DataError(f"{file.name} has the columns {', '.join(header)}; expected sentence and label.")
    return [_labeled(f"{file.stem}/{number}", line) for number, line in enumerate(lines[1:], start=2) if line]


def _labeled(name: str, line: str) -> Sample | Rejected:
    cells = line.split("\t")
    if len(cells) != 2:
        return Rejected(name, f"{len(cells)} columns; expected sentence and label")
    if cells[1].strip() not in ("0", "1"):
        return Rejected(name, f"label {cells[1]!r}; expected 0 or 1")
    return Sample(name, cells[0].strip(), CLASSES[int(cells[1])])


def read_imdb(path: str, split: str, *, seed: int) -> Iterator[Sample | Rejected]:
    """Yield the reviews of one split of IMDB: test/ is the test part, and train/ is split 80 : 20.

    Reviews without a label (unsup/) are not read; ``<br />`` becomes a line feed. The number after the underscore in
    the id is the rating, 1 to 10. Reviews of one film, by its address in urls_pos.txt and urls_neg.txt, are one group.

    Args:
        path: the folder aclImdb, with train/ and test/, each with pos/ and neg/, one review per file.
        split: train, validation or test.
        seed: seed of the stratified split.

    Raises:
        DataError: there are no such folders, or one of them has no reviews.
    """
    root = existing_folder(path)
    parts = [part for part in ("train", "test") if (root / part).is_dir()]
    if not parts:
        raise DataError(f"{path!r} has neither train nor test; give the folder aclImdb with pos and neg inside them.")
    share = portion(parts, split)
    if share.part is None:
        return
    files = [found for label in CLASSES for found in _reviews(root / share.part, label)]
    labels, films = [file.label for file in files], [file.film for file in files]
    for found in share.take(files, split, seed=seed, contents=_contents, labels=labels, groups=films):
        yield _review(found, found.file.relative_to(root).with_suffix("").as_posix())


class _File(NamedTuple):
    """The file of a review, its class, and the film that it is about, None if that is unknown."""

    file: Path
    label: str
    film: str | None


def _contents(files: Sequence[_File]) -> list[bytes]:
    return file_contents([found.file for found in files], [found.file.name for found in files])


def _reviews(part: Path, label: str) -> list[_File]:
    place, addresses = part / label[:3], part / f"urls_{label[:3]}.txt"
    files = sorted(place.glob("[!.]*.txt"))
    if not files:
        raise DataError(f"{str(place)!r} has no .txt files; expected one review per file.")
    films = lines(addresses) if addresses.is_file() else []
    return [_File(file, label, _film(file.stem, films)) for file in files]


def _film(name: str, films: Sequence[str]) -> str | None:
    """Return the film of a review, whose number, from 0, is the part of its name before the underscore."""
    number = name.split("_")[0]
    address = films[int(number)] if number.isdecimal() and int(number) < len(films) else ""
    title = re.search(r"tt\d+", address)
    return title[0] if title else address or None


def _review(found: _File, name: str) -> Sample | Rejected:
    try:
        text = decoded(found.file.read_bytes(), found.file.name)
    except (OSError, DataError) as error:
        return Rejected(name, str(error))
    text = re.sub(r"<br\s*/?>", "\n", text, flags=re.IGNORECASE).strip()
    return Sample(name, text, found.label, group=found.film)
