"""The location of results."""

import os


def default_store() -> str:
    """Return the folder of results: SUITE_STORE, by default .suite in the current folder."""
    return os.environ.get("SUITE_STORE") or ".suite"
