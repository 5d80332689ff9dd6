"""Texts from a task to the output of a model: code points, tokens, embeddings, and attacks on embeddings."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from suite.axes.base import Context
from suite.axes.robustness.axis import Robustness
from suite.data import Split
from suite.data.text import ROOM, codes, packed, text_of, texts_of, vocabulary
from suite.errors import DataError, ModelError, NotApplicableError, SpecError
from suite.kinds.inputs import text
from suite.kinds.sentiment.kind import Sentiment
from suite.models.adapters.text import Embedded, Token, TorchText
from suite.runner.harness import Harness, plan
from suite.runner.preparation import prepare_task
from suite.runner.settings import silent
from suite.store import Store
from suite.types import Sample
from tests.axes.contexts import finding_of
from tests.fixtures.bags import Bag, SpacedWords

FILE = "tests/fixtures/reviews.py"
TASK, MODEL = f"{FILE}:opinions", f"{FILE}:words"


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_texts_are_recovered_from_code_points(saved):
    points = codes(saved)
    assert points.dtype == np.int32 and len(points) == len(saved)
    assert text_of(np.pad(points, (0, 3))) == saved


def test_texts_of_different_lengths_share_an_array():
    rows = packed(["ab", "", "né€😀"], 5)
    assert rows.shape == (3, 5) and texts_of(rows) == ["ab", "", "né€😀"]
    with pytest.raises(DataError, match="6 characters does not fit into 5"):
        packed(["abcdef"], 5)


@pytest.mark.parametrize(
    ("value", "message"),
    [(float("nan"), "type float"), (None, "NoneType"), (b"ab", "bytes"), ("a\0b", "NUL at character 1"),
     ("ab\ud800", "unpaired surrogate at character 2")],
)  # fmt: skip
def test_invalid_texts_are_refused(value, message):
    with pytest.raises(DataError, match=message):
        codes(value)


@pytest.mark.parametrize("blank", ["", "  ", "\n\t"])
def test_blank_texts_are_refused(blank):
    with pytest.raises(DataError, match="nothing to read"):
        text(blank)


@pytest.mark.parametrize("signs", [".", "?!... --", "\u200b", "😀"])
def test_text_of_punctuation_is_valid(signs):
    points, remarks = text(signs)
    assert text_of(points) == signs and remarks == ()


def test_long_texts_are_truncated_and_counted():
    points, remarks = text("x" * 5000)
    assert len(points) == 2000 and remarks == ("cut to its first 2,000 of 5,000 characters",)


def test_vocabulary_is_sorted_by_frequency_in_the_training_texts():
    assert vocabulary(packed(["b a b", "A c's!"], 12)) == ("a", "b", "!", "c's")


def test_texts_have_room_for_edits_and_shares_keep_their_order():
    data = prepare_task(TASK, 0).data
    longest = max(len(saved) for split in (data.train, data.validation, data.test) for saved in texts_of(split.inputs))
    assert data.info.input_shape == (longest + ROOM,) and data.test.inputs.dtype == np.int32
    assert data.test.shares.shape == (len(data.test), 2)
    expected = np.where(data.test.targets[:, None] == 1, (0.2, 0.8), (1.0, 0.0))
    np.testing.assert_allclose(data.test.shares, expected)
    some = data.test.take([3, 1])
    np.testing.assert_array_equal(some.shares, data.test.shares[[3, 1]])
    assert set(data.info.words) >= {"good", "bad"} and data.info.words[0] in ("the", *vocabulary(data.train.inputs))


def test_shares_must_add_up_to_one(tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(
        "from suite import Sample, task\n\n\n@task(kind='sentiment', classes=('a', 'b'))\ndef odd(split, seed):\n"
        "    '''Odd.'''\n    yield Sample(split, 'text ' + split, 0, (0.5, 0.6))\n"
    )
    with pytest.raises(DataError, match="do not form a distribution over the 2 classes"):
        prepare_task(f"{file}:odd", 0)


def test_labels_are_validated_as_in_classification():
    admitted = Sentiment().validate_sample(Sample("1", "fine", "positive"), ("negative", "positive"))
    assert text_of(admitted.value) == "fine" and admitted.target == "positive"
    with pytest.raises(DataError, match="not one of"):
        Sentiment().validate_sample(Sample("1", "fine", "great"), ("negative", "positive"))


@pytest.fixture
def reader():
    torch.manual_seed(0)
    tokenizer = SpacedWords(["good", "bad", "film"])
    return TorchText(Bag(len(tokenizer.vocabulary), 2), tokenizer, length=4)


def test_reading_has_ids_mask_and_spans(reader):
    reading = reader.read(torch.from_numpy(packed(["Good  odd film", "", "a b c d e"], 20)))
    assert reading.ids.tolist() == [[2, 1, 4, 0], [1, 0, 0, 0], [1, 1, 1, 1]]
    assert reading.mask.sum(1).tolist() == [3, 1, 4]
    assert reading.spans[0].tolist() == [[0, 4], [6, 9], [10, 14], [0, 0]]


def test_logits_do_not_depend_on_the_batch(reader):
    rows = torch.from_numpy(packed([f"good bad {word}" for word in "abcdefghijk"], 30))
    with reader.frozen(), torch.no_grad():
        batched, single = reader(rows), torch.cat([reader(row[None]) for row in rows])
    assert torch.equal(batched, single)


def test_embedding_space_gives_the_same_logits(reader):
    task = prepare_task(TASK, 0)
    space = reader.in_space("embedding")
    assert isinstance(space, Embedded)
    embedded = torch.from_numpy(space.inputs(task.data.test))
    assert embedded.shape == (60, 4, 16) and float(embedded.abs().max()) <= space.limits[1]
    with reader.frozen(), torch.no_grad():
        torch.testing.assert_close(
            space(embedded), reader(torch.from_numpy(task.data.test.inputs)), atol=1e-5, rtol=1e-5
        )


def test_perturbed_padding_stays_padding(reader):
    task = prepare_task(TASK, 0)
    space = reader.in_space("embedding")
    embedded = torch.from_numpy(space.inputs(task.data.test.take(range(4))))
    embedded[:, 2:] = space.limits[1]
    perturbed = embedded.clone()
    perturbed[:, 2:] -= 3.0
    with reader.frozen(), torch.no_grad():
        assert torch.equal(space(perturbed), space(embedded))
        assert torch.isfinite(space(torch.full_like(embedded, space.limits[1]))).all()


def test_embedding_space_requires_an_embedding(reader):
    with pytest.raises(NotApplicableError, match="no word embedding"):
        TorchText(nn.Linear(2, 2), reader.tokenizer).in_space("embedding")
    with pytest.raises(NotApplicableError, match="called 'latent'"):
        reader.in_space("latent")


class Invalid(SpacedWords):
    """Returns fixed tokens."""

    def __init__(self, result):
        super().__init__(["good", "bad", "film"])
        self.result = result

    def tokens(self, text):
        return self.result


class Returning(Bag):
    """Returns modified logits."""

    def __init__(self, change):
        super().__init__(5, 2)
        self.change = change

    def forward(self, embedded, mask):
        return self.change(super().forward(embedded, mask))


@pytest.mark.parametrize(
    ("tokenizer", "length", "message"),
    [
        (SpacedWords(["good"]), 0, "SpacedWords and length=0"),
        (SpacedWords(["good"]), -3, "length=-3; expected .* a length of at least 1"),
        (str.split, 4, "TorchText got a tokenizer of type method_descriptor"),
        (None, 4, r"of type NoneType and length=4; expected one with tokens\(text\), vocabulary, pad and unknown"),
        (type("Table", (), {"tokens": ["good"]})(), 4, "of type Table"),
    ],
)
def test_invalid_tokenizer_or_length_is_refused(tokenizer, length, message):
    with pytest.raises(ModelError, match=message):
        TorchText(Bag(3, 2), tokenizer, length=length)


def test_text_model_requires_a_module(reader):
    with pytest.raises(ModelError, match=r"TorchText got a function; expected a torch\.nn\.Module"):
        TorchText(lambda embedded, mask: embedded, reader.tokenizer)


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ([2, 3], "of type int; expected suite.Token"),
        ([(2, 0, 4)], "of type tuple"),
        (["good"], "of type str"),
    ],
)
def test_invalid_tokens_are_refused(result, message):
    with pytest.raises(ModelError, match=message):
        TorchText(Bag(5, 2), Invalid(result)).read(torch.from_numpy(packed(["good"], 8)))


def test_text_without_tokens_is_one_unknown_token():
    reading = TorchText(Bag(5, 2), Invalid([]), length=3).read(torch.from_numpy(packed(["good"], 8)))
    assert (reading.ids.tolist(), reading.mask.tolist()) == ([[1, 0, 0]], [[True, False, False]])


@pytest.mark.parametrize(
    ("rows", "result", "message"),
    [
        (4, [Token(4, 0, 4)], "ids from 0 to 4, but the embedding has 4 rows. Build it with one row per entry"),
        (5, [Token(-1, 0, 4)], "ids from -1 to 0, but the embedding has 5 rows"),
        (5, [Token(5, 0, 4)], "ids from 0 to 5, but the embedding has 5 rows"),
    ],
)
def test_ids_outside_the_embedding_raise_an_error(rows, result, message):
    model = TorchText(Bag(rows, 2), Invalid(result), length=3)
    with pytest.raises(ModelError, match=message):
        model(torch.from_numpy(packed(["good"], 8)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda logits: logits[:, None], r"returned \(2, 1, 2\) for 2 texts"),
        (lambda logits: logits[:, 0], r"returned \(2,\) for 2 texts"),
        (lambda logits: logits[:1], r"returned \(1, 2\) for 2 texts"),
        (
            lambda logits: logits.argmax(dim=1, keepdim=True),
            r"\(2, 1\) of int64 for 2 texts.*class numbers or decisions",
        ),
        (lambda logits: {"answer": logits}, "returned dict with the keys 'answer' for 2 texts"),
        (lambda logits: None, "returned None for 2 texts"),
        (lambda logits: logits * torch.tensor([1.0, torch.nan]), "NaN or infinite logits for 2 of 2 texts"),
    ],
)
def test_invalid_outputs_are_refused(change, message, reader):
    with pytest.raises(ModelError, match=message):
        TorchText(Returning(change), reader.tokenizer, length=4)(torch.from_numpy(packed(["good", "bad film"], 12)))


class Recurrent(Bag):
    def __init__(self):
        super().__init__(5, 2)
        self.layer = nn.GRU(16, 16, batch_first=True)

    def forward(self, embedded, mask):
        return self.head(self.layer(embedded)[0][:, -1])


def test_recurrent_model_has_gradients_in_evaluation_mode_without_cudnn(monkeypatch, reader):
    calls = []

    def remembered(**options):
        calls.append(options)
        return torch.autograd.profiler.record_function("cudnn")

    monkeypatch.setattr(torch.backends.cudnn, "flags", remembered)
    recurrent = TorchText(Recurrent(), reader.tokenizer, length=4)
    reading = recurrent.read(torch.from_numpy(packed(["good film"], 20)))
    with recurrent.frozen():
        point = recurrent.embed(reading.ids).requires_grad_(True)
        recurrent.forward_embedded(point, reading.mask).sum().backward()
        assert not recurrent.module.training and calls == [{"enabled": False}]
        with torch.no_grad():
            recurrent.forward_embedded(point, reading.mask)
        with reader.frozen():
            reader.forward_embedded(reader.embed(reading.ids), reading.mask)
    assert len(calls) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_recurrent_model_has_gradients_on_a_gpu(reader):
    recurrent = TorchText(Recurrent(), reader.tokenizer, length=4).to("cuda")
    reading = recurrent.read(torch.from_numpy(packed(["good film"], 20)).to("cuda"))
    with recurrent.frozen():
        point = recurrent.embed(reading.ids).requires_grad_(True)
        recurrent.forward_embedded(point, reading.mask).sum().backward()
    assert torch.isfinite(point.grad).all()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("store"))
    axes = ("clean", "robustness(attack=pgd(eps=[0.1, 0.5, 2]), space=embedding)", "robustness(attack=pgd)")
    outcome = Harness(store).run(plan([TASK], [MODEL], axes))
    return store, outcome


def test_pixel_attacks_work_on_embeddings(run):
    store, _ = run
    rows = store.rows()
    robust = rows[rows["metric"] == "robust_accuracy"]
    assert (robust["value"].diff().dropna() <= 0).all() and (robust["status"] == "ok").all()
    assert robust["value"].iloc[-1] < 0.2 < robust["control"].iloc[-1]
    assert set(rows[rows["axis"] == "clean"]["metric"]) >= {"accuracy", "macro_f1"}


def test_pixel_attacks_are_skipped_on_texts(run):
    _, outcome = run
    ((_, reason),) = outcome.failed
    assert "samples of sentiment are texts" in reason and "space=embedding" in reason
    assert isinstance(Robustness("pgd").space, str)


@pytest.fixture(scope="module")
def opinions():
    """Return a few opinions and an untrained bag of words."""
    torch.manual_seed(0)
    tokenizer, data = SpacedWords(["good", "bad", "film"]), prepare_task(TASK, 0).data
    model = TorchText(Bag(len(tokenizer.vocabulary), 2), tokenizer, length=4)
    about = {"members": lambda count: [model] * count, "track": silent, "device": torch.device("cpu")}
    return Context(
        Sentiment().kind(), data, data.test.take(range(8)), model, names=("opinions", "bag", "axis"), **about
    )


@pytest.mark.parametrize(
    "attack",
    [
        "pgd(eps=[4], steps=1)", "pgd(eps=[0.1, 4.5], steps=1)", "pgd(eps=[0.1], norm=l2, steps=1)",
        "pgd(eps=[0.1], norm=l1, steps=1)", "fgsm(eps=[7])",
    ],
)  # fmt: skip
def test_perturbations_that_could_unmask_padding_are_refused(opinions, attack):
    assert opinions.in_space("embedding").model.max_perturbation == 4
    with pytest.raises(SpecError, match=r"norm=linf and eps below 4 standard deviations\. A larger step could turn"):
        Robustness(attack, audit=2, space="embedding").measure(opinions)


def test_padding_stays_padding_at_the_largest_perturbation(opinions):
    finding = finding_of(Robustness("pgd(eps=[3.99], steps=2, restarts=1)", audit=2, space="embedding"), opinions)
    (robust,) = [row for row in finding.measures if row.metric == "robust_accuracy"]
    assert robust.params["eps"] == 3.99 and robust.value is not None
    attack = finding.facts["attack"]
    assert (attack["space"], attack["name"], attack["input"]["type"]) == ("embedding", "pgd on embedding", "embedding")
    space = opinions.model.in_space("embedding")
    short = opinions.test.take([0])
    short = Split(short.ids, packed(["good"], 8), short.targets)
    embedded = torch.from_numpy(space.inputs(short))
    perturbed = embedded.clone()
    perturbed[:, 1:] -= 3.99
    with opinions.model.frozen(), torch.no_grad():
        assert torch.equal(space(perturbed), space(embedded))
        perturbed[:, 1:] -= 0.02
        assert not torch.equal(space(perturbed), space(embedded))


def test_tokenizer_is_part_of_the_digest():
    """Models with the same tensors and different vocabularies differ, even if their outputs on the probe agree."""
    module, probe = Bag(6, 2), torch.from_numpy(packed(["a b", "b a"], 8))
    words = ("a", "b", "c", "d")
    first = TorchText(module, SpacedWords(words), length=4).digest(probe)
    assert TorchText(module, SpacedWords(words), length=4).digest(probe) == first
    assert TorchText(module, SpacedWords(("a", "b", "d", "c")), length=4).digest(probe) != first
    assert TorchText(module, SpacedWords(words), length=5).digest(probe) != first


@pytest.mark.parametrize(("kind", "room"), [("sentiment", ROOM), ("language", 0)])
def test_texts_of_equal_length_have_room_for_edits(tmp_path, kind, room):
    file = tmp_path / "equal.py"
    target = "'ab'[number % 2]" if kind == "sentiment" else "3"
    file.write_text(
        "from suite import Sample, task\n\n\n"
        f'@task(kind={kind!r})\ndef equal(split, seed):\n    """Texts of one length."""\n'
        "    for number in range(8):\n"
        f"        yield Sample(f'{{split}}/{{number}}', f'{{split[:4]}} no {{number}}', {target})\n",
        "utf-8",
    )
    assert prepare_task(f"{file}:equal", 0).data.info.input_shape == (9 + room,)


def test_texts_that_differ_in_case_and_spaces_are_duplicates(tmp_path):
    file = tmp_path / "twins.py"
    file.write_text(
        "from suite import Sample, task\n\n\n"
        '@task(kind=\'sentiment\')\ndef twins(split, seed):\n    """The same texts, shouted."""\n'
        "    for number in range(6):\n"
        "        text = f'Number  {number} is so' if split == 'train' else f'number {number} IS so {split}'\n"
        "        yield Sample(f'{split}/{number}', text, 'ab'[number % 2])\n"
        "    yield Sample(f'{split}/twin', ' number 3 IS SO ', 'b')\n",
        "utf-8",
    )
    data = prepare_task(f"{file}:twins", 0).data
    assert data.report.kept == {"train": 5, "validation": 6, "test": 7}
    assert {name for name, _ in data.report.dropped["duplicate"]} == {"train/3", "train/twin", "validation/twin"}
