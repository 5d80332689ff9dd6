"""Spec strings: printing and parsing round-trip, equal meanings compare equal, and nothing is evaluated."""

import copy
import keyword
import pickle
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.errors import SpecError
from suite.spec import LARGEST, LONGEST, Ratio, Spec, digest, make, parse

words = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda word: not keyword.iskeyword(word))
names = words | st.from_regex(r"[a-z]{1,6}:[a-z0-9_./-]{1,8}", fullmatch=True) | st.just("my files/acme.py:net")
integers = st.integers(-LARGEST + 1, LARGEST - 1)
floats = st.floats(allow_nan=False, allow_infinity=False)
ratios = st.builds(Ratio, st.integers(-9999, 9999), st.integers(1, 9999)) | st.builds(
    Ratio, st.floats(-1e3, 1e3), st.floats(0.5, 1e3)
)
scalars = st.none() | st.booleans() | integers | floats | ratios | st.text(max_size=12) | words


def specs_of(values):
    arguments = st.dictionaries(words, values, max_size=3)
    return st.builds(make, names, arguments)


values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | specs_of(inner), max_leaves=6)
specs = specs_of(values)


@given(specs)
def test_a_printed_spec_parses_to_the_same_spec_and_prints_the_same(spec):
    again = parse(str(spec))
    assert again == spec
    assert str(again) == str(spec)
    assert digest(again) == digest(spec)
    assert hash(again) == hash(spec)


@given(specs, specs)
def test_specs_are_equal_if_and_only_if_their_digests_are(first, second):
    assert (first == second) == (digest(first) == digest(second))


@given(st.text(max_size=60))
def test_any_text_is_a_spec_or_a_spec_error(text):
    try:
        assert parse(str(parse(text))) == parse(text)
    except SpecError as error:
        assert str(error)


@given(st.text(alphabet="f()=[]'\"-/.:, \\x1{}*#\n", max_size=40))
def test_any_text_of_spec_characters_is_a_spec_or_a_spec_error(text):
    try:
        spec = parse("f(x=" + text + ")")
    except SpecError:
        return
    assert parse(str(spec)) == spec


@given(specs)
def test_a_spec_survives_pickle_and_copy(spec):
    for again in (pickle.loads(pickle.dumps(spec)), copy.deepcopy(spec)):
        assert again == spec
        assert str(again) == str(spec)


GOOD = {
    "pgd": "pgd",
    "pgd()": "pgd",
    "  pgd ( ) ": "pgd",
    "pgd(eps=8/255, steps=40)": "pgd(eps=8/255, steps=40)",
    "pgd(steps=40, eps=8/255)": "pgd(eps=8/255, steps=40)",
    "pgd(eps=-8/255)": "pgd(eps=-8/255)",
    "pgd(eps=-(8/255))": "pgd(eps=-8/255)",
    "pgd(eps=8/-255)": "pgd(eps=8/-255)",
    "pgd(eps=0.5/2)": "pgd(eps=0.5/2)",
    "pgd(eps=1e-3)": "pgd(eps=0.001)",
    "pgd(steps=0x10)": "pgd(steps=16)",
    "pgd(steps=1_000)": "pgd(steps=1000)",
    "pgd(norm=linf)": "pgd(norm=linf)",
    "pgd(norm='linf')": "pgd(norm=linf)",
    "pgd(norm='a b')": "pgd(norm='a b')",
    "pgd(norm='None')": "pgd(norm='None')",
    "pgd(norm='true')": "pgd(norm='true')",
    "pgd(norm='ﬁ')": "pgd(norm='ﬁ')",  # Python normalizes a bare ligature to two letters
    "pgd(norm='lambda')": "pgd(norm='lambda')",
    "pgd(norm='')": "pgd(norm='')",
    "pgd(norm=nan)": "pgd(norm=nan)",  # parsed as a word; an attack that expects a number rejects it
    "pgd(stop=True, loss=None)": "pgd(loss=None, stop=True)",
    "pgd(eps=[1/255, 2/255,])": "pgd(eps=[1/255, 2/255])",
    "pgd(eps=(1, 2))": "pgd(eps=[1, 2])",
    "pgd(eps=[[]])": "pgd(eps=[[]])",
    "robustness(attack=pgd(eps=[1/4]))": "robustness(attack=pgd(eps=[1/4]))",
    "robustness(attack=pgd())": "robustness(attack=pgd())",
    "robustness(attack=spec('torchattacks:PGD(steps=3)'))": "robustness(attack=spec('torchattacks:PGD(steps=3)'))",
    "timm:hf-hub:timm/resnet18.a1": "timm:hf-hub:timm/resnet18.a1",
    "./acme.py:net(width=3)": "./acme.py:net(width=3)",
    "/home/me/My Files, 2=two/acme.py:net": "/home/me/My Files, 2=two/acme.py:net",
    "f(__class__=__import__)": "f(__class__=__import__)",  # plain words, not evaluated
}


@pytest.mark.parametrize(("text", "printed"), GOOD.items(), ids=range(len(GOOD)))
def test_valid_specs_print_in_canonical_form(text, printed):
    assert str(parse(text)) == printed
    assert parse(printed) == parse(text)


EQUAL = [
    ("f(x=1/4)", "f(x=0.25)"),
    ("f(x=1)", "f(x=1.0)"),
    ("f(x=0.0)", "f(x=-0.0)"),
    ("f(x=2/2)", "f(x=1)"),
    ("f(a=1, b=2)", "f(b=2, a=1)"),
]
DIFFERENT = [
    ("f(x=1)", "f(x=True)"),
    ("f(x=0)", "f(x=False)"),
    ("f(x=1)", "f(x='1')"),
    ("f(x=None)", "f(x='None')"),
    ("f(x=[1])", "f(x=1)"),
    ("f(x=g)", "f(x=g())"),
    ("f(x=9007199254740993)", "f(x=9007199254740992)"),
    ("f", "g"),
]


@pytest.mark.parametrize(("first", "second"), EQUAL)
def test_a_different_spelling_gives_the_same_spec(first, second):
    assert parse(first) == parse(second)
    assert len({parse(first), parse(second)}) == 1
    assert digest(parse(first)) == digest(parse(second))


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_a_different_value_gives_a_different_spec(first, second):
    assert parse(first) != parse(second)
    assert digest(parse(first)) != digest(parse(second))


BAD = {
    "": "is empty",
    "(eps=1)": "is empty",
    "two words": "contains spaces",
    "pgd eps=1": "contains spaces",
    "'pgd'": "quotes",
    "pgd[1]": "brackets",
    "pgd(": "is not a spec",
    "pgd(eps=)": "is not a spec",
    "pgd)": "brackets",
    "pgd(8/255)": "arguments need names",
    "pgd(*a)": "arguments need names",
    "pgd(**a)": r"\*\* is not allowed",
    "pgd(x:=1)": "arguments need names",
    "pgd(x for x in y)": "arguments need names",
    "pgd(eps=1, eps=2)": "eps is given twice",
    "pgd(eps=1)(steps=2)": "text after",
    "pgd(eps=1).run": "text after",
    "pgd(eps=1) + f(x=1)": "text after",
    "pgd(eps=1); import os": "is not a spec",
    "pgd(eps=8/0)": "is not a fraction",
    "pgd(eps=8/0.0)": "is not a fraction",
    "pgd(eps=1/2/3)": "is not a fraction",
    "pgd(eps=True/2)": "is not a fraction",
    "pgd(eps=a/b)": "is not a fraction",
    "pgd(eps=-a)": "is not a number and cannot be negated",
    "pgd(eps=-True)": "is not a number and cannot be negated",
    "pgd(eps=1e999)": "is not a valid value of a spec",
    "pgd(eps=1e308/1e-308)": "is not a valid value of a spec",
    "pgd(steps=9223372036854775808)": "smaller than 2\\*\\*63",
    "pgd(steps=0x" + "f" * 3900 + ")": "smaller than 2\\*\\*63",
    "pgd(eps=2**10)": "is not a valid value",
    "pgd(eps=8%3)": "is not a valid value",
    "pgd(eps=+1)": "is not a valid value",
    "pgd(eps=1j)": "is not a valid value",
    "pgd(eps=b'x')": "is not a valid value",
    "pgd(eps=...)": "is not a valid value",
    "pgd(eps={1: 2})": "is not a valid value",
    "pgd(eps={1})": "is not a valid value",
    "pgd(eps=[*a])": "is not a valid value",
    "pgd(eps=[x for x in y])": "is not a valid value",
    "pgd(eps=f'{x}')": "is not a valid value",
    "pgd(eps=lambda: 1)": "is not a valid value",
    "pgd(eps=a.b)": "is not a valid value",
    "pgd(eps=a[0])": "is not a valid value",
    "pgd(eps=a.b())": "is not a valid value",
    "pgd(eps=1 if x else 2)": "is not a valid value",
    "pgd(eps=1 < 2)": "is not a valid value",
    "pgd(eps=__import__('os').system('true'))": "is not a valid value",
    "pgd(eps=__import__('os'))": "arguments need names",
    "pgd(eps=spec('a b'))": "contains spaces",
    "pgd(eps=await x)": "is not a valid value",
    "pgd(stop=true)": "write True",
    "pgd(stop=FALSE)": "write False",
    "pgd(loss=null)": "write None",
    "pgd(lambda=1)": "is not a spec",
    "pgd(path='C:\\data')": "invalid escape",
    "pgd(eps=1or 2)": "is not a spec",
    "pgd(eps=\0)": "is not a spec",
    "pgd(eps='\ud800')": "is not a spec",
    "pgd(eps=" + "[" * 1500 + "]" * 1500 + ")": "is not a spec",
    "pgd(eps=" + "-" * 3900 + "1)": "nested too deeply",
    "pgd(eps=" + "1/" * 1900 + "1)": "nested too deeply",
    "pgd(eps=" + "a." * 1900 + "a)": "nested too deeply",
    "pgd(eps='" + "x" * LONGEST + "')": "may have at most",
}


@pytest.mark.parametrize(("text", "message"), BAD.items(), ids=range(len(BAD)))
def test_invalid_specs_are_rejected_with_the_reason(text, message):
    with pytest.raises(SpecError, match=message):
        parse(text)


def test_nothing_in_a_spec_is_evaluated(tmp_path):
    mark = tmp_path / "mark"
    touch = f"__import__('pathlib').Path({str(mark)!r}).touch()"
    for text in (
        f"f(x={touch})",
        f"f(x=[{touch}])",
        f"f(x=f'{{{touch}}}')",
        f"f(x=[0 for _ in [{touch}]])",
        f"f({touch})",
    ):
        with pytest.raises(SpecError):
            parse(text)
    assert not mark.exists()


IMPOSSIBLE = {
    "infinity": lambda: make("f", {"x": float("inf")}),
    "not a number": lambda: make("f", {"x": float("nan")}),
    "an object": lambda: make("f", {"x": Path()}),
    "a set": lambda: make("f", {"x": {1}}),
    "bytes": lambda: make("f", {"x": b""}),
    "an argument that is no identifier": lambda: make("f", {"a b": 1}),
    "an argument that is a keyword": lambda: make("f", {"lambda": 1}),
    "an argument that would come back changed": lambda: make("f", {unicodedata.lookup("LATIN SMALL LIGATURE FI"): 1}),
    "an argument twice": lambda: Spec("f", (("x", 1), ("x", 2))),
    "a name of two words": lambda: Spec("f g"),
}


@pytest.mark.parametrize("build", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_spec_without_a_string_form_is_rejected(build):
    with pytest.raises(SpecError):
        build()


def test_numpy_values_become_python_values():
    assert str(make("f", {"x": np.float64(0.5), "y": np.str_("a b")})) == "f(x=0.5, y='a b')"


def test_arguments_can_be_set():
    spec = parse("pgd(eps=8/255, steps=40)")
    assert str(spec.but(steps=5, norm="l2")) == "pgd(eps=8/255, norm=l2, steps=5)"
    assert spec.kwargs == {"eps": 8 / 255, "steps": 40}
    assert parse(spec) is spec


def test_a_fraction_behaves_as_a_number():
    assert parse("f(x=8/255)").kwargs["x"] * 255 == pytest.approx(8)


@pytest.mark.parametrize(
    "name", ["a\x1b[2J", "/x\x1b/a.py:net", "/x\x9b/a.py:net", "a\u202eb", "a\x00", "\udcff.py:net"]
)
def test_a_name_with_control_characters_is_refused(name):
    with pytest.raises(SpecError, match="contains") as error:
        parse(name)
    assert str(error.value).isprintable()


def test_a_path_that_is_not_utf8_survives_parsing():
    path = "/photos/caf\udce9/x"
    spec = parse(f"imagefolder(path='{path}')")
    assert spec.kwargs == {"path": path}
    assert str(spec) == r"imagefolder(path='/photos/caf\udce9/x')"
    assert parse(str(spec)) == spec


def test_control_characters_in_a_value_are_printed_as_escapes():
    spec = parse("f(x='a\x1b[2J\u202e')")
    assert spec.kwargs == {"x": "a\x1b[2J\u202e"}
    assert str(spec) == r"f(x='a\x1b[2J\u202e')"
    assert parse(str(spec)) == spec
