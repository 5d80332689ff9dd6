"""The language kind: validation, bits, attacks, metrics of generated text, and attribution."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from suite.data import Split, TaskData, TaskInfo
from suite.data.report import DataReport
from suite.data.text import packed
from suite.errors import AttackError, DataError, ModelError, NotApplicableError, SpecError
from suite.kinds.base import Outcomes, required
from suite.kinds.language import metrics, text_metrics
from suite.kinds.language.kind import BITS_PER_CHARACTER, Language, Window
from suite.kinds.language.metrics import bytes_and_causality, successive
from suite.kinds.language.text_metrics import TrainingNgrams, distinct_words, repetition, text_statistics
from suite.metrics.table import Table
from suite.models.adapters.language import TorchLanguage
from suite.models.networks.language import CausalTransformer, Recurrent
from suite.models.networks.ngram import NGram, TorchNGram
from suite.types import WINDOW, Sample
from tests.kinds.tables import assert_same, part, table_of

KIND = Language()
TEXT = "the cat sat on the mat and the dog sat on the log, as all dogs do when the cat is out of the house at night."
CLASSES = ("<unk>", *sorted(set(TEXT)))
CONTEXT, SCORED = 12, 8


def windows(text=TEXT, step=SCORED, context=CONTEXT, scored=SCORED):
    length = context + scored
    return [text[start : start + length] for start in range(0, len(text) - length + 1, step)]


def split(texts, context=CONTEXT):
    targets = [KIND.validate_sample(Sample(str(i), text, context), CLASSES).target for i, text in enumerate(texts)]
    return Split(
        tuple(f"t/{i:03d}" for i in range(len(texts))), packed(texts, len(texts[0])), KIND.stack(targets, CLASSES)
    )


def gru(seed=0):
    torch.manual_seed(seed)
    model = TorchLanguage(Recurrent(len(CLASSES), width=16, hidden=16), CLASSES, length=CONTEXT + SCORED)
    model.module.eval()
    return model


def outcomes(model, texts=None):
    test = split(texts or windows())
    info = TaskInfo("t", "language", "1", CLASSES, (CONTEXT + SCORED,))
    data = TaskData(info, test, test, test, DataReport({}), "")
    inputs = torch.from_numpy(test.inputs)
    with torch.no_grad():
        output = model(inputs).numpy()
    kind = KIND.kind().fit_to_model(lambda: (output, test.targets), data)
    return Outcomes(test.ids, output, test.targets, CLASSES, 0, kind, model, data, lambda: inputs)


class ConstantLogits(nn.Module):
    """Returns constant logits for every input."""

    def __init__(self, logits):
        super().__init__()
        self.embedding = nn.Embedding(len(logits), 8)
        self.logits = nn.Parameter(torch.tensor(logits, dtype=torch.float32))

    def forward(self, embedded, mask):
        return self.logits.expand(*embedded.shape[:2], -1) + 0 * embedded.sum()


MEASUREMENTS = (bytes_and_causality, metrics.carried, text_statistics)


def table(given, *measurements):
    with given.model.frozen(), torch.no_grad():
        return table_of(given, *measurements)


def named(measures):
    return {measure.metric: measure for measure in measures}


def bits(given):
    return named(metrics.bits_per_character(table(given, bytes_and_causality)))


def carried(given):
    (row,) = metrics.bits_per_character_carried(table(given, metrics.carried))
    return row


def of_generated(given):
    return named(text_metrics.generated_text(table(given, text_statistics)))


# samples


def test_valid_windows_share_one_alphabet():
    validated = [KIND.validate_sample(Sample("a", text, 2), None) for text in ("aéb", "ab\n")]
    assert validated[0].value.tolist() == [97, 233, 98] and validated[0].remarks == ()
    targets = [one.target for one in validated]
    assert targets == [Window("aéb", 2), Window("ab\n", 2)]
    classes = KIND.class_names({"train": targets, "test": [Window("xyz", 2)]})
    assert classes == ("<unk>", "\n", "a", "b", "é")
    assert KIND.class_names({"train": [], "validation": targets, "test": [Window("z", 1)]}) == (*classes[:-1], "z", "é")
    assert KIND.stack(targets, classes).tolist() == [[3], [1]]
    assert KIND.stack([], classes).shape == (0, 1)


@pytest.mark.parametrize(
    ("value", "context", "message"),
    [
        ("abc", "2", "number of characters"),
        ("abc", True, "number of characters"),
        ("abc", 2.0, "number of characters"),
        ("abc", 0, "at least 1"),
        ("abc", 3, "at least 1"),
        ("a\0c", 1, "NUL"),
        (b"abc", 1, "expected a string"),
    ],
)
def test_invalid_window_raises(value, context, message):
    with pytest.raises(DataError, match=message):
        KIND.validate_sample(Sample("a", value, context), None)


def test_characters_outside_the_alphabet_are_unknown_and_counted():
    validated = KIND.validate_sample(Sample("a", "ab?!", 1), ("<unk>", "a", "b"))
    assert validated.remarks == ("2 characters outside the alphabet, read as <unk>",)
    assert KIND.stack([validated.target], ("<unk>", "a", "b")).tolist() == [[2, 0, 0]]
    with pytest.raises(DataError, match="not an alphabet"):
        KIND.validate_sample(Sample("a", "ab", 1), ("no", "yes"))


def test_windows_of_different_shapes_raise():
    for other in (Window("abcd", 2), Window("abc", 1)):
        with pytest.raises(DataError, match="equal windows"):
            KIND.stack([Window("abc", 2), other], ("<unk>", *"abcd"))


def test_output_for_another_alphabet_raises():
    KIND.check_output(torch.zeros(2, 3, 4), "abcd")
    for shape in ((2, 3, 5), (2, 4)):
        with pytest.raises(ModelError, match="4\\), one for"):
            KIND.check_output(torch.zeros(shape), "abcd")


# bits


def test_bits_by_hand():
    # two scored characters with probabilities 1/4 and 1/2, then 1/8 and 1: 3 bits and 3 bits over 4 characters
    chances = torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], [[0.875, 0.125, 1e-30], [1e-30, 1e-30, 1.0]]])
    output = torch.cat([torch.full((2, 3, 3), -7.0), chances.log()], dim=1)
    targets = torch.tensor([[1, 0], [1, 2]])
    tally = KIND.tally(output.numpy(), targets.numpy())
    np.testing.assert_allclose(tally, [[3, 2], [3, 2]], atol=1e-6)
    assert KIND.statistic(tally)(None) == pytest.approx([1.5])
    np.testing.assert_allclose(KIND.damage(output, targets), [1.5 / math.log2(3)] * 2, atol=1e-6)
    loss = KIND.attack_loss(output, targets, name="ce")
    assert loss.tolist() == pytest.approx([1.5 * math.log(2)] * 2, rel=1e-6)


def test_uniform_model_has_log2_classes_bits():
    model = TorchLanguage(ConstantLogits([0.0] * len(CLASSES)), CLASSES, length=CONTEXT + SCORED)
    given = outcomes(model)
    measures = bits(given)
    expected = math.log2(len(CLASSES))
    row = measures["bits_per_character"]
    assert row.value == pytest.approx(expected) and row.method == "none(constant sample)" and row.unit == "bits"
    assert row.higher_is_better is False and row.params == {} and row.checks == {"causal": "pass"}
    assert measures["perplexity"].value == pytest.approx(len(CLASSES))
    assert KIND.damage(torch.from_numpy(given.output), torch.from_numpy(given.targets)).tolist() == pytest.approx(
        [1.0] * len(given.ids)
    )


def test_bits_per_byte_use_utf8_bytes():
    texts = ["aaé€🙂", "aaaaé"]
    classes = ("<unk>", *sorted(set("".join(texts))))
    targets = KIND.stack([Window(text, 2) for text in texts], classes)
    model = TorchLanguage(ConstantLogits([0.0] * len(classes)), classes, length=5)
    inputs = torch.from_numpy(packed(texts, 5))
    given = Outcomes(
        ("a", "b"), model(inputs).detach().numpy(), targets, classes, 0, KIND.kind(), model, None, lambda: inputs
    )
    measures = bits(given)
    # 2 + 3 + 4 and 1 + 1 + 2 bytes for three characters each
    assert measures["bits_per_byte"].value == pytest.approx(6 * math.log2(len(classes)) / 13)


def test_causality_check_detects_lookahead():
    class Cheat(Recurrent):
        def forward(self, embedded, mask):
            return super().forward(embedded.flip(1), mask).flip(1)

    torch.manual_seed(0)
    model = TorchLanguage(Cheat(len(CLASSES), width=16, hidden=16), CLASSES, length=CONTEXT + SCORED)
    row = bits(outcomes(model))["bits_per_character"]
    assert row.checks == {"causal": "fail"} and row.status == "suspect" and "later" in row.reason
    assert bits(outcomes(gru()))["bits_per_character"].checks == {"causal": "pass"}


class Ahead(nn.Module):
    """Predicts the next character by looking ahead, but only within blocks of some width."""

    def __init__(self, width):
        super().__init__()
        self.embedding, self.width = nn.Embedding(len(CLASSES), len(CLASSES)), width
        self.embedding.weight.data = torch.eye(len(CLASSES))

    def forward(self, embedded, mask):
        following = torch.cat([embedded[:, 1:], 0 * embedded[:, :1]], dim=1)
        block = torch.arange(embedded.shape[1] + 1) // self.width
        return 10 * following * (block[1:] == block[:-1])[:, None]


@pytest.mark.parametrize("width", [100, 10, 5, 2])
def test_causality_check_detects_lookahead_within_blocks(width):
    model = TorchLanguage(Ahead(width), CLASSES, length=CONTEXT + SCORED)
    row = bits(outcomes(model))["bits_per_character"]
    assert row.checks == {"causal": "fail"} and row.status != "ok"


def test_padded_text_gives_the_same_output_as_alone():
    torch.manual_seed(0)
    modules = (Recurrent(len(CLASSES), width=16, hidden=16), CausalTransformer(len(CLASSES), 20, width=16, depth=2))
    texts = ["the cat", "a mat on the log, as"]
    for module in modules:
        model = TorchLanguage(module.eval(), CLASSES, length=20)
        with torch.no_grad():
            together = model(torch.from_numpy(packed(texts, 20)))
            alone = [model(torch.from_numpy(packed([text], len(text)))) for text in texts]
        for row, (text, expected) in enumerate(zip(texts, alone, strict=True)):
            assert torch.allclose(together[row, 20 - len(text) :], expected[0], atol=1e-6)


def test_bits_interval_covers_the_true_value():
    generator, covered = np.random.default_rng(0), 0
    for seed in range(100):
        mean = generator.gamma(8, 0.3, size=(60, 1))  # windows differ, and the characters of a window are correlated
        spent = generator.gamma(2, mean / 2, size=(60, 16)).sum(axis=1)
        tally = np.stack([spent, np.full(60, 16.0)], axis=1)
        row = KIND.headline_measure(Table((), seed=seed), BITS_PER_CHARACTER, tally)
        covered += row.lo <= 2.4 <= row.hi
    assert 88 <= covered <= 99  # a 95 % percentile interval of 60 windows covers in about 94 % of cases


# attacks


def test_damage_increases_with_bits_and_only_context_is_editable():
    output = 0.2 * torch.randn(5, 9, 6, generator=torch.Generator().manual_seed(4))
    targets = torch.arange(5)[:, None].expand(-1, 3) % 6
    damage, loss = KIND.damage(output, targets), KIND.attack_loss(output, targets, name="ce")
    assert torch.allclose(damage, (loss / math.log(6)).clamp(max=1)) and (damage < 1).any() and (damage <= 1).all()
    codes = torch.from_numpy(packed(["abcdefghij", "abcd"], 10))
    editable = KIND.editable(codes, targets[:2])
    assert editable.tolist() == [[True] * 7 + [False] * 3, [True] * 4 + [False] * 6]


def test_losses_are_per_window_and_scaled_ce_is_nearly_scale_invariant():
    output = torch.randn(4, 9, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.randint(6, (4, 3), generator=torch.Generator().manual_seed(1))
    for name in ("ce", "scaled_ce", "damage"):
        whole = KIND.attack_loss(output, targets, name=name)
        assert torch.equal(
            torch.cat([KIND.attack_loss(output[i:][:1], targets[i:][:1], name=name) for i in range(4)]), whole
        )
    scaled = [KIND.attack_loss(output * factor, targets, name="scaled_ce") for factor in (1, 1000)]
    assert torch.allclose(*scaled, rtol=1e-4)
    with pytest.raises(SpecError, match="no attack loss 'margin'"):
        KIND.attack_loss(output, targets, name="margin")
    with pytest.raises(AttackError, match="goal"):
        KIND.attack_loss(output, targets, name="ce", target_classes=targets)


def test_training_loss_includes_the_context():
    model, texts = gru(), torch.from_numpy(split(windows()).inputs)
    losses, output = KIND.training_loss(model, texts, torch.from_numpy(split(windows()).targets))
    ids = model.read(texts).ids
    expected = -output.log_softmax(dim=2).gather(2, ids[:, 1:, None])[..., 0].mean(dim=1)
    assert torch.allclose(losses, expected, atol=1e-6)


# measures


def test_accuracy_counts_correct_characters():
    logits = [0.0] * len(CLASSES)
    logits[CLASSES.index("t")] = 5.0
    given = outcomes(TorchLanguage(ConstantLogits(logits), CLASSES, length=CONTEXT + SCORED))
    scored = [text[CONTEXT:] for text in windows()]
    expected = sum(text.count("t") for text in scored) / sum(map(len, scored))
    (row,) = metrics.next_character_accuracy(table(given))
    assert row.value == pytest.approx(expected)
    assert row.lo < expected < row.hi


def test_windows_are_ordered_as_in_the_text():
    texts = windows()
    order = [3, 0, 5, 1, 2, 4, 7]  # 6 is missing, so that 7 begins a run of its own
    runs = successive([texts[i] for i in order], SCORED)
    assert [[order[row] for row in run] for run in runs] == [[0, 1, 2, 3, 4, 5], [7]]
    assert sorted(map(tuple, successive(["abab", "abab", "cdcd"], 2))) == [(0,), (1,), (2,)]
    assert successive(["abcd", "cdab"], 2) == [[0, 1]]  # a cycle may start at any window
    assert sorted(map(tuple, successive(["xxab", "yyab", "abcd"], 2))) == [
        (0,),
        (1,),
        (2,),
    ]  # both precede the last window


def test_carried_bits_equal_those_of_the_whole_text():
    model, texts = gru(), windows()
    chosen = [texts[i] for i in (2, 0, 1, 5)]
    row = carried(outcomes(model, chosen))
    whole = model.carried_bits(TEXT[: CONTEXT + 3 * SCORED])[CONTEXT - 1 :]
    alone = model.carried_bits(texts[5])[CONTEXT - 1 :]
    assert row.value == pytest.approx((whole.sum() + alone.sum()) / 32, rel=1e-5)
    assert row.params == {"state": "carried", "runs": 2, "longest": 3, "carried": 2} and row.n == 4


def test_other_windows_are_read_but_not_scored():
    model, whole = gru(), outcomes(gru())
    some = [3, 7]
    row = carried(part(whole, some))
    costs = model.carried_bits(TEXT)[CONTEXT - 1 :]
    expected = sum(costs[i * SCORED : (i + 1) * SCORED].sum() for i in some) / 16
    assert row.value == pytest.approx(expected, rel=1e-5) and row.n == 2


def test_carried_bits_are_skipped_without_successors_or_state():
    row = carried(outcomes(gru(), windows()[::2]))
    assert (
        row.status == "skipped"
        and row.params == {"state": "carried"}
        and row.reason.startswith("0 of 6 windows follow another")
    )
    transformer = TorchLanguage(CausalTransformer(len(CLASSES), 20, width=16, depth=1), CLASSES, length=20)
    row = carried(outcomes(transformer))
    assert row.status == "skipped" and row.params == {"state": "carried"} and "carries no state" in row.reason


def test_ngram_memorization_distinct_words_and_repetition_by_hand():
    ngrams = TrainingNgrams(["abcdefghij", "short"])
    # one of the two 8-grams of abcdefghX is known, and both of bcdefghij; shorter texts have none
    assert [ngrams.fraction(text) for text in ("abcdefghX", "bcdefghij", "zzzzzzzz", "abc")] == [0.5, 1.0, 0.0, None]
    assert distinct_words("The cat, the dog", 1) == 4 / 5
    assert distinct_words("the cat the cat", 2) == 2 / 3
    assert distinct_words("...", 3) == 1.0 and distinct_words("", 1) is None
    assert (
        repetition("abababababab") == pytest.approx(3 / 5) and repetition("abcdefghi") == 0 and repetition("ab") is None
    )


def test_ngrams_across_adjacent_training_windows_are_known():
    ids, texts = ["t/000", "t/005", "t/012", "u/017", "v"], ["abcde", "fghij", "klmno", "pqrst", "uvwxy"]
    assert text_metrics.joined(ids, texts) == ["abcdefghij", "klmno", "pqrst", "uvwxy"]
    ngrams = TrainingNgrams(text_metrics.joined(ids, texts))
    assert ngrams.fraction("cdefghij") == 1.0 and ngrams.fraction("ijklmnop") == 0.0


def test_reciting_model_has_high_ngram_memorization():
    model = TorchNGram(NGram(len(CLASSES), order=8, room=4096), CLASSES, length=CONTEXT + SCORED)
    given = outcomes(model, windows(step=1))
    model.module.count(model.read(given.inputs).ids.repeat(200, 1))
    measures = of_generated(given)
    row = measures["ngram_memorization"]
    assert row.value > 0.8 and row.control == 1.0 and row.n == 20 and row.higher_is_better is None
    blank = of_generated(outcomes(gru()))["ngram_memorization"]
    assert blank.value < 0.05 and blank.control == 1.0
    assert {"ngram_memorization", "distinct_1", "distinct_2", "repetition"} == set(measures)
    again = of_generated(given)
    assert again == measures


@pytest.mark.parametrize("rows", [[4, 5, 6, 7], [1, 0, 3, 2, 9], range(11)])
def test_summary_of_some_windows_equals_a_run_on_them(rows):
    given = outcomes(gru())
    whole, direct = table(given, *MEASUREMENTS), table(part(given, rows), *MEASUREMENTS)
    for summary in (
        metrics.bits_per_character,
        metrics.next_character_accuracy,
        metrics.bits_per_character_carried,
        text_metrics.generated_text,
    ):
        assert_same(summary(whole.take(list(rows))), summary(direct))


def test_too_few_successors_among_some_windows_are_skipped():
    given = outcomes(gru())
    apart = table(given, metrics.carried).take([0])
    (row,) = metrics.bits_per_character_carried(apart)
    assert row.status == "skipped" and row.reason.startswith("0 of 1 windows follow another")


def test_short_texts_have_no_ngrams():
    texts = ["abcd", "bcde", "cdef"]
    classes = ("<unk>", *"abcdef")
    targets = KIND.stack([Window(text, 2) for text in texts], classes)
    data = TaskData(
        TaskInfo("t", "language", "1", classes, (4,)),
        *[Split(("a", "b", "c"), packed(texts, 4), targets)] * 3,
        DataReport({}),
        "",
    )
    model = TorchLanguage(ConstantLogits([0.0] * len(classes)), classes, length=4)
    inputs = torch.from_numpy(packed(texts, 4))
    with torch.no_grad():
        given = Outcomes(
            ("a", "b", "c"), model(inputs).numpy(), targets, classes, 0, KIND.kind(), model, data, lambda: inputs
        )
    rows = of_generated(given)
    assert "ngram_memorization" not in rows
    assert rows["repetition"].value is None and rows["repetition"].n_failed == rows["repetition"].n == 20


# readers


def test_stored_arrays_columns_and_facts():
    given = outcomes(gru())
    with given.model.frozen(), torch.no_grad():
        texts = {name: shown.values for name, shown in KIND.gallery(given).items()}
    assert texts["generated"].shape == (12, 200) and texts["generated"].dtype == np.int32
    assert texts["prompt"].shape == (12, CONTEXT) and not texts["prompt"][:2].any() and texts["prompt"][2:4].all()
    assert texts["temperature"].tolist() == [0.5] * 4 + [0.8] * 4 + [1.0] * 4
    assert not any(shown.per_sample for shown in KIND.gallery(given).values())
    measured = KIND.measured(given)
    assert measured.facts["context"] == CONTEXT and measured.facts["scored"] == SCORED
    assert measured.facts["uniform_bits"] == pytest.approx(math.log2(len(CLASSES)))
    np.testing.assert_array_equal(
        np.stack([measured.columns["bits"], measured.columns["characters"]], axis=1),
        KIND.tally(given.output, given.targets),
    )
    arrays = {name: shown.values for name, shown in KIND.output_arrays(given.output).items()}
    assert arrays["prediction"].shape == arrays["confidence"].shape == (len(given.ids), CONTEXT + SCORED - 1)


def test_inputs_of_kind_and_models_are_windows():
    assert KIND.kind().input == gru().input == WINDOW
    assert gru().capabilities.embedding and gru().capabilities.tokens
    space = gru().in_space("embedding")
    assert (space.input.type, space.capabilities.gradient, space.capabilities.tokens) == ("embedding", True, False)
    ngram = TorchNGram(NGram(len(CLASSES), room=4096), CLASSES, length=CONTEXT + SCORED)
    assert not ngram.capabilities.gradient and not ngram.capabilities.embedding


# attribution


def test_deleted_character_is_unknown_if_alphabet_has_no_space():
    torch.manual_seed(0)
    for alphabet, deletion in (("ACGT", "read as an unknown character"), ("ACGT ", "replaced by a space")):
        model = TorchLanguage(Recurrent(1 + len(alphabet), hidden=8), ("<unk>", *alphabet), length=8)
        codes = torch.from_numpy(packed(["ACGTACGT"], 8))
        features = required(Language(scored=4).kind().features)
        assert features.explained(model, codes, model(codes).detach()).deletion == deletion


def test_prediction_after_the_context_is_explained():
    model = gru()
    given = outcomes(model)
    output = torch.from_numpy(given.output)
    rationale = required(given.kind.features).explained(model, given.inputs, output)
    rows = torch.arange(len(given.ids))
    expected = output[:, CONTEXT - 1].double().softmax(dim=1)
    everything = torch.ones((len(rows), CONTEXT), dtype=torch.bool)
    with torch.no_grad():
        assert torch.allclose(rationale.score(everything, rows), expected.max(dim=1).values, atol=1e-6)
        assert torch.allclose(rationale.target(rationale.point, rows), expected.max(dim=1).values.log(), atol=1e-5)
        nothing = rationale.score(~everything, rows)
        swapped = rationale.target(rationale.blank, rows).exp()
    assert torch.allclose(nothing, swapped, atol=1e-6)
    spaces = torch.tensor([[c == " " for c in text[:CONTEXT]] for text in windows()])
    assert torch.equal(rationale.present, ~spaces)
    assert rationale.names[0] == list(TEXT[:CONTEXT]) and rationale.ends_matter
    assert rationale.arrays["codes"].values.shape == (len(rows), CONTEXT + SCORED)
    some = torch.rand((5, CONTEXT), generator=torch.Generator().manual_seed(0)) < 0.5
    with torch.no_grad():
        texts = ["".join(c if k else " " for c, k in zip(windows()[2], kept, strict=False)) for kept in some]
        subset = torch.from_numpy(packed([text + "x" for text in texts], CONTEXT + 1))
        direct = model(subset)[:, -1].double().softmax(dim=1)[:, output[2, CONTEXT - 1].argmax()]
        assert torch.allclose(rationale.score(some, torch.full((5,), 2)), direct, atol=1e-6)


def test_ngram_model_is_explained_without_gradients():
    model = TorchNGram(NGram(len(CLASSES), room=4096), CLASSES, length=CONTEXT + SCORED)
    given = outcomes(model)
    model.module.count(model.read(given.inputs).ids)
    given = outcomes(model)
    rationale = required(given.kind.features).explained(model, given.inputs, torch.from_numpy(given.output))
    assert rationale.point is None and rationale.blank is None and rationale.target is None
    kept = torch.ones((1, CONTEXT), dtype=torch.bool)
    early = kept.clone()
    early[:, : CONTEXT - 4] = False
    first = torch.zeros(1, dtype=torch.int64)
    assert torch.equal(
        rationale.score(kept, first), rationale.score(early, first)
    )  # the model reads four characters only


def test_unfitted_kind_has_no_rationale_and_no_map():
    with pytest.raises(NotApplicableError, match="fit_to_model"):
        required(KIND.kind().features)
    with pytest.raises(NotApplicableError, match="rationale"):
        required(outcomes(gru()).kind.maps)
    assert required(outcomes(gru()).kind.features).explainable(np.zeros((3, 2, 4))).tolist() == [True] * 3
