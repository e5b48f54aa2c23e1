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
from torch.utils._python_dispatch import TorchDispatchMode

from compliance.files import atomic_write
from compliance.files.errors import UserError
from harness import processor
from harness.precision import AUTOCAST_TYPES, Precision, set_tf32
from harness.run import Run

FORMAT = 1  # of the kept verdicts; a change of what is checked increases it
MAX_ELEMENTS = 2**24
"""Elements of an operator's largest tensor, 64 MiB in fp32; a larger batch is checked with fewer samples."""
TOLERANCES = {"fp32": 1e-3, "tf32": 0.01, "bf16": 0.02, "fp16": 0.01}
"""Largest relative error, in the norm of a whole tensor. Right bf16 kernels were measured at 0.003."""
CACHE_SWITCH = "HPC_OPERATOR_CHECK"


Results = tuple[Tensor, Tensor, Tensor]  # y, and the gradients of x and w


class OperatorFault(UserError):
    """The device computes an operator of the model wrongly in the precision that the user asked for."""


@dataclass(frozen=True, kw_only=True, order=True)
class Operator:
    """A convolution or a matrix product y of the input x and the weight w."""

    input_shape: tuple[int, ...]
    """(N, C, ...) of a convolution, (M, K) of a matrix product."""
    weight_shape: tuple[int, ...]
    """(C_out, C_in / groups, ...) of a convolution, (K, L) of a matrix product."""
    channels_last: bool = False
    in_fp32: bool = False
    """True if it computes in fp32 although the precision of the run is another, such as CosmoFlow's dense layers."""
    settings: tuple[Any, ...] = ()
    """Stride, padding, dilation, transposed, output padding and groups; empty for a matrix product."""

    def __str__(self) -> str:
        kind = f"{len(self.input_shape) - 2}D convolution" if self.settings else "matrix product"
        return f"{kind} of {_text(self.input_shape)} with {_text(self.weight_shape)}"

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """y of x and w, in their type."""
        return torch.ops.aten.convolution(x, w, None, *self.settings) if self.settings else x @ w

    def backward(self, dy: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of x and w."""
        if not self.settings:
            return dy @ w.T, x.T @ dy
        dx, dw, _ = torch.ops.aten.convolution_backward(dy, x, w, None, *self.settings, [True, True, False])
        return dx, dw

    def operands(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """x and w in fp32, always the same values: x of variance 1, and w so that y has about that too."""
        generator = torch.Generator(device).manual_seed(1)
        x = torch.randn(self._bounded_input(), generator=generator, device=device)
        w = torch.randn(self.weight_shape, generator=generator, device=device)
        w /= (w.numel() / w.shape[0 if self.settings else 1]) ** 0.5
        return (self._ordered(x), self._ordered(w))

    def _bounded_input(self) -> tuple[int, ...]:
        num_samples, *sample = self.input_shape
        widest = max(torch.Size(sample).numel(), self._num_outputs() // max(num_samples, 1))
        return (max(1, min(num_samples, MAX_ELEMENTS // max(widest, 1))), *sample)

    def _num_outputs(self) -> int:
        with torch.device("meta"):
            return self.forward(torch.empty(self.input_shape), torch.empty(self.weight_shape)).numel()

    def _ordered(self, tensor: Tensor) -> Tensor:
        if not self.channels_last:
            return tensor
        return tensor.contiguous(memory_format=torch.channels_last if tensor.ndim == 4 else torch.channels_last_3d)


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
            f"precision {precision.name}: {len(faults)} operators are computed wrongly on this hardware, the first: "
            f"{faults[0]}; {_advice(precision)}"
        )
    if run.world.rank == 0:
        print(f"precision: fp32 in place of {precision.name}: {faults[0] if faults else 'it is not faster here'}",
              file=sys.stderr)  # fmt: skip
    return confirm(run, Precision.start("fp32", run.world.device), model, forward)


def record(model: nn.Module, forward: Callable[[], object]) -> Counter[Operator]:
    """The convolutions and matrix products of a forward pass, and how often each is computed.

    The pass is one of evaluation: it draws no random number and changes no running statistics.
    """
    recorder, was_training = _Recorder(), model.training
    model.eval()
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"), recorder:
            forward()
    finally:
        model.train(was_training)
    return recorder.operators


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
    _finish(device)
    start = time.perf_counter()
    results = compute()
    _finish(device)
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


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class _Recorder(TorchDispatchMode):
    """Counts the operators that pass through PyTorch's dispatcher."""

    def __init__(self) -> None:
        super().__init__()
        self.operators: Counter[Operator] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        packet = func.overloadpacket
        if packet is torch.ops.aten.convolution:
            x, w, _, *settings = args
            frozen = tuple(tuple(setting) if isinstance(setting, list) else setting for setting in settings)
            self._count(x, w, frozen)
        elif packet in (torch.ops.aten.mm, torch.ops.aten.addmm):
            x, w = args[-2:]
            self._count(x, w, ())
        return func(*args, **(kwargs or {}))

    def _count(self, x: Tensor, w: Tensor, settings: tuple[Any, ...]) -> None:
        if x.layout == torch.strided and x.numel() and w.numel():  # RoIAlign on a CPU is a sparse product in fp32
            operator = Operator(
                input_shape=tuple(x.shape),
                weight_shape=tuple(w.shape),
                channels_last=_is_channels_last(x),
                in_fp32=x.dtype == torch.float32,
                settings=settings,
            )
            self.operators[operator] += 1


def _is_channels_last(x: Tensor) -> bool:
    orders = {4: torch.channels_last, 5: torch.channels_last_3d}
    return x.ndim in orders and not x.is_contiguous() and x.is_contiguous(memory_format=orders[x.ndim])


def _is_faster(verdicts: list[Verdict]) -> bool:
    """True if the slowest rank gains by the precision; fp32 itself is never slower than fp32."""
    return max(v.seconds for v in verdicts) <= max(v.fp32_seconds for v in verdicts) * 1.05


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
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hpc-ai-bench" / "operator_check"
    facts = [FORMAT, precision, sorted(operators.items()), *_hardware(device), *_software()]
    return folder / f"{hashlib.sha256(repr(facts).encode()).hexdigest()[:32]}.json"


def _hardware(device: torch.device) -> list[object]:
    if device.type != "cuda":
        return [platform.node(), processor.model_name(), torch.get_num_threads()]
    properties = torch.cuda.get_device_properties(device)
    return [platform.node(), properties.name, str(getattr(properties, "uuid", device.index))]


def _software() -> list[object]:
    isa = os.environ.get("ONEDNN_MAX_CPU_ISA")
    return [torch.__version__, torch.version.cuda, torch.version.hip, torch.backends.cudnn.version(), isa]


def _text(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
