"""The registry of tasks, models, attacks, metrics, attributions, kinds and axes.

A decorator registers a factory under the name of its function; a spec builds it. Entries come from five places: the
suite itself, the files in `tasks/`, packages with an entry point in the group ``suite.plugins``, plug-in files that the
user names, and single files given by path (``acme.py:defects``).
"""

import hashlib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from suite.errors import PluginError, SpecError, UnknownNameError, described, did_you_mean
from suite.spec import Spec, make, parse

ENTRY_POINTS = "suite.plugins"
"""Entry point group of installed plug-ins; each entry point names a module to import."""

PLUGIN_FILES = "SUITE_PLUGINS"
"""Environment variable with the paths of plug-in files; worker processes inherit it."""

BUILT_IN = {
    "attack": (
        "suite.attacks.images.gradient",
        "suite.attacks.images.worst_case",
        "suite.attacks.images.apgd",
        "suite.attacks.images.cascade",
        "suite.attacks.images.boundary",
        "suite.attacks.images.square",
        "suite.attacks.images.decision",
        "suite.attacks.images.transfer",
        "suite.attacks.images.patch",
        "suite.attacks.images.image_patch",
        "suite.attacks.images.torchattacks",
        "suite.attacks.texts.hotflip",
        "suite.attacks.texts.typos",
        "suite.attacks.texts.trigger",
    ),
    "attribution": (
        "suite.attributions.maps.gradcam",
        "suite.attributions.maps.methods",
        "suite.attributions.maps.occlusion",
        "suite.attributions.maps.priors",
        "suite.attributions.maps.rise",
    ),
    "feature_attribution": ("suite.attributions.features.methods",),
    "axis": (
        "suite.axes.clean",
        "suite.axes.robustness.axis",
        "suite.axes.corruption",
        "suite.axes.occlusion",
        "suite.axes.calibration",
        "suite.axes.attribution",
        "suite.axes.rationale",
    ),
    "kind": (
        "suite.kinds.classification.kind",
        "suite.kinds.detection.kind",
        "suite.kinds.segmentation.kind",
        "suite.kinds.sentiment.kind",
        "suite.kinds.language.kind",
        "suite.kinds.autoencoding.kind",
        "suite.kinds.synthesis.kind",
    ),
    "metric": (
        "suite.kinds.classification.metrics",
        "suite.kinds.classification.calibration",
        "suite.kinds.detection.metrics",
        "suite.kinds.detection.calibration",
        "suite.kinds.segmentation.metrics",
        "suite.kinds.segmentation.calibration",
        "suite.kinds.sentiment.metrics",
        "suite.kinds.language.metrics",
        "suite.kinds.language.text_metrics",
        "suite.kinds.language.calibration",
        "suite.kinds.autoencoding.metrics",
        "suite.kinds.autoencoding.calibration",
        "suite.kinds.autoencoding.robustness",
        "suite.kinds.synthesis.metrics",
        "suite.kinds.synthesis.critic",
    ),
    "uncertainty": ("suite.axes.uncertainty",),
    "page": (
        "suite.reports.board_view",
        "suite.reports.model_view",
        "suite.reports.gallery_view",
        "suite.reports.about_view",
    ),
}
"""Modules of the suite that register entries, by role; the files in tasks/ register tasks and models."""

USES = {
    "attribution": "it returns maps of images, for the axis attribution",
    "feature_attribution": "it returns the attributions of words and other features, for the axis rationale",
}
"""What the entries of similar roles are for."""

NUMBERS = (*(role for role in BUILT_IN if role != "page"), "task")
"""Roles that produce numbers; pages need Streamlit, and only the report loads them."""

PLAIN = {"int": int, "float": int | float, "bool": bool, "None": type(None)}
"""Annotations of arguments whose values are checked, and the types that fit; True and False are no numbers."""

EXPECTED = {"int": "a whole number", "float": "a number", "bool": "True or False", "None": "None"}
"""What these annotations ask for."""

INTERACTIVE = "<interactive>"
"""Origin of entries that are not defined in a file."""

Factory = TypeVar("Factory", bound=Callable[..., Any])


@dataclass(frozen=True)
class Entry:
    """A registered factory.

    Attributes:
        origin: the file that defines it.
        family: whether the factory takes the name after the colon (``timm:resnet18``) as its first argument.
        meta: further arguments of the decorator.
    """

    role: str
    name: str
    factory: Callable[..., Any]
    origin: str
    family: bool = False
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first line of the factory's docstring."""
        return (inspect.getdoc(self.factory) or "").split("\n")[0]

    def bind(self, spec: Spec, *, injected: tuple[str, ...] = ()) -> Spec:
        """Return the spec with every default filled in.

        Args:
            spec: the spec to complete.
            injected: parameters that the harness provides; a spec must not set them.

        Raises:
            SpecError: an argument is unknown, missing or provided by the harness.
        """
        parameters = dict(inspect.signature(self.factory).parameters)
        if self.family:
            parameters.pop(next(iter(parameters)))
        open_ended = any(item.kind is item.VAR_KEYWORD for item in parameters.values())
        stars = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        known = {
            name: item
            for name, item in parameters.items()
            if item.kind not in stars and name not in injected and not name.startswith("_")
        }
        for name in spec.kwargs:
            if name in injected or (name not in known and not open_ended):
                takes = did_you_mean(name, known) if known else " It takes no arguments."
                raise SpecError(f"{self.role} {spec.name!r} has no argument {name!r}.{takes}")
        missing = [n for n, item in known.items() if item.default is item.empty and n not in spec.kwargs]
        if missing:
            raise SpecError(f"{self.role} {spec.name!r} needs {', '.join(missing)}: {spec.name}({missing[0]}=...).")
        defaults = {n: item.default for n, item in known.items() if item.default is not item.empty}
        given = {n: _as_default(v, defaults.get(n)) for n, v in spec.kwargs.items()}
        for name, value in given.items():
            if name in known and (expected := _misfit(value, known[name].annotation)):
                raise SpecError(f"{self.role} {spec.name!r} got {name}={value!r}; expected {expected}.")
        return make(spec.name, defaults | given)

    def build(self, spec: Spec, **injected: Any) -> Any:
        """Call the factory with the arguments of the spec, its defaults, and what the harness provides."""
        accepted = inspect.signature(self.factory).parameters
        provided = {name: value for name, value in injected.items() if name in accepted}
        bound = self.bind(spec, injected=tuple(injected))
        member = (spec.name.partition(f"{self.name}:")[2],) if self.family else ()
        return self.factory(*member, **bound.kwargs, **provided)


def _as_default(value: Any, default: Any) -> Any:
    """Convert a value to the type of the default: eps=1 to eps=1.0, and to eps=[1.0] if a list is expected."""
    if isinstance(default, tuple) and not isinstance(value, tuple):
        return (_as_default(value, default[0] if default else value),)
    if isinstance(default, tuple):
        return tuple(_as_default(item, default[0] if default else item) for item in value)
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return float(value) if is_integer and isinstance(default, float) else value


def _misfit(value: Any, annotation: Any) -> str | None:
    """Return what an annotation such as ``int | None`` asks for; None if the value fits, or for other ones."""
    named = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    types = [name.strip() for name in named.split("|")]
    if not all(name in PLAIN for name in types):
        return None
    if any(isinstance(value, PLAIN[name]) for name in types if name == "bool" or not isinstance(value, bool)):
        return None
    return " or ".join(EXPECTED[name] for name in types)


class Registry:
    """All entries by scope: the empty scope for everything installed, the path for a file.

    Attributes:
        broken: the errors of plug-ins that cannot be loaded, by name.
    """

    def __init__(self) -> None:
        self.broken: dict[str, str] = {}
        self._entries: dict[tuple[str, str, str], Entry] = {}
        self._loaded: set[tuple[str, str]] = set()
        self._loaded_plugins = False
        self._scope: ContextVar[str] = ContextVar("scope", default="")

    def add(self, entry: Entry) -> None:
        """Register an entry. The same file may register a name again, another file may not.

        Entries that a file given by path registers belong to it, wherever their factories are defined.

        Raises:
            PluginError: another file has registered the name.
        """
        scope = self._scope.get()
        entry = replace(entry, origin=scope or entry.origin)
        key = (scope, entry.role, entry.name)
        old = self._entries.get(key)
        if old is not None and old.origin != entry.origin:
            raise PluginError(
                f"{entry.origin} registers the {entry.role} {entry.name!r}, but so does {old.origin}. Rename one."
            )
        self._entries[key] = entry

    def names(self, role: str) -> list[Entry]:
        """Return every installed entry of a role, sorted by name."""
        self._load_installed(role)
        self._load_entry_points()
        return sorted(
            (e for (scope, r, _), e in self._entries.items() if r == role and not scope), key=lambda e: e.name
        )

    def get(self, role: str, name: str) -> Entry:
        """Return the entry for a name, a member of a family (``timm:resnet18``), or a name in a file (``acme.py:net``).

        Raises:
            UnknownNameError: the name does not exist; the message suggests similar ones.
            SpecError: the name exists in a role with another use.
            PluginError: the file cannot be loaded.
        """
        file, in_file, rest = name.rpartition(".py:")
        wanted, colon, member = rest.partition(":")
        if in_file:
            known = {entry.name: entry for entry in self.of_file(f"{file}.py") if entry.role == role}
            entry = known.get(wanted)
        else:
            self._load_installed(role)
            if ("", role, wanted) not in self._entries:
                self._load_entry_points()
            entry = self._entries.get(("", role, wanted))
        if entry is not None:
            if entry.family == bool(colon) == bool(member):
                return entry
            usage = name.removesuffix(f"{colon}{member}") + (":NAME" if entry.family else "")
            raise UnknownNameError(f"{name!r} is not {_a(role)}: write {usage}.")
        if other := self._with_other_use(role, f"{file}.py" if in_file else "", wanted):
            raise SpecError(f"{name!r} is {_a(other)}, not {_a(role)}: {USES[other]}.")
        if in_file:
            raise UnknownNameError(f"{file}.py registers no {_words(role)} {wanted!r}.{did_you_mean(wanted, known)}")
        raise UnknownNameError(self._unknown(role, name))

    def _with_other_use(self, role: str, file: str, name: str) -> str | None:
        """Return the role of the entry of this name that is taken for one of a similar role."""
        others = USES.keys() - {role} if role in USES else ()
        entries = self.of_file(file) if file else [entry for other in others for entry in self.names(other)]
        return next((entry.role for entry in entries if entry.name == name and entry.role in others), None)

    def of_file(self, path: str | Path) -> list[Entry]:
        """Load a file and return everything it registers.

        Raises:
            PluginError: the file cannot be loaded.
        """
        scope = str(Path(path).resolve())
        if (scope, scope) not in self._loaded:
            # Everything installed comes first, so that what the file imports is not registered as its own.
            self._load_entry_points()
            for role in NUMBERS:
                self._load_installed(role)
            self._load_file(Path(scope), scope)
        return [entry for (where, _, _), entry in self._entries.items() if where == scope]

    def _unknown(self, role: str, name: str) -> str:
        if name.endswith(".py"):
            return f"{name!r} is a file. Write {name}:NAME with the name of {_a(role)} in it."
        wanted, colon, _ = name.partition(":")
        known = [e.name + (":" if e.family else "") for e in self.names(role)]
        broken = "".join(f" (The plug-in {plugin} cannot be loaded: {why})" for plugin, why in self.broken.items())
        return f"There is no {_words(role)} {name!r}.{did_you_mean(wanted + colon, known)}{broken}"

    def _load_installed(self, role: str) -> None:
        for module in BUILT_IN.get(role, ()):
            importlib.import_module(module)
        if role in ("task", "model"):
            for path in tasks_files():
                self._load_file(path, "")

    def _load_entry_points(self) -> None:
        if self._loaded_plugins:
            return
        self._loaded_plugins = True
        files = plugin_files()
        for role in NUMBERS if plugins() or files else ():
            self._load_installed(role)  # first, so that a plug-in cannot take a name of the suite
        for point in plugins():
            try:
                with self._scoped(""):
                    point.load()
            except (Exception, SystemExit) as error:  # a broken plug-in must not break the others
                self.broken[point.name] = described(error)
        for path in files:
            self._load_file(path, "")

    def _load_file(self, path: Path, scope: str) -> None:
        if (str(path), scope) in self._loaded:
            return
        if not path.is_file():
            raise PluginError(f"There is no file {path}. Give the path of a Python file, for example acme.py:defects.")
        if path.suffix != ".py":
            raise PluginError(f"{path} is not a Python file; its name must end in .py.")
        address = hashlib.sha256(f"{path}\0{scope}".encode(errors="surrogateescape")).hexdigest()[:8]
        module_name = f"suite_file_{path.stem}_{address}"
        location = importlib.util.spec_from_file_location(module_name, path, loader=_Reader(module_name, str(path)))
        assert location is not None  # noqa: S101  # with a loader there always is one
        module = importlib.util.module_from_spec(location)
        sys.modules[module_name] = module  # dataclasses and pickle look their module up by name
        try:
            with self._scoped(scope):
                _Reader(module_name, str(path)).exec_module(module)
        except (Exception, SystemExit) as error:  # third-party code may raise anything
            sys.modules.pop(module_name, None)
            # What the file has registered before it failed is removed.
            self._entries = {k: e for k, e in self._entries.items() if k[0] != scope or e.origin != str(path)}
            raise PluginError(f"{path} cannot be loaded: {described(error)}") from error
        self._loaded.add((str(path), scope))

    @contextmanager
    def _scoped(self, scope: str) -> Iterator[None]:
        token = self._scope.set(scope)
        try:
            yield
        finally:
            self._scope.reset(token)


class _Reader(importlib.machinery.SourceFileLoader):
    """Loads a file without writing ``__pycache__`` next to it."""

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no bytecode."""


REGISTRY = Registry()
"""The registry of this process."""


def plugins() -> importlib.metadata.EntryPoints:
    """Return the entry points of installed plug-ins."""
    return importlib.metadata.entry_points(group=ENTRY_POINTS)


def plugin_files() -> list[Path]:
    """Return the plug-in files that the user named, with ``--plugin FILE`` or in the variable SUITE_PLUGINS."""
    return [Path(name).resolve() for name in os.environ.get(PLUGIN_FILES, "").split(os.pathsep) if name]


def tasks_files() -> list[Path]:
    """Return the files of the built-in tasks and models, in a checkout as in an installed wheel."""
    package = importlib.util.find_spec("suite.tasks")
    if package is None or not package.submodule_search_locations:
        raise PluginError("The folder of built-in tasks is missing; install the project with: pip install -e .")
    folder = Path(next(iter(package.submodule_search_locations)))
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def resolve(role: str, text: str | Spec) -> tuple[Entry, Spec]:
    """Return the entry that a spec names and the parsed spec."""
    spec = parse(text)
    return REGISTRY.get(role, spec.name), spec


def register(role: str, *, family: bool = False, name: str | None = None, **meta: Any) -> Callable[[Factory], Factory]:
    """Return a decorator that registers a factory, by default under its own name, and returns it unchanged."""

    def keep(factory: Factory) -> Factory:
        label: str = name or getattr(factory, "__name__", None) or ""
        if not label.replace("-", "_").replace(".", "_").isidentifier():
            raise PluginError(
                f"{label!r} is not a valid name for {_a(role)}; use letters, digits, _, - and dots: name='...'."
            )
        if family and not inspect.signature(factory).parameters:
            raise PluginError(
                f"The family {label} takes no arguments; it needs a first argument for the name after the colon."
            )
        REGISTRY.add(Entry(role, label, factory, _origin(factory), family, meta))
        return factory

    return keep


def _origin(factory: Callable[..., Any]) -> str:
    """Return the file that defines a factory."""
    try:
        return inspect.getsourcefile(inspect.unwrap(factory)) or INTERACTIVE
    except TypeError:  # a callable object such as a partial, or a class of an interactive session
        return INTERACTIVE


def _a(role: str) -> str:
    return f"an {_words(role)}" if role[0] in "aeiou" else f"a {_words(role)}"


def _words(role: str) -> str:
    return role.replace("_", " ")
