# SPDX-License-Identifier: Apache-2.0
"""NVML, the library of counters of the NVIDIA accelerators of this node.

if (opened := nvml.devices()) is not None:
    library, handles = opened
"""

from types import ModuleType
from typing import Any


def devices() -> tuple[ModuleType, list[Any]] | None:
    """The library and a handle of each accelerator; None if nvidia-ml-py, the driver or an accelerator is missing."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(pynvml.nvmlDeviceGetCount())]
    except ImportError:
        return None
    except pynvml.NVMLError:
        return None
    return (pynvml, handles) if handles else None
