"""A job's process yields to the live picture by every means that the kernel has."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

LOOK = (
    "import os; from appliance.job_process import give_way; give_way(%s); "
    "print(os.getpriority(os.PRIO_PROCESS, 0), open('/proc/self/oom_score_adj').read().strip(), "
    "open('/proc/self/autogroup').read().split()[-1])"
)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel groups no sessions")
@pytest.mark.parametrize(("how", "weight"), [("", "10"), ("session=False", "0")])
def test_a_job_is_nice_and_so_is_its_session_and_a_study_in_a_terminal_leaves_that_alone(how: str, weight: str) -> None:
    """Sessions that weigh alike share the processor alike, whatever their processes' nice values say."""
    said = subprocess.run(
        [sys.executable, "-c", LOOK % how], cwd=REPOSITORY, capture_output=True, text=True, check=True,
        start_new_session=True,
    )  # fmt: skip
    nice, oom, session = said.stdout.split()
    assert int(nice) >= 15 and (oom, session) == ("500", weight)
