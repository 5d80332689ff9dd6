"""Helpers to compare stores."""


def numbers(store):
    """Return the rows without the columns that differ between two runs of the same command."""
    table = store.rows().drop(columns=["run", "time", "wall_s", "peak_mb", "git", "record"])
    return table.sort_values(["model", "spec", "metric", "params"]).reset_index(drop=True)
