"""Damaged files of every format that the suite reads: it answers with samples or with its own errors, and in time.

``python -m tests.benchmarks.fuzz [--count N] [--seed S] [--format NAME ...]`` builds a small data set of each format,
damages one file at a time and reads everything. Anything but samples, rejections and a `SuiteError`, a report that does
not add up, and a reading that takes longer than `PATIENCE` is a fault; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from suite.data.report import PART
from suite.errors import SuiteError
from tests.benchmarks.fuzz_sets import FORMATS, built

PATIENCE = 20
"""Seconds that reading one damaged data set may take; an undamaged one takes a hundredth of one."""


class SlowError(BaseException):
    """Reading took longer than `PATIENCE`; not an `Exception`, so that no reader can take it for a damaged file."""


@dataclass
class Tally:
    """How readings ended, by format, and the faults: format, seed and what happened."""

    ends: dict[str, Counter[str]] = field(default_factory=dict)
    faults: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, name: str, seed: int, end: str) -> None:
        """Count an end; one that begins with FAULT is kept in full."""
        self.ends.setdefault(name, Counter())[end.split(":")[0]] += 1
        if end.startswith("FAULT"):
            self.faults.append((name, seed, end))


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one kind of damage: bits, bytes, ranges, numbers, the end, or all of it."""
    size = len(content)
    at, stop = sorted(int(place) for place in rng.integers(0, size + 1, 2))
    kinds = (
        lambda: content[:at],
        lambda: content[:at] + content[stop:],
        lambda: content[:at] + content[at:stop] * 2 + content[stop:],
        lambda: content[:at] + bytes(stop - at) + content[stop:],
        lambda: content[:at] + rng.bytes(int(rng.integers(1, 9))) + content[at:],
        lambda: content[:at] + rng.bytes(stop - at) + content[stop:],
        lambda: _flipped(content, rng, int(rng.integers(1, 9))),
        lambda: _flipped(content[: max(1, size // 4)], rng, 2) + content[max(1, size // 4) :],
        lambda: _with_odd_token(content, at, rng),
        lambda: _with_odd_number(content, rng),
        lambda: DISGUISES[int(rng.integers(len(DISGUISES)))],
    )
    return kinds[int(rng.integers(len(kinds)))]()


DISGUISES = (
    b"",
    b"<!DOCTYPE html><html><body>404</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    b"PK\x03\x04 cut",
    b"\x00" * 64,
)

TOKENS = (
    b'"', b"'", b",", b"\t", b"\n", b"\r", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"{", b"}", b"[", b"]", b"<",
    b"&x;",
    b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"9" * 400, b"\\ud83d", b"\xed\xa0\xbd", b"\xe2\x80\xae",
    b"\x1b[31m", b"../" * 8, b"[" * 2000, b"A" * 70000,
)  # fmt: skip


def _flipped(content: bytes, rng: np.random.Generator, count: int) -> bytes:
    values = np.frombuffer(content, np.uint8).copy()
    if len(values):
        values[rng.integers(0, len(values), count)] ^= (1 << rng.integers(0, 8, count)).astype(np.uint8)
    return values.tobytes()


def _with_odd_token(content: bytes, at: int, rng: np.random.Generator) -> bytes:
    return content[:at] + TOKENS[int(rng.integers(len(TOKENS)))] + content[at:]


def _with_odd_number(content: bytes, rng: np.random.Generator) -> bytes:
    """Return content with one of its decimal numbers replaced."""
    values = np.frombuffer(content, np.uint8)
    digits = np.flatnonzero((values >= 0x30) & (values <= 0x39))
    if not len(digits):
        return content[::-1]
    at = int(digits[rng.integers(len(digits))])
    stop = at + 1
    while stop < len(content) and content[stop : stop + 1].isdigit():
        stop += 1
    return content[:at] + TOKENS[int(rng.integers(len(TOKENS)))] + content[stop:]


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise SlowError in the main thread after some seconds."""

    def stop(number: int, frame: object) -> None:
        raise SlowError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reading(name: str, root: Path) -> str:
    """Read a data set, or a file of weights, and return how that ended: a word, or a fault with its description."""
    try:
        with time_limit(PATIENCE):
            report = FORMATS[name].read(root)
    except SuiteError as error:
        return f"refused: {error}" if str(error).strip() else "FAULT: an error without a message"
    except SlowError:
        return f"FAULT: longer than {PATIENCE} s"
    except BaseException as error:
        return f"FAULT: {type(error).__name__}: {error}\n{''.join(traceback.format_tb(error.__traceback__)[-4:])}"
    if report is None:
        return "read"
    dropped = sum(len(records) for reason, records in report.dropped.items() if reason != PART)
    if report.seen != sum(report.kept.values()) + dropped:
        return f"FAULT: {report.seen} records seen, but {report.kept} kept and {dropped} dropped"
    return "rejected some" if dropped else "read"


def fuzz(names: list[str], count: int, seed: int, folder: Path) -> Tally:
    """Read `count` damaged data sets, the formats in turn; each damage follows from the seed and its number."""
    tally = Tally()
    roots = {name: built(name, folder / name) for name in names}
    for name, root in roots.items():
        if (end := reading(name, root)) != "read":
            raise AssertionError(f"the undamaged data set {name} ends with {end}")
    for number in range(count):
        name = names[number % len(names)]
        rng = np.random.default_rng([seed, number])
        file = roots[name] / rng.choice(FORMATS[name].files)
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, rng))
        try:
            tally.add(name, number, reading(name, roots[name]))
        finally:
            file.write_bytes(whole)
    return tally


def main() -> int:
    """Print how many readings ended how."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", action="append", choices=sorted(FORMATS), help="by default all")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        os.environ["SUITE_CACHE"] = str(Path(folder) / "cache")
        tally = fuzz(options.format or sorted(FORMATS), options.count, options.seed, Path(folder))
    for name, ends in tally.ends.items():
        print(f"{name:16}" + ", ".join(f"{count:,} {end}" for end, count in sorted(ends.items())))
    for name, number, end in tally.faults:
        print(f"{name} number {number}: {end}")
    print(f"{options.count:,} damaged files, {len(tally.faults)} faults")
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
