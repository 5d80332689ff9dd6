"""Spec strings such as ``pgd(eps=8/255, steps=40)``, and their canonical form.

A spec is a name with keyword arguments. Values are numbers, fractions, strings, booleans, None, lists and nested specs.
The text is parsed with `ast` and never evaluated, so an untrusted spec is safe.
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
from suite.escaping import escaped

LONGEST = 4000
"""Maximum length of a spec in characters; `ast` recurses, and no useful spec is longer."""

LARGEST = 2**63
"""Integers must be smaller in magnitude; no useful one is larger."""

# A name contains no spaces, quotes or brackets; the path of a file before it may contain anything but parentheses.
_NAME = re.compile(r"(?:[^()\x00-\x1f]+\.py:)?[^\s()\[\]{}'\",=]+")

_SMUGGLED_BYTE = re.compile("[\udc80-\udcff]")
"""Stands for a byte of a path that is not UTF-8; `ast` reads only its escape."""

_ALMOST = {"true": "True", "false": "False", "none": "None", "null": "None"}


class Ratio(float):
    """A float that prints as the fraction it was written as.

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
    """A name and its keyword arguments in canonical (sorted) order.

    Specs are equal if their values are: ``pgd(eps=1/4)`` equals ``pgd(eps=0.25)``, but ``f(x=1)`` and ``f(x=True)``
    differ. Specs have equal digests if and only if they are equal.

    Raises:
        SpecError: the name, an argument name or a value cannot be written in a spec string.
    """

    name: str
    args: tuple[tuple[str, Any], ...] = field(default=())

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise SpecError(f"The name {self.name!r} is empty or contains spaces, quotes or brackets.")
        if escaped(self.name) != self.name:
            raise SpecError(
                f"The name '{self.name}' contains control characters, marks of direction or bytes that are not UTF-8; "
                "rename it."
            )
        names = [key for key, _ in self.args]
        for key in names:
            if not _is_argument(key):
                raise SpecError(f"{self.name}: {key!r} is not a valid argument name.")
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

    def canonical(self) -> Any:
        """Return a JSON value; equal specs have equal values."""
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
        SpecError: the text is not a spec; the message shows the problem and a correct form.
    """
    if isinstance(text, Spec):
        return text
    if not isinstance(text, str):
        raise SpecError(f"{text!r} is not a spec; expected a text such as pgd(eps=8/255, steps=40).")
    text = text.strip()
    if len(text) > LONGEST:
        raise SpecError(f"A spec may have at most {LONGEST} characters; got {len(text)}.")
    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not bracket:
        return Spec(name)
    try:
        tree = _tree("f(" + _SMUGGLED_BYTE.sub(lambda found: rf"\u{ord(found[0]):04x}", rest))
        if not isinstance(tree, ast.Call) or not isinstance(tree.func, ast.Name) or tree.func.id != "f":
            raise SpecError(f"{text!r} is not a spec: there is text after the closing parenthesis.")
        return _call(tree, name, text)
    except (SyntaxError, ValueError) as error:
        colon = " Write a nested spec with a colon as spec('torchattacks:PGD(steps=10)')." if ":" in rest else ""
        why = str(error).partition(" (<unknown>")[0]
        raise SpecError(f"{text!r} is not a spec: {why}. Write for example pgd(eps=8/255, steps=40).{colon}") from None
    except (RecursionError, MemoryError):
        raise SpecError(f"{text[:60]!r}... is nested too deeply for a spec.") from None


def digest(value: Any) -> str:
    """Return the SHA-256 of a JSON value in canonical form (64 hexadecimal digits)."""
    return hashlib.sha256(_json(value).encode()).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)


def _tree(text: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # text that Python only warns about ('C:\\data', 1or 2) is no spec
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
                raise SpecError(
                    f"{text!r}: write {_ALMOST[word.lower()]} for the value, or {word!r} with quotes for the string."
                )
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
        f"{text!r}: {ast.unparse(node)!r} is not a valid value. "
        "Use numbers, fractions like 8/255, 'strings', True, False, None, lists, or another spec."
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _negative(value: Any, text: str) -> Any:
    if not _is_number(value):
        raise SpecError(f"{text!r}: {value!r} is not a number and cannot be negated.")
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
            raise SpecError("Integers in a spec must be smaller than 2**63 in magnitude.")
        case float() if math.isfinite(value):
            return value if isinstance(value, Ratio) else float(value)
    raise SpecError(
        f"{value!r} ({type(value).__name__}) is not a valid value of a spec; use finite numbers, fractions like 8/255, "
        "strings, True, False, None, lists, or another spec."
    )


def _is_argument(name: str) -> bool:
    # Python normalizes identifiers to NFKC, so others would not survive parsing.
    return name.isidentifier() and not keyword.iskeyword(name) and unicodedata.normalize("NFKC", name) == name


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    if isinstance(value, str) and _is_argument(value) and value.lower() not in _ALMOST:
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
