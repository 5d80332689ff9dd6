"""The locations of results and of what is remembered between runs."""

import os
from pathlib import Path


def default_store() -> str:
    """Return the folder of results: SUITE_STORE, by default .suite in the current folder."""
    return os.environ.get("SUITE_STORE") or ".suite"


def cache_folder() -> Path:
    """Return the folder for downloads and digests: $SUITE_CACHE, $XDG_CACHE_HOME/trust-suite, or ~/.cache/trust-suite.

    The first of them that is set is taken.
    """
    if own := os.environ.get("SUITE_CACHE"):
        return Path(own).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser().absolute() / "trust-suite"
