"""An ascent on an accelerator waits for it only when it removes finished rows."""

import json
import subprocess
import sys

import pytest

from suite.attacks.engine.ascent import CHECK_EVERY
from tests.attacks.waits import COUNT, RULES, STEPS
from tests.device.device import missing_compiler


@pytest.mark.skipif(bool(missing_compiler()), reason=missing_compiler() or "there is a compiler")
def test_an_ascent_waits_for_the_device_once_for_each_removal_of_finished_rows():
    done = subprocess.run([sys.executable, "-m", "tests.attacks.waits"], capture_output=True, text=True, check=True)
    cases = json.loads(done.stdout)
    assert len(cases) == 2 * len(RULES)
    for name, waits in cases.items():
        sweeps, read = waits.pop("sweeps"), waits.pop("copy to host", 0)
        assert STEPS < sweeps < 2 * STEPS and 0 < waits.pop("misclassified") < COUNT
        # Rows are removed every few sweeps, and in the sweeps after which some rows have taken all steps.
        assert read <= sweeps // CHECK_EVERY + 3 if "stop=True" in name else read == 0
        assert waits.keys() <= {"copy to device"}, waits  # of step lengths and indices, which waits for nothing
