# SPDX-License-Identifier: Apache-2.0
"""Machine: the node on which a measurement was made, and how busy it was, so that readers can judge the figures."""

import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import psutil

from harness import processor

PACKAGES = ("torch", "numpy", "mpi4py", "nvidia-ml-py", "scikit-learn")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Hardware and load of one node."""

    processor: str
    num_cores: int
    """Cores that this process may use (its CPU affinity)."""
    num_threads: int
    """Compute threads of one process."""
    memory_bytes: int
    accelerator: str
    """Name of the accelerator; empty if there is none."""
    num_accelerators: int
    operating_system: str
    load_per_core: float
    """One-minute load average per core before the measurement; above about 0.2 other jobs were running."""

    @property
    def is_busy(self) -> bool:
        """True if other jobs were running, so that rates are lower bounds."""
        return self.load_per_core > 0.5

    @property
    def load_warning(self) -> str:
        """Sentence for readers; empty if the machine was quiet."""
        text = f"Load was {self.load_per_core} per core; other jobs were running, so treat these rates as lower bounds."
        return text if self.is_busy else ""

    def describe(self) -> str:
        device = f", {self.num_accelerators} x {self.accelerator}" if self.num_accelerators else ""
        memory = f"{self.memory_bytes / 2**30:.0f} GiB"
        return f"{self.num_cores} cores of {self.processor}, {memory}{device}"


def describe_machine() -> Machine:
    import torch  # takes seconds, and commands that only read results do not need it

    num_cores = len(os.sched_getaffinity(0))
    num_accelerators = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return Machine(
        processor=processor.model_name(),
        num_cores=num_cores,
        num_threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        accelerator=torch.cuda.get_device_name(0) if num_accelerators else "",
        num_accelerators=num_accelerators,
        operating_system=f"{platform.system()} {platform.release()}",
        load_per_core=round(os.getloadavg()[0] / num_cores, 2),
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages that affect measurements."""
    numbers = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            numbers[package] = version(package)
        except PackageNotFoundError:
            continue
    return numbers
