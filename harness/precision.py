# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of a run: weights are fp32; convolutions and dense layers compute in the type that system.toml names.

config.check_device(settings, world.device.type)   # a CPU has neither tf32 nor fp16
precision = Precision.start(system.precision, world.device)
run.log("precision", precision.name)               # fp32, tf32, bf16 or fp16: the arithmetic that was set
with precision.autocast():
    loss = ...
precision.backward(loss)                           # fp16: of the scaled loss, so that small gradients do not vanish
precision.step(optimizer)
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """One run's arithmetic."""

    def __init__(self, name: str, device_type: str) -> None:
        """`name`: fp32, tf32, bf16 or fp16."""
        self.name = name
        self._device_type = device_type
        self._scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    @classmethod
    def start(cls, setting: str, device: torch.device) -> "Precision":
        """Set the arithmetic of this process and return it.

        TF32 is on with "tf32" only: fp32 means IEEE single precision in matrix products and convolutions alike.
        """
        name = choose(setting, device.type)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "tf32"
        return cls(name, device.type)

    def autocast(self) -> AbstractContextManager:
        """The context of a forward pass. The backward pass follows the forward pass."""
        dtype = AUTOCAST_TYPES.get(self.name)
        return torch.autocast(self._device_type, dtype or torch.bfloat16, enabled=dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradients of the loss; under fp16 of the scaled loss."""
        self._scaler.scale(loss).backward()

    def unscale(self, optimizer: Optimizer) -> None:
        """Undo the loss scale of the gradients, if they must be looked at or clipped before the step."""
        self._scaler.unscale_(optimizer)

    def step(self, optimizer: Optimizer) -> None:
        """Update the weights. Under fp16 a step whose gradients are not finite is skipped, and the scale is lowered."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, Any]:
        """The loss scale, for a checkpoint; empty unless the precision is fp16."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what state_dict() returned."""
        if state:
            self._scaler.load_state_dict(dict(state))


@cache
def choose(setting: str, device_type: str) -> str:
    """The precision of a setting on this device: "auto" becomes bf16 if the device computes with it, else fp32."""
    if setting != "auto":
        return setting
    return "bf16" if _computes_with_bf16(device_type) else "fp32"


def _computes_with_bf16(device_type: str) -> bool:
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("amx_bf16"))
