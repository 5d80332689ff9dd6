"""The adapter of language models: characters, windows, batches, embeddings, states."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from suite.data.text import packed
from suite.errors import ModelError, NotApplicableError
from suite.models.adapters.language import TorchLanguage
from suite.models.adapters.tokens import Alphabet
from suite.models.networks.language import CausalTransformer, Recurrent
from tests.models.language.periodic import CLASSES, codes, periodic

MAKERS = {
    "gru": lambda: Recurrent(len(CLASSES), hidden=24, width=16),
    "lstm": lambda: Recurrent(len(CLASSES), cell="lstm", hidden=24, width=16, layers=2),
    "transformer": lambda: CausalTransformer(len(CLASSES), 32, width=16, depth=2),
}


def built(name, length=32):
    torch.manual_seed(0)
    adapter = TorchLanguage(MAKERS[name](), CLASSES, length=length)
    adapter.module.eval()
    return adapter


def test_alphabet_maps_other_characters_to_unknown():
    alphabet = Alphabet(("<unk>", "b", "a", "é", "🙂"))
    result = alphabet.ids(packed(["ab🙂", "é?"], 3))
    assert result.tolist() == [[2, 1, 4], [3, 0, 0]]
    assert [tuple(token) for token in alphabet.tokens("a!")] == [(2, 0, 1), (0, 1, 2)]
    assert [tuple(token) for token in alphabet.tokens("")] == [(0, 0, 0)]
    assert alphabet.text([2, 1, 0]) == "ab\ufffd"


@pytest.mark.parametrize("classes", [("a", "b"), ("<unk>",), ("<unk>", "ab"), ("<unk>", "")])
def test_alphabet_refuses_invalid_classes(classes):
    with pytest.raises(ModelError, match="single characters"):
        Alphabet(classes)


def test_shorter_texts_are_padded_on_the_left():
    adapter = built("gru")
    reading = adapter.read(torch.from_numpy(packed(["to be", "to"], 5)))
    assert reading.ids.shape == (2, 5)
    assert reading.mask.tolist() == [[True] * 5, [False] * 3 + [True] * 2]
    assert [CLASSES[i] for i in reading.ids[1, 3:]] == ["t", "o"]
    assert reading.spans[1].tolist() == [[0, 0]] * 3 + [[0, 1], [1, 2]]
    empty = adapter.read(torch.zeros((1, 3), dtype=torch.int32))
    assert empty.mask.tolist() == [[False, False, True]]


@pytest.mark.parametrize("name", MAKERS)
def test_logits_are_causal_and_independent_of_the_batch(name):
    adapter, texts = built(name), codes(periodic(few=19))
    with torch.no_grad():
        whole = adapter(texts)
        assert whole.shape == (len(texts), 31, len(CLASSES))
        for size in (1, 3, 8):
            assert torch.equal(torch.cat([adapter(part) for part in texts.split(size)]), whole), size
        changed = texts.clone()
        changed[:, 20] = ord("n")
        assert torch.allclose(adapter(changed)[:, :20], whole[:, :20], atol=1e-6)
        changed[:, 20:] = ord(",")
        assert not torch.allclose(adapter(changed)[:, 20:], whole[:, 20:], atol=1e-3)


@pytest.mark.parametrize("name", MAKERS)
def test_steps_match_the_forward_pass(name):
    adapter, texts = built(name), codes(periodic())
    ids, state, logits = adapter.read(texts).ids, None, []
    with torch.no_grad():
        for place in range(31):
            output, state = adapter.module.step(ids[:, place], state)
            logits.append(output)
        assert torch.allclose(torch.stack(logits, dim=1), adapter(texts), atol=1e-5)


def test_state_is_carried_over_texts_of_any_length():
    adapter = built("lstm")
    text = "to be, or not." * 90
    bits = adapter.carried_bits(text)
    ids = torch.from_numpy(adapter.alphabet.ids(packed([text], len(text))))
    with torch.no_grad():
        logits = adapter.module(adapter.embed(ids), torch.ones_like(ids, dtype=torch.bool))[0, :-1]
    expected = -logits.double().log_softmax(dim=1).gather(1, ids[0, 1:, None])[:, 0] / math.log(2)
    assert bits.shape == (len(text) - 1,)
    np.testing.assert_allclose(bits, expected, atol=1e-5)
    with pytest.raises(ModelError, match="at least two"):
        adapter.carried_bits("t")
    with pytest.raises(NotApplicableError, match="carries no state"):
        built("transformer").carried_bits(text)


def test_context_limit_raises_an_error_and_truncates_prompts():
    adapter = built("transformer")
    with pytest.raises(ModelError, match="has 32 positions"):
        adapter(torch.from_numpy(packed(["to be " * 7], 42)))
    (text,) = adapter.generate(1, 50, 0, prompt="to be, or not. " * 9)
    assert len(text) == 50


def test_non_finite_or_misshapen_logits_are_refused():
    adapter = built("gru")
    with torch.no_grad():
        adapter.module.head.bias[3] = torch.nan
    with pytest.raises(ModelError, match="NaN"):
        adapter(codes(periodic()))
    with pytest.raises(ModelError, match="NaN"):
        adapter.generate(1, 3, 0)
    with pytest.raises(ModelError, match="NaN"):
        adapter.carried_bits("to be")

    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(len(CLASSES), 4)

        def forward(self, embedded, mask):
            return embedded.mean(dim=1)

    with pytest.raises(ModelError, match="positions, classes"):
        TorchLanguage(Flat(), CLASSES, length=32)(codes(periodic()))


def test_module_without_step_samples_the_same_texts():
    class Plain(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.embedding = inner, inner.embedding

        def forward(self, embedded, mask):
            return self.inner(embedded, mask)

    adapter = built("gru")
    plain = TorchLanguage(Plain(adapter.module), CLASSES, length=64)
    assert plain.generate(2, 20, 5, prompt="to be") == adapter.generate(2, 20, 5, prompt="to be")


def test_only_context_embeddings_can_be_perturbed():
    adapter, data = built("gru"), periodic()
    space = adapter.in_space("embedding")
    texts = torch.from_numpy(space.inputs(data.test))
    low, high = space.limits
    assert low <= texts.min() and texts.max() <= high
    with torch.no_grad():
        clean = adapter(codes(data))
        assert torch.allclose(space(texts), clean, atol=1e-5)
        perturbed = texts + 0.5 * torch.sign(torch.randn(texts.shape, generator=torch.Generator().manual_seed(0)))
        perturbed = perturbed.clamp(low, high)
        back = torch.cat([texts[:, :16], perturbed[:, 16:]], dim=1)
        assert torch.allclose(space(back), clean, atol=1e-5)  # scored characters are unchanged
        assert not torch.allclose(space(perturbed), clean, atol=1e-2)
    point = texts.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(space.raw(point)[:, 15:].square().sum(), point)
    assert (gradient[:, :16] != 0).any(dim=2).all() and not gradient[:, 16:].any()
    with pytest.raises(NotApplicableError, match="latent"):
        adapter.in_space("latent")


def test_embeddings_too_small_for_the_marks_are_refused():
    adapter = TorchLanguage(Recurrent(len(CLASSES), width=4, hidden=8), CLASSES, length=32)
    with pytest.raises(NotApplicableError, match="too small to encode"):
        adapter.in_space("embedding")
