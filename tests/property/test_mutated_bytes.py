"""Damaged bytes through every decoder: nothing crashes, what is accepted is as the reference says.

TIDEMILL_MUTATIONS: how many damaged messages a decoder (500 unless set); `make fuzz` runs 10**6.
"""

import os
import subprocess
import sys
from pathlib import Path

RUN = Path(__file__).resolve().parents[1] / "fuzz" / "run.py"
MUTATIONS = os.environ.get("TIDEMILL_MUTATIONS", "500")


def test_damaged_bytes_are_refused_or_read_as_by_the_reference():
    command = [sys.executable, str(RUN), "--here", "--seed", "7", "--mutations", MUTATIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
