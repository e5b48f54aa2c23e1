# SPDX-License-Identifier: Apache-2.0
"""The process group over MPI beside gloo's, between two ranks of this machine: bandwidth, latency, and a training step.

python -m perf process_groups                   needs the extra [mpi] and its mpiexec
"""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from statistics import median

from perf.communication_rank import COSMOFLOW_BATCH, COSMOFLOW_VOXELS
from perf.measurement import Measurement, NotMeasurable, Row
from perf.process_groups_rank import LARGE_BYTES

NUM_TURNS = 3


def measure() -> Measurement:
    """Measure all rows; NotMeasurable without mpiexec and mpi4py."""
    turns = [{backend: _seconds(backend) for backend in ("mpi", "gloo")} for _ in range(NUM_TURNS)]
    mpi, gloo = (
        {what: median(turn[backend][what] for turn in turns) for what in turns[0][backend]}
        for backend in ("mpi", "gloo")
    )
    return Measurement(
        name="process_groups",
        title="Process group over MPI",
        peer="gloo, the default on CPUs up to 256 ranks",
        method=f"Two ranks of one core each on this machine, started by mpiexec; {NUM_TURNS} processes of each backend "
        "in turn, medians of their medians on the slowest rank. A step is forward and backward of CosmoFlow, "
        f"{COSMOFLOW_BATCH} volumes of {COSMOFLOW_VOXELS}^3, with DistributedDataParallel.",
        rows=[
            _row("all-reduce of 64 MiB", "GB/s", LARGE_BYTES / 1e9, mpi["large"], gloo["large"]),
            _row("all-reduces of 8 bytes", "1/s", 1, mpi["small"], gloo["small"]),
            _row("training steps", "steps/s", 1, mpi["step"], gloo["step"]),
        ],
        versions=("torch", "mpi4py"),
    )


def _row(what: str, unit: str, amount: float, mpi_s: float, gloo_s: float) -> Row:
    return Row(what=what, unit=unit, ours=amount / mpi_s, peer=amount / gloo_s, ratio=gloo_s / mpi_s)


def _seconds(backend: str) -> dict[str, float]:
    line = [_mpiexec(), "-n", "2", sys.executable, "-m", "perf.process_groups_rank", backend]
    return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)


def _mpiexec() -> str:
    """The launcher beside this Python, which belongs to mpi4py's MPI, or the one in the path."""
    found = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if not found or not find_spec("mpi4py"):
        raise NotMeasurable("process_groups: mpiexec or mpi4py not found; install the extra [mpi]")
    return found
