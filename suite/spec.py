"""Spec strings: ``pgd(eps=8/255, steps=40)`` to a canonical value and back.

A spec is a name and keyword arguments. Numbers, fractions, strings, booleans, None, lists and nested specs are all
there is; the text is parsed with `ast` and never evaluated, so a spec from a stranger can do no harm.
"""

from __future__ import annotations

import ast
import hashlib
import json
import keyword
import math
import re
import unicodedata
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.errors import SpecError

LONGEST = 4000
"""Characters in the longest spec that is parsed; `ast` recurses, and a longer text is a mistake or an attack."""

LARGEST = 2**63
"""Integers stay below it in size; a larger one is a mistake, and too long to print or to divide."""

# A name holds no spaces, quotes or brackets; the path of a file in front of one may hold all but round brackets.
_NAME = re.compile(r"(?:[^()\x00-\x1f]+\.py:)?[^\s()\[\]{}'\",=]+")

_ALMOST = {"true": "True", "false": "False", "none": "None", "null": "None"}


class Ratio(float):
    """A fraction that computes as a float and prints as it was written.

    >>> Ratio(8, 255) == 8 / 255, str(Ratio(8, 255))
    (True, '8/255')
    """

    text: str

    def __new__(cls, numerator: float, denominator: float) -> Ratio:
        """Return the fraction of two numbers."""
        ratio = super().__new__(cls, numerator / denominator)
        ratio.text = f"{numerator!r}/{denominator!r}"
        return ratio

    def __getnewargs__(self) -> tuple[Any, ...]:  # so that specs can be pickled and copied
        numerator, denominator = self.text.split("/")
        return ast.literal_eval(numerator), ast.literal_eval(denominator)

    def __repr__(self) -> str:
        return self.text

    __str__ = __repr__


@dataclass(frozen=True, eq=False)
class Spec:
    """A name and its keyword arguments, in canonical (sorted) order.

    Two specs are equal when they mean the same: ``pgd(eps=1/4)`` equals ``pgd(eps=0.25)``, whatever the spelling;
    ``f(x=1)`` and ``f(x=True)`` differ. Equal specs have equal digests, and only they.

    Raises:
        SpecError: the name, the name of an argument or a value cannot be written in a spec string.
    """

    name: str
    args: tuple[tuple[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"The name {self.name!r} is empty or holds spaces, quotes or brackets.")
        names = [key for key, _ in self.args]
        for key in names:
            if not _is_argument(key):
                raise SpecError(f"{self.name}: {key!r} cannot be the name of an argument.")
            if names.count(key) > 1:
                raise SpecError(f"{self.name}: the argument {key} is given twice.")
        object.__setattr__(self, "args", tuple(sorted((key, _freeze(value)) for key, value in self.args)))

    def __eq__(self, other: object) -> bool:
        return _json(self) == _json(other) if isinstance(other, Spec) else NotImplemented

    def __hash__(self) -> int:
        return hash(_json(self))

    def __str__(self) -> str:
        if not self.args:
            return self.name
        return f"{self.name}({', '.join(f'{key}={_show(value)}' for key, value in self.args)})"

    @property
    def kwargs(self) -> dict[str, Any]:
        """The arguments as a dictionary."""
        return dict(self.args)

    def but(self, **changes: Any) -> Spec:
        """Return the spec with some arguments set."""
        return Spec(self.name, tuple({**self.kwargs, **changes}.items()))

    def without(self, *names: str) -> Spec:
        """Return the spec with some arguments left out."""
        return Spec(self.name, tuple((key, value) for key, value in self.args if key not in names))

    def canonical(self) -> Any:
        """Return a JSON value that is equal for equal specs."""
        return _plain(self)


def make(name: str, arguments: Mapping[str, Any]) -> Spec:
    """Build a spec from a name and a mapping of arguments."""
    return Spec(name, tuple(arguments.items()))


def parse(text: str | Spec) -> Spec:
    """Parse a spec string.

    Args:
        text: ``name`` or ``name(key=value, ...)``. A name may be a path and a name (``acme.py:defects``) or a family
            and a member (``timm:resnet18``). Bare words are strings: ``pgd(norm=linf)``.

    Raises:
        SpecError: the text is not a spec; the message shows where and what would be.
    """
    if isinstance(text, Spec):
        return text
    text = text.strip()
    if len(text) > LONGEST:
        raise SpecError(f"A spec of {len(text)} characters was given; at most {LONGEST} are read.")
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not bracket:
        return Spec(name)
    try:
        tree = _tree(f"f({rest}")
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.func.id != "f":
            raise SpecError(f"{text!r} is not a spec: something follows the closing bracket.")
        return _call(tree, name, text)
    except (SyntaxError, ValueError) as error:
        colon = " Inside, a name with a colon is written spec('torchattacks:PGD(steps=10)')." if ":" in rest else ""
        why = str(error).partition(" (<unknown>")[0]
        raise SpecError(f"{text!r} is not a spec: {why}. Write it like pgd(eps=8/255, steps=40).{colon}") from None
    except (RecursionError, MemoryError):
        raise SpecError(f"{text[:60]!r}... is nested too deeply for a spec.") from None


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (64 hexadecimal digits)."""
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _tree(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what Python only warns about ('C:\\data', 1or 2) is no spec
        return ast.parse(text, mode="eval").body


def _call(node: ast.Call, name: str, text: str) -> Spec:
    if node.args:
        raise SpecError(f"{text!r}: arguments need names; write {name}(name=value).")
    args: dict[str, Any] = {}
    for item in node.keywords:
        if item.arg is None:
            raise SpecError(f"{text!r}: ** is not allowed in a spec.")
        if item.arg in args:
            raise SpecError(f"{text!r}: the argument {item.arg} is given twice.")
        args[item.arg] = _value(item.value, text)
    return make(name, args)


def _value(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
            return _freeze(value)
        case ast.Name(id=word):
            if word.lower() in _ALMOST:
                meant = _ALMOST[word.lower()]
                raise SpecError(f"{text!r}: write {meant} for the value, or {word!r} in quotes for the word.")
            return word
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _negative(_value(operand, text), text)
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            return _ratio(_value(left, text), _value(right, text), text)
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return tuple(_value(item, text) for item in items)
        case ast.Call(func=ast.Name(id="spec"), args=[ast.Constant(value=str(inner))], keywords=[]):
            return parse(inner)
        case ast.Call(func=ast.Name(id=name)):
            return _call(node, name, text)
    raise SpecError(
        f"{text!r}: {ast.unparse(node)!r} is not a value a spec can hold. "
        "Use numbers, fractions like 8/255, 'strings', True, False, None, lists, or another spec."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _negative(value: Any, text: str) -> Any:
    if not _is_number(value):
        raise SpecError(f"{text!r}: only a number can be negative, not {value!r}.")
    if isinstance(value, Ratio):
        numerator, denominator = value.__getnewargs__()
        return Ratio(-numerator, denominator)
    return -value


def _ratio(left: Any, right: Any, text: str) -> Ratio:
    plain = all(_is_number(side) and not isinstance(side, Ratio) for side in (left, right))
    if not plain or right == 0:
        raise SpecError(f"{text!r}: {left!r}/{right!r} is not a fraction of two numbers.")
    return Ratio(left, right)


def _freeze(value: Any) -> Any:
    match value:
        case None | bool() | Spec():
            return value
        case list() | tuple():
            return tuple(_freeze(item) for item in value)
        case str():
            return str(value)
        case int() if abs(value) < LARGEST:
            return int(value)
        case int():
            raise SpecError("An integer of 2**63 or more cannot stand in a spec.")
        case float() if math.isfinite(value):
            return value if isinstance(value, Ratio) else float(value)
    raise SpecError(
        f"{value!r} ({type(value).__name__}) cannot stand in a spec; use finite numbers, fractions like 8/255, "
        "strings, True, False, None, lists, or another spec."
    )


def _is_argument(name: str) -> bool:
    # Python reads identifiers in their NFKC form, so that others would come back changed.
    return name.isidentifier() and not keyword.iskeyword(name) and unicodedata.normalize("NFKC", name) == name


def _is_word(text: str) -> bool:
    return _is_argument(text) and text.lower() not in _ALMOST


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    if isinstance(value, str) and _is_word(value):
        return value
    if not isinstance(value, Spec):
        return repr(value)
    if not _is_argument(value.name):  # timm:resnet18 and the like are not Python names
        return f"spec({str(value)!r})"
    return str(value) if value.args else f"{value.name}()"


def _plain(value: Any) -> Any:
    if isinstance(value, Spec):
        return {"name": value.name, "args": {key: _plain(item) for key, item in value.args}}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else float(value)
    return value
