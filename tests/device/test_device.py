"""Every kind on every axis runs on a device whose tensors do not mix with those of the CPU, with the same results."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from suite.attacks.engine.ascent import CHECK_EVERY
from tests.device import device
from tests.device.cells import CELLS

GROUPS = [["images", "attacked"], ["boxes", "masks", "codes", "samples"], ["texts", "characters"]]
"""Tasks that share a process, whose start takes some seconds."""

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(device.missing_compiler()), reason=device.missing_compiler()),
]


def output_of(module, *arguments):
    """Return what a module prints as JSON in a process of its own, where the device can be loaded."""
    command = [sys.executable, "-m", f"tests.device.{module}", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_device_computes_what_the_cpu_does_and_refuses_what_a_gpu_does():
    failed = output_of("operators")
    assert not failed, "\n".join(failed.values())


@pytest.mark.parametrize("tasks", GROUPS, ids=" ".join)
def test_every_axis_has_the_results_of_the_cpu_on_a_device(tasks):
    faults = output_of("cells", *tasks)
    assert len(faults) == sum(len(axes) for task in tasks for axes in CELLS[task].values())
    assert not {cell: lines for cell, lines in faults.items() if lines}


def test_the_groups_hold_every_task():
    assert sorted(task for group in GROUPS for task in group) == sorted(CELLS)


def test_an_ascent_waits_for_the_device_at_most_once_per_removal_of_finished_rows():
    counts = output_of("waiting")
    assert len(counts) == 2 * 2 * 4 * 2
    for steps, wrong, norm, adaptive, waits in counts:
        # A projection onto the L1 ball asks after every eight of its own iterations whether it has converged: the
        # iterations that it would otherwise run on all samples cost an accelerator more than this.
        if norm == "l1":
            waits.pop("aten::_local_scalar_dense")
        assert 1 <= sum(waits.values()) <= steps // CHECK_EVERY, (steps, wrong, norm, adaptive, waits)
