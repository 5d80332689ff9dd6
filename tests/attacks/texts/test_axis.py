"""Attacks on texts in the robustness axis: rows, checks, stored inputs, and their verification."""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from suite.data.text import packed, texts_of
from suite.metrics.table import Column
from suite.records.record import Record
from suite.runner.harness import Harness, plan
from suite.runner.preparation import prepare_task
from suite.runner.settings import Settings
from suite.store import Store
from suite.types import Display
from suite.verify.records import RecordFilter
from suite.verify.verifier import verify

FILE = Path(__file__).parent / "toy_reviews.py"
TASK, BAG, RULES = (f"{FILE}:{name}" for name in ("reviews", "bag", "rules"))
WORDS = "robustness(attack=hotflip(edits=[1, 2], similarity=-1.0), audit=24)"
LETTERS = "robustness(attack=hotflip(edits=[1, 2], unit=character), audit=24)"
TYPOS = "robustness(attack=typos(edits=[1, 2]), audit=24)"
TRIGGER = "robustness(attack=trigger(candidates=10, edits=[1, 3], restarts=2), audit=24)"
SPACE = "robustness(attack=fgsm(eps=[0.5]), space=embedding, audit=24)"
NORMS = {WORDS: "words", LETTERS: "characters", TYPOS: "characters", TRIGGER: "trigger"}


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Return a store with all attacks on the trained model, and some on the rule-based one."""
    store = Store(tmp_path_factory.mktemp("texts") / "store")
    outcome = Harness(store, Settings(device="cpu")).run(
        [*plan([TASK], [BAG], [*NORMS, SPACE]), *plan([TASK], [RULES], [WORDS, TYPOS])]
    )
    assert outcome.failed == []
    return store


def rows_of(store, model, spec):
    """Return the rows of a spec, and its stored record."""
    rows = store.rows()
    chosen = rows[(rows["spec"] == spec) & (rows["model"] == model)]
    return chosen, store.record(chosen["record"].iloc[0])


def failed(record):
    """Return the names of the checks that failed."""
    return [name for name, (status, _) in record.facts["checks"].items() if status == "fail"]


@pytest.mark.parametrize("spec", NORMS)
def test_every_attack_writes_its_rows_and_no_check_fails(measured, spec):
    rows, record = rows_of(measured, "toy_reviews.py:bag", spec)
    attack, checks = record.facts["attack"], record.facts["checks"]
    assert (attack["norm"], attack["size_name"]) == (NORMS[spec], "edits")
    assert attack["unit"] == {"words": "word", "characters": "character", "trigger": "token"}[NORMS[spec]]
    assert failed(record) == []
    assert checks["eps0_equals_clean"][0] == "pass"
    if spec != TRIGGER:
        assert checks["random_does_less"][0] == "pass", checks["random_does_less"]
        assert checks["more_steps_find_no_more"][0] == "pass"
    robust = rows[rows["metric"] == "robust_accuracy"].sort_values("value", ascending=False)
    assert robust["value"].iloc[-1] < robust["control"].iloc[-1]
    counted = "characters_changed" if NORMS[spec] == "characters" else "words_changed"
    for name in (counted, "unknown_words_added", "success_rate", "queries"):
        assert (rows["metric"] == name).any(), name
    assert (rows[rows["metric"] == counted]["value"].dropna() > 0).all()


@pytest.mark.parametrize("spec", NORMS)
def test_success_rate_is_over_correctly_predicted_samples(measured, spec):
    rows, record = rows_of(measured, "toy_reviews.py:bag", spec)
    clean, passes = record.column("quality"), record.facts["passes"]
    for _, row in rows[rows["metric"] == "success_rate"].iterrows():
        held = record.column("quality", {"norm": NORMS[spec], "edits": json.loads(row["params"])["edits"]})
        assert row["value"] == pytest.approx((clean & ~held).sum() / clean.sum())
        assert row["n"] == clean.sum()
    (queries,) = rows[rows["metric"] == "queries"]["value"]
    assert 0 < queries == pytest.approx(passes["search"] / clean.sum())
    assert passes["search"] < passes["attack"]


def test_typos_add_unknown_words_and_replacements_do_not(measured):
    added = {}
    for spec in (WORDS, TYPOS):
        rows, _ = rows_of(measured, "toy_reviews.py:bag", spec)
        added[spec] = rows[rows["metric"] == "unknown_words_added"]["value"].dropna()
    assert (added[WORDS] == 0).all()
    assert (added[TYPOS] > 0).all()


def test_a_rule_based_model_skips_hotflip_and_is_attacked_by_typos(measured):
    rows, _ = rows_of(measured, "toy_reviews.py:rules", WORDS)
    assert rows["status"].tolist() == ["skipped"]
    assert "no word embedding" in rows["reason"].iloc[0]
    rows, record = rows_of(measured, "toy_reviews.py:rules", TYPOS)
    assert failed(record) == []
    assert rows[rows["metric"] == "robust_accuracy"]["value"].min() < 0.6


def test_result_does_not_depend_on_batch_size(measured, tmp_path):
    again = Store(tmp_path / "store")
    cells = plan([TASK], [BAG], list(NORMS))
    assert Harness(again, Settings(device="cpu", batch_size=17)).run(cells).failed == []
    for spec in NORMS:
        _, one = rows_of(measured, "toy_reviews.py:bag", spec)
        _, two = rows_of(again, "toy_reviews.py:bag", spec)
        assert one.column("sha256").tolist() == two.column("sha256").tolist(), spec


# -- verification


def verdicts(store):
    return list(verify(store, RecordFilter((TASK,), (BAG, RULES)), device="cpu"))


def stored(store, spec, model="toy_reviews.py:bag"):
    """Return the stored record of a spec."""
    _, read = rows_of(store, model, spec)
    columns = [Column(column.name, column.values, column.params, column.population) for column in read.columns]
    return Record(
        read.provenance,
        read.run_info,
        read.status,
        read.measures,
        read.about,
        tuple(read.catalogue.values()),
        columns,
        read.facts,
        read.details,
        {
            name: Display(array.values, array.type, array.role, array.params, array.per_sample)
            for name, array in read.arrays.items()
        },
    )


def with_texts(record, change):
    """Return a record with changed texts and matching digests."""
    adversarial = record.arrays["found"].values.copy()
    if (other := change(adversarial)) is not None:
        adversarial = other
    digests = {
        str(name): hashlib.sha256(row.tobytes()).hexdigest()
        for name, row in zip(record.arrays["found_id"].values, adversarial, strict=True)
    }
    ids = next(column.values for column in record.columns if column.name == "id")
    columns = [
        replace(
            column,
            values=np.array([digests.get(name, old) for name, old in zip(ids, column.values, strict=True)], object),
        )
        if column.name == "sha256"
        else column
        for column in record.columns
    ]
    arrays = {**record.arrays, "found": replace(record.arrays["found"], values=adversarial)}
    return replace(record, columns=columns, arrays=arrays)


def verdict_on(store, root, record, expected=None):
    """Return the verdict on a record in another store with the same models."""
    other = Store(root)
    if (store.root / "models").exists():
        shutil.copytree(store.root / "models", other.root / "models")
    other.put(record)
    (verdict,) = list(verify(other, expected or RecordFilter((TASK,), (BAG,)), device="cpu"))
    return verdict


def changed(store, root, spec, change):
    """Return the verdict on a record with changed texts and matching digests."""
    return verdict_on(store, root, with_texts(stored(store, spec), change))


def test_unchanged_records_are_verified(measured):
    by_spec = {verdict.subject.split(" (n=")[0].split(" ", 1)[1]: verdict for verdict in verdicts(measured)}
    for spec in NORMS:
        verdict = by_spec[f"toy_reviews.py:bag {spec}"]
        assert verdict.differences == ()
        assert verdict.inputs >= 3, spec
        assert verdict.notes == ()
    (space,) = [verdict for name, verdict in by_spec.items() if "embedding" in name]
    assert space.lines()[0].endswith("measures derived again")
    assert by_spec[f"toy_reviews.py:rules {TYPOS}"].differences == ()
    assert by_spec[f"toy_reviews.py:rules {WORDS}"].inputs is None


@pytest.mark.parametrize("spec", NORMS)
def test_a_text_with_too_many_edits_is_reported(measured, tmp_path, spec):
    def longer(adversarial):
        text = texts_of(adversarial[:1])[0]
        adversarial[0] = packed([f"{text[:-1]} or so or no."], adversarial.shape[1])[0]

    verdict = changed(measured, tmp_path, spec, longer)
    assert any(f"a perturbation of norm {NORMS[spec]} exceeds its size" in text for text in verdict.differences)


def test_rows_that_are_not_texts_are_reported(measured, tmp_path):
    for number, value in enumerate((0xD800, 0x110000, -3, 0)):
        verdict = changed(
            measured, tmp_path / str(number), WORDS, lambda adversarial, v=value: adversarial[0].__setitem__(2, v)
        )
        assert any("invalid text in 1 of" in text for text in verdict.differences), verdict.differences


def test_a_correctly_predicted_text_is_reported(measured, tmp_path):
    test = prepare_task(TASK, 0).data.test
    place = list(test.ids).index(str(stored(measured, WORDS).arrays["found_id"].values[0]))
    verdict = changed(measured, tmp_path, WORDS, lambda adversarial: adversarial.__setitem__(0, test.pixels()[place]))
    assert [text.split(" of ")[0] for text in verdict.differences] == ["the model still classifies correctly 1"]


def test_floating_point_texts_are_reported(measured, tmp_path):
    verdict = changed(measured, tmp_path, WORDS, lambda adversarial: adversarial.astype(np.float32))
    assert any("the stored inputs are float32; expected int32" in text for text in verdict.differences)


# -- a language model: some characters may be changed, the others are to be predicted

ROUNDS, TURNS = f"{FILE}:rounds", f"{FILE}:turns"
FLIPS = "robustness(attack=hotflip(edits=[1, 3], unit=character), audit=4)"


@pytest.fixture(scope="module")
def predicted(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("language") / "store")
    cells = plan([ROUNDS], [TURNS], [FLIPS, FLIPS.replace("hotflip", "typos").replace(", unit=character", "")])
    assert Harness(store, Settings(device="cpu")).run(cells).failed == []
    return store


def test_a_language_model_is_attacked_only_before_the_scored_characters(predicted):
    rows, record = rows_of(predicted, "toy_reviews.py:turns", FLIPS)
    test = prepare_task(ROUNDS, 0).data.test
    places = [list(test.ids).index(name) for name in record.arrays["found_id"].values]
    assert len(places) == len(test)
    assert (record.arrays["found"].values[:, 12:] == test.pixels()[places][:, 12:]).all()
    assert record.facts["checks"]["eps0_equals_clean"][0] == "pass"
    robust = rows[rows["metric"] == "robust_bits_per_character"]
    assert (robust["value"] > robust["control"]).all(), "higher is worse, and random edits increase the bits less"
    assert not (rows["metric"] == "success_rate").any()
    changed = rows[rows["metric"] == "characters_changed"]
    assert [json.loads(params)["edits"] for params in changed["params"]] == [3]
    assert changed["value"].iloc[0] <= 3 / 24


def test_a_changed_scored_character_is_reported(predicted, tmp_path):
    expected = RecordFilter((ROUNDS,), (TURNS,))
    assert [verdict.differences for verdict in verify(predicted, expected, device="cpu")] == [(), ()]

    def another_letter(adversarial):
        adversarial[0, 20] = ord("a") if adversarial[0, 20] != ord("a") else ord("b")

    record = with_texts(stored(predicted, FLIPS, "toy_reviews.py:turns"), another_letter)
    verdict = verdict_on(predicted, tmp_path, record, expected)
    assert any("characters that must not be edited in 1 of 5" in text for text in verdict.differences), verdict


@pytest.mark.parametrize("change", ["shorter", "moved on"])
def test_another_length_is_reported_where_characters_are_scored(predicted, tmp_path, change):

    def of_another_length(adversarial):
        adversarial[0] = np.append(adversarial[0, :-1] if change == "shorter" else adversarial[0, 1:], 0)

    record = with_texts(stored(predicted, FLIPS, "toy_reviews.py:turns"), of_another_length)
    verdict = verdict_on(predicted, tmp_path, record, RecordFilter((ROUNDS,), (TURNS,)))
    assert any("characters that must not be edited in 1 of 5" in text for text in verdict.differences), verdict


def test_a_trigger_before_a_changed_text_is_reported(measured, tmp_path):
    """The length is unchanged and one span differs, which is allowed only for models that read characters."""

    def rewritten(adversarial):
        first = texts_of(adversarial[:1])[0]
        adversarial[0] = packed([f"{first[:-3]}xx."], adversarial.shape[1])[0]

    record = stored(measured, TRIGGER)
    clean = {sample: text for sample, text in zip(*_clean_texts(), strict=True)}

    def in_place(adversarial):
        text = clean[str(record.arrays["found_id"].values[0])]
        adversarial[0] = packed([f"X{text[1:]}"], adversarial.shape[1])[0]

    for number, change in enumerate((rewritten, in_place)):
        verdict = changed(measured, tmp_path / str(number), TRIGGER, change)
        assert any("a perturbation of norm trigger exceeds its size" in text for text in verdict.differences)


def _clean_texts():
    test = prepare_task(TASK, 0).data.test
    return test.ids, texts_of(test.inputs)


def test_gradients_of_text_attacks_are_probed(measured, tmp_path):
    """HotFlip cannot change the words of a model with zero gradients, so its row is marked as suspect."""
    _, record = rows_of(measured, "toy_reviews.py:bag", WORDS)
    for name in ("gradient_finite", "gradient_nonzero"):
        assert record.facts["checks"][name][0] == "pass"
    _, record = rows_of(measured, "toy_reviews.py:bag", TYPOS)  # which follows no gradient
    assert not [name for name in record.facts["checks"] if name.startswith("gradient")]
    store = Store(tmp_path / "store")
    assert Harness(store, Settings(device="cpu")).run(plan([TASK], [f"{FILE}:hidden"], [WORDS, TRIGGER])).failed == []
    for spec in (WORDS, TRIGGER):
        rows, record = rows_of(store, "toy_reviews.py:hidden", spec)
        assert record.facts["checks"]["gradient_nonzero"][0] == "fail"
        assert set(rows[rows["metric"] == "robust_accuracy"]["status"]) == {"suspect"}
