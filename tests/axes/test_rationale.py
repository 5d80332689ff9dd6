"""The rationale axis on an additive text model with known word contributions, with and without embeddings."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import suite.axes.attribution
from suite.axes.attribution import NOTHING_TO_EXPLAIN
from suite.axes.base import GALLERY, Context, measure
from suite.axes.rationale import RationaleAxis
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.data.text import packed, text_of
from suite.errors import SpecError, UnknownNameError
from suite.kinds.base import NotApplicable, Rationale
from suite.kinds.sentiment.kind import ExplainedTokens, Sentiment, without
from suite.models.adapters.text import Token, TorchText
from suite.registry import resolve
from suite.runner.identity import full_spec
from suite.runner.settings import silent
from suite.types import LATENT, Display
from tests.axes.contexts import Finding, finding_of

torch.set_num_threads(1)
CONTRIBUTIONS = {"good": 2.0, "fine": 1.0, "the": 0.0, "film": 0.1, "dull": -1.5, "bad": -2.0}
WORDS = ("", "?", "[start]", *CONTRIBUTIONS)


class WordTokenizer:
    """Splits a text into words, after a special start token."""

    vocabulary, pad, unknown = WORDS, 0, 1

    def tokens(self, text):
        known = {word: index for index, word in enumerate(WORDS)}
        return [
            Token(2, 0, 0),
            *(Token(known.get(m.group().lower(), 1), m.start(), m.end()) for m in re.finditer(r"\w+", text)),
        ]


class Additive(nn.Module):
    """The logit of the second class is the sum of the word contributions plus 0.5 for the start token."""

    def __init__(self):
        super().__init__()
        contribution = torch.tensor([[0.0], [0.0], [0.5], *([one] for one in CONTRIBUTIONS.values())])
        self.embedding = nn.Embedding.from_pretrained(torch.cat([contribution, contribution], 1))

    def forward(self, embedded, mask):
        total = (embedded.mean(2) * mask).sum(1)
        return torch.stack([-total, total], 1)


class WithoutEmbeddings(TorchText):
    """The same model without embeddings: it works on the words of the text."""

    def __init__(self):
        super().__init__(nn.Identity(), WordTokenizer(), length=8)

    def raw(self, pixels):
        texts = [text_of(row) for row in pixels.cpu().numpy()]
        totals = [
            0.5 + sum(CONTRIBUTIONS.get(word.lower(), 0.0) for word in re.findall(r"\w+", text)) for text in texts
        ]
        return torch.tensor([[-total, total] for total in totals])


def texts(count=30):
    generator = np.random.default_rng(0)
    drawn = [" ".join(generator.choice(list(CONTRIBUTIONS), generator.integers(3, 7))) for _ in range(count - 2)]
    return [*drawn, "Good", "..."]


def context_of(model=None, *, chosen=None, track=silent, **changes):
    inputs = packed(chosen or texts(), 48)
    targets = np.zeros(len(inputs), np.int64)
    test = Split(tuple(f"text-{place}" for place in range(len(inputs))), inputs, targets)
    nothing = test.take(range(0))
    info = TaskInfo("toy", "sentiment", "1", ("neg", "pos"), (48,))
    context = Context(
        kind=Sentiment().kind(),
        data=TaskData(info, nothing, nothing, test, DataReport({}), "d"),
        test=test,
        model=model or TorchText(Additive(), WordTokenizer(), length=8),
        members=lambda count: [],
        track=track,
        device=torch.device("cpu"),
        names=("toy", "additive", "rationale"),
    )
    return replace(context, **changes)


def rows_of(result, metric):
    return {m.params["method"]: m for m in result.measures if m.metric == metric and "method" in m.params}


@pytest.fixture(scope="module")
def result():
    return finding_of(RationaleAxis(), context_of())


def skipped(context):
    """Return the single row of a cell that does not apply."""
    (row,) = Finding(RationaleAxis(), context.kind, measure(RationaleAxis(), context)).measures
    assert (row.metric, row.status) == ("comprehensiveness", "skipped")
    return row


def explaining(context, features):
    """Return a context whose kind explains other features."""
    return replace(context, kind=replace(context.kind, features=features))


def test_every_method_is_compared_with_the_random_control(result):
    for metric in ("comprehensiveness", "sufficiency"):
        rows = rows_of(result, metric)
        assert list(rows) == [
            "gradient_x_input",
            "layer_integrated_gradients",
            "occlusion",
            "random",
            "recency",
        ]
        better = max if metric == "comprehensiveness" else min
        for row in list(rows.values())[:3]:
            assert better(row.value, row.control) == row.value and row.checks["beats_random"] in ("pass", "fail")
        assert any(row.checks["beats_random"] == "pass" for row in rows.values())
        assert {row.control for row in rows.values()} == {rows["random"].value}
        assert {row.n for row in rows.values()} == {28}
        assert {row.params["deletion"] for row in rows.values()} == {"read as an unknown word"}
    assert rows_of(result, "comprehensiveness")["occlusion"].higher_is_better is True
    assert rows_of(result, "sufficiency")["occlusion"].higher_is_better is False
    assert rows_of(result, "convergence_delta")["layer_integrated_gradients"].checks == {"adds_up": "pass"}


def test_texts_with_fewer_than_two_words_are_skipped_and_counted(result):
    assert result.facts["too_short"] == result.details["too_short"] == 2
    assert not {"text-28", "text-29"} & set(result.column("id"))
    assert "two or more features" in skipped(context_of(chosen=["Good", "..."])).reason


def test_the_gallery_shows_the_attribution_of_each_word(result):
    arrays, attribution = result.arrays, result.arrays["attribution_gradient_x_input"]
    assert len(arrays["ids"]) == GALLERY
    for row in range(GALLERY):
        text = text_of(arrays["codes"][row])
        sign = 1 if arrays["prediction"][row] == 1 else -1
        for place, (start, end) in enumerate(arrays["spans"][row]):
            contribution = CONTRIBUTIONS[text[start:end]] if end > start else 0.0
            assert attribution[row, place] == pytest.approx(sign * contribution, abs=1e-6)
            assert arrays["present"][row, place] == (end > start)
            assert arrays["names"][row, place] == (text[start:end] or ("[start]" if place == 0 else ""))


def test_samples_are_the_first_by_digest_and_the_same_in_a_second_run(result):
    few = finding_of(RationaleAxis(explainers="occlusion", samples=5, batch_size=3), context_of())
    count = len(few.column("id"))
    assert list(few.column("id")) == list(result.column("id")[:count])
    for name, params in (
        ("comprehensiveness", {"method": "occlusion"}),
        ("sufficiency", {"method": "random"}),
        ("emptied", {}),
    ):
        np.testing.assert_allclose(few.column(name, **params), result.column(name, **params)[:count], atol=1e-7)


def test_measures_of_some_samples_are_those_of_a_run_on_these_samples(result):
    part = finding_of(RationaleAxis(samples=12), context_of())
    for summary, direct in zip(result.summarised(rows=range(len(part.table))), part.measures, strict=True):
        assert (summary.metric, summary.params, summary.n) == (direct.metric, direct.params, direct.n)
        assert (summary.checks, summary.reason) == (direct.checks, direct.reason)
        numbers = [[getattr(one, name) for name in ("value", "lo", "hi", "control")] for one in (summary, direct)]
        np.testing.assert_allclose(*np.array(numbers, float), rtol=1e-5, atol=1e-7)


def test_a_higher_level_widens_the_intervals_and_leaves_the_checks(result):
    for row, wide in zip(result.measures, result.summarised(level=0.99), strict=True):
        assert (row.value, row.checks) == (wide.value, wide.checks)
        assert wide.lo <= row.lo <= row.hi <= wide.hi


def test_the_control_of_a_row_has_a_column_of_the_same_name(result):
    for row in result.measures:
        if row.control is not None:
            assert row.value == result.column(row.metric, method=row.params["method"]).mean()
            assert row.control == result.column(row.metric, method="random").mean()


def test_a_model_without_embeddings_gets_shorter_texts():
    without_embeddings = finding_of(RationaleAxis(), context_of(WithoutEmbeddings()))
    left_out = {m.params["method"] for m in without_embeddings.measures if m.status == "skipped"}
    assert left_out == set(without_embeddings.facts["skipped"]) == {"gradient_x_input", "layer_integrated_gradients"}
    with_embeddings = finding_of(RationaleAxis(explainers="occlusion"), context_of())
    drops = [
        finding.column("comprehensiveness", method="occlusion") for finding in (without_embeddings, with_embeddings)
    ]
    np.testing.assert_allclose(*drops, atol=1e-6)
    assert rows_of(without_embeddings, "sufficiency")["occlusion"].params["deletion"] == "taken out of the text"


def test_characters_of_dropped_tokens_are_removed():
    codes = torch.from_numpy(packed(["not a bad film", "bad"], 16))
    spans = torch.tensor([[[0, 3], [4, 5], [6, 9], [10, 14]], [[0, 3], [0, 0], [0, 0], [0, 0]]])
    dropped = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert [text_of(row) for row in without(codes, spans, dropped).numpy()] == [" a  film", ""]
    assert torch.equal(without(codes, spans, torch.zeros_like(dropped)), codes)
    full = torch.from_numpy(packed(["abcd"], 4))
    assert text_of(without(full, torch.tensor([[[2, 4]]]), torch.tensor([[True]])).numpy()[0]) == "ab"


def test_a_kind_without_features_gives_the_reason():
    assert (
        skipped(explaining(context_of(), NotApplicable("there is nothing to read"))).reason
        == "there is nothing to read"
    )


def test_no_prediction_to_explain_is_a_skipped_row():
    class Silent(ExplainedTokens):
        def explainable(self, output):
            return np.zeros(len(output), dtype=bool)

    assert skipped(explaining(context_of(), Silent())).reason == NOTHING_TO_EXPLAIN


class Latents(ExplainedTokens):
    """Explains three numbers that do not matter, with or without an image of each sample."""

    def __init__(self, shown=True):
        self.shown = shown

    def explained(self, model, inputs, outputs):
        images = Display(np.zeros((len(inputs), 3, 2, 2), np.uint8), "image", "generated")
        return Rationale(
            torch.ones(len(inputs), 3, dtype=torch.bool),
            None,
            None,
            None,
            lambda kept, rows: kept.double().mean(1),
            [["z0", "z1", "z2"]] * len(inputs),
            "set to 0",
            proxy=True,
            arrays={"images": images} if self.shown else {},
        )


def test_the_gallery_shows_what_the_kind_returns():
    result = finding_of(RationaleAxis(explainers="occlusion"), explaining(context_of(), Latents()))
    assert result.arrays["images"].shape == (GALLERY, 3, 2, 2)
    assert "codes" not in result.arrays
    np.testing.assert_allclose(result.arrays["attribution_occlusion"], 1 / 3)
    assert all(row.params["proxy"] for row in result.measures)
    shown = result.result.arrays
    assert (shown["images"].type, shown["images"].role) == ("image", "generated")
    assert (shown["attribution_occlusion"].role, shown["attribution_occlusion"].params) == (
        "attribution",
        {"method": "occlusion"},
    )


def test_the_gallery_shows_texts_only_if_the_model_reads_texts():
    class OfLatents(TorchText):
        input = LATENT

    axis = RationaleAxis(explainers="occlusion")
    codes = finding_of(axis, explaining(context_of(), Latents(shown=False))).result.arrays["codes"]
    assert (codes.type, codes.role, codes.values.shape) == ("text", "input", (GALLERY, 48))
    other = OfLatents(Additive(), WordTokenizer(), length=8)
    assert "codes" not in finding_of(axis, explaining(context_of(other), Latents(shown=False))).arrays


def test_progress_advances_by_one_per_cohort(monkeypatch):
    monkeypatch.setattr(suite.axes.attribution, "FEWEST", 9)
    monkeypatch.setattr(suite.axes.attribution, "MOST", 9)
    measured = {"features": 0, "rationale": 0}

    def track(items, label, total):
        if label in measured:
            assert 2 <= total == len(items)
        for rows in items:
            yield rows
            if label in measured:
                measured[label] += len(rows)

    finding = finding_of(RationaleAxis(explainers="occlusion", samples=20), context_of(track=track))
    assert measured == {"features": 20, "rationale": len(finding.column("id"))}


@pytest.mark.parametrize(
    "options",
    [
        {"explainers": ()},
        {"fractions": (0.5, 0.1)},
        {"fractions": (0.0, 0.1)},
        {"fractions": (0.5, 1.5)},
        {"samples": 0},
        {"batch_size": 0},
    ],
)
def test_invalid_settings_are_rejected(options):
    with pytest.raises(SpecError, match="expected"):
        RationaleAxis(**options)


def test_unknown_explainers_are_rejected():
    with pytest.raises(UnknownNameError, match=r"no feature attribution 'oclusion'\. Did you mean 'occlusion'"):
        full_spec("axis", "rationale(explainers=oclusion)")
    with pytest.raises(SpecError, match="'saliency' is an attribution, not a feature attribution"):
        full_spec("axis", "rationale(explainers=[saliency])")


@pytest.mark.parametrize("name", ["random", "recency"])
def test_the_names_of_the_controls_are_reserved(name):
    with pytest.raises(SpecError, match=f"reserved for the {name} control"):
        RationaleAxis(explainers=("occlusion", name)).measure(context_of())


def test_a_method_of_a_plug_in_is_named_in_the_spec(tmp_path):
    file = tmp_path / "length.py"
    file.write_text(
        "import torch\n"
        "from suite import attribution\n"
        "from suite.attributions.features.methods import FeatureAttribution\n"
        "@attribution(of='features')\n"
        "def position(sign=1.0):\n"
        "    def explain(features):\n"
        "        places = torch.arange(features.present.shape[1]).double()\n"
        "        return FeatureAttribution(sign * places.expand(features.present.shape))\n"
        "    return explain\n"
    )
    specs = f"{file}:position", f"{file}:position(sign=-1.0)"
    entry, _ = resolve("feature_attribution", specs[0])
    assert entry.origin == str(file)
    result = finding_of(RationaleAxis(explainers=specs), context_of())
    last, first, recency = (result.column("sufficiency", method=name) for name in (*specs, "recency"))
    assert np.array_equal(last, recency) and not np.array_equal(first, last)


def test_specs_of_explainers_without_arguments_are_names():
    """Seeds depend on the canonical form of the spec."""
    assert full_spec("axis", "rationale").canonical()["args"]["explainers"] == [
        "gradient_x_input",
        "layer_integrated_gradients",
        "occlusion",
    ]
