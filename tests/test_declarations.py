"""Nothing is guessed: kinds, models, attacks, metrics and arrays declare what they are, and code reads declarations.

The tests search the syntax trees of the sources. Each exception is in a table with its reason, and a reason that is no
longer needed fails too.
"""

import ast
import builtins
import itertools
from collections import Counter
from pathlib import Path

import pytest

from suite.kinds import base as kinds
from suite.metrics.catalogue import Metric
from suite.registry import REGISTRY

ROOT = Path(__file__).parent.parent
PACKAGES = ("axes", "attacks", "attributions", "corruptions", "leaderboard", "runner", "verify")
READERS = sorted(path for name in PACKAGES for path in (ROOT / "suite" / name).rglob("*.py"))
READERS += sorted((ROOT / "reports").rglob("*.py"))
STRICT = ("suite/axes/", "suite/attacks/", "suite/leaderboard/", "reports/")
"""Packages in which no attribute is looked up by a literal name."""

KINDS = sorted(path.parent.name for path in (ROOT / "suite" / "kinds").glob("*/kind.py"))
FACETS = (
    kinds.Samples,
    kinds.Models,
    kinds.Trainable,
    kinds.Fitted,
    kinds.Scoring,
    kinds.Attackable,
    kinds.Probabilistic,
    kinds.Explainable,
    kinds.Showable,
)
MEMBERS, READ_ONCE = 30, 10
"""Largest number of members of all facets, and of those that a single module reads."""

SUBJECTS = {"kind", "attack", "model", "adapter", "facet", "built", *kinds.Kind.__dataclass_fields__}
"""Last names of expressions whose attributes nobody looks up."""

PLAIN = {
    *(name for name, value in vars(builtins).items() if isinstance(value, type)),
    *(
        "Mapping",
        "Sequence",
        "Number",
        "Tensor",
        "ndarray",
        "DataFrame",
        "Series",
        "Spec",
        "OutOfMemoryError",
        "Path",
        "integer",
    ),
}
"""Types of plain data, which `isinstance` may ask about; and nodes of syntax trees (`ast.X`)."""

# Exceptions: what the source says, by file and function.
LOOKUPS = {
    ("suite/attacks/diagnostics/straight_through.py", "__torch_function__"): "wraps operations of PyTorch by name",
    ("suite/attacks/engine/paths.py", "_joined"): "nested fields of a dataclass are joined by their own rule",
    ("suite/attacks/engine/paths.py", "_parts"): "finds the tensors among the fields of a dataclass",
    ("suite/attacks/engine/paths.py", "_taken"): "nested fields of a dataclass are indexed by their own rule",
    ("suite/attacks/images/torchattacks.py", "_library_class"): "searches the classes of another library",
    ("suite/axes/answers.py", "answers"): "an invalid output is no failed sample",
    ("suite/runner/harness.py", "check_arguments"): "an axis may leave this method out",
    ("suite/runner/conformance.py", "_model"): "checks what a third-party function returned",
    ("suite/runner/preparation.py", "build"): "checks what a third-party function returned",
    ("suite/verify/records.py", "_built"): "checks what a third-party function returned",
}
NAMES_OF_KINDS: dict[tuple[str, str], str] = {}
NUMERICAL = {
    ("suite/attacks/constraints/base.py", "radius"): "the rounding error of a data type",
    ("suite/attacks/constraints/base.py", "spread"): "broadcasts one value per sample",
    ("suite/attacks/constraints/base.py", "usable"): "the largest number of a data type",
    ("suite/attacks/constraints/l0.py", "direction"): "the smallest number of a data type",
    ("suite/attacks/constraints/l0.py", "places"): "a vector is one channel of positions",
    ("suite/attacks/constraints/l1.py", "clip"): "computes in the precision of the pixels",
    ("suite/attacks/constraints/l1.py", "_soft_threshold"): "the rounding error of a data type",
    ("suite/attacks/constraints/l2.py", "direction"): "the smallest number of a data type",
    ("suite/attacks/diagnostics/gradient_probes.py", "gradient_nonzero"): "the smallest number of a data type",
    ("suite/attacks/diagnostics/gradient_probes.py", "rounding"): "the rounding error of a data type",
    ("suite/attacks/diagnostics/probes.py", "_differs"): "the rounding error of a data type",
    ("suite/attacks/diagnostics/straight_through.py", "*"): "follows the operations of a network, tensor by tensor",
    ("suite/attacks/images/boundary.py", "beyond_plane"): "the rounding error of a data type",
    ("suite/attacks/images/boundary.py", "_step"): "the smallest number of a data type",
    ("suite/attacks/texts/trigger.py", "_scores"): "repeats targets of any shape",
    ("suite/attributions/maps/explained.py", "__post_init__"): "checks an argument",
    ("suite/attributions/maps/explained.py", "_check_region"): "checks an argument",
    ("suite/axes/occlusion.py", "occluded"): "computes in the precision of the pixels",
    ("suite/axes/robustness/sweep.py", "_within"): "broadcasts one value per sample",
    ("suite/corruptions/catalogue.py", "_write_levels"): "computes in the precision of the pixels",
    ("suite/corruptions/catalogue.py", "corrupt"): "checks an argument",
    ("suite/corruptions/digital.py", "boxes"): "broadcasts along one dimension",
    ("suite/corruptions/jpeg.py", "_coded"): "computes in the precision of the pixels",
    ("suite/corruptions/jpeg.py", "_halved"): "computes in the precision of the pixels",
    ("suite/corruptions/noise.py", "impulse_noise"): "computes in the precision of the pixels",
    ("suite/corruptions/noise.py", "shot_noise"): "computes in the precision of the pixels",
    ("suite/verify/inputs.py", "_mismatches"): "compares the type of stored inputs with that of the task's",
    ("suite/verify/inputs.py", "_values"): "compares over all dimensions but the first",
    ("suite/verify/stored_inputs.py", "misfits"): "checks the form of a stored array, which may be damaged",
    ("suite/verify/sizes.py", "_all"): "sums over all dimensions but the first",
    ("suite/verify/sizes.py", "_changed"): "a vector is one channel of positions",
    ("reports/images.py", "in_unit"): "images are stored as uint8 or as numbers in [0, 1]",
}
ORDINARY = {
    ("accuracy", "reports/"): "the height of a bar of a reliability diagram",
    ("accuracy", "suite/metrics/calibration/bins.py"): "the height of a bar of a reliability diagram",
    ("divergence", "suite/kinds/autoencoding/"): "a part of the code length",
    ("divergence", "suite/models/adapters/autoencoder.py"): "a part of the code length",
    ("infidelity", "suite/attributions/maps/infidelity.py"): "a stream of random numbers",
    ("map", ""): "what an array shows: attributions",
    ("queries", "suite/attacks/images/"): "an option of attacks",
    ("reconstruction", "suite/kinds/autoencoding/"): "a part of the code length, and an image",
    ("reconstruction", "suite/models/adapters/autoencoder.py"): "a part of the code length",
    ("temperature", "reports/"): "an option of sampling",
    ("temperature", "suite/kinds/language/"): "an option of sampling",
}
"""Metric names that are also words for something else, and where, with what they stand for."""


def relative(path):
    return str(path.relative_to(ROOT))


def with_function(tree):
    """Yield every node with the name of the function that it stands in, ``""`` at module level."""
    stack = [(tree, "")]
    while stack:
        node, function = stack.pop()
        yield node, function
        inner = node.name if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else function
        stack += [(child, inner) for child in ast.iter_child_nodes(node)]


def sources():
    return [path for folder in ("suite", "tasks", "reports") for path in sorted((ROOT / folder).rglob("*.py"))]


def parsed(path):
    return ast.parse(path.read_text("utf-8"))


def last_name(node):
    """Return the last name of an expression: ``attack`` of ``self.sweep.attack``."""
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
        return node.slice.value
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None


def is_plain(node):
    """Return whether the second argument of `isinstance` names types of plain data only."""
    if isinstance(node, ast.BinOp):
        return is_plain(node.left) and is_plain(node.right)
    if isinstance(node, ast.Tuple):
        return all(map(is_plain, node.elts))
    if isinstance(node, ast.Attribute) and last_name(node.value) == "ast":
        return True
    return last_name(node) in PLAIN


def guesses(node, path):
    """Return whether a node looks up an attribute, or the type, of something that declares both."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args):
        return False
    name, subject = node.func.id, last_name(node.args[0])
    if name == "isinstance":
        return not is_plain(node.args[1])
    if name not in ("getattr", "hasattr"):
        return False
    literal = isinstance(node.args[1], ast.Constant)
    return subject in SUBJECTS or (literal and (name == "hasattr" or relative(path).startswith(STRICT)))


def parts(sides):
    """Return the sides of a comparison, with the elements of tuples, lists and sets."""
    return [part for side in sides for part in (side, *getattr(side, "elts", ()))]


def compares_kinds(node, path):
    """Return whether a node contains the name of a kind, or compares the kind of something with text."""
    if isinstance(node, ast.Constant) and node.value in KINDS:
        return True
    if not isinstance(node, ast.Compare):
        return False
    sides = [node.left, *node.comparators]
    has_text = any(isinstance(part, ast.Constant) and isinstance(part.value, str) for part in parts(sides))
    return has_text and any(
        (isinstance(side, ast.Attribute) and side.attr == "name" and last_name(side.value) == "kind")
        or (isinstance(side, ast.Attribute | ast.Subscript) and last_name(side) == "kind")
        for side in parts(sides)
    )


def asks_for_shape(node, path):
    """Return whether a node reads the number of dimensions or the data type of an array."""
    if isinstance(node, ast.Attribute):
        owner = last_name(node.value)
        return node.attr in ("ndim", "is_floating_point") or (node.attr == "dtype" and owner not in ("np", "torch"))
    return isinstance(node, ast.Call) and last_name(node.func) == "isdtype"


RULES = {
    "looks up what is declared": (guesses, LOOKUPS),
    "names a kind": (compares_kinds, NAMES_OF_KINDS),
    "asks an array what it holds": (asks_for_shape, NUMERICAL),
}


@pytest.mark.parametrize("rule", RULES)
def test_declarations_are_read_instead_of_guessed(rule):
    is_offense, allowed = RULES[rule]
    offenses, used = [], set()
    for path in READERS:
        for node, function in with_function(parsed(path)):
            if not is_offense(node, path):
                continue
            places = {(relative(path), function), (relative(path), "*")} & allowed.keys()
            used |= places
            if not places:
                offenses.append(f"{relative(path)}:{node.lineno} in {function or 'the module'}: {ast.unparse(node)}")
    assert not offenses, f"{rule}; read a declaration instead, or add a reason:\n" + "\n".join(offenses)
    assert not allowed.keys() - used, f"exceptions that are not needed any more: {sorted(allowed.keys() - used)}"


CASES = {
    "getattr(attack, 'goal', None)": guesses,
    "getattr(self.sweep.attack, name)": guesses,
    "hasattr(thing, 'x')": guesses,
    "isinstance(adapter, TorchText)": guesses,
    "isinstance(kind.maps, NotApplicable)": guesses,
    "kind.name == 'x'": compares_kinds,
    "'text' in (row['kind'], 1)": compares_kinds,
    "record.kind in ('a', other)": compares_kinds,
    "misspellings == 'kind'": None,
    "task in ('detection', 'x')": compares_kinds,
    "values.ndim != 4": asks_for_shape,
    "codes.is_floating_point()": asks_for_shape,
    "np.ndim(values)": asks_for_shape,
    "found.dtype == np.int32": asks_for_shape,
    "isinstance(value, str | int) and isinstance(node, ast.Call)": None,
    "getattr(library, name)": None,
    "outcome.type == 'binary'": None,
}


@pytest.mark.parametrize("source", CASES)
def test_the_rules_find_guesses_and_nothing_else(source):
    path = ROOT / "suite" / "axes" / "clean.py"
    broken = {rule for rule, _ in RULES.values() for node in ast.walk(ast.parse(source)) if rule(node, path)}
    assert broken == ({CASES[source]} if CASES[source] else set())


# -- facets


def members(facet):
    """Return the names of the attributes and methods of a facet."""
    names = {*vars(facet), *vars(facet).get("__annotations__", {})}
    return {name for name in names if not name.startswith("_")}


def test_facets_have_few_members():
    found = [name for facet in FACETS for name in members(facet)]
    assert len(found) <= MEMBERS, f"{len(found)} members: {sorted(found)}"


def test_most_members_of_facets_are_read_by_several_modules():
    readers = Counter()
    for path in sources():
        if not relative(path).startswith("suite/kinds/"):
            readers.update({node.attr for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)})
    every = {name for facet in FACETS for name in members(facet)}
    once = sorted(name for name in every if readers[name] <= 1)
    assert len(once) <= READ_ONCE, f"{len(once)} members are read by one module or none: {once}"


# -- names of metrics


def declared():
    """Return the names of all metrics, and of those that the axes derive from them."""
    entries = [metric for entry in REGISTRY.names("metric") for metric in entry.meta["entries"]]
    every = [entry.factory() for entry in REGISTRY.names("kind")]
    for axis, kind in itertools.product(REGISTRY.names("axis"), every):
        entries += axis.factory().entries(kind)
    return {metric.name for metric in entries}


def constants(tree):
    """Yield the string constants of a module, except docstrings, public names and the first arguments of `Metric`."""
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    skipped |= {id(node.args[0]) for node in declarations(tree)}
    public = [
        node.value for node in tree.body if isinstance(node, ast.Assign) and last_name(node.targets[0]) == "__all__"
    ]
    skipped |= {id(name) for names in public for name in ast.walk(names)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node


def declarations(tree):
    """Return the calls of `Metric` with a name."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    return [
        node for node in calls if last_name(node.func) == Metric.__name__ and isinstance(node.args[0], ast.Constant)
    ]


def test_the_name_of_a_metric_stands_only_where_it_is_declared():
    names, strays, used = declared(), [], set()
    for path in sources():
        tree = parsed(path)
        here = {node.args[0].value for node in declarations(tree)}
        for node in constants(tree):
            if node.value not in names - here:
                continue
            places = {(name, part) for name, part in ORDINARY if name == node.value and relative(path).startswith(part)}
            used |= places
            if not places:
                strays.append(f"{relative(path)}:{node.lineno}: {node.value}")
    assert not strays, "use the constant of the metric:\n" + "\n".join(sorted(strays))
    assert not ORDINARY.keys() - used, f"exceptions that are not needed any more: {sorted(ORDINARY.keys() - used)}"
