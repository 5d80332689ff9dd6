"""Sequence classifiers of the transformers library, from a local folder, without code from that folder."""

import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from suite.data import TaskInfo
from suite.errors import ModelError, WeightsError
from suite.models.adapters.text import Token, TorchText
from suite.models.weight_files import check_safetensors

LENGTH = 128
"""Tokens per text, including special tokens."""

PROBES = ("It was fine.", "Not one of the better ones, sadly, but it has its moments; see for yourself!")
"""Texts of two lengths on which a model is checked after loading."""

CLOSE = 1e-3
"""Largest accepted difference between logits from ids and from embeddings."""


def huggingface_text(
    path: str | Path, task: TaskInfo, *, length: int = LENGTH, labels: Sequence[str] = ()
) -> TorchText:
    """Return a sequence classifier saved with ``save_pretrained``.

    Args:
        path: a folder with config.json, model.safetensors (or its shards) and the files of a fast tokenizer.
        task: its class names are matched with the names of the outputs.
        length: tokens per text, capped at the number of positions of the model.
        labels: the task's class of each output, in order, if the model's own names do not match.

    Raises:
        ModelError: the package transformers is missing, the folder holds no such model, its classes are not the
            task's, or it does not accept embeddings as inputs.
        WeightsError: the weights are stored as a pickle.
    """
    folder = Path(path)
    _check_files(folder)
    net, tokenizer = _loaded(folder)
    net.eval()
    order = match_outputs(_names(net.config, labels), task.classes, folder)
    pieces = Pieces(tokenizer, rows=net.get_input_embeddings().weight.shape[0], length=_room(net, tokenizer, length))
    model = TorchText(FromEmbeddings(net, order), pieces, length=pieces.length)
    _check_embeddings(model, folder)
    return model


class FromEmbeddings(nn.Module):
    """A classifier of transformers with word embeddings as inputs.

    Args:
        net: the classifier.
        order: index of the output for each class of the task.
    """

    def __init__(self, net: Any, order: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.order = list(order)

    @property
    def embedding(self) -> nn.Module:
        """The word embedding."""
        return self.net.get_input_embeddings()  # type: ignore[no-any-return]  # transformers is untyped here

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes) for embeddings (n, length, d) and a bool mask (n, length)."""
        logits: Tensor = self.net(inputs_embeds=embedded, attention_mask=mask.long()).logits
        return logits[:, self.order]


class Pieces:
    """Splits texts by the model's own fast tokenizer; special tokens have empty spans.

    Args:
        tokenizer: a fast tokenizer of transformers.
        rows: rows of the embedding, possibly more than the tokenizer's vocabulary.
        length: maximum tokens per text, including special tokens.
    """

    def __init__(self, tokenizer: Any, *, rows: int, length: int) -> None:
        self._tokenizer, self.length = tokenizer, length
        self.pad: int = next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)
        candidates = (tokenizer.unk_token_id, tokenizer.mask_token_id, self.pad)
        self.unknown: int = next(token for token in candidates if token is not None)
        self.vocabulary: Sequence[str] = self._texts(rows)

    def _texts(self, rows: int) -> tuple[str, ...]:
        pieces = self._tokenizer.convert_ids_to_tokens(list(range(min(rows, len(self._tokenizer)))))
        special = set(self._tokenizer.all_special_tokens)
        texts = ["" if piece is None or piece in special else self._text(piece) for piece in pieces]
        return tuple(texts + [""] * (rows - len(texts)))

    def _text(self, piece: str) -> str:
        """Return the text of a piece; empty if it is only a part of a character's bytes."""
        text: str = self._tokenizer.convert_tokens_to_string([piece]).strip()
        return "" if "\ufffd" in text else text.removeprefix("##") or text

    def tokens(self, text: str) -> list[Token]:
        """Return the tokens of a text in order."""
        encoding = self._tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, truncation=True, max_length=self.length
        )
        columns = (encoding["input_ids"], encoding["offset_mapping"], encoding["special_tokens_mask"])
        tokens = [Token(id, *((0, 0) if special else span)) for id, span, special in zip(*columns, strict=True)]
        return tokens or [Token(self.unknown, 0, 0)]


def match_outputs(names: Sequence[str], classes: Sequence[str], folder: Path) -> list[int]:
    """Return the index of the output for each class, matched by name; "POS" matches "positive".

    Raises:
        ModelError: the numbers differ, or a class has no output or several.
    """
    names_differ = f"{folder} has the outputs {', '.join(names)}; the task has the classes {', '.join(classes)}."
    if len(names) != len(classes):
        raise ModelError(f"{names_differ} Expected one output per class; fine-tune the model for this task.")
    order = []
    for name in classes:
        indices = [index for index, output in enumerate(names) if _same(output, name)]
        if len(indices) != 1:
            raise ModelError(
                f"{names_differ} {len(indices)} outputs match {name!r}. Name the class of each output in order: "
                f"huggingface(path=..., labels=({', '.join(map(repr, classes))}))."
            )
        order += indices
    return order


def _same(output: str, name: str) -> bool:
    short, long = sorted((output.casefold(), name.casefold()), key=len)
    return short == long or (len(short) >= 3 and long.startswith(short))


def _names(config: Any, labels: Sequence[str]) -> list[str]:
    """Return the names of the outputs: `labels`, or the model's own."""
    if labels and len(labels) != config.num_labels:
        raise ModelError(f"labels= names {len(labels)} classes; the model has {config.num_labels} outputs.")
    return list(labels) or [str(config.id2label[index]) for index in range(config.num_labels)]


def _check_files(folder: Path) -> None:
    """Raise an error unless a folder has the required files."""
    if not folder.is_dir():
        raise ModelError(f"There is no folder {str(folder)!r}; expected one written by save_pretrained.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; expected a folder written by save_pretrained.")
    if files := sorted(folder.glob("*.safetensors")):
        for file in files:
            check_safetensors(file)
        return
    if pickled := sorted(file.name for pattern in ("*.bin", "*.pt", "*.ckpt") for file in folder.glob(pattern)):
        raise WeightsError(
            f"{folder} stores its weights as a pickle ({pickled[0]}), which could run code and is not loaded. If you "
            "trust it, load it yourself and save it with save_pretrained, which writes model.safetensors."
        )
    raise WeightsError(f"{folder} has no weights; expected model.safetensors.")


def _loaded(folder: Path) -> tuple[Any, Any]:
    """Return the model and its tokenizer, without downloads and without code from the folder."""
    library = _library()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = library.AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
            net, info = library.AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, attn_implementation="eager", output_loading_info=True, **local
            )
    except Exception as error:  # the library raises many types of errors
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{folder} cannot be loaded as a classifier: {type(error).__name__}: {reason}") from error
    if missing := sorted(info["missing_keys"]):
        raise ModelError(
            f"{folder} has no weights for {', '.join(missing[:4])} ({len(missing)}), so its predictions would be "
            "random. It is not a fine-tuned classifier; train it on the task first."
        )
    if not tokenizer.is_fast:
        raise ModelError(f"{folder} has no fast tokenizer, which is needed for the character spans of tokens.")
    return net, tokenizer


def _library() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError as error:
        raise ModelError(
            f"The package transformers is missing ({error}). Run: pip install 'trust-suite[huggingface]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the library's terminal output; its warnings about weights are checked by `_loaded`."""
    logging = importlib.import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(logging.CRITICAL)
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _room(net: Any, tokenizer: Any, length: int) -> int:
    """Return the number of tokens per text, capped at the positions of the model."""
    positions = getattr(net.config, "max_position_embeddings", None) or length
    return int(min(length, positions, tokenizer.model_max_length))


def _check_embeddings(model: TorchText, folder: Path) -> None:
    """Raise ModelError unless embeddings with padding give the same logits as ids without."""
    module: Any = model.module
    codes = np.zeros((len(PROBES), max(map(len, PROBES))), np.int32)
    for row, text in zip(codes, PROBES, strict=True):
        row[: len(text)] = [ord(character) for character in text]
    with torch.no_grad(), _quiet():
        reading = model.read(torch.from_numpy(codes))
        try:
            padded = model.forward_embedded(model.embed(reading.ids), reading.mask)
            rows = zip(reading.ids, reading.mask, strict=True)
            plain = torch.cat([module.net(input_ids=ids[None, mask]).logits[:, module.order] for ids, mask in rows])
        except Exception as error:  # unknown architectures raise many types of errors
            raise ModelError(f"{folder} fails on a plain text: {type(error).__name__}: {error}") from error
    difference = float((padded - plain).abs().max())
    if not difference <= CLOSE:  # also if it is NaN
        raise ModelError(
            f"{folder} returns different logits for padded embeddings and unpadded ids (by up to {difference:.2g}). A "
            f"{type(module.net).__name__} does not support embeddings as inputs; expected an encoder such as BERT."
        )
