# SPDX-License-Identifier: Apache-2.0
"""Waiting for the training device, and timing work on it; a CPU has finished when the call returns.

synchronize(world.device)
seconds = seconds_of(lambda: step(*batch), world.device)
"""

import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all that was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of the work on a device that has nothing else to do."""
    synchronize(device)
    start = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - start
