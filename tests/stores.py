"""Comparison of stores."""


def numbers(store):
    """Return every row without what differs between two runs of one command."""
    table = store.rows().drop(columns=["run", "time", "wall_s", "peak_mb", "git", "record"])
    return table.sort_values(["model", "spec", "metric", "params"]).reset_index(drop=True)
