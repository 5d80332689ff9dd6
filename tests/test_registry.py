"""The registry: names from the suite, from installed packages and from single files, with the same decorators."""

import functools
import importlib.metadata
import subprocess
import sys

import pytest

from suite import registry as module
from suite.decorators import attack, attribution, kind, metric, model, page, task, uncertainty
from suite.errors import PluginError, SpecError, UnknownNameError
from suite.metrics.catalogue import Metric
from suite.registry import REGISTRY, Entry, Registry, resolve, tasks_files
from suite.runner.identity import code_digest, display_name, origins
from suite.spec import parse

ONE_OF_EACH = '''
from suite import Metric, attack, attribution, kind, metric, model, page, task, uncertainty

@task(kind="classification", classes=("a", "b"), version="7", source="here")
def things(split, seed, *, size=8):
    """Some things.

    And more about them.
    """

@model(task="things")
def net(task, *, width: int = 3): "A net of {mark}."

@model(family=True)
def zoo(name, task): return name

@attack()
def push(eps=(0.1,)): "Push."

@metric(kind="classification", entries=[Metric("share", "share", "a share")])
def share(table): "A share."

@attribution()
def glance(): "A glance."

@attribution(of="features")
def stare(): "A stare."

@uncertainty()
def doubt(context, options): "A doubt."

@page(title="A page")
def leaf(context): "A leaf."

@kind()
def sort(): "A sort."
'''


@pytest.fixture
def fresh(monkeypatch):
    """Return an empty registry that the decorators fill."""
    own = Registry()
    own._loaded_plugins = True
    monkeypatch.setattr(module, "REGISTRY", own)
    return own


@pytest.fixture
def acme(tmp_path):
    path = tmp_path / "acme.py"
    path.write_text(ONE_OF_EACH.replace("{mark}", "acme"))
    return path


def install_entry_points(monkeypatch, **targets):
    """Simulate installed packages whose entry points name these modules."""
    entry_points = [importlib.metadata.EntryPoint(name, value, module.ENTRY_POINTS) for name, value in targets.items()]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda *, group: entry_points)


# -- decorators


def test_every_decorator_registers_and_returns_the_function(fresh):
    def thing(*arguments):
        """Do a thing."""

    decorators = {
        "task": task(kind="classification", classes=("a",)),
        "model": model(),
        "attack": attack(),
        "metric": metric(kind="classification", entries=[Metric("thing", "thing", "a thing")]),
        "uncertainty": uncertainty(),
        "page": page(title="Page"),
        "kind": kind(),
        "attribution": attribution(),
    }
    for role, decorate in decorators.items():
        assert decorate(thing) is thing
        entry = fresh._entries["", role, "thing"]
        assert (entry.role, entry.summary, entry.origin) == (role, "Do a thing.", __file__)


def test_arguments_of_a_decorator_are_kept(acme):
    things, net = REGISTRY.get("task", f"{acme}:things"), REGISTRY.get("model", f"{acme}:net")
    assert things.meta["classes"] == ("a", "b")
    assert (things.meta["version"], things.meta["source"], things.meta["presets"]) == ("7", "here", {})
    assert things.summary == "Some things."
    assert net.meta == {"kind": "classification", "tasks": ("things",)}


def test_a_factory_without_a_name_needs_one(fresh):
    with pytest.raises(PluginError, match="is not a valid name for a model"):
        model()(functools.partial(dict))
    with pytest.raises(PluginError, match="is not a valid name for a model"):
        model()(lambda: None)
    model(name="net-2.1")(functools.partial(dict))
    assert fresh.get("model", "net-2.1").origin == module.INTERACTIVE


def test_a_name_with_a_colon_is_rejected(fresh):
    with pytest.raises(PluginError, match="is not a valid name for an attack"):
        attack(name="a:b")(dict)


def test_a_family_without_arguments_is_rejected(fresh):
    with pytest.raises(PluginError, match="takes no arguments"):
        model(family=True, name="zoo")(lambda: None)


def test_registering_builds_nothing(fresh):
    built = []
    model(name="net")(lambda: built.append(1))
    entry = fresh.get("model", "net")
    assert not built
    entry.build(parse("net"))
    assert built


# -- names


@pytest.mark.parametrize(
    ("role", "wrong", "right"),
    [
        ("task", "digitz", "digits"),
        ("model", "liner", "linear"),
        ("model", "timn:resnet18", "timm:"),
        ("attack", "pdg", "pgd"),
        ("attack", "torchattack:PGD", "torchattacks:"),
        ("metric", "acuracy", "accuracy"),
        ("attribution", "salience", "saliency"),
        ("axis", "robustnes", "robustness"),
        ("kind", "clasification", "classification"),
    ],
)
def test_an_unknown_name_suggests_a_similar_one(role, wrong, right):
    with pytest.raises(UnknownNameError, match=f"There is no {role} '{wrong}'. Did you mean .*'{right}'"):
        REGISTRY.get(role, wrong)


def test_a_name_without_similar_ones_lists_all():
    with pytest.raises(UnknownNameError, match=r"Known: coco, .*digits, imagefolder, .*mnist5k"):
        REGISTRY.get("task", "qqqqqq")


@pytest.mark.parametrize(
    ("name", "usage"),
    [("timm", "timm:NAME"), ("timm:", "timm:NAME"), ("linear:", "linear"), ("linear:x", "linear")],
)
def test_only_a_family_takes_a_member(name, usage):
    with pytest.raises(UnknownNameError, match=f"'{name}' is not a model: write {usage}\\."):
        REGISTRY.get("model", name)


def test_a_family_is_called_with_the_member(fresh):
    model(family=True, name="zoo")(lambda name, *, width=1: (name, width))
    for member in ("cat", "hub:cat/1"):
        entry, spec = fresh.get("model", f"zoo:{member}"), parse(f"zoo:{member}(width=2)")
        assert entry.build(spec) == (member, 2)


def test_the_families_of_the_suite_accept_any_member():
    assert REGISTRY.get("model", "timm:resnet18").family
    assert REGISTRY.get("attack", "torchattacks:PGD").family


# -- arguments


def entry_of(factory, *, family=False):
    return Entry("model", "net", factory, "here", family)


def test_binding_fills_in_defaults_and_keeps_the_type_of_a_number():
    bound = entry_of(lambda *, width=16, rate=0.5, stop=True: None).bind(parse("net(rate=1)"))
    assert str(bound) == "net(rate=1.0, stop=True, width=16)"


BINDINGS = {
    "unknown": (lambda *, width=1: None, "net(wdith=2)", "no argument 'wdith'. Did you mean 'width'"),
    "takes no arguments": (lambda: None, "net(x=2)", "It takes no arguments"),
    "missing": (lambda *, width: None, "net", r"needs width: net\(width=...\)"),
    "provided by the harness": (lambda task: None, "net(task=1)", "no argument 'task'"),
    "provided by the harness, open-ended": (lambda task, **more: None, "net(task=1)", "no argument 'task'"),
    "private": (lambda _x=1: None, "net(_x=1)", "no argument '_x'"),
    "an invalid default": (lambda *, x=len: None, "net", "is not a valid value of a spec"),
}


@pytest.mark.parametrize(("factory", "text", "message"), BINDINGS.values(), ids=BINDINGS)
def test_an_invalid_argument_is_named(factory, text, message):
    with pytest.raises(SpecError, match=message):
        entry_of(factory).bind(parse(text), injected=("task",))


def typed(*, steps: int = 1, rate: float | None = None, full: bool = False, audit: int | str = 0):
    return steps, rate, full, audit


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("net(steps=1.5)", r"attack 'net' got steps=1\.5; expected a whole number\."),
        ("net(steps=True)", "got steps=True; expected a whole number"),
        ("net(steps=None)", "got steps=None; expected a whole number"),
        ("net(steps='3')", "got steps='3'; expected a whole number"),
        ("net(steps=[1, 2])", r"got steps=\(1, 2\); expected a whole number"),
        ("net(rate=nan)", "got rate='nan'; expected a number or None"),
        ("net(full=1)", "got full=1; expected True or False"),
    ],
)
def test_a_value_of_another_type_is_refused(text, message):
    with pytest.raises(SpecError, match=message):
        Entry("attack", "net", typed, "f.py").bind(parse(text))


@pytest.mark.parametrize(
    "text", ["net(steps=3)", "net(rate=1)", "net(rate=0.5)", "net(rate=None)", "net(full=True)", "net(audit=full)"]
)
def test_a_value_of_the_right_type_is_taken(text):
    (value,) = parse(text).kwargs.values()
    assert value in Entry("attack", "net", typed, "f.py").build(parse(text))


def test_an_open_ended_factory_takes_any_argument():
    entry = entry_of(lambda name, *rest, **more: (name, more), family=True)
    assert entry.build(parse("net:x(anything=1)")) == ("x", {"anything": 1})


def test_the_harness_provides_what_the_factory_accepts():
    assert entry_of(lambda task: task).build(parse("net"), task="t", other=1) == "t"
    assert entry_of(lambda: "none").build(parse("net"), task="t") == "none"


# -- one file


def test_any_path_to_a_file_resolves_to_it(acme, monkeypatch):
    monkeypatch.chdir(acme.parent)
    for path in ("acme.py", "./acme.py", f"../{acme.parent.name}/acme.py", str(acme)):
        assert REGISTRY.get("model", f"{path}:net").summary == "A net of acme."


NAMES = {
    "task": "things", "model": "net", "attack": "push", "metric": "share", "attribution": "glance",
    "feature_attribution": "stare", "uncertainty": "doubt", "page": "leaf", "kind": "sort",
}  # fmt: skip


@pytest.mark.parametrize("role", NAMES)
def test_a_file_can_register_every_role(acme, role):
    name = NAMES[role]
    entry, _ = resolve(role, f"{acme}:{name}")
    assert (entry.name, entry.origin) == (name, str(acme))
    assert name not in [other.name for other in REGISTRY.names(role)], (
        "names of a file are visible only through the file"
    )


def test_a_folder_may_have_spaces_and_colons_in_its_name(tmp_path):
    folder = tmp_path / "my files: new, x=1"
    folder.mkdir()
    (folder / "acme.py").write_text(ONE_OF_EACH)
    entry, spec = resolve("model", f"{folder}/acme.py:net(width=4)")
    assert (entry.name, spec.kwargs) == ("net", {"width": 4})


def test_a_family_of_a_file_is_called_with_the_member(acme):
    entry, spec = resolve("model", f"{acme}:zoo:cat")
    assert entry.build(spec, task=None) == "cat"
    with pytest.raises(UnknownNameError, match=r"acme\.py:zoo:NAME"):
        resolve("model", f"{acme}:zoo")


def test_two_files_may_use_the_same_names(tmp_path):
    for mark in ("one", "two"):
        (tmp_path / mark).mkdir()
        (tmp_path / mark / "acme.py").write_text(ONE_OF_EACH.replace("{mark}", mark))
    for mark in ("one", "two", "one"):
        entry = REGISTRY.get("model", f"{tmp_path}/{mark}/acme.py:net")
        assert entry.summary == f"A net of {mark}."
        assert sys.modules[entry.factory.__module__].__file__ == str(tmp_path / mark / "acme.py")


def test_a_file_may_reuse_names_of_the_suite(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("from suite import model, attack\n@model()\ndef linear(): 'Mine.'\n@attack()\ndef pgd(): 'Mine.'\n")
    assert REGISTRY.get("model", f"{path}:linear").summary == "Mine."
    assert REGISTRY.get("model", "linear").summary != "Mine."
    assert REGISTRY.get("attack", "pgd").summary != "Mine."


def test_imports_of_a_file_keep_their_origin(tmp_path):
    path = tmp_path / "imports.py"
    path.write_text(
        "from suite.attacks.images.gradient import PGD\nfrom suite import attack\nattack(name='mine')(PGD)\n"
    )
    code = (
        "from suite.registry import REGISTRY\n"
        f"print([e.name for e in REGISTRY.of_file({str(path)!r})], REGISTRY.get('attack', 'pgd').origin)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.startswith("['mine']")
    assert output.strip().endswith("gradient.py")


def test_a_built_in_file_can_be_loaded_by_path():
    (path,) = (path for path in tasks_files() if path.stem == "classification")
    assert {"digits", "linear"} < {entry.name for entry in REGISTRY.of_file(path)}
    assert REGISTRY.get("task", f"{path}:digits").origin == REGISTRY.get("task", "digits").origin


def test_every_built_in_task_and_model_comes_from_a_file_in_tasks(monkeypatch):
    loaded, load = [], Registry._load_file
    monkeypatch.setattr(
        Registry, "_load_file", lambda self, path, scope: (loaded.append(path), load(self, path, scope))
    )
    REGISTRY.names("task")
    assert sorted(loaded) == tasks_files()
    entries = [*REGISTRY.names("task"), *REGISTRY.names("model")]
    assert {entry.origin for entry in entries} == {str(path) for path in loaded}


def test_loading_a_file_writes_no_bytecode(acme):
    REGISTRY.of_file(acme)
    assert [path.name for path in acme.parent.iterdir()] == ["acme.py"]


BROKEN = {
    "syntax": ("def", "SyntaxError"),
    "import": ("import nothing_of_that_name", "ModuleNotFoundError"),
    "raises": ("1 / 0", "ZeroDivisionError"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "bad decorator": (
        "from suite import task\ntask(name='a:b', kind='classification')(dict)",
        "is not a valid name for a task",
    ),
}


@pytest.mark.parametrize(("text", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_named_with_its_error(tmp_path, text, message):
    path = tmp_path / "broken.py"
    path.write_text(f"from suite import model\n@model()\ndef half(): 'Half.'\n{text}\n")
    with pytest.raises(PluginError, match=rf"broken\.py cannot be loaded: .*{message}"):
        REGISTRY.of_file(path)
    assert not [name for name, loaded in sys.modules.items() if getattr(loaded, "__file__", "") == str(path)]
    path.write_text("from suite import model\n@model()\ndef whole(): 'Whole.'\n")
    assert [entry.name for entry in REGISTRY.of_file(path)] == ["whole"], "a corrected file is loaded again"


def test_wrong_paths_and_names_have_different_errors(acme, tmp_path):
    (tmp_path / "acme.txt").write_text("")
    with pytest.raises(PluginError, match="There is no file"):
        REGISTRY.get("task", f"{tmp_path}/absent.py:x")
    with pytest.raises(PluginError, match=r"its name must end in \.py"):
        REGISTRY.of_file(tmp_path / "acme.txt")
    with pytest.raises(UnknownNameError, match=r"registers no model 'nett'\. Did you mean 'net'"):
        REGISTRY.get("model", f"{acme}:nett")
    with pytest.raises(UnknownNameError, match=r"is a file. Write acme\.py:NAME"):
        REGISTRY.get("task", "acme.py")


def test_the_code_digest_covers_every_file_of_a_spec(acme):
    inner = f"{acme}:push(eps=[0.1])"
    assert str(acme) in origins("axis", f"robustness(attack={inner!r})")
    assert str(acme) in origins("axis", f"attribution(methods=[saliency, '{acme}:glance'])")
    assert str(acme) not in origins("axis", "robustness(attack=pgd)")
    assert code_digest((str(acme),)) != code_digest()


def test_boards_show_a_file_without_its_folder(acme):
    for name in ("net(width=4)", "zoo:cat"):
        assert display_name(parse(f"{acme}:{name}")) == f"acme.py:{name}"
    assert display_name(parse("timm:resnet18")) == "timm:resnet18"


# -- packages


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes a module and makes it importable."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)

    return write


def test_the_names_of_a_package_are_resolved(fresh, package, monkeypatch):
    package("acme_a", ONE_OF_EACH)
    install_entry_points(monkeypatch, acme="acme_a")
    fresh._loaded_plugins = False
    fresh._load_installed = lambda role: None
    assert fresh.get("task", "things").summary == "Some things."
    assert [entry.name for entry in fresh.names("attack")] == ["push"]


def test_packages_are_not_imported_for_built_in_names(fresh, monkeypatch):
    model(name="net")(dict)
    install_entry_points(monkeypatch, acme="never_imported_module")
    fresh._loaded_plugins = False
    assert fresh.get("model", "net").name == "net"
    assert not fresh.broken


def test_a_broken_package_is_named_and_does_not_break_the_others(fresh, package, monkeypatch):
    package("acme_good", ONE_OF_EACH)
    package("acme_bad", "raise ValueError('no luck')")
    package("acme_exit", "raise SystemExit('bye')")
    install_entry_points(monkeypatch, bad="acme_bad", leaves="acme_exit", gone="acme_gone", good="acme_good")
    fresh._loaded_plugins = False
    fresh._load_installed = lambda role: None
    assert [entry.name for entry in fresh.names("task")] == ["things"]
    assert fresh.broken["bad"] == "ValueError: no luck"
    assert fresh.broken["leaves"] == "SystemExit: bye"
    assert "ModuleNotFoundError" in fresh.broken["gone"]
    with pytest.raises(UnknownNameError, match="The plug-in bad cannot be loaded: ValueError: no luck"):
        fresh.get("task", "thinks")


def test_two_packages_cannot_have_one_name(fresh, package, monkeypatch):
    package("acme_first", ONE_OF_EACH)
    package("acme_second", ONE_OF_EACH)
    install_entry_points(monkeypatch, first="acme_first", second="acme_second")
    fresh._loaded_plugins = False
    fresh._load_installed = lambda role: None
    assert fresh.get("task", "things").origin.endswith("acme_first.py")
    assert "but so does" in fresh.broken["second"]
    assert "acme_first.py" in fresh.broken["second"]


def test_a_registered_name_is_rejected_for_another_file_only(fresh):
    fresh.add(Entry("model", "net", dict, "here.py"))
    fresh.add(Entry("model", "net", list, "here.py"))
    assert fresh._entries["", "model", "net"].factory is list
    with pytest.raises(PluginError, match=r"there\.py registers the model 'net', but so does here\.py\. Rename"):
        fresh.add(Entry("model", "net", dict, "there.py"))


def test_a_package_cannot_replace_a_name_of_the_suite(package, monkeypatch):
    package("acme_thief", "from suite import attack\nattack(name='pgd')(dict)\n")
    install_entry_points(monkeypatch, thief="acme_thief")
    monkeypatch.setattr(REGISTRY, "_loaded_plugins", False)
    monkeypatch.setattr(REGISTRY, "broken", {})
    REGISTRY.names("attack")
    assert "but so does" in REGISTRY.broken["thief"]
    assert REGISTRY.get("attack", "pgd").origin.endswith("gradient.py")
