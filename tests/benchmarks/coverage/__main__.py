"""Coverage of the suite's intervals, by simulation with known truth.

    python -m tests.benchmarks.coverage [--family NAME] [--measure NAME] [--largest N] [--replicates 400]
        [--processes 2] [--quick]

A row is a measure in one setting. Coverage counts among the draws that give an interval; "below" and "above" are the
shares of two-sided 95 % intervals, then of one-sided 95 % bounds, that the truth is below or above. The exit code is 1
if a cell covers in less than 93 % of the draws, or a one-sided bound misses in more than 6 %, by exact binomial tests
with Holm's correction over all cells shown.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from tests.benchmarks.coverage.cells import Cell, Result, cells_of, failures, families, simulated

HEAD = ("measure", "setting", "n", "coverage", "below, above", "one-sided", "inconclusive", "width")


def _chosen(options: argparse.Namespace) -> list[tuple[str, int, Cell]]:
    names = [options.family] if options.family else families()
    everything = [(name, index, cell) for name in names for index, cell in enumerate(cells_of(name))]
    return [
        (name, index, cell)
        for name, index, cell in everything
        if options.measure in (None, cell.measure) and cell.n <= options.largest and (cell.quick or not options.quick)
    ]


def line(result: Result) -> str:
    """Return the row of a cell in the table."""
    cell, two, one = result.cell, result.two_sided, result.one_sided

    def shares(below: int, above: int, of: int) -> str:
        return f"{100 * below / of:.1f}, {100 * above / of:.1f}" if of else "–"

    shown = (
        cell.measure,
        cell.setting,
        f"{cell.n:,}",
        f"{100 * result.coverage:.1f}" + ("" if result.tested else " (not tested)") if two.shown else "–",
        shares(two.below, two.above, two.shown),
        shares(one.below, one.above, one.shown),
        f"{100 * result.inconclusive:.0f}",
        f"{two.width:.4g}" if two.shown else "–",
    )
    return f"| {' | '.join(shown)} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if a cell fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--family", choices=families())
    parser.add_argument("--measure")
    parser.add_argument("--largest", type=int, default=5000, help="leave out cells with more samples")
    parser.add_argument("--replicates", type=int, default=400)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="only the cells that the tests run")
    options = parser.parse_args(arguments)
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # of the workers, which are the parallel part
    print(f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|")
    results, jobs = [], _chosen(options)
    with ProcessPoolExecutor(options.processes, mp_context=get_context("spawn")) as pool:
        names, indices = [job[0] for job in jobs], [job[1] for job in jobs]
        for result in pool.map(simulated, names, indices, [options.replicates] * len(jobs)):
            results.append(result)
            print(line(result), flush=True)
    failed = failures(results)
    print(f"\n{len(results)} cells, {options.replicates} data sets each; {len(failed)} fail by Holm's test.")
    for result in failed:
        print(line(result))
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
