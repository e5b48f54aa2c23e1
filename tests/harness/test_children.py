# SPDX-License-Identifier: Apache-2.0
"""Child processes end when their parent is killed, and workers of a pool are not torn down by its signals."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from harness import children

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")

POPEN = """
import subprocess, sys, time
from harness import children
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], preexec_fn=children.end_with_parent)
print(child.pid, flush=True)
time.sleep(600)
"""
POOL = """
import os, time
from harness import children
with children.pool(1) as pool:
    print(pool.submit(os.getpid).result(), flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("program", [POPEN, POOL], ids=["Popen", "pool"])
def test_a_child_ends_when_its_parent_is_killed(program):
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate()
    assert wait_until_gone(child)


def wait_until_gone(process: psutil.Process, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    process.kill()
    return False


def test_workers_have_default_handlers():
    with children.pool(1) as pool:
        assert pool.submit(signal.getsignal, signal.SIGTERM).result() == signal.SIG_DFL
        assert pool.submit(os.getpid).result() != os.getpid()
