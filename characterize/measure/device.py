# SPDX-License-Identifier: Apache-2.0
"""The device to measure, and the precisions that its hardware supports."""

import os

import torch

from characterize.results.result import CharacterizeError

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
TYPES = {
    "fp32": torch.float32,
    "tf32": torch.float32,
    "bf16": torch.bfloat16,
    "fp16": torch.float16,
    "int8": torch.int8,
}


def find_device(name: str) -> torch.device:
    """Return the named device; `auto` prefers an accelerator. CharacterizeError if the device does not exist."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise CharacterizeError(
            f"--device cuda: found no CUDA device (torch {torch.__version__}); use --device cpu or a CUDA build"
        )
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if name == "cuda" else torch.device(name)


def native_precisions(device: torch.device) -> tuple[str, ...]:
    """Precisions with hardware units. Emulated ones (fp16 on most CPUs) are excluded: their times mean nothing."""
    if device.type == "cuda":
        capability = torch.cuda.get_device_capability(device)
        has = {"fp32": True, "tf32": capability >= (8, 0), "bf16": capability >= (8, 0)}
        has |= {"fp16": capability >= (7, 0), "int8": capability >= (7, 5)}
        return tuple(precision for precision in PRECISIONS if has[precision])
    units = torch.cpu.get_capabilities()
    has = {
        "bf16": units.get("amx_bf16") or units.get("avx512_bf16"),
        "fp16": units.get("amx_fp16"),
        "int8": units.get("amx_int8") or units.get("avx512_vnni"),
    }
    return ("fp32", *(precision for precision in ("bf16", "fp16", "int8") if has[precision]))


def choose_precisions(names: list[str] | None, device: torch.device) -> tuple[str, ...]:
    """The named precisions; default: all native ones. CharacterizeError if the device would emulate one."""
    native = native_precisions(device)
    for name in names or ():
        if name not in native:
            raise CharacterizeError(
                f"--precision {name}: {device.type} supports {', '.join(native)} in hardware; choose one of these"
            )
    return tuple(names) if names else native
