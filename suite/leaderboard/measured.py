"""The measures that a board has columns for, with their titles."""

HEADLINES = {
    "accuracy": "accuracy",
    "map": "mAP",
    "miou": "mIoU",
    "bits_per_character": "bits per character",
    "code_length": "code length",
    "precision": "precision",
}
"""The headline measures of the kinds, with their titles."""

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
"""Measures that are made by a convention, which their params name."""

FOUND = frozenset(
    "smallest_p distinguishable_from_calibrated control subset subsets distance runs longest carried proxy "
    "chance".split()
)
"""Params that tell what was found, how a model answers or what a title says anyway, and not by which convention."""

CLEAN = {
    **HEADLINES,
    "map50": "AP50",
    "auroc": "AUROC",
    "bits_per_character_carried": "bits carried",
    "ngram_memorization": "8-grams memorised",
    "image_memorization": "images memorised",
    "importance_weighted_nll": "NLL (nats)",
    "elbo": "ELBO (nats)",
    "fid": "FID",
    "kid": "KID",
    "coverage": "coverage",
}
"""What a board shows of the clean axis."""

ROBUST = tuple(f"robust_{name}" for name in HEADLINES)
"""The headline measures under attack."""

AIMS = {"vanish": "disappearance_rate", "mislabel": "mislabel_rate", "fabricate": "false_positives_per_image"}
"""What the losses of an attack are after, beside which the headline measure can look harmless."""

ATTACKED = (*ROBUST, *AIMS.values())
"""What has a random control beside it."""

REAL = ("kid", "fid", "precision", "recall", "coverage", "ngram_memorization", "image_memorization")
"""What is measured of made-up samples, and has the same of real ones beside it."""

CORRUPTION = {
    "corruption_retention": ("corruption retention", "corruption retained"),
    "corruption_growth": ("corruption growth", "corruption growth"),
}
"""What sums up corruptions: name and title."""

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
"""What a board shows of calibration: metric, way to be uncertain, name and title."""

UNCERTAINTY = {
    "soft_cross_entropy": "raters' cross-entropy",
    "js_distance": "distance from raters",
    "entropy_gap": "entropy gap",
    "elbo_gap": "ELBO gap",
    "latent_ranks_failed": "latents that fail the rank test",
    "critic_ece": "critic ECE",
}
"""What else it shows of it."""

ATTRIBUTION = {
    ("attribution", "insertion_auc"): "insertion over random",
    ("rationale", "comprehensiveness"): "comprehensiveness over random",
}
"""What it shows of attribution, by axis and metric."""

METRICS = (
    *CLEAN,
    *ROBUST,
    *AIMS.values(),
    *dict.fromkeys(metric for metric, *_ in CALIBRATION),
    *UNCERTAINTY,
    *CORRUPTION,
    *(metric for _, metric in ATTRIBUTION),
)
"""What a board has columns for."""
