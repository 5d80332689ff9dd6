"""Status and verdict of a measure."""

from __future__ import annotations

import typing

import pytest

from suite.types import SCHEMA, Measure, Status, Verdict, not_applicable, verdict_of


def measure(value: float | None, reason: str | None = None, **checks: typing.Any) -> Measure:
    return Measure("robust_accuracy", value, None, None, 3, "none", checks=checks, reason=reason)


@pytest.mark.parametrize(
    ("result", "status", "verdict"),
    [
        (measure(0.5), "ok", "valid"),
        (measure(0.5, weak="pass", other="n/a"), "ok", "valid"),
        (measure(0.5, weak="pass", other="fail"), "suspect", "suspect"),
        (measure(0.0, weak="fail"), "suspect", "suspect"),
        (measure(None, "no right sample"), "inconclusive", "invalid"),
        (measure(None, "no right sample", weak="fail"), "inconclusive", "invalid"),
        (not_applicable("infidelity", "no gradient"), "skipped", "invalid"),
    ],
)
def test_status_follows_from_value_and_checks(result: Measure, status: str, verdict: str) -> None:
    assert (result.status, result.verdict) == (status, verdict)


def test_every_status_has_one_of_the_three_verdicts() -> None:
    verdicts = {status: verdict_of(status) for status in typing.get_args(Status)}
    assert verdicts == {
        "ok": "valid",
        "suspect": "suspect",
        "inconclusive": "invalid",
        "failed": "invalid",
        "skipped": "invalid",
    }
    assert set(verdicts.values()) == set(typing.get_args(Verdict))
    assert verdict_of("of a later version") == "invalid"


def test_old_rows_are_recognized_by_their_schema() -> None:
    assert SCHEMA == 3
