# SPDX-License-Identifier: Apache-2.0
"""Mixed precision: the weights stay fp32, convolutions and dense layers compute in the type that the system asks for.

precision = Precision.of("auto", device)             # fp32, tf32, bf16, fp16
with precision.autocast(): ...
precision.backward(loss)                             # fp16: of the loss scaled up, so that gradients do not vanish
precision.step(optimizer)
"""

from contextlib import AbstractContextManager

import torch
from torch import Tensor
from torch.optim import Optimizer

from harness.config import ConfigError
from harness.precision import uses_bf16

AUTOCAST_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """One run's arithmetic; `name` is what the log calls it."""

    def __init__(self, name: str, device: torch.device):
        self.name = name
        self._device_type = device.type
        self._scaler = torch.amp.GradScaler(device.type, enabled=name == "fp16")

    @classmethod
    def of(cls, setting: str, device: torch.device) -> "Precision":
        """From the system's setting; ConfigError for what the device cannot do. Sets TF32 for the whole process."""
        if setting == "auto":
            setting = "bf16" if uses_bf16(setting, device.type) else "fp32"
        if setting in ("tf32", "fp16") and device.type != "cuda":
            raise ConfigError(f"precision: found {setting!r} on a {device.type}; use 'fp32' or 'bf16' there")
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = setting == "tf32"
        return cls(setting, device)

    def autocast(self) -> AbstractContextManager:
        """What the forward pass computes in."""
        dtype = AUTOCAST_TYPES.get(self.name)
        return torch.autocast(self._device_type, dtype or torch.bfloat16, enabled=dtype is not None)

    def backward(self, loss: Tensor) -> None:
        """The gradients of the loss, scaled where the type needs it."""
        self._scaler.scale(loss).backward()

    def step(self, optimizer: Optimizer) -> None:
        """The optimizer's step; left out where a scaled gradient was infinite, as fp16 does in its first steps."""
        self._scaler.step(optimizer)
        self._scaler.update()

    def state_dict(self) -> dict[str, float]:
        """For a checkpoint: how much gradients are scaled; empty where they are not."""
        return self._scaler.state_dict()

    def load_state_dict(self, state: dict[str, float]) -> None:
        """What state_dict() gave."""
        if state:
            self._scaler.load_state_dict(state)
