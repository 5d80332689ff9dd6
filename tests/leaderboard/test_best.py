"""The best method of a model on a board, and why there is none."""

import json

import pandas as pd
import pytest

from suite.leaderboard.best import best_rows
from suite.metrics.catalogue import BoardColumn

SHOWN = BoardColumn("insertion over random", best_of="method", controls=("random",))
FEW = "too few samples (n = 5; at least 8 are needed)"
FAILED = "does not beat the random control"


def rows(*entries):
    """Return the rows of one model from (method, value, check, reason); the control has 0.5."""
    return pd.DataFrame(
        [
            {
                "model": "net",
                "params": {"method": method},
                "value": value,
                "lo": value,
                "hi": value,
                "control": 0.5,
                "checks": json.dumps({"beats_random": check}),
                "reason": reason,
            }
            for method, value, check, reason in entries
        ]
    )


@pytest.mark.parametrize(
    ("entries", "best", "reason"),
    [
        ([("a", 0.7, "pass", None), ("b", 0.9, "pass", None), ("c", 0.95, "fail", FAILED)], "b", None),
        ([("a", 0.7, "fail", FAILED), ("b", 0.9, "fail", FAILED)], None, "no method beats the random control"),
        ([("a", 0.7, "n/a", FEW), ("b", 0.9, "n/a", FEW)], "b", FEW),
        ([("a", 0.4, "n/a", FEW)], None, "no method beats the random control"),
        ([("a", 0.7, "n/a", None)], None, "no method beats the random control"),
    ],
)
def test_the_best_method_or_the_reason_why_there_is_none(entries, best, reason):
    (row,) = best_rows(SHOWN, rows(*entries)).to_dict("records")
    assert (row["best"], None if pd.isna(row["reason"]) else row["reason"]) == (best, reason)
    assert row["status"] == ("ok" if best else "inconclusive")
