"""Two public sentiment benchmarks on disk: SST-2 in the format of GLUE, and the IMDB reviews."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from suite.data.formats.text_files import rows_of, text_of, unread
from suite.data.groups import ungrouped
from suite.data.named_files import wrong_suffix
from suite.data.regular_files import existing_folder
from suite.data.split_files import file_contents, portion, text_contents
from suite.data.walking import children
from suite.errors import DataError
from suite.types import Rejected, Remark, Sample

CLASSES = ("negative", "positive")

GLUE_FILES = {"train": "train.tsv", "validation": "dev.tsv"}
"""Part to file; test.tsv is not read, because its labels are not public."""

IMDB_NAMES = (
    "pos", "neg", "unsup", "urls_pos.txt", "urls_neg.txt", "urls_unsup.txt", "labeledBow.feat", "unsupBow.feat",
)  # fmt: skip
"""What is in a part of IMDB as it is published; the reviews in unsup have no label, and the .feat files no texts."""

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
    files = {part: root / name for part, name in GLUE_FILES.items() if os.path.lexists(root / name)}
    if not files:
        raise DataError(f"{path!r} has neither train.tsv nor dev.tsv; give GLUE's folder SST-2.")
    yield from unread(root, [*files.values(), root / "test.tsv"])
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
    lines = rows_of(text_of(file))
    header = lines[0].split("\t")
    if header != ["sentence", "label"]:
        raise DataError(f"{file.name} has the columns {', '.join(header)[:80]!r}; expected sentence and label.")
    return [_labeled(f"{file.stem}/{number}", line) for number, line in enumerate(lines[1:], start=2) if line]


def _labeled(name: str, line: str) -> Sample | Rejected:
    cells = line.split("\t")
    if len(cells) != 2:
        return Rejected(name, f"{len(cells)} columns; expected sentence and label")
    if cells[1].strip() not in ("0", "1"):
        return Rejected(name, f"label {cells[1]!r:.40}; expected 0 or 1")
    return Sample(name, cells[0].strip(), CLASSES[int(cells[1])])


def read_imdb(path: str, split: str, *, seed: int) -> Iterator[Sample | Rejected | Remark]:
    """Yield the reviews of one split of IMDB: test/ is the test part, and train/ is split 80 : 20.

    Reviews without a label (unsup/) are not read; ``<br />`` becomes a line feed. The number after the underscore in
    the id is the rating, 1 to 10. Reviews of one film, by its address in urls_pos.txt and urls_neg.txt, are one group.

    Args:
        path: the folder aclImdb, with train/ and test/, each with pos/ and neg/, one review per file.
        split: train, validation or test.
        seed: seed of the stratified split.

    Raises:
        DataError: there are no such folders, one of them has no reviews, or a list of addresses cannot be read.
    """
    root = existing_folder(path)
    parts = [part for part in ("train", "test") if (root / part).is_dir()]
    if not parts:
        raise DataError(f"{path!r} has neither train nor test; give the folder aclImdb with pos and neg inside them.")
    share = portion(parts, split)
    if share.part is None:
        return
    yield from unread(root / share.part, [root / share.part / name for name in IMDB_NAMES])
    folders = [_reviews(root / share.part, label) for label in CLASSES]
    files = [found for reviews, _ in folders for found in reviews]
    labels, films = [file.label for file in files], [file.film for file in files]
    if share.reports:
        for _, others in folders:
            yield from (Rejected(other.relative_to(root).as_posix(), reason) for other, reason in others.items())
        yield from ungrouped([_name(file, root) for file in files], films, "the files urls_*.txt name the film of")
    for found in share.take(files, split, seed=seed, contents=_contents, labels=labels, groups=films):
        yield _review(found, _name(found, root))


class _File(NamedTuple):
    """The file of a review, its class, and the film that it is about, None if that is unknown."""

    file: Path
    label: str
    film: str | None


def _name(found: _File, root: Path) -> str:
    return found.file.relative_to(root).with_suffix("").as_posix()


def _contents(files: Sequence[_File]) -> list[bytes]:
    return file_contents([found.file for found in files], [found.file.name for found in files])


def _reviews(part: Path, label: str) -> tuple[list[_File], dict[Path, str]]:
    """Return the reviews of one class, and why anything else in their folder is not read."""
    place, addresses = part / label[:3], part / f"urls_{label[:3]}.txt"
    found = children(place)
    others = {**found.problems, **dict.fromkeys(found.folders, "a folder; expected one file per review")}
    others |= {file: reason for file in found.files if (reason := wrong_suffix(file, {".txt"}))}
    files = [file for file in found.files if file not in others]
    if not files:
        raise DataError(f"{str(place)!r} has no .txt files; expected one review per file.")
    films = [line.strip() for line in text_of(addresses).split("\n")] if os.path.lexists(addresses) else []
    return [_File(file, label, _film(file.stem, films)) for file in files], others


def _film(name: str, films: Sequence[str]) -> str | None:
    """Return the film of a review, whose number, from 0, is the part of its name before the underscore."""
    number = name.split("_")[0]
    address = films[int(number)] if number.isdecimal() and int(number) < len(films) else ""
    title = re.search(r"tt\d+", address)
    return title[0] if title else address or None


def _review(found: _File, name: str) -> Sample | Rejected:
    try:
        text = text_of(found.file)
    except DataError as error:
        return Rejected(name, str(error))
    text = re.sub(r"<br\s*/?>", "\n", text, flags=re.IGNORECASE).strip()
    return Sample(name, text, found.label, group=found.film)
