"""Two public sentiment benchmarks on disk: SST-2 in the format of GLUE, and the IMDB reviews."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from suite.data.formats.plain_text import decoded
from suite.data.split_files import existing_folder, file_contents, portion, text_contents
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

CLASSES = ("negative", "positive")

GLUE_FILES = {"train": "train.tsv", "validation": "dev.tsv"}
"""Part to file; test.tsv is not read, because its labels are not public."""


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
    the id is the rating, 1 to 10.

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
    files = [(file, label) for label in CLASSES for file in _reviews(root / share.part / label[:3])]
    labels = [label for _, label in files]
    for file, label in share.take(files, split, seed=seed, contents=_contents, labels=labels):
        yield _review(file, file.relative_to(root).with_suffix("").as_posix(), label)


def _contents(files: Sequence[tuple[Path, str]]) -> list[bytes]:
    return file_contents([file for file, _ in files], [file.name for file, _ in files])


def _reviews(place: Path) -> list[Path]:
    files = sorted(place.glob("[!.]*.txt"))
    if not files:
        raise DataError(f"{str(place)!r} has no .txt files; expected one review per file.")
    return files


def _review(file: Path, name: str, label: str) -> Sample | Rejected:
    try:
        text = decoded(file.read_bytes(), file.name)
    except (OSError, DataError) as error:
        return Rejected(name, str(error))
    return Sample(name, re.sub(r"<br\s*/?>", "\n", text, flags=re.IGNORECASE).strip(), label)
