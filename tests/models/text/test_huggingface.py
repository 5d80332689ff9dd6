"""Classifiers of transformers from a folder, with random weights."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from suite.attacks.engine.problem import Problem
from suite.attacks.texts.hotflip import HotFlip
from suite.attacks.texts.lexicon import Lexicon
from suite.data import TaskInfo
from suite.data.text import WORD, packed, texts_of
from suite.errors import ModelError, WeightsError
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import Token, TorchText
from suite.models.libraries import huggingface
from suite.models.libraries.huggingface import huggingface_text, match_outputs

transformers = pytest.importorskip("transformers", reason="the extra huggingface is not installed")

TASK = TaskInfo("films", "sentiment", "1", ("negative", "positive"), (64,))
PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] it was not fine good bad ! , . un ##see ##n".split()
WHOLE = {"it", "was", "not", "fine", "good", "bad", "un"}
"""Pieces that are whole words."""

NAMES = {0: "POSITIVE", 1: "NEG"}
TEXTS = ("It was not fine!", "unseen", "good good good, not bad, not good, fine fine fine.", "nothing known")


def saved(folder: Path, network: str = "Bert", names: dict[int, str] = NAMES, **options: Any) -> Path:
    """Write a small classifier of an architecture with a tokenizer of whole words and pieces."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join(PIECES), "utf-8")
    sizes = {
        "Bert": {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32},
        "DistilBert": {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 32},
        "GPT2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 2, "eos_token_id": 3},
    }[network]
    config = getattr(transformers, f"{network}Config")(
        vocab_size=20, max_position_embeddings=24, pad_token_id=0, id2label=names, initializer_range=0.5, **sizes
    )
    torch.manual_seed(0)
    with huggingface._quiet():
        tokenizer = transformers.BertTokenizerFast(vocab=str(vocabulary), do_lower_case=True)
        net = getattr(transformers, f"{network}{options.pop('head', 'ForSequenceClassification')}")(config)
        for part in (tokenizer, net):
            part.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="module")
def model(folder: Path) -> TorchText:
    return huggingface_text(folder, TASK)


def codes(*texts: str) -> torch.Tensor:
    return torch.from_numpy(packed(texts, max(map(len, texts))))


@pytest.mark.parametrize("network", ["Bert", "DistilBert"])
def test_logits_match_transformers_in_the_order_of_the_task(network: str, tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", network)
    result = huggingface_text(folder, TASK)(codes(*TEXTS))
    with huggingface._quiet():
        net = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    expected = [net(**tokenizer(text, return_tensors="pt")).logits[0, [1, 0]] for text in TEXTS]
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_spans_cover_the_text_and_special_tokens_have_none(model: TorchText) -> None:
    place = PIECES.index
    assert model.tokenizer.tokens("Unseen  FINE") == [
        Token(place("[CLS]"), 0, 0),
        Token(place("un"), 0, 2),
        Token(place("##see"), 2, 5),
        Token(place("##n"), 5, 6),
        Token(place("fine"), 8, 12),
        Token(place("[SEP]"), 0, 0),
    ]
    assert model.tokenizer.tokens("") == [Token(place("[CLS]"), 0, 0), Token(place("[SEP]"), 0, 0)]


def test_vocabulary_holds_the_text_of_each_token(model: TorchText) -> None:
    spelt = model.tokenizer.vocabulary
    assert len(spelt) == len(model.table) == 20  # three rows more than the tokenizer has tokens
    assert list(spelt[:5]) == [""] * 5
    assert list(spelt[5:]) == [piece.removeprefix("##") for piece in PIECES[5:]] + [""] * 3
    assert (model.tokenizer.pad, model.tokenizer.unknown) == (0, 1)


def test_length_is_capped_at_the_positions_of_the_model(model: TorchText, folder: Path) -> None:
    assert model.length == 24
    short = huggingface_text(folder, TASK, length=5)
    reading = short.read(codes("good " * 30))
    assert reading.ids.shape == (1, 5)
    assert reading.ids[0, -1] == PIECES.index("[SEP]")  # truncation keeps the final special token


def test_logits_do_not_depend_on_the_batch(model: TorchText) -> None:
    generator = np.random.default_rng(0)
    rows = codes(*(" ".join(generator.choice(PIECES[5:14], generator.integers(1, 15))) for _ in range(35)))
    with model.frozen(), torch.no_grad():
        whole = model(rows)
        assert torch.equal(torch.cat([model(part) for part in rows.split(3)]), whole)


def test_word_embeddings_have_gradients(model: TorchText) -> None:
    reading = model.read(codes("not good"))
    embedded = model.embed(reading.ids).detach().requires_grad_(True)
    with model.frozen():
        model.forward_embedded(embedded, reading.mask)[:, 0].sum().backward()
    strength = embedded.grad.abs().sum(dim=2)[0]
    assert (strength[:4] > 0).all()
    assert not strength[4:].any()


def test_embedding_space_gives_the_same_logits(model: TorchText) -> None:
    from suite.data import Split

    split = Split(("a", "b"), packed(TEXTS[:2], 20), np.zeros(2, np.int64))
    inside = model.in_space("embedding")
    torch.testing.assert_close(inside(torch.from_numpy(inside.inputs(split))), model(torch.from_numpy(split.pixels())))


def test_outputs_are_matched_by_name() -> None:
    assert match_outputs(("POS", "NEG"), ("negative", "positive"), Path("x")) == [1, 0]
    assert match_outputs(("negative", "neutral", "positive"), ("Positive", "Negative", "Neutral"), Path("x")) == [
        2,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("neg", "neu", "pos"), "one output per class"),
        (("LABEL_0", "LABEL_1"), r"0 outputs match 'negative'.*labels=\('negative', 'positive'\)"),
        (("neg", "negative"), "2 outputs match 'negative'"),
    ],
)
def test_outputs_that_do_not_match_the_classes_raise_an_error(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ModelError, match=message):
        match_outputs(names, TASK.classes, Path("x"))


def test_labels_override_the_names_of_the_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", names={0: "LABEL_0", 1: "LABEL_1"})
    first = huggingface_text(folder, TASK, labels=("negative", "positive"))(codes(*TEXTS))
    turned = huggingface_text(folder, TASK, labels=("positive", "negative"))(codes(*TEXTS))
    assert torch.equal(first, turned.flip(1))
    with pytest.raises(ModelError, match="names 3 classes; the model has 2"):
        huggingface_text(folder, TASK, labels=("a", "b", "c"))


def test_missing_folder_and_missing_config_raise_errors(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        huggingface_text(tmp_path / "nowhere", TASK)
    with pytest.raises(ModelError, match=r"no config\.json"):
        huggingface_text(tmp_path, TASK)


def test_pickled_weights_are_refused_with_advice(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    (copied / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"expected model\.safetensors"):
        huggingface_text(copied, TASK)
    (copied / "pytorch_model.bin").write_bytes(b"never read")
    with pytest.raises(WeightsError, match=r"could run code.*save_pretrained"):
        huggingface_text(copied, TASK)


def test_git_lfs_pointer_in_place_of_weights_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(WeightsError, match=r"model\.safetensors holds no weights .* run git lfs pull"):
        huggingface_text(copy, TASK)


def test_model_without_a_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="not a fine-tuned classifier"):
        huggingface_text(saved(tmp_path / "model", head="Model"), TASK)


def test_damaged_folder_is_named_in_the_error(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    (copied / "config.json").write_text("{", "utf-8")
    with pytest.raises(ModelError, match="copy cannot be loaded as a classifier"):
        huggingface_text(copied, TASK)


def test_code_from_the_folder_is_never_run(folder: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copy"
    shutil.copytree(folder, copied)
    (copied / "mine.py").write_text("raise SystemExit('ran')", "utf-8")
    entry = '{"AutoConfig": "mine.C", "AutoModelForSequenceClassification": "mine.M"}'
    (copied / "config.json").write_text(f'{{"model_type": "mine", "auto_map": {entry}}}', "utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        huggingface_text(copied, TASK)


def test_decoder_without_embedding_inputs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not support embeddings as inputs"):
        huggingface_text(saved(tmp_path / "model", "GPT2"), TASK)


def test_missing_package_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"pip install 'trust-suite\[huggingface\]'"):
        huggingface_text(folder, TASK)


def test_lexicon_holds_words_of_one_token_only(model: TorchText) -> None:
    lexicon = Lexicon(model)
    assert set(lexicon.words) == WHOLE  # "see" and "n" occur only as ends of words
    for word, id in zip(lexicon.words, lexicon.word_ids, strict=True):
        assert [token.id for token in model.tokenizer.tokens(f"It {word}.")][2:-2] == [id]
    for word in ("Good", "unseen"):
        near = lexicon.neighbours(word, 100, -1.0)
        assert {spelling.lower() for spelling in near.spellings} == set(lexicon.words) - {word.lower()}
        assert near.vectors.shape == (len(near.spellings), 16)
    assert lexicon.neighbours("nothing", 100, -1.0).spellings == ()


def test_lexicon_leaves_out_words_that_the_tokenizer_never_produces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PIECES", [*PIECES, "Film", "café", "it's"])
    result = Lexicon(huggingface_text(saved(tmp_path / "model"), TASK))
    assert {"Film", "café", "it's"} <= set(result.tokenizer.vocabulary)
    assert not {"film", "Film", "café", "it's"} & set(result.words)  # lower case, accents, punctuation
    assert set(result.words) == WHOLE


def test_hotflip_replaces_words_of_one_token(model: TorchText) -> None:
    rows = torch.from_numpy(packed(("Unseen, it was fine!", "not good, not bad"), 60))
    problem = Problem.of(Sentiment().kind(), model.raw, adapter=model)
    with model.frozen():
        targets = model(rows).argmax(dim=1)
        attack = HotFlip([1, 2], neighbours=1000, similarity=-1.0).fit(problem, lambda: (rows, targets), seed=0)
        for size in attack.sizes:
            perturbed = attack.perturb(problem, rows, targets, size, torch.arange(2))
            random = attack.random(rows, size, torch.arange(2))
            for before, *after in zip(*map(texts_of, (rows.numpy(), perturbed.numpy(), random.numpy())), strict=True):
                for text in after:
                    pairs = zip(WORD.findall(before), WORD.findall(text), strict=True)
                    swapped = [new for old, new in pairs if new != old]
                    assert len(swapped) <= size
                    assert {new.lower() for new in swapped} <= WHOLE
                assert after[1] != before
