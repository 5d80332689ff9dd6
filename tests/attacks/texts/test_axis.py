"""Attacks on texts in the robustness axis: rows, checks, stored inputs, and their verification."""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from suite.data.text import packed, texts_of
from suite.runner.harness import Harness, plan
from suite.runner.preparation import prepare_task
from suite.runner.settings import Settings
from suite.store import Store
from suite.types import Measure, Provenance, Record, RunInfo
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
    rows = store.rows()
    chosen = rows[(rows["spec"] == spec) & (rows["model"] == model)]
    return chosen, store.details(chosen["record"].iloc[0])


@pytest.mark.parametrize("spec", NORMS)
def test_every_attack_writes_its_rows_and_no_check_fails(measured, spec):
    rows, details = rows_of(measured, "toy_reviews.py:bag", spec)
    assert details["norm"] == NORMS[spec]
    assert [name for name, (status, _) in details["checks"].items() if status == "fail"] == []
    assert details["checks"]["eps0_equals_clean"][0] == "pass"
    if spec != TRIGGER:
        assert details["checks"]["random_does_less"][0] == "pass", details["checks"]["random_does_less"]
        assert details["checks"]["more_steps_find_no_more"][0] == "pass"
    robust = rows[rows["metric"] == "robust_accuracy"].sort_values("value", ascending=False)
    assert robust["value"].iloc[-1] < robust["control"].iloc[-1]
    counted = "characters_changed" if NORMS[spec] == "characters" else "words_changed"
    for name in (counted, "unknown_words_added", "success_rate", "queries"):
        assert (rows["metric"] == name).any(), name
    assert (rows[rows["metric"] == counted]["value"].dropna() > 0).all()


@pytest.mark.parametrize("spec", NORMS)
def test_success_rate_is_over_correctly_predicted_samples(measured, spec):
    rows, details = rows_of(measured, "toy_reviews.py:bag", spec)
    samples = measured.samples(rows["record"].iloc[0])
    clean = samples["correct_clean"].to_numpy().astype(bool)
    for _, row in rows[rows["metric"] == "success_rate"].iterrows():
        held = samples[f"robust@{float(json.loads(row['params'])['edits'])!r}"].to_numpy().astype(bool)
        assert row["value"] == pytest.approx((clean & ~held).sum() / clean.sum())
        assert row["n"] == clean.sum()
    (queries,) = rows[rows["metric"] == "queries"]["value"]
    assert 0 < queries == pytest.approx(details["passes"]["search"] / clean.sum())
    assert details["passes"]["search"] < details["passes"]["attack"]


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
    rows, details = rows_of(measured, "toy_reviews.py:rules", TYPOS)
    assert [name for name, (status, _) in details["checks"].items() if status == "fail"] == []
    assert rows[rows["metric"] == "robust_accuracy"]["value"].min() < 0.6


def test_result_does_not_depend_on_batch_size(measured, tmp_path):
    again = Store(tmp_path / "store")
    cells = plan([TASK], [BAG], list(NORMS))
    assert Harness(again, Settings(device="cpu", batch_size=17)).run(cells).failed == []
    for spec in NORMS:
        _, one = rows_of(measured, "toy_reviews.py:bag", spec)
        _, two = rows_of(again, "toy_reviews.py:bag", spec)
        assert one["sha256"] == two["sha256"], spec


# -- verification


def verdicts(store):
    return list(verify(store, RecordFilter((TASK,), (BAG, RULES)), device="cpu"))


def stored(store, spec, model="toy_reviews.py:bag"):
    """Return the stored record of a spec."""
    rows, details = rows_of(store, model, spec)
    name = rows["record"].iloc[0]
    (folder,) = store.root.glob(f"records/*/{name}")
    whole = json.loads((folder / "rows.json").read_text("utf-8"))
    measures = [Measure(**{key: value for key, value in row.items() if key != "status"}) for row in whole["measures"]]
    samples = {str(column): values.to_numpy().copy() for column, values in store.samples(name).items()}
    about = Provenance(**whole["provenance"]), RunInfo(**whole["occasion"]), whole["status"]
    return Record(*about, tuple(measures), samples, details, store.arrays(name))


def changed(store, root, spec, change):
    """Return the verdict on a record with changed texts and a matching digest."""
    record = stored(store, spec)
    adversarial = record.arrays["found"].copy()
    change(adversarial)
    details = {**record.details, "sha256": hashlib.sha256(adversarial.tobytes()).hexdigest()}
    other = Store(root)
    shutil.copytree(store.root / "models", other.root / "models")
    other.put(dataclasses.replace(record, arrays={**record.arrays, "found": adversarial}, details=details))
    (verdict,) = list(verify(other, RecordFilter((TASK,), (BAG,)), device="cpu"))
    return verdict


def test_unchanged_records_are_verified(measured):
    by_spec = {verdict.subject.split(" (n=")[0].split(" ", 1)[1]: verdict for verdict in verdicts(measured)}
    for spec in NORMS:
        verdict = by_spec[f"toy_reviews.py:bag {spec}"]
        assert verdict.differences == ()
        assert verdict.inputs >= 3, spec
        assert verdict.notes == ()
    (space,) = [verdict for name, verdict in by_spec.items() if "embedding" in name]
    assert space.lines()[0].endswith("nothing stored to verify")
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
    place = list(test.ids).index(str(stored(measured, WORDS).arrays["found_id"][0]))
    verdict = changed(measured, tmp_path, WORDS, lambda adversarial: adversarial.__setitem__(0, test.pixels()[place]))
    assert [text.split(" of ")[0] for text in verdict.differences] == ["the model still classifies correctly 1"]


def test_floating_point_texts_are_reported(measured, tmp_path):
    record = stored(measured, WORDS)
    adversarial = record.arrays["found"].astype(np.float32)
    details = {**record.details, "sha256": hashlib.sha256(adversarial.tobytes()).hexdigest()}
    other = Store(tmp_path)
    shutil.copytree(measured.root / "models", other.root / "models")
    other.put(dataclasses.replace(record, arrays={**record.arrays, "found": adversarial}, details=details))
    (verdict,) = list(verify(other, RecordFilter((TASK,), (BAG,)), device="cpu"))
    assert any("are float32, but those of the task are int32" in text for text in verdict.differences)


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
    rows, details = rows_of(predicted, "toy_reviews.py:turns", FLIPS)
    arrays = predicted.arrays(rows["record"].iloc[0])
    test = prepare_task(ROUNDS, 0).data.test
    places = [list(test.ids).index(name) for name in arrays["found_id"]]
    assert len(places) == len(test)
    assert (arrays["found"][:, 12:] == test.pixels()[places][:, 12:]).all()
    assert details["checks"]["eps0_equals_clean"][0] == "pass"
    robust = rows[rows["metric"] == "robust_bits_per_character"]
    assert (robust["value"] > robust["control"]).all(), "higher is worse, and random edits increase the bits less"
    assert not (rows["metric"] == "success_rate").any()
    changed = rows[rows["metric"] == "characters_changed"]
    assert [json.loads(params)["edits"] for params in changed["params"]] == [3]
    assert changed["value"].iloc[0] <= 3 / 24


def test_a_changed_scored_character_is_reported(predicted, tmp_path):
    expected = RecordFilter((ROUNDS,), (TURNS,))
    assert [verdict.differences for verdict in verify(predicted, expected, device="cpu")] == [(), ()]
    record = stored(predicted, FLIPS, "toy_reviews.py:turns")
    adversarial = record.arrays["found"].copy()
    adversarial[0, 20] = ord("a") if adversarial[0, 20] != ord("a") else ord("b")
    details = {**record.details, "sha256": hashlib.sha256(adversarial.tobytes()).hexdigest()}
    other = Store(tmp_path)
    other.put(dataclasses.replace(record, arrays={**record.arrays, "found": adversarial}, details=details))
    (verdict,) = list(verify(other, expected, device="cpu"))
    assert any("characters that must not be edited in 1 of 5" in text for text in verdict.differences), verdict


@pytest.mark.parametrize("change", ["shorter", "moved on"])
def test_another_length_is_reported_where_characters_are_scored(predicted, tmp_path, change):
    record = stored(predicted, FLIPS, "toy_reviews.py:turns")
    adversarial = record.arrays["found"].copy()
    adversarial[0] = np.append(adversarial[0, :-1] if change == "shorter" else adversarial[0, 1:], 0)
    details = {**record.details, "sha256": hashlib.sha256(adversarial.tobytes()).hexdigest()}
    other = Store(tmp_path)
    other.put(dataclasses.replace(record, arrays={**record.arrays, "found": adversarial}, details=details))
    (verdict,) = list(verify(other, RecordFilter((ROUNDS,), (TURNS,)), device="cpu"))
    assert any("characters that must not be edited in 1 of 5" in text for text in verdict.differences), verdict


def test_a_trigger_before_a_changed_text_is_reported(measured, tmp_path):
    """The length is unchanged and one span differs, which is allowed only for models that read characters."""

    def rewritten(adversarial):
        first = texts_of(adversarial[:1])[0]
        adversarial[0] = packed([f"{first[:-3]}xx."], adversarial.shape[1])[0]

    record = stored(measured, TRIGGER)
    clean = {sample: text for sample, text in zip(*_clean_texts(), strict=True)}

    def in_place(adversarial):
        text = clean[str(record.arrays["found_id"][0])]
        adversarial[0] = packed([f"X{text[1:]}"], adversarial.shape[1])[0]

    for number, change in enumerate((rewritten, in_place)):
        verdict = changed(measured, tmp_path / str(number), TRIGGER, change)
        assert any("a perturbation of norm trigger exceeds its size" in text for text in verdict.differences)


def _clean_texts():
    test = prepare_task(TASK, 0).data.test
    return test.ids, texts_of(test.inputs)


def test_gradients_of_text_attacks_are_probed(measured, tmp_path):
    """HotFlip cannot change the words of a model with zero gradients, so its row is marked as suspect."""
    _, details = rows_of(measured, "toy_reviews.py:bag", WORDS)
    for name in ("gradient_finite", "gradient_nonzero"):
        assert details["checks"][name][0] == "pass"
    _, details = rows_of(measured, "toy_reviews.py:bag", TYPOS)  # which follows no gradient
    assert not [name for name in details["checks"] if name.startswith("gradient")]
    store = Store(tmp_path / "store")
    assert Harness(store, Settings(device="cpu")).run(plan([TASK], [f"{FILE}:hidden"], [WORDS, TRIGGER])).failed == []
    for spec in (WORDS, TRIGGER):
        rows, details = rows_of(store, "toy_reviews.py:hidden", spec)
        assert details["checks"]["gradient_nonzero"][0] == "fail"
        assert set(rows[rows["metric"] == "robust_accuracy"]["status"]) == {"suspect"}
