"""Text models and generative models in the store: records with arrays of the usual shapes, and hostile texts."""

from __future__ import annotations

from typing import Any

import numpy as np

from suite.data.text import packed
from suite.records.record import Record
from suite.store import Store
from suite.types import IMAGE, LATENT, TEXT, WINDOW, Display, Measure, not_applicable
from tests.reports import synthetic as s
from tests.reports.declared import ACCURACY, BITS, CODE_LENGTH, PRECISION, declared

REVIEWS, CLASSIFIER = "reviews", "bag"
PLAYS, LANGUAGE_MODEL = "plays", "gru"
FACES, GAN = "faces", "gan"
CODES, VAE = "digit codes", "vae"

HOSTILE = '<script>window.hacked=1</script> <img src=x onerror=window.hacked=1> & "fine" :red[z] $x$'
CLEAN = ["a good film", HOSTILE, "not bad,\nnot good"]
ATTACKED = ["a godo film", f"{HOSTILE} dull", "not bad,\nnot goood"]
EDITS = (1, 2)


ABOUT = {
    REVIEWS: s.about_task(ACCURACY.name, what=TEXT),
    PLAYS: s.about_task(BITS.name, "graded", "correct characters", WINDOW),
    FACES: s.about_task(PRECISION.name, "binary", "images on the manifold", LATENT),
    CODES: s.about_task(CODE_LENGTH.name, "graded", "pixel quality", IMAGE),
}


def record(place: tuple[str, str], spec: str, measures: list[Measure], **more: Any) -> Record:
    task, model = place
    known = s.provenance(model, spec, task=task)
    return Record(known, s.run_info(), "ok", tuple(measures), ABOUT[task], declared(measures), **more)


def spans(texts: list[str], width: int) -> np.ndarray:
    """Return start and end of each word of some texts; words are separated by spaces."""
    bounds = np.zeros((len(texts), width, 2), np.int64)
    for row, text in enumerate(texts):
        at = 0
        for place, word in enumerate(text.split(" ")[:width]):
            bounds[row, place] = at, at + len(word)
            at += len(word) + 1
    return bounds


def text_attack() -> Record:
    about = {"attack": "hotflip", "norm": "words"}
    measures = [
        s.about(
            "robust_accuracy",
            0.8 - 0.3 * edits,
            params={**about, "edits": edits, **({"reference": True} if edits == 2 else {})},
            control=0.75,
            checks={"random_does_less": "pass"},
        )
        for edits in EDITS
    ]
    measures += [
        s.about("success_rate", 0.4, params={**about, "edits": 1}, control=0.1),
        s.about("success_rate", 0.7, params={**about, "edits": 2}, control=0.1),
        Measure("queries", 1088.4, None, None, 40, "none", unit="passes", params={**about, "edits": 2}),
    ]
    curve = [{"size": size, **s._around(0.8 - 0.3 * size), **s._around(0.75, "random")} for size in (0.0, 1.0, 2.0)]
    arrays = {
        "ids": np.array(["text/0", "text/1", HOSTILE]),
        "clean": packed(CLEAN, 120),
        "adversarial": packed(ATTACKED, 120),
        "eps": np.array([1.0, 1.0, 0.0]),
        "label": np.array([1, 0, 1]),
        **{f"{name}_confidence": np.array([0.9, 0.8, 0.7]) for name in ("clean", "adversarial")},
        "clean_prediction": np.array([1, 0, 1]),
        "adversarial_prediction": np.array([0, 0, 1]),
    }
    facts = {"classes": ["neg", "pos"], "attack": s.attack_facts("hotflip", "words", size="edits", unit="word")}
    spec = "robustness(attack=hotflip(edits=[1, 2]))"
    shown = s.typed(arrays, "text")
    return record((REVIEWS, CLASSIFIER), spec, measures, facts=facts, details={"curve": curve}, arrays=shown)


def rationale(place: tuple[str, str], arrays: dict[str, Display], *, ends_matter: bool = False) -> Record:
    """Return attributions of words or latent dimensions; the second method does not beat the controls."""
    measures: list[Measure] = []
    for method, value in (("occlusion", 0.3), ("gradient_x_input", 0.05), ("random", 0.05), ("recency", 0.1)):
        chance = method in ("random", "recency")
        for metric, amount in (("comprehensiveness", value), ("sufficiency", 0.3 - value)):
            check: Any = "n/a" if chance else "pass" if method == "occlusion" else "fail"
            checks = {"beats_random": check, **({"beats_recency": check} if ends_matter else {})}
            measures.append(
                s.about(
                    metric,
                    amount,
                    params={"method": method, "deletion": "read as <b>unknown</b>"},
                    checks=checks,
                    control=0.05,
                    unit="probability",
                    higher_is_better=metric == "comprehensiveness",
                    reason="does not beat the random control" if check == "fail" else None,
                )
            )
    about = {"method": "layer_integrated_gradients", "steps": 100}
    measures.append(s.about("convergence_delta", 0.02, width=0.01, params=about, higher_is_better=False))
    fractions = [0.01, 0.05, 0.1, 0.2, 0.5]
    methods = ("occlusion", "gradient_x_input", "random", "recency")
    curves = {
        method: {kind: (0.1 * at + np.array(fractions)).tolist() for kind in ("comprehensiveness", "sufficiency")}
        for at, method in enumerate(methods)
    }
    details = {"rationale": curves, "fractions": fractions, "deletion": "read as <b>unknown</b>", "too_short": 7}
    facts = {"classes": ["neg", "pos"]}
    return record(place, "rationale", measures, facts=facts, details=details, arrays=arrays)


def words_of_reviews() -> dict[str, Display]:
    values = np.linspace(-0.4, 0.6, 30).reshape(3, 10)
    names = np.array([(text.split(" ") + [""] * 10)[:10] for text in CLEAN])
    arrays = {
        "ids": np.array(["text/0", "text/1", "text/2"]),
        "label": np.array([1, 0, 1]),
        "prediction": np.array([1, 0, 0]),
        "confidence": np.array([0.9, 0.8, 0.7]),
        "codes": packed(CLEAN, 120),
        "spans": spans(CLEAN, 10),
        "names": names,
        "present": names != "",
        "attribution_occlusion": values,
        "attribution_gradient_x_input": -values,
    }
    return s.typed(arrays)


def latents_of_faces() -> dict[str, Display]:
    arrays = {
        "ids": np.array(["face/0", "face/1"]),
        "label": np.zeros(2, int),
        "image": np.uint8(255 * s.digit_like(2)),
        "names": np.array([[f"z{place}" for place in range(6)]] * 2),
        "present": np.ones((2, 6), bool),
        "attribution_occlusion": np.array([[0.5, -0.2, 0.0, 0.01, 0.3, -0.4], [0.0] * 6]),
    }
    return s.typed(arrays)


def characters_of_plays() -> dict[str, Display]:
    names = np.array([list("to be, or\nn"), [*list("not<b> be ")[:10], "?"]])
    arrays = {
        "ids": np.array(["window/0", "window/1"]),
        "label": np.zeros((2, 4), int),
        "prediction": np.tile([1, 2, 0, 0, 0, 9], (2, 1)),
        "confidence": np.full((2, 6), 0.25),
        "names": names,
        "present": np.ones(names.shape, bool),
        "attribution_occlusion": np.linspace(-1, 1, names.size).reshape(names.shape),
    }
    return s.typed(arrays)


def clean_plays() -> Record:
    low: dict[str, Any] = {"higher_is_better": False}
    measures = [
        s.about("bits_per_character", 2.345, unit="bits", checks={"causal": "pass"}, **low),
        s.about("bits_per_byte", 2.345, unit="bits", **low),
        s.about("ngram_memorization", 0.2, params={"run": 8, "samples": 20}, higher_is_better=None, control=0.3),
        s.about("a_measure_that_nobody_knows", 0.5),
    ]
    arrays = {
        "generated": packed(["ROMEO:\nWhat light", HOSTILE, "and so"], 120),
        "prompt": packed(["", "JULIET:\n<b>Ay</b> me", ""], 40),
        "temperature": np.array([0.5, 0.8, 1.0]),
    }
    details = {"data": {"kept": {"test": 300}, "source": "plays"}}
    return record((PLAYS, LANGUAGE_MODEL), "clean", measures, details=details, arrays=s.typed(arrays, "text"))


def attack_on_plays(*, suspect: bool = False) -> Record:
    about = {"attack": "typos", "norm": "characters"}
    measures = [
        s.about(
            "robust_bits_per_character",
            2.3 + 0.5 * edits,
            unit="bits",
            higher_is_better=False,
            params={**about, "edits": edits, **({"reference": True} if edits == 2 else {})},
            control=2.5,
            checks={"random_does_less": "fail" if suspect else "pass"},
            reason="no more than chance" if suspect else None,
        )
        for edits in EDITS
    ]
    curve = [
        {
            "size": size,
            **{f"value{end}": 2.3 + 0.5 * size + shift for end, shift in (("", 0), ("_lo", -0.1), ("_hi", 0.1))},
            **{f"random{end}": 2.5 + shift for end, shift in (("", 0), ("_lo", -0.1), ("_hi", 0.1))},
        }
        for size in (0.0, 1.0, 2.0)
    ]
    size = {"size": "edits", "unit": "character", "quantity": "characters changed"}
    facts = {"attack": s.attack_facts("typos", "characters", **size)}
    spec = "robustness(attack=typos(edits=[1, 2]))"
    return record((PLAYS, LANGUAGE_MODEL), spec, measures, facts=facts, details={"curve": curve})


def calibration_of_plays() -> Record:
    params = {"uncertainty": "softmax", "characters": 300, "bins": 15}
    measures = [
        s.about("token_ece", 0.031, width=0.01, higher_is_better=False, params=params),
        s.about("nll", 1.62, unit="nat", higher_is_better=False, params={"uncertainty": "softmax"}),
        s.about("entropy_gap", 0.1, width=0.05, unit="bits", higher_is_better=None, params={"characters": 32}),
    ]
    facts = s.calibration_facts({"softmax": s.reliability(np.random.default_rng(1), 0, "characters")}, None)
    return record((PLAYS, LANGUAGE_MODEL), "calibration", measures, facts=facts)


def clean_faces() -> Record:
    real = {"features": "judge of 500 images", "control": "500 real images"}
    measures = [
        s.about("precision", 0.7, params={"k": 3, "real": 500}, control=0.9),
        s.about("recall", 0.4, params=real),
        s.about("kid", 0.03, unit="squared distance", params=real, higher_is_better=False),
        s.about("coverage", 0.5, params={**real, "proxy": True}),
    ]
    made = np.uint8(255 * s.digit_like(20))
    arrays = {
        "generated": made,
        "interpolated": np.stack([made[:5], made[5:10]]),
        "nearest": np.stack([made[:3], made[3:6]], axis=1),
    }
    return record(
        (FACES, GAN), "clean", measures, details={"proxy": "a generator <b>predicts</b>"}, arrays=s.typed(arrays)
    )


def attack_on_faces() -> Record:
    about = {"attack": "pgd", "norm": "linf", "eps": 0.2, "proxy": True, "reference": True}
    measures = [s.about("robust_precision", 0.3, params=about, control=0.6, checks={"random_does_less": "pass"})]
    curve = [{"size": size, **s._around(0.7 - 2 * size), **s._around(0.65, "random")} for size in (0.0, 0.2)]
    draw, made = np.random.default_rng(0), np.uint8(255 * s.digit_like(4))
    arrays = {
        "ids": np.array(["face/0", "face/1"]),
        "clean": draw.normal(size=(2, 6)).astype(np.float32),
        "adversarial": draw.normal(size=(2, 6)).astype(np.float32),
        "eps": np.full(2, 0.2),
        "label": np.zeros(2, int),
        "clean_generated": made[:2],
        "adversarial_generated": made[2:],
        "clean_on_manifold": np.array([True, True]),
        "adversarial_on_manifold": np.array([False, True]),
    }
    facts, shown = {"attack": s.attack_facts("pgd", "linf")}, s.typed(arrays, "latent", "number")
    spec = "robustness(attack=pgd(eps=[0.2]))"
    return record((FACES, GAN), spec, measures, facts=facts, details={"curve": curve}, arrays=shown)


def calibration_of_faces() -> Record:
    measures = [
        not_applicable("ece", "a generator predicts nothing", uncertainty="softmax"),
        s.about("critic_ece", 0.2, higher_is_better=False, params={"proxy": True}),
    ]
    return record((FACES, GAN), "calibration", measures, facts=s.calibration_facts({}, None))


def clean_codes() -> Record:
    low: dict[str, Any] = {"higher_is_better": False}
    measures = [
        s.about("code_length", 0.21, unit="bit per dimension", params={"likelihood": "bernoulli"}, **low),
        s.about("importance_weighted_nll", 101.5, width=1.0, unit="nat", params={"k": 100}, **low),
        s.about("importance_weighted_nll", 100.9, width=1.0, unit="nat", params={"k": 500}, **low),
        s.about("precision", 0.6, params={"k": 3}),
    ]
    images = np.uint8(255 * s.digit_like(6))
    arrays = {"images": images, "reconstructed": images[::-1].copy(), "interpolated": images[None, :5]}
    return record((CODES, VAE), "clean", measures, arrays=s.typed(arrays))


def attack_on_codes() -> Record:
    about = {"attack": "pgd", "norm": "linf", "eps": 0.1, "reference": True}
    low: dict[str, Any] = {"unit": "bit per dimension", "higher_is_better": False}
    measures = [s.about("robust_code_length", 0.5, params=about, control=0.25, **low)]
    curve = [{"size": size, **s._around(0.21 + 3 * size), **s._around(0.23, "random")} for size in (0.0, 0.1)]
    images = s.digit_like(2)
    arrays = {
        "ids": np.array(["digit/0", "digit/1"]),
        "clean": images,
        "adversarial": np.clip(images + 0.05, 0, 1),
        "eps": np.full(2, 0.1),
        "label": images,
        "clean_reconstruction": np.uint8(255 * images),
        "adversarial_reconstruction": np.uint8(255 * images[::-1]),
        "clean_divergence": np.array([12.34, 9.0]),
        "adversarial_divergence": np.array([45.6, 30.0]),
    }
    facts, shown = {"attack": s.attack_facts("pgd", "linf")}, s.typed(arrays, truth="image")
    spec = "robustness(attack=pgd(eps=[0.1]))"
    return record((CODES, VAE), spec, measures, facts=facts, details={"curve": curve}, arrays=shown)


def damage_to_codes(axis: str) -> Record:
    low: dict[str, Any] = {"unit": "bit per dimension", "higher_is_better": False}
    images = s.digit_like(2)
    if axis == "corruption":
        points = [{"severity": 0, "value": 0.21, "lo": 0.2, "hi": 0.22}, {"severity": 3, "value": 0.5}]
        measures = [
            s.about("mean_corrupted_code_length", 0.5, **low),
            s.about("corruption_growth", 2.4, unit="ratio", higher_is_better=False),
        ]
        details: dict[str, Any] = {"corruptions": {"fog": points}}
        arrays = {
            "ids": np.array(["digit/0", "digit/1"]),
            "label": images,
            "severity": np.array(3),
            **{f"image_{name}": np.uint8(255 * images) for name in ("clean", "fog")},
            **{f"reconstruction_{name}": np.uint8(255 * images) for name in ("clean", "fog")},
            **{f"divergence_{name}": np.array([1.5, 2.5]) for name in ("clean", "fog")},
        }
        return record((CODES, VAE), axis, measures, details=details, arrays=s.typed(arrays, truth="image"))
    points = [{"fraction": 0.1, "covered": 0.098, "value": 0.3, "lo": 0.2, "hi": 0.4}]
    details = {"occlusion": points, "fill": "grey", "places": 2}
    return record((CODES, VAE), axis, [s.about("occluded_code_length", 0.3, **low)], details=details)


def add(store: Store) -> Store:
    """Add a sentiment classifier, a language model, a GAN and a VAE."""
    store.put(s.clean(CLASSIFIER, 0.8, ["neg", "pos"], task=REVIEWS))
    for made in (
        text_attack(),
        rationale((REVIEWS, CLASSIFIER), words_of_reviews()),
        clean_plays(),
        attack_on_plays(),
        calibration_of_plays(),
        rationale((PLAYS, LANGUAGE_MODEL), characters_of_plays(), ends_matter=True),
        clean_faces(),
        attack_on_faces(),
        calibration_of_faces(),
        rationale((FACES, GAN), latents_of_faces()),
        clean_codes(),
        attack_on_codes(),
        damage_to_codes("corruption"),
        damage_to_codes("occlusion"),
    ):
        store.put(made)
    return store
