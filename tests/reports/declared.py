"""Declarations of the metrics in the synthetic stores; the real ones stand next to the code that computes them."""

from collections.abc import Iterable

from suite.metrics.catalogue import BoardColumn, Metric
from suite.types import Measure

ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "share of test samples that are classified correctly",
    columns=(BoardColumn("accuracy"),),
    is_headline=True,
    outcome="correct",
)
MAP = Metric(
    "map",
    "mAP",
    "mean over classes and IoU thresholds of the average precision",
    columns=(BoardColumn("mAP"),),
    is_headline=True,
)
MIOU = Metric(
    "miou",
    "mIoU",
    "for each class, the pixels both predicted and true over those that are either; mean over classes",
    columns=(BoardColumn("mIoU"),),
    is_headline=True,
)
BITS = Metric(
    "bits_per_character",
    "bits per character",
    "mean surprisal of the next character of real text",
    unit="bits",
    higher_is_better=False,
    columns=(BoardColumn("bits per character"),),
    is_headline=True,
)
CODE_LENGTH = Metric(
    "code_length",
    "code length",
    "cost of an image per pixel",
    unit="bit per dimension",
    higher_is_better=False,
    columns=(BoardColumn("code length"),),
    is_headline=True,
)
PRECISION = Metric(
    "precision",
    "precision",
    "share of generated images that look real",
    control="real",
    columns=(BoardColumn("precision"),),
    is_headline=True,
)
HEADLINES = (ACCURACY, MAP, MIOU, BITS, CODE_LENGTH, PRECISION)
OBJECTIVE = "{attack} {size}"


def calibration(name: str, title: str, meaning: str = "a calibration error", *methods: str) -> Metric:
    columns = tuple(
        BoardColumn(f"{title} scaled" if method.endswith("temperature") else title, {"uncertainty": method})
        for method in methods
    )
    return Metric(name, title, meaning, higher_is_better=False, columns=columns)


def objects(name: str, title: str, meaning: str, loss: str = "", unit: str = "fraction") -> Metric:
    columns = (BoardColumn(f"{OBJECTIVE} {title}", {"loss": loss, "reference": True}),) if loss else ()
    return Metric(name, title, meaning, unit, False, control="random", columns=columns, section="states of the objects")


def faithfulness(name: str, title: str, *, better: bool, section: str = "", unit: str = "probability") -> Metric:
    column = BoardColumn(
        f"{name.partition('_')[0]} over random",
        best_of="method",
        controls=("random", "recency"),
        prefer={} if name == "comprehensiveness" else {"baseline": "mean"},
    )
    columns = (column,) if name in ("insertion_auc", "comprehensiveness") else ()
    return Metric(name, title, f"score of the {title} curve", unit, better, "random", columns, section=section)


PLAUSIBLE, CONTEXT = "plausibility, not faithfulness", "context of the explained object"
_ALL = [
    *HEADLINES,
    *(metric.under_attack() for metric in HEADLINES),
    *(metric.renamed("control", f"{metric.title} under a control") for metric in HEADLINES),
    Metric("balanced_accuracy", "balanced accuracy", "accuracy with every class weighted equally"),
    Metric("macro_f1", "macro F1", "F1 score, averaged over classes"),
    Metric("recall", "recall of a class", "share of a class that is predicted correctly"),
    Metric("class_map", "mAP of a class", "average precision of a class"),
    Metric("class_iou", "IoU of a class", "intersection over union of a class"),
    Metric("map50", "AP50", "mAP at an IoU threshold of 0.5", columns=(BoardColumn("AP50"),)),
    *(Metric(name, name.upper(), f"{name} of the boxes") for name in ("map75", "ar1", "ar10", "ar100")),
    Metric("olrp", "LRP error", "misses, false positives and localization in one error", higher_is_better=False),
    Metric("pixel_accuracy", "pixel accuracy", "share of correct pixels"),
    Metric("mean_accuracy", "mean accuracy", "share of correct pixels of each class, averaged over classes"),
    objects("found_rate", "detected", "a box of the right class at the object"),
    objects("mislabel_rate", "wrong class", "only boxes of another class at the object", "mislabel"),
    objects("disappearance_rate", "disappearance", "no box at the object", "vanish"),
    objects("false_positives_per_image", "false positives", "boxes without an object", "fabricate", "per image"),
    calibration("ece", "ECE", "mean gap between confidence and accuracy", "softmax", "softmax+temperature"),
    Metric("ece_noise_floor", "ECE noise floor", "the ECE of a calibrated model by chance", higher_is_better=None),
    calibration("aurc", "AURC", "error rate of the samples kept", "softmax"),
    calibration("d_ece", "D-ECE", "the ECE of boxes", "score", "score+temperature"),
    calibration("laece", "LaECE", "the same per class", "score"),
    calibration("laace", "LaACE"),
    calibration("oce", "OCE", "error of the scores at each object", "score"),
    calibration("token_ece", "token ECE", "the ECE of characters", "softmax"),
    calibration("classwise_ece", "classwise ECE"),
    calibration("image_ece", "ECE per image"),
    Metric("nll", "NLL", "negative log-likelihood", "nats", False),
    Metric("brier", "Brier score", "squared error of the probabilities", "score", False),
    Metric("temperature", "temperature", "scaling of the confidence", "ratio", None),
    Metric(
        "entropy_gap", "entropy gap", "excess entropy of own text", "bits", None, columns=(BoardColumn("entropy gap"),)
    ),
    calibration("critic_ece", "critic ECE", "the ECE of the critic"),
    faithfulness("deletion_auc", "deletion AUC", better=False),
    faithfulness("insertion_auc", "insertion AUC", better=True),
    faithfulness("infidelity", "infidelity", better=False, unit="score"),
    faithfulness("context_deletion_auc", "context deletion AUC", better=False, section=CONTEXT),
    faithfulness("pointing_game", "pointing game", better=True, section=PLAUSIBLE),
    faithfulness("energy_inside", "energy inside", better=True, section=PLAUSIBLE),
    faithfulness("comprehensiveness", "comprehensiveness", better=True),
    faithfulness("sufficiency", "sufficiency", better=False),
    Metric("convergence_delta", "convergence delta", "relative error of completeness", higher_is_better=False),
    Metric("mean_corruption_error", "mean corruption error", "1 - the mean under corruption", higher_is_better=False),
    Metric("corruption_retention", "corruption retained", "mean under corruption over the clean one", "ratio"),
    Metric("corruption_growth", "corruption growth", "1 is the clean level, more is worse", "ratio", False),
    Metric("mean_corrupted_code_length", "mean code length", "mean over all corruptions", "bit per dimension", False),
    Metric("success_rate", "success rate", "share of the right texts that became wrong", higher_is_better=False),
    Metric("queries", "queries", "forward passes per attacked text", "passes", None),
    Metric(
        "bits_per_byte",
        "bits per byte",
        "bits per byte of text",
        "bits",
        False,
        columns=(BoardColumn("bits per byte"),),
    ),
    Metric(
        "ngram_memorization", "n-gram memorization", "share of generated 8-grams in the training text", control="real"
    ),
    Metric("fid", "FID", "distance of features", "squared distance", False, "real", (BoardColumn("FID"),)),
    Metric("kid", "KID", "distance of features", "squared distance", False, "real", (BoardColumn("KID"),)),
    Metric("coverage", "coverage", "share of real images with a generated one nearby", control="real"),
    Metric(
        "importance_weighted_nll", "NLL (nats)", "bound on the cost", "nat", False, columns=(BoardColumn("NLL (nats)"),)
    ),
]
METRICS = {metric.name: metric for metric in _ALL}


def declared(measures: Iterable[Measure]) -> tuple[Metric, ...]:
    """Return the declarations of the metrics of some measures; an unknown one has its name alone."""
    names = {measure.metric: measure for measure in measures}
    return tuple(
        METRICS.get(name, Metric(name, name.replace("_", " "), "", one.unit, one.higher_is_better))
        for name, one in names.items()
    )
