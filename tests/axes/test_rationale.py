"""The rationale axis on an additive text model with known word contributions, with and without embeddings."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from suite.axes.base import GALLERY, Context
from suite.axes.rationale import RationaleAxis
from suite.data import DataReport, Split, TaskData, TaskInfo
from suite.data.text import packed, text_of
from suite.errors import NotApplicableError, SpecError
from suite.kinds.base import Rationale
from suite.kinds.classification.kind import Classification
from suite.kinds.sentiment.kind import Sentiment, without
from suite.models.adapters.text import Token, TorchText
from suite.runner.settings import silent

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
        kind=Sentiment(),
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
    return RationaleAxis().measure(context_of())


def test_every_method_beats_the_random_control(result):
    for metric in ("comprehensiveness", "sufficiency"):
        rows = rows_of(result, metric)
        assert list(rows) == [
            "gradient_x_input",
            "layer_integrated_gradients",
            "occlusion",
            "random",
            "recency",
        ]
        assert {rows[name].checks["beats_random"] for name in list(rows)[:3]} == {"pass"}
        assert {row.control for row in rows.values()} == {rows["random"].value}
        assert {row.n for row in rows.values()} == {28}
        assert {row.params["deletion"] for row in rows.values()} == {"read as an unknown word"}
    assert rows_of(result, "comprehensiveness")["occlusion"].higher_is_better is True
    assert rows_of(result, "sufficiency")["occlusion"].higher_is_better is False
    assert rows_of(result, "convergence_delta")["layer_integrated_gradients"].checks == {"adds_up": "pass"}


def test_texts_with_fewer_than_two_words_are_skipped_and_counted(result):
    assert result.details["too_short"] == 2
    assert not {"text-28", "text-29"} & set(result.samples["id"])
    alone = RationaleAxis().measure(context_of(chosen=["Good", "..."]))
    assert [m.status for m in alone.measures] == ["skipped"]
    assert "two or more features" in alone.measures[0].reason


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
    few = RationaleAxis(explainers="occlusion", samples=5, batch_size=3).measure(context_of())
    assert few.samples["id"] == result.samples["id"][: len(few.samples["id"])]
    count = len(few.samples["id"])
    for name in ("comprehensiveness@occlusion", "sufficiency@random", "emptied"):
        np.testing.assert_allclose(few.samples[name], result.samples[name][:count], atol=1e-7)


def test_a_model_without_embeddings_gets_shorter_texts():
    without_embeddings = RationaleAxis().measure(context_of(WithoutEmbeddings()))
    skipped = {m.params["method"]: m.reason for m in without_embeddings.measures if m.status == "skipped"}
    assert set(skipped) == {"gradient_x_input", "layer_integrated_gradients"}
    with_embeddings = RationaleAxis(explainers="occlusion").measure(context_of())
    np.testing.assert_allclose(
        without_embeddings.samples["comprehensiveness@occlusion"],
        with_embeddings.samples["comprehensiveness@occlusion"],
        atol=1e-6,
    )
    assert rows_of(without_embeddings, "sufficiency")["occlusion"].params["deletion"] == "taken out of the text"


def test_characters_of_dropped_tokens_are_removed():
    codes = torch.from_numpy(packed(["not a bad film", "bad"], 16))
    spans = torch.tensor([[[0, 3], [4, 5], [6, 9], [10, 14]], [[0, 3], [0, 0], [0, 0], [0, 0]]])
    dropped = torch.tensor([[True, False, True, False], [True, False, False, False]])
    assert [text_of(row) for row in without(codes, spans, dropped).numpy()] == [" a  film", ""]
    assert torch.equal(without(codes, spans, torch.zeros_like(dropped)), codes)
    full = torch.from_numpy(packed(["abcd"], 4))
    assert text_of(without(full, torch.tensor([[[2, 4]]]), torch.tensor([[True]])).numpy()[0]) == "ab"


def test_samples_without_features_are_skipped():
    class WithoutTextRationale(Sentiment):
        rationale = Classification.rationale

    result = RationaleAxis().measure(context_of(kind=WithoutTextRationale()))
    assert [m.status for m in result.measures] == ["skipped"]
    assert "explained by the axis attribution" in result.measures[0].reason


def test_arrays_of_the_kind_or_generated_images_are_stored():
    class LatentRationale(Sentiment):
        """Explains character codes as if they were latents."""

        def rationale(self, model, inputs, outputs):
            return Rationale(
                torch.ones(len(inputs), 3, dtype=torch.bool),
                None,
                None,
                None,
                lambda kept, rows: kept.double().mean(1),
                [["z0", "z1", "z2"]] * len(inputs),
                "set to 0",
            )

        def output_arrays(self, output):
            return {}

    class ImageGenerator(WithoutEmbeddings):
        def inputs(self, split):
            return split.inputs[:, :3].astype(np.float32)

        def raw(self, pixels):
            return pixels[:, :, None, None].expand(-1, 3, 2, 2) / 200

    result = RationaleAxis(explainers="occlusion").measure(context_of(ImageGenerator(), kind=LatentRationale()))
    assert result.arrays["images"].shape == (GALLERY, 3, 2, 2)
    assert "codes" not in result.arrays
    np.testing.assert_allclose(result.arrays["attribution_occlusion"], 1 / 3)


def test_progress_names_every_method():
    started = []

    def track(items, label, total):
        assert (label, total) == ("rationale", 3)
        for item in items:
            started.append(item)
            yield item

    RationaleAxis(explainers="occlusion").measure(context_of(track=track))
    assert started == ["occlusion", "random", "recency"]


@pytest.mark.parametrize(
    "options",
    [
        {"explainers": "oclusion"},
        {"explainers": ()},
        {"explainers": ("occlusion", "random")},
        {"fractions": (0.5, 0.1)},
        {"fractions": (0.0, 0.1)},
        {"fractions": (0.5, 1.5)},
        {"samples": 0},
        {"batch_size": 0},
    ],
)
def test_invalid_settings_are_rejected(options):
    with pytest.raises(SpecError, match=r"Did you mean|expected|Known"):
        RationaleAxis(**options)


def test_a_kind_without_rationales_gives_the_reason():
    class NotExplainable(Sentiment):
        def rationale(self, model, inputs, outputs):
            raise NotApplicableError("there is nothing to read")

    result = RationaleAxis().measure(context_of(kind=NotExplainable()))
    assert result.measures[0].reason == "there is nothing to read"
