# SPDX-License-Identifier: Apache-2.0
"""Checks the arithmetic of the device on the model's own operators, before the clock of a run starts.

precision = operator_check.confirm(run, precision, model, lambda: predict(run, model, precision, batch))

Wrong kernels, drivers and accelerators compute garbage without an error. The weight gradient of a 3D convolution in
bf16, for example, reads memory that nobody wrote on some processors (oneDNN 3.12, volumes of 2^3) and is
intermittently wrong on some accelerators (ROCm/rocm-libraries issue 8025). The check records the convolutions and
matrix products of one forward pass, and computes each of them, forward and backward, on random tensors of the same
shapes: in fp32, and twice in the precision of the run. The allocator's free memory is filled with NaN before, so that
a kernel that reads it is seen. bf16, fp16 and tf32 are compared with fp32. fp32 is held to the identity
<y, y> = <x, dx> = <w, dw>, which the gradients of any product y of x and w with the loss <y, y> / 2 satisfy.

A fault refuses the precision by name. "auto" falls back to fp32 after a fault, and if bf16 is not faster here. The
verdict is kept in the user's cache folder, by node, device, library versions and shapes; HPC_OPERATOR_CHECK=again
computes it anew.
"""

import hashlib
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from compliance.files import atomic_write
from compliance.files.errors import UserError
from harness import processor
from harness.device import synchronize
from harness.operators import Operator, record
from harness.precision import AUTOCAST_TYPES, Precision, set_tf32
from harness.run import Run

FORMAT = 1  # of the kept verdicts; a change of what is checked increases it
TOLERANCES = {"fp32": 1e-3, "tf32": 0.01, "bf16": 0.02, "fp16": 0.01}
"""Largest relative error, in the norm of a whole tensor. Right bf16 kernels were measured at 0.003."""
CACHE_SWITCH = "HPC_OPERATOR_CHECK"


Results = tuple[Tensor, Tensor, Tensor]  # y, and the gradients of x and w


class OperatorFault(UserError):
    """The device computes an operator of the model wrongly in the precision that the user asked for."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of the check of one device in one precision."""

    faults: tuple[str, ...]
    """A line for each operator that is wrong."""
    largest_error: float
    """Relative, over the operators that are right."""
    num_operators: int
    num_unequal: int
    """Operators whose second repetition differs in a bit; accelerators may add up in any order."""
    seconds: float
    """Time of all the model's convolutions and matrix products, forward and backward, in this precision."""
    fp32_seconds: float
    """The same in fp32."""


def confirm(run: Run, precision: Precision, model: nn.Module, forward: Callable[[], object]) -> Precision:
    """The precision of the run, checked on all ranks; fp32 if "auto" cannot be trusted or gains nothing here.

    `forward` computes a batch of the rank's training size with `model`. Logs operator_check. Raises OperatorFault.
    """
    operators = record(model, forward)
    verdicts = run.world.all_gather(cached_check(operators, precision.name, run.world.device))
    faults = [f"rank {rank}: {fault}" for rank, verdict in enumerate(verdicts) for fault in verdict.faults]
    if not faults and (not precision.is_automatic or _is_faster(verdicts)):
        _log(run, precision, verdicts)
        return precision
    if not precision.is_automatic or precision.name == "fp32":
        raise OperatorFault(
            f"precision {precision.name}: this hardware computes operators wrongly: {faults[0]}"
            f"{f' and {len(faults) - 1} more' if len(faults) > 1 else ''}; {_advice(precision)}"
        )
    if run.world.rank == 0:
        reason = faults[0] if faults else "it is not faster here"
        print(f"precision: fp32 in place of {precision.name}: {reason}", file=sys.stderr)
    return confirm(run, Precision.start("fp32", run.world.device), model, forward)


def cached_check(operators: Counter[Operator], precision: str, device: torch.device) -> Verdict:
    """The verdict that is kept for the same operators, hardware and libraries; else check() is called."""
    path = _cache_file(operators, precision, device)
    if os.environ.get(CACHE_SWITCH) != "again":
        with suppress(OSError, msgspec.MsgspecError):
            return msgspec.json.decode(path.read_bytes(), type=Verdict)
    verdict = check(operators, precision, device)
    with suppress(OSError, UserError):  # a home folder that cannot be written: the next run checks again
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write(path, msgspec.json.encode(verdict))
    return verdict


def check(operators: Counter[Operator], precision: str, device: torch.device) -> Verdict:
    """Compute every operator on the device in fp32 and in the precision, and compare."""
    faults, errors, num_unequal, seconds, fp32_seconds = [], [0.0], 0, 0.0, 0.0
    tf32 = torch.backends.cudnn.allow_tf32
    try:
        for operator, times in sorted(operators.items()):
            own = "fp32" if operator.in_fp32 and precision in AUTOCAST_TYPES else precision
            trial = _try(operator, own, device)
            if trial.error > TOLERANCES[own]:
                faults.append(f"{operator}: {trial.worst}: relative error {trial.error:.3g}")
            else:
                errors.append(trial.error)
            num_unequal += not trial.is_repeatable
            seconds += times * trial.seconds
            fp32_seconds += times * trial.fp32_seconds
    finally:
        set_tf32(tf32)
    return Verdict(
        faults=tuple(faults),
        largest_error=max(errors),
        num_operators=len(operators),
        num_unequal=num_unequal,
        seconds=seconds,
        fp32_seconds=fp32_seconds,
    )


@dataclass(frozen=True, kw_only=True)
class _Trial:
    error: float
    worst: str
    is_repeatable: bool
    seconds: float
    fp32_seconds: float


def _try(operator: Operator, precision: str, device: torch.device) -> _Trial:
    set_tf32(False)
    x, w = operator.operands(device)
    y = operator.forward(x, w)
    operands = (y / max(1, y.numel() // y.shape[1]) ** 0.5, x, w)  # a weight gradient that fp16 can hold
    if precision == "fp32":
        found, seconds = _repeated(operator, *operands)
        return _trial(found, [_identity_errors(results, *operands) for results in found], seconds, seconds)
    expected, fp32_seconds = _repeated(operator, *operands)
    set_tf32(precision == "tf32")
    dtype = AUTOCAST_TYPES.get(precision, torch.float32)
    found, seconds = _repeated(operator, *(tensor.to(dtype) for tensor in operands))
    return _trial(found, [_errors(results, expected[0]) for results in found], seconds, fp32_seconds)


def _trial(found: list[Results], errors: list[dict[str, float]], seconds: float, fp32_seconds: float) -> _Trial:
    error, worst = max((error, name) for of_repetition in errors for name, error in of_repetition.items())
    return _Trial(
        error=error,
        worst=worst,
        is_repeatable=all(torch.equal(first, second) for first, second in zip(*found, strict=True)),
        seconds=seconds,
        fp32_seconds=fp32_seconds,
    )


def _repeated(operator: Operator, dy: Tensor, x: Tensor, w: Tensor) -> tuple[list[Results], float]:
    """y, dx and dw of two repetitions, and the seconds of the faster one; the first prepares the kernels."""
    found, times = [], []
    for _ in range(2):
        y, forward_seconds = _timed(lambda: operator.forward(x, w), x.device)
        (dx, dw), backward_seconds = _timed(lambda: operator.backward(dy, x, w), x.device)
        found.append((y, dx, dw))
        times.append(forward_seconds + backward_seconds)
    return found, min(times)


def _timed(compute: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    _poison(device)
    synchronize(device)
    start = time.perf_counter()
    results = compute()
    synchronize(device)
    return results, time.perf_counter() - start


def _poison(device: torch.device) -> None:
    """Fill free memory, which the allocator hands out next, with NaN: blocks of 1 KiB to 16 MiB, two of each."""
    blocks = [torch.full((2**exponent,), torch.nan, device=device) for exponent in range(8, 23) for _ in range(2)]
    del blocks


def _errors(found: Results, expected: Results) -> dict[str, float]:
    names = ("result", "gradient of the input", "gradient of the weight")
    return {
        name: _finite(torch.linalg.vector_norm(f.float() - e) / torch.linalg.vector_norm(e).clamp_min(1e-30))
        for name, f, e in zip(names, found, expected, strict=True)
    }


def _identity_errors(found: Results, dy: Tensor, x: Tensor, w: Tensor) -> dict[str, float]:
    """Deviations from |y| |dy| = <y, dy> = <x, dx> = <w, dw>; dy points in the direction of y."""
    y, dx, dw = found
    norm = torch.linalg.vector_norm(y, dtype=torch.float64) * torch.linalg.vector_norm(dy, dtype=torch.float64)
    products = (_dot(y, dy), _dot(x, dx), _dot(w, dw))
    return {
        "forward and backward pass disagree": max(_finite((p - norm).abs() / norm.clamp_min(1e-30)) for p in products)
    }


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return torch.sum(one * other, dtype=torch.float64)


def _finite(error: Tensor) -> float:
    return error.item() if torch.isfinite(error) else float("inf")


def _is_faster(verdicts: list[Verdict]) -> bool:
    """True if the slowest rank gains by the precision. fp32, to which it is compared, is as fast as itself."""
    return max(v.seconds for v in verdicts) <= max(v.fp32_seconds for v in verdicts)


def _log(run: Run, precision: Precision, verdicts: list[Verdict]) -> None:
    run.log(
        "operator_check",
        {
            "precision": precision.name,
            "num_operators": verdicts[0].num_operators,
            "largest_error": max(verdict.largest_error for verdict in verdicts),
            "num_unequal_repetitions": max(verdict.num_unequal for verdict in verdicts),
            "num_ranks": len(verdicts),
        },
    )


def _advice(precision: Precision) -> str:
    if precision.name == "fp32":
        return "the device, its driver or the library is faulty: take the node out, and run python -m harness.verify"
    return 'set precision = "auto" or "fp32" in system.toml, or use another version of PyTorch or of the driver'


def _cache_file(operators: Counter[Operator], precision: str, device: torch.device) -> Path:
    folder = _cache_folder() / "hpc-ai-bench" / "operator_check"
    facts = [FORMAT, precision, sorted(operators.items()), *_hardware(device), *_software()]
    return folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _cache_folder() -> Path:
    """The user's folder for caches; for a user without a home, as in some containers, one that keeps nothing."""
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return Path(os.devnull)


def _hardware(device: torch.device) -> list[object]:
    if device.type != "cuda":
        return [platform.node(), processor.model_name(), torch.get_num_threads()]
    properties = torch.cuda.get_device_properties(device)
    return [platform.node(), properties.name, str(getattr(properties, "uuid", device.index))]


def _software() -> list[object]:
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return [torch.__version__, torch.version.cuda, torch.version.hip, torch.backends.cudnn.version(), isa]
