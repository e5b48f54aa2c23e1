# SPDX-License-Identifier: Apache-2.0
"""Machine: what a measurement was taken on, and how busy that was, so that a figure can be judged later."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
import torch

PACKAGES = ("torch", "numpy", "mpi4py", "nvidia-ml-py", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One node."""

    processor: str
    num_cores: int
    """Cores that this process may use."""
    num_threads: int
    """Threads that one process computes with."""
    memory_bytes: int
    accelerator: str
    """Name of the accelerator; empty where there is none."""
    num_accelerators: int
    operating_system: str
    load_per_core: float
    """Load average of the last minute before the measurement, per core: above about 0.2 others were at work too."""

    @property
    def is_busy(self) -> bool:
        """Whether others were at work, so that wall-clock figures are a lower limit."""
        return self.load_per_core > 0.5

    def describe(self) -> str:
        device = f", {self.num_accelerators} x {self.accelerator}" if self.num_accelerators else ""
        memory = f"{self.memory_bytes / 2**30:.0f} GiB"
        return f"{self.num_cores} cores of {self.processor}, {memory}{device}"


def describe_machine() -> Machine:
    num_cores = len(os.sched_getaffinity(0))
    num_accelerators = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(
        processor=_processor(),
        num_cores=num_cores,
        num_threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        accelerator=torch.cuda.get_device_name(0) if num_accelerators else "",
        num_accelerators=num_accelerators,
        operating_system=f"{platform.system()} {platform.release()}",
        load_per_core=round(os.getloadavg()[0] / num_cores, 2),
    )


def versions() -> dict[str, str]:
    """Of Python and of the packages that matter, where they are installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
