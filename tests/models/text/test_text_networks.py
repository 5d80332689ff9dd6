"""Text networks: outputs depend neither on padding nor on the batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from suite.data.text import packed
from suite.models.adapters.text import TorchText
from suite.models.adapters.tokens import Words
from suite.models.networks.text import Bag, BiGRU, TextCNN, TextTransformer

LENGTH, WIDTH = 16, 64
VOCABULARY = Words([f"w{place}" for place in range(50)])
WORDS = len(VOCABULARY.vocabulary)

MAKERS: dict[str, Callable[[], nn.Module]] = {
    "bag": lambda: Bag(WORDS, 3),
    "averaging network": lambda: Bag(WORDS, 3, hidden=16),
    "textcnn": lambda: TextCNN(WORDS, 3, channels=8),
    "bigru": lambda: BiGRU(WORDS, 3, hidden=8),
    "transformer": lambda: TextTransformer(WORDS, 3, 2 * LENGTH),
}


@pytest.fixture(params=MAKERS, autouse=True)
def net(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    made = MAKERS[request.param]()
    with torch.no_grad():  # larger embeddings, so that every word matters
        made.embedding.weight[1:] *= 10
    return made.eval()


def texts(count: int) -> Tensor:
    generator = np.random.default_rng(0)
    lengths = [1, 2, 3, *generator.integers(1, LENGTH + 1, count - 3)]
    saved = [" ".join(f"w{word}" for word in generator.integers(0, 60, length)) for length in lengths]
    return torch.from_numpy(packed(saved, max(map(len, saved))))


def batch(count: int = 24) -> tuple[Tensor, Tensor]:
    """Return embeddings (n, LENGTH, WIDTH) and masks of texts of 1 to LENGTH words."""
    generator = torch.Generator().manual_seed(1)
    mask = torch.arange(LENGTH)[None] < torch.randint(1, LENGTH + 1, (count, 1), generator=generator)
    return torch.randn(count, LENGTH, WIDTH, generator=generator), mask


def test_logits_do_not_depend_on_the_batch(net: nn.Module) -> None:
    model, rows = TorchText(net, VOCABULARY, length=LENGTH), texts(67)
    with model.frozen(), torch.no_grad():
        whole = model(rows)
        for size in (1, 3, 8, 20):
            assert torch.equal(torch.cat([model(part) for part in rows.split(size)]), whole)
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(2))
        assert torch.equal(model(rows[order]), whole[order])


def test_masked_tokens_have_no_influence(net: nn.Module) -> None:
    embedded, mask = batch()
    other = torch.where(mask[..., None], embedded, torch.full_like(embedded, 7.0))
    assert torch.equal(net(embedded, mask), net(other, mask))


def test_more_padding_does_not_change_logits(net: nn.Module) -> None:
    embedded, mask = batch()
    longer = nn.functional.pad(embedded, (0, 0, 0, LENGTH))
    torch.testing.assert_close(net(longer, nn.functional.pad(mask, (0, LENGTH))), net(embedded, mask))


def test_every_word_can_change_the_logits(net: nn.Module) -> None:
    embedded, mask = batch()
    embedded.requires_grad_(True)
    net(embedded, mask)[:, 0].sum().backward()
    perturbed = embedded.grad.abs().sum(dim=2) > 0
    assert not perturbed[~mask].any()
    reached = perturbed[mask].float().mean()
    assert reached == 1 or (isinstance(net, TextCNN) and reached > 0.8)  # max pooling may ignore a word


def test_row_of_padding_has_finite_constant_logits(net: nn.Module) -> None:
    embedded, _ = batch(8)
    empty = torch.zeros(8, LENGTH, dtype=torch.bool)
    embedded.requires_grad_(True)
    output = net(embedded, empty)
    assert torch.isfinite(output).all()
    assert torch.equal(output, output[:1].expand_as(output))
    output.sum().backward()
    assert torch.isfinite(embedded.grad).all()


def test_dropout_is_off_in_evaluation_mode(net: nn.Module) -> None:
    embedded, mask = batch()
    model = TorchText(net, VOCABULARY, length=LENGTH)
    assert model.dropout_layers()
    assert torch.equal(net(embedded, mask), net(embedded, mask))
    with model.frozen(dropout=True):
        assert not torch.equal(net(embedded, mask), net(embedded, mask))


def test_padding_embedding_stays_zero(net: nn.Module) -> None:
    rows = texts(16)
    model = TorchText(net, VOCABULARY, length=LENGTH)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
    nn.functional.cross_entropy(model(rows), torch.arange(16) % 3).backward()
    optimizer.step()
    assert not model.table[0].any()


def test_networks_learn_a_keyword(net: nn.Module) -> None:
    generator = np.random.default_rng(3)
    saved = [" ".join(f"w{word}" for word in generator.integers(3, 50, 5)) + f" w{place % 3}" for place in range(48)]
    rows, targets = torch.from_numpy(packed(saved, max(map(len, saved)))), torch.arange(48) % 3
    model, optimizer = TorchText(net, VOCABULARY, length=LENGTH), torch.optim.AdamW(net.parameters(), lr=1e-2)
    net.train()
    for _ in range(25):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(rows), targets).backward()
        optimizer.step()
    with model.frozen():
        assert (model(rows).argmax(dim=1) == targets).float().mean() > 0.9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gradients_exist_on_a_gpu(net: nn.Module) -> None:
    model = TorchText(net, VOCABULARY, length=LENGTH).to("cuda")
    with model.frozen():
        reading = model.read(texts(8).cuda())
        embedded = model.embed(reading.ids).requires_grad_(True)
        model.forward_embedded(embedded, reading.mask).sum().backward()
    assert torch.isfinite(embedded.grad).all()
    assert embedded.grad.abs().sum() > 0
