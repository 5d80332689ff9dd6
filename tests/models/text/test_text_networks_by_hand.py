"""Text networks against their definitions, one text at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.networks.image_classifiers import Block
from suite.models.networks.text import Bag, BiGRU, TextCNN, TextTransformer

LENGTHS = (1, 2, 5, 9)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def batch(width: int) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(9)[None] < torch.tensor(LENGTHS)[:, None]
    return torch.randn(len(LENGTHS), 9, width), mask


def test_bag_is_the_mean_and_a_linear_layer() -> None:
    net = Bag(10, 2, width=6).eval()
    embedded, mask = batch(6)
    for row, (text, length) in zip(net(embedded, mask), zip(embedded, LENGTHS, strict=True), strict=True):
        torch.testing.assert_close(row, net.head(text[:length].mean(dim=0)))


def test_bag_drops_whole_words_in_training() -> None:
    net = Bag(10, 2, width=6, dropout=0.5).train()
    net.head = nn.Identity()
    words = torch.eye(6)[None]  # one-hot words, so that the mean shows the dropout mask
    left = net(words, torch.ones(1, 6, dtype=torch.bool))[0] * 6
    assert set(left.tolist()) == {0.0, 2.0}


def test_filters_are_centered_and_pooled_over_words() -> None:
    net = TextCNN(10, 2, width=4, channels=3, spans=(3,)).eval()
    net.head = nn.Identity()
    embedded, mask = batch(4)
    weight, bias = net.filters[0].weight, net.filters[0].bias
    for row, (text, length) in zip(net(embedded, mask), zip(embedded, LENGTHS, strict=True), strict=True):
        rows = torch.cat([torch.zeros(1, 4), text[:length], torch.zeros(1, 4)])
        responses = [(weight * rows[place : place + 3].T[None]).sum(dim=(1, 2)) + bias for place in range(length)]
        torch.testing.assert_close(row, torch.stack(responses).amax(dim=0).clamp(min=0))


def test_states_match_a_packed_bidirectional_gru() -> None:
    net = BiGRU(10, 2, width=4, hidden=3).eval()
    net.head = nn.Identity()
    whole = nn.GRU(4, 3, batch_first=True, bidirectional=True)
    for suffix, part in (("", net.forwards), ("_reverse", net.backwards)):
        for name, value in part.named_parameters():
            getattr(whole, name + suffix).data.copy_(value.data)
    embedded, mask = batch(4)
    packed = nn.utils.rnn.pack_padded_sequence(embedded, list(LENGTHS), batch_first=True, enforce_sorted=False)
    _, last = whole(packed)
    torch.testing.assert_close(net(embedded, mask), torch.cat([last[0], last[1]], dim=1))


def test_block_matches_pytorchs_encoder_layer() -> None:
    block = Block(8, 2, dropout=0.0).eval()
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_": block.mix, "self_attn.out_proj.": block.out, "linear1.": block.hidden[0],
        "linear2.": block.hidden[2], "norm1.": block.before_attention, "norm2.": block.before_hidden,
    }  # fmt: skip
    theirs.load_state_dict(
        {f"{name}{part}": value for name, mine in pairs.items() for part, value in mine.state_dict().items()}
    )
    rows, mask = batch(8)
    expected = theirs.train()(rows, src_key_padding_mask=~mask)  # training mode avoids the fast path
    torch.testing.assert_close(block(rows, mask)[mask], expected[mask])


def test_word_order_matters_to_the_transformer_only() -> None:
    embedded, mask = torch.randn(1, 4, 8), torch.ones(1, 4, dtype=torch.bool)
    net, bag = TextTransformer(10, 2, 4, width=8).eval(), Bag(10, 2, width=8).eval()
    with torch.no_grad():
        net.position.normal_()
    turned = embedded.flip(1)
    assert not torch.allclose(net(embedded, mask), net(turned, mask))
    torch.testing.assert_close(bag(embedded, mask), bag(turned, mask))


def test_cudnn_is_disabled_only_for_gradients_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    queries: list[bool] = []

    @contextmanager
    def flags(**options: Any) -> Any:
        queries.append(options["enabled"])
        yield

    monkeypatch.setattr(torch.backends.cudnn, "flags", flags)
    words = Words(["a", "b"])
    embedded, mask = torch.randn(8, 4, 64), torch.ones(8, 4, dtype=torch.bool)
    recurrent, other = (TorchText(net, words, length=4) for net in (BiGRU(4, 2), Bag(4, 2)))

    def calls(model: TorchText) -> list[bool]:
        queries.clear()
        model.forward_embedded(embedded, mask)
        return list(queries)

    with recurrent.frozen(), other.frozen():
        assert calls(recurrent) == [False]
        assert calls(other) == []
        with torch.no_grad():
            assert calls(recurrent) == []
    recurrent.module.train()
    assert calls(recurrent) == []
