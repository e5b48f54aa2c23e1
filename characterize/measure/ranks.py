# SPDX-License-Identifier: Apache-2.0
"""Run a measurement on several ranks: local ranks started here, or the ranks of the torchrun that started this command.

    rows = on_ranks("characterize.measure.collectives:sweep", settings, num_ranks=2)

The function is called with (world, settings) on every rank and returns plain data. The result of rank 0 is returned.
If torchrun started the command (on Slurm: one torchrun per node), its ranks are used; then all ranks get rank 0's
result, and only rank 0 writes and prints.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from characterize.results.result import CharacterizeError

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 900
LINES_OF_FAILURE = 5


def started_by_torchrun() -> bool:
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def is_silent() -> bool:
    """True if torchrun started this process as a rank other than 0."""
    return started_by_torchrun() and os.environ["RANK"] != "0"


def oversubscription(num_ranks: int) -> str:
    """Warning if ranks on the CPU share cores; empty otherwise."""
    local = int(os.environ.get("LOCAL_WORLD_SIZE", num_ranks)) if started_by_torchrun() else num_ranks
    cores = len(os.sched_getaffinity(0))
    if torch.cuda.is_available() or local <= cores:
        return ""
    return f"{local} ranks share {cores} cores and wait for each other's turns, so treat these rates as lower bounds."


def on_ranks(
    function: str, settings: dict[str, Any], *, num_ranks: int, mpi: bool = False, num_threads: int | None = None
) -> Any:
    """Return the result of rank 0; CharacterizeError if a rank failed. `function` is module:name.

    num_threads: compute threads of each rank started here; None shares the cores equally.
    """
    if num_ranks < 1:
        raise CharacterizeError(f"ranks: found {num_ranks}, expected at least 1")
    if started_by_torchrun() and not mpi:
        return _in_this_world(function, settings)
    with tempfile.TemporaryDirectory(prefix="characterize_") as folder:
        output = Path(folder) / "result.json"
        worker = [sys.executable, "-m", "characterize.measure.rank", function, json.dumps(settings), str(output)]
        environment = _environment(num_threads or max(1, len(os.sched_getaffinity(0)) // num_ranks))
        if mpi:
            _run_under_mpi(worker, num_ranks, environment)
        else:
            _run_local(worker, num_ranks, environment, Path(folder))
        return json.loads(output.read_text())


def called(function: str):
    module, _, name = function.partition(":")
    return getattr(import_module(module), name)


def _in_this_world(function: str, settings: dict[str, Any]) -> Any:
    from harness.distributed.world import launch

    with launch() as world:
        return world.broadcast(called(function)(world, settings))


def _run_local(worker: list[str], num_ranks: int, environment: dict[str, str], folder: Path) -> None:
    """Start the processes that torchrun would start, without its agent, which would take a second longer."""
    port = _free_port()
    processes, printed = [], [(folder / f"rank_{rank}.txt").open("w+") for rank in range(num_ranks)]
    try:
        for rank, file in enumerate(printed):
            own = environment | _torchrun_variables(rank, num_ranks, port)
            processes.append(subprocess.Popen(worker, stdout=file, stderr=file, env=own))
        _wait(processes)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        failures = [_tail(file) for file, process in zip(printed, processes, strict=False) if process.returncode]
        for file in printed:
            file.close()
    if failures:
        raise CharacterizeError(f"{num_ranks} ranks on this machine: {failures[0]}")


def _wait(processes: list[subprocess.Popen]) -> None:
    """Wait until all have ended, or one has failed; the caller stops the others, which would wait forever."""
    remaining = list(processes)
    for _ in range(TIMEOUT_S * 10):
        remaining = [process for process in remaining if process.poll() is None]
        if not remaining or any(process.returncode for process in processes):
            return
        try:
            remaining[0].wait(0.1)
        except subprocess.TimeoutExpired:
            continue
    raise CharacterizeError(f"ranks on this machine: not finished after {TIMEOUT_S} s")


def _run_under_mpi(worker: list[str], num_ranks: int, environment: dict[str, str]) -> None:
    mpiexec = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if mpiexec is None:
        raise CharacterizeError("MPI: mpi4py is installed, but no mpiexec was found; install the mpich wheel")
    command = [mpiexec, "-n", str(num_ranks), *worker]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S, env=environment)
    if done.returncode:
        raise CharacterizeError(f"mpiexec -n {num_ranks}: {_last_line(done.stderr + done.stdout)}")


def _environment(num_threads: int) -> dict[str, str]:
    """Environment of a rank, without launcher variables; waiting threads do not spin."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PMI_", "OMPI_"))}
    return {"OMP_WAIT_POLICY": "PASSIVE", **outer, "OMP_NUM_THREADS": str(num_threads), "PYTHONPATH": path}


def _torchrun_variables(rank: int, num_ranks: int, port: int) -> dict[str, str]:
    place = {"RANK": rank, "WORLD_SIZE": num_ranks, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": num_ranks}
    return {name: str(value) for name, value in place.items()} | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _tail(file) -> str:
    file.seek(0)
    return _last_line(file.read())


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "ended without a message"
