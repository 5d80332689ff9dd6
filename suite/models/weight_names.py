"""Which part of a file of weights belongs to a module, and what differs where none does."""

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

WRAPPER = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Names that torch.compile and wrappers of training put between a module's own; they stand for no module of the net."""

DEPTH = 6
"""Levels of a checkpoint that are searched."""

UNLEARNED = "num_batches_tracked"
"""A counter of batch norm that old files lack and that changes no output in evaluation."""

SHOWN = 3
"""Names listed in an error."""


@dataclass(frozen=True)
class Stored:
    """A value of a file.

    Attributes:
        value: the value.
        holder: the names of the mappings around it, joined by points.
    """

    value: Any
    holder: str


@dataclass(frozen=True)
class Comparison:
    """How a part of a file fits a module.

    Attributes:
        prefix: what stands before the module's names in the file, keys of mappings included.
        found: the file's values by the module's own names.
        surplus: the tensors beside these, by names that the module does not have.
        missing: names of the module without a value.
        unequal: names whose values have another shape or type.
    """

    prefix: str
    found: Mapping[str, Any]
    surplus: Mapping[str, Tensor]
    missing: Sequence[str]
    unequal: Sequence[str]

    @property
    def covers(self) -> bool:
        """Whether every value of the module is there."""
        return not self.missing and not self.unequal

    @property
    def key(self) -> str:
        """What to write after ``#`` to name this part."""
        return self.prefix.rstrip(".")


def stored_values(held: Any) -> dict[str, Stored]:
    """Return all values of a file by the keys of the mappings around them, joined by points, without wrappers."""
    named = list(_flat(held, "", 0))
    plain = {plain_name(name): stored for name, stored in named}
    return plain if len(plain) == len(named) else dict(named)  # a net may be stored with a wrapper and without


def plain_name(name: str) -> str:
    """Return a name without wrappers such as ``_orig_mod``."""
    return WRAPPER.sub("", name)


def compare(module: nn.Module, stored: Mapping[str, Stored], key: str | None) -> list[Comparison]:
    """Return how the parts of a file compare with a module, best first.

    Args:
        module: receives the weights.
        stored: the file's values, see `stored_values`.
        key: the part to take; None to look at all that hold some of the module's names.
    """
    own = {plain_name(name): name for name in module.state_dict()}
    prefixes = _prefixes(stored, own) if key is None else [f"{key}." if key else ""]
    compared = [_compared(module, stored, prefix) for prefix in prefixes]
    return sorted(compared, key=lambda one: (len(one.missing) + len(one.unequal), len(one.surplus)))


def holders(stored: Mapping[str, Stored]) -> dict[str, int]:
    """Return the number of tensors in each mapping of a file."""
    return Counter(one.holder.rstrip(".") for one in stored.values() if isinstance(one.value, Tensor))


def describe_difference(module: nn.Module, best: Comparison) -> str:
    """Return what is missing, unexpected or unequal, with the nearest names side by side."""
    own, parts = dict(module.state_dict()), []
    if best.unequal:
        each = [f"{n} is {form(best.found[n])} in the file and {form(own[n])} in the module" for n in best.unequal]
        parts.append(f"{_some(each)} ({len(each)} differ).")
    if best.missing:
        each = [f"{name} {form(own[name])}" for name in best.missing]
        parts.append(f"Names missing in the file: {len(each)} of {len(own)} ({_some(each)}).")
    if best.surplus:
        each = [f"{name} {form(value)}" for name, value in best.surplus.items()]
        parts.append(f"Names unexpected in the file: {len(each)} ({_some(each)}).")
    if best.missing and best.surplus:
        pairs = [(name, _nearest(name, own[name], best)) for name in best.missing[:SHOWN]]
        parts.append(f"Nearest: {', '.join(f'{there} in the file for {name}' for name, there in pairs)}.")
    return " ".join(parts)


def form(value: Any) -> str:
    """Return the shape of a tensor and its type if that is not a common one, or the name of another type."""
    if not isinstance(value, Tensor):
        return type(value).__name__
    kind = "" if _family(value) == "float" else f" of {str(value.dtype).removeprefix('torch.')}"
    return f"{tuple(value.shape)}{kind}"


def _flat(held: Any, name: str, depth: int) -> Iterator[tuple[str, Stored]]:
    inner: Mapping[Any, Any] = held if isinstance(held, Mapping) else {}
    if isinstance(held, tuple | list):
        inner = {str(place): part for place, part in enumerate(held) if isinstance(part, Mapping)}
    for key, value in inner.items():
        if not isinstance(key, str):
            continue
        full = f"{name}{key}"
        if isinstance(value, Mapping | tuple | list) and not full.endswith("_extra_state") and depth < DEPTH:
            yield from _flat(value, f"{full}.", depth + 1)
        if not isinstance(value, Mapping) or full.endswith("_extra_state"):
            yield full, Stored(value, name)


def _prefixes(stored: Mapping[str, Stored], own: Mapping[str, str]) -> list[str]:
    """Return the prefixes under which at least half as many of a module's names are as under any."""
    counts: Counter[str] = Counter()
    for name in stored:
        steps = [0, *(match.end() for match in re.finditer(r"\.", name))]
        counts.update(name[:step] for step in steps if name[step:] in own)
    tensors = holders(stored)
    if not counts and tensors:
        largest = max(tensors, key=lambda holder: tensors[holder])
        return [f"{largest}." if largest else ""]
    return [prefix for prefix, count in counts.items() if 2 * count >= max(counts.values())]


def _compared(module: nn.Module, stored: Mapping[str, Stored], prefix: str) -> Comparison:
    """Compare the values under a prefix; mappings that hold none of the module's names are left out."""
    own = module.state_dict()
    names = {plain_name(name): name for name in own}
    under = {name.removeprefix(prefix): one for name, one in stored.items() if name.startswith(prefix)}
    around = {one.holder for name, one in under.items() if name in names} or {one.holder for one in under.values()}
    values = {names.get(name, name): one.value for name, one in under.items() if one.holder in around}
    renamed = _as_renamed(module, values)
    found = {name: value for name, value in renamed.items() if name in own or isinstance(value, Tensor)}
    return Comparison(
        prefix,
        {name: value for name, value in found.items() if name in own},
        {name: value for name, value in found.items() if name not in own and not _is_derived(module, name, value)},
        [name for name in own if name not in found and not _may_miss(name, own, found)],
        [name for name in own if name in found and not _alike(own[name], found[name])],
    )


def _as_renamed(module: nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return values under the names that the module's own hooks give them on loading, such as for weight norm."""
    renamed = dict(state)
    for name, child in module.named_modules():
        for hook in child._load_state_dict_pre_hooks.values():
            hook(renamed, f"{name}." if name else "", {}, True, [], [], [])
    return renamed


def _may_miss(name: str, own: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether a name need not be in a file: a counter, or the same memory under a name that is there."""
    value = own[name]
    if name.endswith(UNLEARNED):
        return True
    return isinstance(value, Tensor) and any(_is_same(value, own[other]) for other in found if other in own)


def _is_same(one: Tensor, other: Any) -> bool:
    return (
        isinstance(other, Tensor)
        and one.numel() > 0
        and one.shape == other.shape
        and one.layout is other.layout is torch.strided
        and one.data_ptr() == other.data_ptr()
    )


def _is_derived(module: nn.Module, name: str, value: Any) -> bool:
    """Return whether a surplus value is a counter, or a buffer that the module holds with the same values."""
    if name.endswith(UNLEARNED):
        return True
    buffer = dict(module.named_buffers()).get(name)
    return buffer is not None and torch.equal(buffer.cpu(), value)


def _alike(own: Any, other: Any) -> bool:
    if not isinstance(own, Tensor) or not isinstance(other, Tensor):
        return not isinstance(own, Tensor) and not isinstance(other, Tensor)
    return own.shape == other.shape and own.layout is other.layout and _family(own) == _family(other)


def _family(tensor: Tensor) -> str:
    """Return the kind of a tensor's numbers; values are converted within a kind only."""
    if tensor.is_quantized or (tensor.is_floating_point() and tensor.itemsize == 1):
        return str(tensor.dtype)
    return "float" if tensor.is_floating_point() else "complex" if tensor.is_complex() else "integer"


def _nearest(name: str, value: Any, best: Comparison) -> str:
    """Return the surplus name of the file that is most like a missing one, preferably of the same shape."""

    def likeness(other: str) -> tuple[bool, float]:
        return form(best.surplus[other]) == form(value), difflib.SequenceMatcher(None, name, other).ratio()

    nearest = max(best.surplus, key=likeness)
    return f"{nearest} {form(best.surplus[nearest])}"


def _some(parts: Sequence[str]) -> str:
    return ", ".join(parts[:SHOWN]) + (", ..." if len(parts) > SHOWN else "")
