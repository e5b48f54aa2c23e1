# SPDX-License-Identifier: Apache-2.0
"""The settings that [system] of system.toml has in every benchmark; each benchmark's System adds its own.

@dataclass(frozen=True, kw_only=True)
class System(SystemSettings):
    data_folder: Path = Path("data/deepcam")

The settings belong to the machine and do not change the mathematics. harness.config checks their values against the
types, bounds included.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

FromZero = Annotated[int, Meta(ge=0)]
FromOne = Annotated[int, Meta(ge=1)]
Positive = Annotated[float, Meta(gt=0)]
Precision = Literal["fp32", "tf32", "bf16", "fp16", "auto"]


@dataclass(frozen=True, kw_only=True)
class SystemSettings:
    """Settings of the machine."""

    staging_folder: Path | None = None
    """Copy the data set to this folder of the node's own storage and read it there; "$TMPDIR/data" is expanded."""
    staging_form: Literal["replica", "node_part"] = "replica"
    """Content of the staging folder: the whole data set, or a part of the samples, from which the node's ranks draw."""
    num_workers: FromZero = 0
    """Threads or processes that read for each rank; 0: the training loop reads each batch itself."""
    precision: Precision = "fp32"
    """Arithmetic of convolutions and dense layers; "auto" is bf16 if harness.operator_check finds it
    right and faster on this device, else fp32."""
    channels_last: bool = False
    """Memory order with the channels last (NHWC, NDHWC), which most convolution kernels prefer."""
    compile: bool = False
    """Compile the model with torch.compile, which needs a C++ compiler on CPU."""
    nonfinite_steps_allowed: FromZero = 0
    """Steps of a run whose loss may be NaN or infinite under fp16, which skips them; otherwise such a loss ends it."""
    drop_caches_command: str | None = None
    """Command of the site that drops this node's page cache before a run, such as "sudo /usr/local/bin/drop_caches"."""
    warm_up_steps: FromZero = 0
    """Steps on synthetic tensors before the clock starts, which choose, load and compile the kernels."""
    cuda_graph: bool = False
    """Capture the whole step as a CUDA graph, all-reduces and optimizer included, and replay it."""
    cudnn_benchmark: bool = False
    """Let cuDNN time its algorithms for each shape of a convolution and take the fastest; no effect on a CPU."""
    bucket_mebibytes: Positive = 25.0
    """Gradients that the ranks exchange in one all-reduce, while the gradients of other layers are computed."""
    gradient_as_bucket_view: bool = True
    """Keep the gradients in the buckets of their exchange, which saves a copy of them."""
    static_graph: bool = False
    """Let the exchange rely on every step using the same parameters in the same order."""
    profile: Annotated[str, Meta(pattern=r"^(|[1-9]\d*:[1-9]\d*)$")] = ""
    """Epoch and number of steps of a trace by torch.profiler, such as "2:10"; it is written beside the event log."""
    backend: Literal["auto", "nccl", "gloo", "mpi"] = "auto"
    """Library for the communication between ranks; "auto" is NCCL on GPUs, on CPUs gloo or, with many ranks, MPI."""
    watchdog_minutes: Annotated[float, Meta(ge=0)] = 5.0
    """Longest time without a heartbeat of a rank, after which the run ends; 0 for no limit."""
    checkpoint_every_epochs: FromZero = 0
    """Epochs from one checkpoint to the next, for --resume; 0: none is saved."""


ACCELERATOR_ONLY: dict[str, tuple[object, ...]] = {"precision": ("tf32", "fp16"), "cuda_graph": (True,)}
"""Values that a CPU cannot offer, by setting."""
