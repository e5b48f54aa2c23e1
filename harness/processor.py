# SPDX-License-Identifier: Apache-2.0
"""The processor of this machine, as Linux describes it."""

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")


def model_name() -> str:
    """Name of the processor, such as "AMD EPYC 9654 96-Core Processor"; the architecture if no name is known."""
    return fields().get("model name") or platform.machine()


def fields() -> dict[str, str]:
    """Fields of /proc/cpuinfo for the first core; empty if the system has no such file."""
    text = CPUINFO.read_text() if CPUINFO.exists() else ""
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}
