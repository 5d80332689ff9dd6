"""Class names of data in YOLO's format, which its label files know by number alone."""

import re
from pathlib import Path

from suite.data.split_files import lines
from suite.errors import DataError

ENTRY = re.compile(r"""^(?:-|(\d+)\s*:)\s*(?:"([^"]*)"|'([^']*)'|([^#]*?))\s*(?:#.*)?$""")
"""One class in a YAML list or mapping: ``- person``, ``0: person``, with or without quotes and a comment."""


def class_names(root: Path) -> tuple[str, ...]:
    """Return the class names in the order of their numbers.

    They are the lines of names.txt or classes.txt, or what follows ``names:`` in data.yaml: a list in brackets, or one
    line for each class.

    Raises:
        DataError: there is none of these files, or it holds no names in one of these forms.
    """
    for name in ("names.txt", "classes.txt"):
        if (root / name).is_file():
            found = lines(root / name)
            while found and not found[-1]:
                found.pop()
            return _checked(found, root / name)
    for name in ("data.yaml", "data.yml"):
        if (root / name).is_file():
            return _checked(_from_yaml(lines(root / name)), root / name)
    raise DataError(f"{str(root)!r} has no names.txt, classes.txt or data.yaml; add one, or give classes=['a', 'b'].")


def _from_yaml(text: list[str]) -> list[str]:
    start = next((place for place, line in enumerate(text) if line.startswith("names:")), None)
    if start is None:
        return []
    rest = text[start].removeprefix("names:").split(" #")[0].strip()
    if rest:
        inner = re.fullmatch(r"\[(.*)\]", rest)
        return [word.strip().strip("'\"") for word in inner[1].split(",")] if inner else []
    found: list[str] = []
    for line in text[start + 1 :]:
        if not line or line.startswith("#"):
            continue
        entry = ENTRY.match(line)
        if entry is None:
            break
        if entry[1] is not None and int(entry[1]) != len(found):
            return []  # numbers with gaps: a class without a name
        found.append(next((word for word in entry.groups()[1:] if word is not None), ""))
    return found


def _checked(names: list[str], file: Path) -> tuple[str, ...]:
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataError(
            f"{str(file)!r} gives the class names {names}; expected one for each number from 0, none twice. "
            "Correct it, or give classes=['a', 'b']."
        )
    return tuple(names)
