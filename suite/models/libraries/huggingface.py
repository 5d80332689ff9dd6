"""Any sequence classifier of the transformers library, from a local folder; its code is the library's and no other."""

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

LENGTH = 128
"""Tokens that are read of a text, those that the tokenizer adds included."""

PROBES = ("It was fine.", "Not one of the better ones, sadly, but it has its moments; see for yourself!")
"""Texts of two lengths on which a model is checked before it is used."""

CLOSE = 1e-3
"""Largest difference between two logits of which one was computed from ids and the other from embeddings."""


def huggingface_text(
    path: str | Path, task: TaskInfo, *, length: int = LENGTH, labels: Sequence[str] = ()
) -> TorchText:
    """Return a sequence classifier that was saved with ``save_pretrained``.

    Args:
        path: a folder with config.json, model.safetensors (or its shards) and the files of a fast tokenizer.
        task: its class names say which output is which.
        length: tokens that are read of a text; no more than the model has positions for.
        labels: the task's class of each output, in order, where the model's own names do not say so.

    Raises:
        ModelError: the package transformers is missing, the folder holds no such model, its classes are not the
            task's, or it cannot be entered through embeddings.
        WeightsError: the weights are stored as a pickle.
    """
    folder = Path(path)
    _check_files(folder)
    net, tokenizer = _loaded(folder)
    net.eval()
    order = matched(_names(net.config, labels), task.classes, folder)
    pieces = Pieces(tokenizer, rows=net.get_input_embeddings().weight.shape[0], length=_room(net, tokenizer, length))
    module = Entered(net, order)
    model = TorchText(module, pieces, length=pieces.length)
    _check_entrance(model, folder)
    return model


class Entered(nn.Module):
    """A classifier of transformers that is entered behind its table of embeddings.

    Args:
        net: the classifier.
        order: the output of each class of the task.
    """

    def __init__(self, net: Any, order: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.order = list(order)

    @property
    def embedding(self) -> nn.Module:
        """The table of embeddings."""
        return self.net.get_input_embeddings()  # type: ignore[no-any-return]  # of a library without types

    def forward(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Return logits (n, classes) for embeddings (n, length, d) and a bool mask (n, length)."""
        logits: Tensor = self.net(inputs_embeds=embedded, attention_mask=mask.long()).logits
        return logits[:, self.order]


class Pieces:
    """Cuts texts as the model's own fast tokenizer does; a token that it adds stands for no character.

    Args:
        tokenizer: of transformers.
        rows: rows of the table of embeddings, which may be longer than the tokenizer's vocabulary.
        length: tokens that are kept of a text, those that are added included.
    """

    def __init__(self, tokenizer: Any, *, rows: int, length: int) -> None:
        self._tokenizer, self.length = tokenizer, length
        spare = next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)
        others = (tokenizer.unk_token_id, tokenizer.mask_token_id, spare)
        self.pad: int = spare
        self.unknown: int = next(token for token in others if token is not None)
        self.vocabulary: Sequence[str] = self._spelt(rows)

    def _spelt(self, rows: int) -> tuple[str, ...]:
        known = self._tokenizer.convert_ids_to_tokens(list(range(min(rows, len(self._tokenizer)))))
        special = set(self._tokenizer.all_special_tokens)
        spelt = ["" if piece is None or piece in special else self._text(piece) for piece in known]
        return tuple(spelt + [""] * (rows - len(spelt)))

    def _text(self, piece: str) -> str:
        """Return what a piece stands for in a text; nothing where it is only some bytes of a character."""
        text: str = self._tokenizer.convert_tokens_to_string([piece]).strip()
        return "" if "\ufffd" in text else text.removeprefix("##") or text

    def tokens(self, text: str) -> list[Token]:
        """Return the tokens of a text in order."""
        found = self._tokenizer(
            text, return_offsets_mapping=True, return_special_tokens_mask=True, truncation=True, max_length=self.length
        )
        columns = (found["input_ids"], found["offset_mapping"], found["special_tokens_mask"])
        tokens = [Token(id, *((0, 0) if added else span)) for id, span, added in zip(*columns, strict=True)]
        return tokens or [Token(self.unknown, 0, 0)]


def matched(names: Sequence[str], classes: Sequence[str], folder: Path) -> list[int]:
    """Return which output speaks of each class, by the names; "POS" and "positive" are one name.

    Raises:
        ModelError: the numbers differ, or a class has no output or several.
    """
    said = f"{folder} has the outputs {', '.join(names)}; the task has the classes {', '.join(classes)}."
    if len(names) != len(classes):
        raise ModelError(f"{said} Expected one output per class; fine-tune the model for this task.")
    order = []
    for wanted in classes:
        fit = [place for place, name in enumerate(names) if _same(name, wanted)]
        if len(fit) != 1:
            raise ModelError(
                f"{said} {len(fit)} outputs speak of {wanted!r}. Say which output is which, in their order: "
                f"huggingface(path=..., labels=({', '.join(map(repr, classes))}))."
            )
        order += fit
    return order


def _same(name: str, wanted: str) -> bool:
    first, second = sorted((name.casefold(), wanted.casefold()), key=len)
    return first == second or (len(first) >= 3 and second.startswith(first))


def _names(config: Any, labels: Sequence[str]) -> list[str]:
    """Return the names of the outputs: those that were given, or the model's own."""
    if labels and len(labels) != config.num_labels:
        raise ModelError(f"labels= names {len(labels)} classes; the model has {config.num_labels} outputs.")
    return list(labels) or [str(config.id2label[place]) for place in range(config.num_labels)]


def _check_files(folder: Path) -> None:
    """Raise unless a folder has what is needed, before anything is loaded."""
    if not folder.is_dir():
        raise ModelError(f"There is no folder {str(folder)!r}; expected one that save_pretrained wrote.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder} has no config.json; expected a folder that save_pretrained wrote.")
    if any(folder.glob("*.safetensors")):
        return
    if pickled := sorted(file.name for pattern in ("*.bin", "*.pt", "*.ckpt") for file in folder.glob(pattern)):
        raise WeightsError(
            f"{folder} holds its weights as a pickle ({pickled[0]}), which could run code and is not loaded. Where you "
            "trust it, load it yourself and write it with save_pretrained, which stores model.safetensors."
        )
    raise WeightsError(f"{folder} has no weights; expected model.safetensors.")


def _loaded(folder: Path) -> tuple[Any, Any]:
    """Return the model and its tokenizer; nothing is fetched, and no code from the folder is run."""
    library = _library()
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        with _quiet():
            tokenizer = library.AutoTokenizer.from_pretrained(folder, use_fast=True, **local)
            net, about = library.AutoModelForSequenceClassification.from_pretrained(
                folder, use_safetensors=True, attn_implementation="eager", output_loading_info=True, **local
            )
    except Exception as error:  # the library raises many types; all mean that there is no model
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"{folder} cannot be loaded as a classifier: {type(error).__name__}: {reason}") from error
    if missing := sorted(about["missing_keys"]):
        raise ModelError(
            f"{folder} has no weights for {', '.join(missing[:4])} ({len(missing)}), so that its answers would be "
            "random. It is not a fine-tuned classifier; train it on the task first."
        )
    if not tokenizer.is_fast:
        raise ModelError(f"{folder} has no fast tokenizer, which says what characters a token stands for.")
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
    """Keep the library from writing to the terminal; what it would say about weights is checked."""
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
    """Return how many tokens are read: as many as are wanted, and no more than there are positions."""
    positions = getattr(net.config, "max_position_embeddings", None) or length
    return int(min(length, positions, tokenizer.model_max_length))


def _check_entrance(model: TorchText, folder: Path) -> None:
    """Raise unless embeddings lead to the logits that ids lead to, whatever the padding."""
    module: Any = model.module
    codes = np.zeros((len(PROBES), max(map(len, PROBES))), np.int32)
    for row, text in zip(codes, PROBES, strict=True):
        row[: len(text)] = [ord(character) for character in text]
    with torch.no_grad(), _quiet():
        reading = model.read(torch.from_numpy(codes))
        try:
            entered = model.answer(model.embed(reading.ids), reading.mask)
            rows = zip(reading.ids, reading.mask, strict=True)
            plain = torch.cat([module.net(input_ids=ids[None, mask]).logits[:, module.order] for ids, mask in rows])
        except Exception as error:  # what a foreign architecture raises means that it cannot be used
            raise ModelError(f"{folder} does not answer a plain text: {type(error).__name__}: {error}") from error
    apart = float((entered - plain).abs().max())
    if not apart <= CLOSE:  # also where it is NaN
        raise ModelError(
            f"{folder} answers embeddings with padding otherwise than ids without (logits differ by {apart:.2g}). This "
            f"{type(module.net).__name__} does not take embeddings as its ids; expected an encoder such as BERT."
        )
