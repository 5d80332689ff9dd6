"""Attacks of the library torchattacks, by name, validated like our own.

The library is unmaintained and has pitfalls, which this module works around. It draws from global generators (seeded
per cohort, then restored), switches the model between modes (it only gets a wrapper), returns tensors with a graph
(detached), and some of its attacks have no limit (a result beyond the radius is replaced by the clean input, which
counts as not found).
"""

import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from suite.attacks.constraints.base import spread
from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.decorators import attack
from suite.errors import AttackError, PluginError, SpecError, UnknownNameError, did_you_mean

COHORT = 32
"""Samples per call. Fixed, because in several of these attacks a result depends on the other samples of the batch."""

L2_BY_DEFAULT = ("CW", "DeepFool", "EADEN")
"""Attacks without a radius that minimize the Euclidean norm."""

RADIUS = {"eps", "max_epsilon"}
"""The library's names for the radius."""

NORMS_OF_LIBRARY = {"linf": "Linf", "l2": "L2"}
"""The library's names for norms, in attacks with a norm argument."""

FEWEST_CLASSES = {("APGDT", None): 4, ("AutoAttack", None): 4, ("APGD", "dlr"): 3}
"""Number of classes that a loss compares, by attack and loss; with fewer the library fails with an index error."""


@dataclass(frozen=True)
class TorchAttack(NormAttack):
    """An attack of torchattacks.

    Attributes:
        name: the class in torchattacks.
        eps: radii, ascending; for an attack without a radius, the limits up to which its result counts.
        norm: the norm of these radii.
        loss: None; the library decides which gradient the attack follows, if any.
        options: further arguments of the class.
    """

    loss: str | None = None
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    fixed_cohort: ClassVar[int | None] = COHORT

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps, or None if it has no steps."""
        default = _parameters(self.name).get("steps")
        if default is None:
            return None
        return replace(self, options={**self.options, "steps": 2 * self.options.get("steps", default.default)})

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return what the library's attack finds within the radius, or the clean inputs where it finds nothing."""
        options = self._options(problem, pixels, size, int(seeds[0]))
        with seeded_globals(int(seeds[0])):
            library_attack = _library_class(self.name)(_Wrapper(problem, pixels.device), **options)
            moved: Tensor = library_attack(pixels.clone(), targets.clone()).detach().to(pixels)
        if RADIUS & _parameters(self.name).keys():
            return moved
        # Non-finite results are kept, so that validation rejects them; clean inputs in their place would hide them.
        far = (self.violation(pixels, moved, size) > 0) & torch.isfinite(moved).flatten(1).all(dim=1)
        return torch.where(spread(far, pixels), pixels, moved)

    def _options(self, problem: Problem, pixels: Tensor, size: float, seed: int) -> dict[str, Any]:
        known = _parameters(self.name)
        with torch.no_grad():
            classes = problem.forward(pixels[:1]).shape[1]
        fewest = FEWEST_CLASSES.get((self.name, self.options.get("loss")), 2)
        if classes < fewest:
            raise AttackError(f"torchattacks:{self.name} needs at least {fewest} classes; the model has {classes}.")
        options = dict(self.options) | dict.fromkeys(RADIUS & known.keys(), size)
        if "norm" in known:
            options["norm"] = NORMS_OF_LIBRARY[self.norm]
        defaults = {"n_classes": classes, "seed": seed}  # the library's defaults are ten classes and the clock
        return {key: value for key, value in defaults.items() if key in known} | options


@attack(family=True)
def torchattacks(name: str, *, eps: Any = (8 / 255,), norm: str | None = None, **options: Any) -> TorchAttack:
    """Any attack of torchattacks: torchattacks:PGD(eps=[8/255], steps=40)."""
    known = _parameters(name)
    for option in options:
        if option not in known:
            raise SpecError(f"torchattacks:{name} has no argument {option!r}.{did_you_mean(option, known)}")
    euclidean = "L2" in name or name in L2_BY_DEFAULT
    chosen = norm or ("l2" if euclidean else "linf")
    if "norm" in known and chosen not in NORMS_OF_LIBRARY:
        raise SpecError(f"torchattacks:{name} has no norm {chosen!r}; expected one of {', '.join(NORMS_OF_LIBRARY)}.")
    return TorchAttack(eps=eps, norm=chosen, name=name, options=options)


class _Wrapper(nn.Module):
    """The model as the library sees it; it isolates the model from mode switches and hooks."""

    def __init__(self, problem: Problem, device: torch.device) -> None:
        super().__init__()
        self.problem = problem
        self.place = nn.Parameter(torch.zeros((), device=device), requires_grad=False)  # tells the library the device
        self.eval()

    def forward(self, pixels: Tensor) -> Tensor:
        output = self.problem.forward(pixels)
        if output.requires_grad:
            output.register_hook(self._count)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return output

    def _count(self, gradient: Tensor) -> None:
        self.problem.count_backward(len(gradient))


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and PyTorch, and restore them afterwards."""
    python, numpy_state = random.getstate(), np.random.get_state()
    accelerator = torch.accelerator.current_accelerator()
    kind, devices = accelerator.type if accelerator else "cpu", range(torch.accelerator.device_count())
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)


def _library_class(name: str) -> Any:
    try:
        import torchattacks as library
    except ImportError as error:
        raise PluginError(
            f"torchattacks is not installed ({error}). Install it with: pip install --no-deps torchattacks==3.5.1"
        ) from error
    names = [n for n, item in vars(library).items() if inspect.isclass(item) and hasattr(item, "forward")]
    if name not in names:
        raise UnknownNameError(f"torchattacks has no attack {name!r}.{did_you_mean(name, names)}")
    return getattr(library, name)


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(_library_class(name).__init__).parameters)
    unusable = {"attacks", "trainloader"} & parameters.keys()
    if unusable:
        raise AttackError(f"torchattacks:{name} combines other attacks or models; use these attacks one by one.")
    return {key: item for key, item in parameters.items() if key not in ("self", "model", "device")}
