# SPDX-License-Identifier: Apache-2.0
"""Whether to compute in bf16.

with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(system.precision, device.type)): ...
"""

from functools import cache

import torch


@cache
def uses_bf16(precision: str, device_type: str) -> bool:
    """For "fp32", "bf16" or "auto", which asks the device whether it computes with bf16 rather than emulates it."""
    if precision != "auto":
        return precision == "bf16"
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
