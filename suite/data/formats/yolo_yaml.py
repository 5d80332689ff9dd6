"""data.yaml of data in YOLO format, in every spelling that YAML allows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from suite.data.formats.label_files import unicode_text, whole
from suite.errors import DataError

if TYPE_CHECKING:
    from yaml import Node

SUFFIXES = (".yaml", ".yml")

WAY_OUT = "Correct it, or give classes=['a', 'b']."


def yaml_files(root: Path) -> list[Path]:
    """Return data.yaml, or the only YAML file of another name."""
    usual = [file for suffix in SUFFIXES if (file := root / f"data{suffix}").is_file()]
    others = sorted(file for file in root.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return usual or (others if len(others) == 1 else [])


def entries(file: Path) -> dict[str, Node]:
    """Return the entries of a YAML file by key, with those of merge keys; nothing if it is no mapping.

    Raises:
        DataError: it cannot be read, is not YAML, or has a key twice.
    """
    import yaml

    text = unicode_text(file)
    loader = None
    try:
        loader = yaml.BaseLoader(text)
        return flat(loader.get_single_node(), file)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise DataError(f"{str(file)!r} is not YAML: {where}{error.problem}.") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DataError(f"{str(file)!r} is not YAML: line {line}: {error.reason}.") from error
    except (ValueError, OverflowError, RecursionError) as error:
        line = loader.line + 1 if loader is not None else 1
        what = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{str(file)!r} is not YAML: line {line}: {what}.") from error


def flat(node: Node | None, file: Path, known: dict[int, dict[str, Node]] | None = None) -> dict[str, Node]:
    """Return the entries of a mapping and of those it merges; `known` keeps aliases from multiplying the work."""
    import yaml

    known = {} if known is None else known
    if id(node) in known:
        return known[id(node)]
    own: dict[str, Node] = {}
    merged: dict[str, Node] = {}
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        name = key.value if isinstance(key, yaml.ScalarNode) else ""
        if name == "<<" and key.style is None:
            for base in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                merged = flat(base, file, known) | merged
        elif name in own:
            raise DataError(f"{str(file)!r} has {name!r} twice, in line {key.start_mark.line + 1}. {WAY_OUT}")
        else:
            own[name] = value
    known[id(node)] = merged | own
    return known[id(node)]


def yaml_contents(root: Path) -> dict[str, Node]:
    """Return the entries of data.yaml; nothing if there is none or it cannot be read, which `class_names` reports."""
    try:
        return next((entries(file) for file in yaml_files(root)), {})
    except DataError:
        return {}


def extra_columns(root: Path) -> int:
    """Return how many numbers of keypoints follow a box, as ``kpt_shape:`` in data.yaml says; 0 if it does not."""
    import yaml

    shape = yaml_contents(root).get("kpt_shape")
    sides = shape.value if isinstance(shape, yaml.SequenceNode) else []
    try:
        return whole(sides[0].value) * whole(sides[1].value) if len(sides) == 2 else 0
    except DataError:
        return 0
