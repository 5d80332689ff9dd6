"""The metrics that have a column on a board, with their titles."""

HEADLINES = {
    "accuracy": "accuracy",
    "map": "mAP",
    "miou": "mIoU",
    "bits_per_character": "bits per character",
    "code_length": "code length",
    "precision": "precision",
}
"""The headline metric of each kind of task, with its title."""

CONVENTIONS = (
    "auroc",
    "code_length",
    "bits_per_character_carried",
    "importance_weighted_nll",
    "elbo",
    "kid",
    "fid",
    "precision",
    "coverage",
    "ngram_memorization",
    "image_memorization",
)
"""Metrics with more than one convention; the params of a row name the one that was used."""

RESULT_PARAMS = frozenset(
    "smallest_p distinguishable_from_calibrated control subset subsets distance runs longest carried proxy "
    "chance".split()
)
"""Params that describe a result, or repeat what the title says, and so do not name a convention."""

CLEAN = {
    **HEADLINES,
    "map50": "AP50",
    "auroc": "AUROC",
    "bits_per_character_carried": "bits carried",
    "ngram_memorization": "8-grams memorized",
    "image_memorization": "images memorized",
    "importance_weighted_nll": "NLL (nats)",
    "elbo": "ELBO (nats)",
    "fid": "FID",
    "kid": "KID",
    "coverage": "coverage",
}
"""Columns of the clean axis."""

ROBUST = tuple(f"robust_{name}" for name in HEADLINES)
"""The headline metrics under attack."""

OBJECTIVES = {"vanish": "disappearance_rate", "mislabel": "mislabel_rate", "fabricate": "false_positives_per_image"}
"""Loss of an attack on detectors to the metric that it attacks, which the headline metric can hide."""

ATTACKED = (*ROBUST, *OBJECTIVES.values())
"""Metrics with a random control."""

REAL = ("kid", "fid", "precision", "recall", "coverage", "ngram_memorization", "image_memorization")
"""Metrics of generated samples; their control is the same metric of real samples."""

CORRUPTION = {
    "corruption_retention": ("corruption retention", "corruption retained"),
    "corruption_growth": ("corruption growth", "corruption growth"),
}
"""Columns of the corruption axis: name and title."""

CALIBRATION = (
    ("ece", "softmax", "ece", "ECE"),
    ("ece", "softmax+temperature", "ece scaled", "ECE scaled"),
    ("aurc", "softmax", "aurc", "AURC"),
    ("d_ece", "score", "d_ece", "D-ECE"),
    ("d_ece", "score+temperature", "d_ece scaled", "D-ECE scaled"),
    ("laece", "score", "laece", "LaECE"),
    ("oce", "score", "oce", "OCE"),
    ("token_ece", "softmax", "token_ece", "token ECE"),
    ("full_ece", "softmax", "full_ece", "full ECE"),
    ("pixel_ece", "pixel", "pixel_ece", "pixel ECE"),
)
"""Columns of the calibration axis: metric, uncertainty method, name and title."""

UNCERTAINTY = {
    "soft_cross_entropy": "raters' cross-entropy",
    "js_distance": "distance from raters",
    "entropy_gap": "entropy gap",
    "elbo_gap": "ELBO gap",
    "latent_ranks_failed": "latents that fail the rank test",
    "critic_ece": "critic ECE",
}
"""Columns of the calibration axis that belong to no uncertainty method."""

ATTRIBUTION = {
    ("attribution", "insertion_auc"): "insertion over random",
    ("rationale", "comprehensiveness"): "comprehensiveness over random",
}
"""Columns of the attribution and rationale axes: (axis, metric) to title."""

METRICS = (
    *CLEAN,
    *ROBUST,
    *OBJECTIVES.values(),
    *dict.fromkeys(metric for metric, *_ in CALIBRATION),
    *UNCERTAINTY,
    *CORRUPTION,
    *(metric for _, metric in ATTRIBUTION),
)
"""All metrics that have a column."""
