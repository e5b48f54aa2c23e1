# SPDX-License-Identifier: Apache-2.0
"""Child processes that end with their parent, even if the parent is killed and cannot end them.

subprocess.Popen(command, preexec_fn=children.end_with_parent)
with children.pool(num_processes) as pool: ...
"""

import ctypes
import os
import signal
import sys
from concurrent.futures import ProcessPoolExecutor

PR_SET_PDEATHSIG = 1
_PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None  # looked up before a fork, not after it


def pool(num_processes: int | None) -> ProcessPoolExecutor:
    """Processes that end quietly with their parent and on Ctrl-C."""
    return ProcessPoolExecutor(num_processes, initializer=_start_worker)


def end_with_parent() -> None:
    """Let the kernel send SIGTERM to this process when its parent ends. Does nothing on systems other than Linux."""
    if _PRCTL is not None:
        parent = os.getppid()
        _PRCTL(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the call
            os.kill(os.getpid(), signal.SIGTERM)


def _start_worker() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # a fork has the handlers of its parent, which raise exceptions
        signal.signal(number, signal.SIG_DFL)
    end_with_parent()
