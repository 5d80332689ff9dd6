"""What readers call the measures, and what each means in plain words: pure data and functions, no Streamlit."""

from collections.abc import Iterable, Mapping
from typing import Any

from suite.leaderboard.columns import HEADLINES

NAMES = {
    "accuracy": "right answers",
    "map": "mAP",
    "miou": "mean IoU",
    "bits_per_character": "bits per character",
    "code_length": "code length",
    "precision": "precision",
}
"""Headline measures as they stand at an axis and in a sentence; the first that a record has is its own."""

PERCENT = ("fraction", "probability")
"""Units that are shown in percent."""

SIZES = ("eps", "area", "edits")
"""Params of a row that say how large an attack is."""

MEANINGS = {
    "map": "**mAP** (mean average precision) says how well boxes are found: 100 % is every object found, in the right "
    "place and class, with no false box ahead of a true one; it is the mean over classes and over how exactly a box "
    "must fit (overlap 0.5 to 0.95).",
    "miou": "**mIoU** (mean intersection over union) says how well regions are found: of all pixels that are of a "
    "class or are called so, the share that is both, as the mean over classes; 100 % is every pixel right.",
    "bits_per_character": "**Bits per character** say how surprised the model is by the next character of real text, "
    "on average: 0 is no surprise at all, 1 is a toss between two equally likely characters. **Lower is better.**",
    "code_length": "**Code length** says what an image costs the model, in bits per pixel: its code, and the pixels "
    "that the code leaves open. 1 is no better than black and white by tossing a coin. It is taken at the mean of the "
    "code, so that attacks can be compared; what bounds the likelihood are ELBO and NLL. **Lower is better.**",
    "precision": "**Precision** is the share of the generated images that look like real ones: that lie as near to a "
    "real image as real images lie to each other, by the features of a classifier.",
}
"""Headline measures that need a sentence before they are read."""

IN_WORDS = {
    "map50": "mAP where a box need only overlap its object by half",
    "map75": "mAP where a box must overlap its object by three quarters",
    "ar1": "share of objects found by the best box of an image alone",
    "ar10": "share of objects found by the best 10 boxes of an image",
    "ar100": "share of objects found by the best 100 boxes of an image",
    "olrp": "missed, false and badly placed boxes in one error (LRP); lower is better",
    "pixel_accuracy": "share of pixels that are right; large classes, as the background, decide it",
    "mean_accuracy": "share of each class's pixels that is right, as the mean over classes",
    "balanced_accuracy": "right answers where every class is counted alike, however rare",
    "macro_f1": "finding and not inventing each class, every class counted alike",
    "auroc": "how often a sample of one class gets a higher score than one of the other; 50 % is chance",
    "mcc": "correlation of answers and truth; 0 is chance, 1 is perfect",
    "unknown_words": "share of the words that the model does not know",
    "texts_cut": "share of the texts that are longer than what the model reads of them",
    "soft_cross_entropy": "how much the model's probabilities miss the shares of human raters; lower is better",
    "js_distance": "distance between the model's probabilities and the shares of raters; lower is better",
    "bits_per_byte": "the same surprise per byte of text, to be compared across alphabets; lower is better",
    "bits_per_character_carried": "bits per character where the model remembers all text before; lower is better",
    "perplexity": "between how many equally likely characters it wavers, on average; lower is better",
    "next_character_accuracy": "how often its first guess of the next character is right",
    "ngram_memorization": "share of the 8-grams of the generated text that also stand in the training text",
    "image_memorization": "share of the generated images that lie suspiciously near to a training image",
    "repetition": "share of the generated text that repeats itself",
    "distinct_1": "how many different words it uses, of those that it writes",
    "distinct_2": "how many different pairs of words it uses, of those that it writes",
    "elbo": "a bound below the log likelihood of an image; higher is better",
    "negative_elbo": "most that an image costs: errors and code together; lower is better",
    "negative_elbo_bits": "the same in bits per pixel; lower is better",
    "importance_weighted_nll": "what an image costs by a tighter bound, from many codes of it; lower is better",
    "independent_pixels_nll": "what an image would cost if no pixel told of another: the mark to beat",
    "reconstruction": "the part of that cost that errors of the pixels make up",
    "divergence": "the part of that cost that the code makes up",
    "pixel_error": "share of the pixels that are on the wrong side after encoding and decoding; lower is better",
    "active_units": "numbers of the code that the model uses",
    "kid": "distance between generated and real images (kernel distance of features); 0 is none; lower is better",
    "fid": "distance between generated and real images (Fréchet distance of features); lower is better",
    "precision": "share of the generated images that look like real ones",
    "recall": "share of the real images that look like generated ones: is every sort of image made?",
    "density": "how many real images a generated one lies among; 1 is as many as real ones do",
    "coverage": "share of the real images that have a generated one beside them",
    "interpolation_jump": "largest step over mean step on ways between two images; 1 is even; lower is better",
    "interpolation_detour": "length of those ways over the distance between their ends; 1 is straight",
    "critic_accuracy": "how often the critic tells real images from generated ones; 50 % is chance",
}
"""Further measures of the clean axis that a reader meets as a table."""

STATES = {
    "found_rate": "found: a box of the right class at the object",
    "mislabel_rate": "wrong class: a box at the object, but of another class only",
    "disappearance_rate": "missed: no box at the object",
    "false_positives_per_image": "boxes where nothing is, per image",
}
"""What became of the objects, in the order of reading."""

EDITS = {
    "success_rate": "share of the texts it could fool that it did fool",
    "words_changed": "share of the words of these texts that it changed",
    "characters_changed": "share of their characters that it changed",
    "unknown_words_added": "share of their words that the model then did not know: a wall, rather than a weakness",
    "queries": "passes through the model that it took for each of them",
}
"""What an attack on texts did, in the order of reading."""

CALIBRATION = {
    "ece": "ECE",
    "classwise_ece": "ECE by class",
    "image_ece": "ECE of single images, on average",
    "d_ece": "D-ECE",
    "laece": "LaECE",
    "laace": "LaACE",
    "oce": "OCE",
    "aurc": "AURC",
    "token_ece": "ECE of characters",
    "full_ece": "ECE of all classes",
    "pixel_ece": "ECE of pixels",
    "nll": "NLL",
    "critic_ece": "ECE of the critic",
}
"""Measures of calibration that stand under a reliability diagram, in the order of reading."""


def headline(details: Mapping[str, Any]) -> str:
    """Return what readers call the headline measure that the details of a record speak of."""
    return NAMES.get(str(details.get("headline", "accuracy")), "headline measure")


def capital(name: str) -> str:
    """Return a name as it begins a sentence; mAP is written as it is."""
    return name if name == NAMES["map"] else name[:1].upper() + name[1:]


def scale(unit: str) -> float:
    """Return what numbers of a unit are multiplied with where they are shown."""
    return 100.0 if unit in PERCENT else 1.0


def in_unit(name: str, unit: str) -> str:
    """Return a name with the unit that numbers are shown in, such as ``mAP (%)`` or ``code length (bits)``."""
    shown = "%" if unit in PERCENT else unit
    return name if not shown or shown in name else f"{name} ({shown})"


def size_of(params: Mapping[str, Any]) -> float | None:
    """Return how large an attack is that a row speaks of, None where it speaks of none."""
    found = [params[name] for name in SIZES if isinstance(params.get(name), int | float)]
    return float(found[0]) if found else None


def described(metric: Any, params: Mapping[str, Any]) -> str:
    """Return a measure with what distinguishes it; what only stands for a measure that nobody has is a proxy."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    about = [f"{name} {value}" for name, value in shown.items() if name not in ("reference", "proxy")]
    about = ["proxy"] * bool(params.get("proxy")) + about
    return f"{metric} ({', '.join(about)})" if about else str(metric)


def meanings(metrics: Iterable[str]) -> str:
    """Return the sentences about those headline measures among some metrics that need one, in markdown."""
    known = set(metrics)
    return " ".join(text for metric, text in MEANINGS.items() if known & {metric, f"robust_{metric}"})


def axis_title(metrics: Iterable[str], unit: str = "fraction") -> str:
    """Return the title of an axis that shows some headline measures in their unit, clean or under attack."""
    plain = {metric.removeprefix("robust_") for metric in metrics}
    named = [NAMES.get(name, name.replace("_", " ")) for name in HEADLINES if name in plain]
    return in_unit(" or ".join(named) or "headline measure", unit)
