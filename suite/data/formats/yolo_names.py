"""Class names of data in YOLO format, whose label files contain class numbers only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from suite.data.formats.label_files import shortened, text_lines, whole
from suite.data.formats.yolo_yaml import WAY_OUT, entries, flat, yaml_files
from suite.errors import DataError
from suite.types import ClassNames, Remark

if TYPE_CHECKING:
    from yaml import Node

LISTS = ("names.txt", "classes.txt")
"""Files with one class name a line; labelling tools leave them among the label files."""


def numbered_classes(
    root: Path, given: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[ClassNames | Remark, ...]]:
    """Return the class names in the order of the numbers in label files, and what must be said of this order.

    A file's names are what its numbers mean, also if the classes are given in another order. Given classes replace the
    names of a file if it cannot be read or has none of them.

    Raises:
        DataError: no classes are given, and there is no file of names or it cannot be read.
    """
    if not given:
        found = class_names(root)
        return found.names, (found,)
    if not name_lists(root) and not yaml_files(root):
        return tuple(given), ()
    try:
        found = class_names(root)
    except DataError:
        return tuple(given), (
            Remark("classes= says what numbers in label files mean, as no file of names can be used"),
        )
    if not set(found.names) & set(given):
        return tuple(given), (Remark(f"classes= replaces the names in {found.source}: {', '.join(found.names[:6])}"),)
    if found.names == tuple(given):
        return found.names, ()
    return found.names, (Remark(f"numbers in label files are those of {found.source}, outputs those of classes="),)


def class_names(root: Path) -> ClassNames:
    """Return the class names in the order of their numbers.

    They are the lines of names.txt or classes.txt, or the list or numbered mapping under ``names:`` in data.yaml, or in
    the only YAML file of another name.

    Raises:
        DataError: none of these files exists, or one cannot be read, does not name each class once, or contradicts
            another one.
    """
    found = {file: _from_lines(file) for file in name_lists(root)}
    contents = {file: entries(file) for file in yaml_files(root)}
    found |= {file: _from_yaml(file, content) for file, content in contents.items() if "names" in content or not found}
    if not found:
        raise DataError(
            f"{str(root)!r} has no names.txt, classes.txt or data.yaml; add one, or give classes=['a', 'b']."
        )
    (first, names), *others = found.items()
    for file, different in others:
        if different != names:
            raise DataError(
                f"{str(first)!r} gives the class names {shortened(names)}, but {str(file)!r} gives "
                f"{shortened(different)}. {WAY_OUT}"
            )
    return ClassNames(tuple(names), first.name)


def name_lists(root: Path) -> list[Path]:
    """Return the files with one class name a line, in the data set's folder or up to two levels below."""
    patterns = [f"{above}{name}" for above in ("", "*/", "*/*/") for name in LISTS]
    return [file for pattern in patterns for file in sorted(root.glob(pattern)) if file.is_file()]


def _from_lines(file: Path) -> list[str]:
    names = text_lines(file)
    while names and not names[-1]:
        names.pop()
    if "" in names:
        raise DataError(f"{str(file)!r} has no class name in line {names.index('') + 1}. {WAY_OUT}")
    return _once(file, names)


def _once(file: Path, names: list[str]) -> list[str]:
    if not names or not all(map(str.strip, names)) or len(set(names)) < len(names):
        raise DataError(
            f"{str(file)!r} gives the class names {names}; expected one for each number from 0, none twice. {WAY_OUT}"
        )
    return names


def _from_yaml(file: Path, content: Mapping[str, Node]) -> list[str]:
    """Return the scalars under ``names:`` as they are written: ``no`` is a name, and not False as in YAML 1.1."""
    import yaml

    names, count = content.get("names"), content.get("nc")
    if isinstance(names, yaml.SequenceNode):
        by_number = dict(enumerate(names.value))
    else:
        by_number = _by_number(flat(names, file)) if isinstance(names, yaml.MappingNode) else {}
    if names is not None and not by_number:
        raise DataError(
            f"{str(file)!r} has names in line {names.start_mark.line + 1} that are neither a list nor numbered from 0 "
            f"without gaps; expected names: [cat, dog] or names: {{0: cat, 1: dog}}. {WAY_OUT}"
        )
    found = [item.value if isinstance(item, yaml.ScalarNode) else "" for _, item in sorted(by_number.items())]
    if count is not None and str(count.value).strip() != str(len(found)):
        raise DataError(f"{str(file)!r} has nc: {shortened(count.value)}, but {len(found)} names. {WAY_OUT}")
    return _once(file, found)


def _by_number(items: Mapping[str, Node]) -> dict[int, Node]:
    """Return entries by number; nothing if their numbers do not count from 0 without gaps."""
    try:
        by_number = {whole(key): item for key, item in items.items()}
    except DataError:
        return {}
    return by_number if sorted(by_number) == list(range(len(items))) else {}
