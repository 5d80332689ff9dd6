"""Names of the metrics, and what each means: pure data and functions, no Streamlit."""

from collections.abc import Iterable, Mapping
from typing import Any

from suite.leaderboard.metrics import HEADLINES

NAMES = {
    "accuracy": "accuracy",
    "map": "mAP",
    "miou": "mean IoU",
    "bits_per_character": "bits per character",
    "code_length": "code length",
    "precision": "precision",
}
"""Names of the headline metrics in axis titles and sentences; a record has the first that it measured."""

PERCENT = ("fraction", "probability")
"""Units shown in percent."""

SIZES = ("eps", "area", "edits")
"""Params of a row that hold the size of an attack."""

MEANINGS = {
    "map": "**mAP** (mean average precision) measures detection: 100 % means that every object is detected in the "
    "right place and class, with no false positive ranked above a true positive. It is the mean over classes and IoU "
    "thresholds from 0.5 to 0.95.",
    "miou": "**mIoU** (mean intersection over union) measures segmentation: for each class, the pixels that are both "
    "predicted and true, divided by those that are either, averaged over classes. 100 % means that every pixel is "
    "correct.",
    "bits_per_character": "**Bits per character** is the mean surprisal of the next character of real text under the "
    "model: 0 is a certain prediction, 1 a choice between two equally likely characters. **Lower is better.**",
    "code_length": "**Code length** is the cost of an image in bits per pixel: its code, plus the pixels given the "
    "code. 1 is the cost of an uncompressed black-and-white image. It is computed at the mean of the code, so that "
    "attacks can be compared; ELBO and NLL bound the likelihood. **Lower is better.**",
    "precision": "**Precision** is the share of generated images that look real: in the features of a classifier, they "
    "are as close to a real image as real images are to each other.",
}
"""Headline metrics that need an explanation."""

EXPLAINED = {
    "map50": "mAP at an IoU threshold of 0.5",
    "map75": "mAP at an IoU threshold of 0.75",
    "ar1": "average recall over IoU thresholds 0.5-0.95, at most 1 detection per class and image",
    "ar10": "average recall over IoU thresholds 0.5-0.95, at most 10 detections per class and image",
    "ar100": "average recall over IoU thresholds 0.5-0.95, at most 100 detections per class and image",
    "olrp": "missed objects, false positives and localization in one error (LRP); lower is better",
    "pixel_accuracy": "share of correct pixels; dominated by large classes such as the background",
    "mean_accuracy": "share of correct pixels of each class, averaged over classes",
    "balanced_accuracy": "accuracy with every class weighted equally, however rare",
    "macro_f1": "F1 score (harmonic mean of precision and recall), averaged over classes",
    "auroc": "probability that a sample of one class scores higher than one of the other; 50 % is chance",
    "mcc": "Matthews correlation of predictions and labels; 0 is chance, 1 is perfect",
    "unknown_words": "share of words that are not in the model's vocabulary",
    "texts_cut": "share of texts that are longer than the model's input and were truncated",
    "soft_cross_entropy": "cross-entropy between the shares of human raters and the model; lower is better",
    "js_distance": "Jensen-Shannon distance between the model's probabilities and the raters' shares; lower is better",
    "bits_per_byte": "bits per byte of text, comparable across alphabets; lower is better",
    "bits_per_character_carried": "bits per character if the model keeps its state across the text; lower is better",
    "perplexity": "effective number of equally likely next characters; lower is better",
    "next_character_accuracy": "share of characters that the model predicts correctly",
    "ngram_memorization": "share of the 8-grams of generated text that also occur in the training text",
    "image_memorization": "share of generated images that are suspiciously close to a training image",
    "repetition": "share of the generated text that repeats itself",
    "distinct_1": "distinct words as a share of all generated words",
    "distinct_2": "distinct word pairs as a share of all generated word pairs",
    "elbo": "lower bound on the log-likelihood of an image; higher is better",
    "negative_elbo": "upper bound on the cost of an image: reconstruction and code; lower is better",
    "negative_elbo_bits": "the same in bits per pixel; lower is better",
    "importance_weighted_nll": "tighter bound on the cost of an image, from many sampled codes; lower is better",
    "independent_pixels_nll": "cost of an image if pixels were independent: the baseline to beat",
    "reconstruction": "the part of the cost due to reconstruction errors",
    "divergence": "the part of the cost due to the code",
    "pixel_error": "share of pixels that are flipped after encoding and decoding; lower is better",
    "active_units": "number of latent dimensions that the model uses",
    "kid": "distance between generated and real images (kernel distance of features); 0 is none; lower is better",
    "fid": "distance between generated and real images (Fréchet distance of features); lower is better",
    "precision": "share of generated images that look real",
    "recall": "share of real images that look generated, a measure of variety",
    "density": "number of real neighborhoods that a generated image lies in; 1 is the value for real images",
    "coverage": "share of real images with a generated image in their neighborhood",
    "interpolation_jump": "ratio of the largest to the mean step on paths between images; 1 is even; lower is better",
    "interpolation_detour": "ratio of path length to endpoint distance on these paths; 1 is straight; lower is better",
    "critic_accuracy": "accuracy of the critic at telling real from generated images; 50 % is chance",
}
"""Further metrics of the clean axis, with their meaning."""

STATES = {
    "found_rate": "detected: a box of the right class at the object",
    "mislabel_rate": "wrong class: only boxes of another class at the object",
    "disappearance_rate": "missed: no box at the object",
    "false_positives_per_image": "false positives per image",
}
"""States of objects, in the order shown."""

EDITS = {
    "success_rate": "share of the correctly classified texts that became misclassified",
    "words_changed": "share of words changed in these texts",
    "characters_changed": "share of characters changed in these texts",
    "unknown_words_added": "share of words that became unknown: the edit hid these words from the model",
    "queries": "forward passes per attacked text",
}
"""Metrics of an attack on texts, in the order shown."""

CALIBRATION = {
    "ece": "ECE",
    "classwise_ece": "classwise ECE",
    "image_ece": "mean ECE per image",
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
"""Calibration metrics below a reliability diagram, in the order shown."""


def headline(details: Mapping[str, Any]) -> str:
    """Return the name of the headline metric in the details of a record."""
    return NAMES.get(str(details.get("headline", "accuracy")), "headline metric")


def capital(name: str) -> str:
    """Return a name as the first word of a sentence; mAP keeps its spelling."""
    return name if name == NAMES["map"] else name[:1].upper() + name[1:]


def scale(unit: str) -> float:
    """Return the factor by which numbers of a unit are multiplied for display."""
    return 100.0 if unit in PERCENT else 1.0


def in_unit(name: str, unit: str) -> str:
    """Return a name with the unit of the numbers shown, such as ``mAP (%)`` or ``code length (bits)``."""
    shown = "%" if unit in PERCENT else unit
    return name if not shown or shown in name else f"{name} ({shown})"


def size_of(params: Mapping[str, Any]) -> float | None:
    """Return the size of the attack that a row is about, None if there is none."""
    sizes = [params[name] for name in SIZES if isinstance(params.get(name), int | float)]
    return float(sizes[0]) if sizes else None


def described(metric: Any, params: Mapping[str, Any]) -> str:
    """Return a metric with its params, such as ``ece (proxy, bins 15)``."""
    shown = {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in params.items()}
    about = ["proxy"] if params.get("proxy") else []
    about += [f"{name} {value}" for name, value in shown.items() if name not in ("reference", "proxy")]
    return f"{metric} ({', '.join(about)})" if about else str(metric)


def meanings(metrics: Iterable[str]) -> str:
    """Return the explanations of the headline metrics among some metrics, in markdown."""
    known = set(metrics)
    return " ".join(text for metric, text in MEANINGS.items() if known & {metric, f"robust_{metric}"})


def axis_title(metrics: Iterable[str], unit: str = "fraction") -> str:
    """Return the title of an axis that shows the headline metrics among some metrics, clean or under attack."""
    plain = {metric.removeprefix("robust_") for metric in metrics}
    named = [NAMES.get(name, name.replace("_", " ")) for name in HEADLINES if name in plain]
    return in_unit(" or ".join(named) or "headline metric", unit)
