"""Class names of data in YOLO format, whose label files contain class numbers only."""

from pathlib import Path

from suite.data.formats.plain_text import decoded
from suite.data.split_files import lines
from suite.errors import DataError


def class_names(root: Path) -> tuple[str, ...]:
    """Return the class names in the order of their numbers.

    They are the lines of names.txt or classes.txt, or the list or numbered mapping under ``names:`` in data.yaml.

    Raises:
        DataError: none of these files exists, or it cannot be read or does not name each class once.
    """
    readers = {"names.txt": _from_lines, "classes.txt": _from_lines, "data.yaml": _from_yaml, "data.yml": _from_yaml}
    file = next((root / name for name in readers if (root / name).is_file()), None)
    if file is None:
        raise DataError(
            f"{str(root)!r} has no names.txt, classes.txt or data.yaml; add one, or give classes=['a', 'b']."
        )
    names = readers[file.name](file)
    if not names or not all(names) or len(set(names)) < len(names):
        raise DataError(
            f"{str(file)!r} gives the class names {names}; expected one for each number from 0, none twice. "
            "Correct it, or give classes=['a', 'b']."
        )
    return tuple(names)


def _from_lines(file: Path) -> list[str]:
    names = lines(file)
    while names and not names[-1]:
        names.pop()
    return names


def _from_yaml(file: Path) -> list[str]:
    """Return the scalars under ``names:`` as they are written: ``no`` is a name, and not False as in YAML 1.1.

    The list is empty if there are no names, or if their numbers do not count from 0 without gaps.
    """
    import yaml

    text = decoded(file.read_bytes(), file.name)
    try:
        document = yaml.compose(text, Loader=yaml.BaseLoader)
    except yaml.MarkedYAMLError as error:
        raise DataError(f"{str(file)!r} is not YAML: line {error.problem_mark.line + 1}: {error.problem}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DataError(f"{str(file)!r} is not YAML: line {line}: {error.reason}.") from error
    entries = document.value if isinstance(document, yaml.MappingNode) else []
    names = next((value for key, value in entries if key.value == "names"), None)
    if isinstance(names, yaml.SequenceNode):
        by_number = dict(enumerate(names.value))
    elif isinstance(names, yaml.MappingNode):
        by_number = {int(key.value): item for key, item in names.value if str(key.value).isdecimal()}
    else:
        return []
    if sorted(by_number) != list(range(len(names.value))):
        return []
    return [item.value if isinstance(item, yaml.ScalarNode) else "" for _, item in sorted(by_number.items())]
