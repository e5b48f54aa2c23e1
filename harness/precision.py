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

    def __init__(self, name: str, device_type: str, *, is_automatic: bool = False) -> None:
        """`name`: fp32, tf32, bf16 or fp16; `is_automatic`: the setting is "auto", and fp32 may take its place."""
        self.name = name
        self.is_automatic = is_automatic
        self._device_type = device_type
        self._scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    @classmethod
    def start(cls, setting: str, device: torch.device) -> "Precision":
        """Set the arithmetic of this process and return it.

        TF32 is on with "tf32" only: fp32 means IEEE single precision in matrix products and convolutions alike. The
        choice of "auto" holds until harness.operator_check has confirmed it.
        """
        name = choose(setting, device.type)
        set_tf32(name == "tf32")
        return cls(name, device.type, is_automatic=setting == "auto")

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


def set_tf32(on: bool) -> None:
    """Let matrix products and convolutions of CUDA devices round their factors to TF32, or not."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def choose(setting: str, device_type: str) -> str:
    """The precision of a setting on this device: "auto" becomes bf16 if the device has instructions for it."""
    if setting != "auto":
        return setting
    return "bf16" if computes_with_bf16(device_type) else "fp32"


@cache
def computes_with_bf16(device_type: str) -> bool:
    """True if the device has instructions for bf16; whether they are right and fast, harness.operator_check finds."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    units = torch.cpu.get_capabilities()
    return bool(units.get("amx_bf16") or units.get("avx512_bf16"))
