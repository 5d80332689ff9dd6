"""Attacks of torchattacks, by name, behind the same gate as our own.

The library is unmaintained and has traps; what stands here keeps them from reaching a result. It draws from global
generators (seeded per group, then restored), switches the model between modes (it only ever sees a wrapper), hands
back tensors that drag a graph along (detached), and some of its attacks know no limit (what is too far away is given
back unperturbed, which counts as not found).
"""

import inspect
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from suite.attacks.engine.problem import Problem
from suite.attacks.images.gradient import NormAttack
from suite.decorators import attack
from suite.errors import AttackError, PluginError, SpecError, UnknownNameError, did_you_mean

GROUP = 32
"""Samples per call. Fixed, because several of these attacks let one sample's result depend on its company."""

L2_BY_DEFAULT = ("CW", "DeepFool", "EADEN")
"""Attacks without a radius that minimise the Euclidean norm."""

RADIUS = {"eps", "max_epsilon"}
"""What the library calls a radius."""

NORMS_OF_LIBRARY = {"linf": "Linf", "l2": "L2"}
"""What the library calls the norms that its attacks with an argument of that name know."""

FEWEST_CLASSES = {("APGDT", None): 4, ("AutoAttack", None): 4, ("APGD", "dlr"): 3}
"""Classes that a loss compares, by attack and loss; with fewer the library fails with an index error."""


@dataclass(frozen=True)
class TorchAttack(NormAttack):
    """One of torchattacks' attacks.

    Attributes:
        name: the class in torchattacks.
        eps: radii, ascending; for an attack without a radius, the limits at which its result counts.
        norm: the norm of those radii.
        loss: None: which gradient it follows, if any, is the library's affair.
        options: further arguments of the class.
    """

    loss: str | None = None
    name: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    group = GROUP

    def with_double_steps(self) -> Self | None:
        """Return the attack with twice the steps, where it has steps."""
        default = _parameters(self.name).get("steps")
        if default is None:
            return None
        return replace(self, options={**self.options, "steps": 2 * self.options.get("steps", default.default)})

    def perturb(self, problem: Problem, pixels: Tensor, targets: Tensor, size: float, seeds: Tensor) -> Tensor:
        """Return what the library's attack finds within the radius, and the clean pixels where it finds nothing."""
        options = self._options(problem, pixels, size, int(seeds[0]))
        with seeded_globals(int(seeds[0])):
            found: Tensor = _library_class(self.name)(_Wrapper(problem, pixels.device), **options)(
                pixels.clone(), targets.clone()
            )
        found = found.detach().to(pixels)
        if RADIUS & _parameters(self.name).keys():
            return found
        # What is not finite stays as it is: the gate must see it, not a clean picture in its place.
        far = (self.violation(pixels, found, size) > 0) & torch.isfinite(found).flatten(1).all(dim=1)
        return torch.where(far.view(-1, *(1,) * (pixels.ndim - 1)), pixels, found)

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
        spared = {"n_classes": classes, "seed": seed}  # left alone it assumes ten classes and takes the clock as seed
        return {key: value for key, value in spared.items() if key in known} | options


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
    """The model as the library sees it: modes and hooks stop here."""

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
        self.problem.passes.backward += len(gradient)


@contextmanager
def seeded_globals(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and PyTorch, and restore them afterwards."""
    python, numpy_state = random.getstate(), np.random.get_state()
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=devices):
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy_state)


def _library() -> Any:
    try:
        import torchattacks as library
    except ImportError as error:
        raise PluginError(
            f"torchattacks is not installed ({error}). Install it with: pip install --no-deps torchattacks==3.5.1"
        ) from error
    return library


def _library_class(name: str) -> Any:
    library = _library()
    names = [n for n, item in vars(library).items() if inspect.isclass(item) and hasattr(item, "forward")]
    if name not in names:
        raise UnknownNameError(f"torchattacks has no attack {name!r}.{did_you_mean(name, names)}")
    return getattr(library, name)


def _parameters(name: str) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(_library_class(name).__init__).parameters)
    unusable = {"attacks", "trainloader"} & parameters.keys()
    if unusable:
        raise AttackError(f"torchattacks:{name} combines other attacks or models; name those attacks one by one.")
    return {key: item for key, item in parameters.items() if key not in ("self", "model", "device")}
