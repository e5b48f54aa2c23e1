# SPDX-License-Identifier: Apache-2.0
"""Exact resume: what a run needs to go on as if it had never been stopped, saved between epochs.

    checkpoints = Checkpoints(run, every_epochs=1, network=model, optimizer=optimizer)
    for epoch in run.epochs(limit, checkpoints):        # saves after epochs, and once before the first
        ...
    python -m cosmoflow.train ... --output result_0.txt --resume

Saved are the states of the parts named, every rank's random state, the epoch and the length of the event log; the order
of samples and the learning rate follow from seed and epoch. A resumed run on CPU has the losses of an uninterrupted one
to the last bit. Its log is cut back to the checkpoint, says `restart`, and goes on; as a timed run it does not count.

Checkpoints lie in <output>.checkpoints, their names holding the epoch and the content's sha256. Each is written beside
its place and then moved there, and the last two are kept: neither a kill nor a full disk leaves a run without one. A
run that succeeds discards them.
Rank 0 alone writes and reads them, so that a part must have the same state on all ranks; batch norms' running
statistics are averaged for it, as before an evaluation.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from compliance import mllog
from compliance.files.errors import UserError
from harness.config import Config, logged_values
from harness.data.manifest import sha256
from harness.distributed import batch_norm
from harness.distributed.world import World

if TYPE_CHECKING:
    from harness.run import Run

NUM_KEPT = 2
NUM_DIGITS = 16
"""Of the sha256 in a checkpoint's name."""


class CheckpointError(UserError):
    """A run that cannot be resumed, or a checkpoint that cannot be written."""


class Stateful(Protocol):
    """A part of a run: a module, an optimizer, a scaler."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A run between two epochs."""

    num_epochs_done: int
    num_log_bytes: int
    """Length of the event log."""
    identity: dict[str, Any]
    """What must be the same in the run that goes on."""
    parts: dict[str, dict[str, Any]]
    """States by name."""
    random: list[dict[str, torch.Tensor]]
    """Random states of every rank: of the CPU, and of its device."""


class Checkpoints:
    """The checkpoints of one run. Every method is a collective: all ranks call it."""

    def __init__(self, run: "Run", *, every_epochs: int, **parts: Stateful) -> None:
        """`every_epochs`: epochs from one checkpoint to the next; 0: none is saved."""
        self._world, self._output, self._every = run.world, run.output, every_epochs
        self._identity = identity(run.config, run.world, run.seed)
        self._parts = {name: _unwrapped(part) for name, part in parts.items()}

    def save(self, num_epochs_done: int) -> None:
        """Write a checkpoint where one is due. CheckpointError on all ranks where rank 0 cannot."""
        if not self._every or num_epochs_done % self._every:
            return
        for part in self._parts.values():
            if isinstance(part, nn.Module):
                batch_norm.average_running_statistics(part)
        random, fault = self._gather(_random_state(self._world.device)), None
        if self._world.rank == 0:
            checkpoint = Checkpoint(
                num_epochs_done=num_epochs_done,
                num_log_bytes=self._output.stat().st_size,
                identity=self._identity,
                parts={name: part.state_dict() for name, part in self._parts.items()},
                random=random,
            )
            try:
                _write(checkpoint, folder_of(self._output))
            except (OSError, RuntimeError) as error:  # torch reports a full disk as the latter
                fault = f"{folder_of(self._output)}: checkpoint not written: {error}".splitlines()[0]
        _raise_on_all(self._world, fault)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Put all parts, and this rank's random state, back to where they were."""
        for name, part in self._parts.items():
            part.load_state_dict(checkpoint.parts[name])
        random = checkpoint.random[self._world.rank]
        torch.set_rng_state(random["cpu"])
        if self._world.device.type == "cuda":
            torch.cuda.set_rng_state(random["device"], self._world.device)

    def _gather(self, state: dict[str, torch.Tensor]) -> list[dict[str, torch.Tensor]]:
        """The states of all ranks, on rank 0."""
        if self._world.num_ranks == 1:
            return [state]
        states = [None] * self._world.num_ranks if self._world.rank == 0 else None
        dist.gather_object(state, states)
        return states or []


def find(output: Path, config: Config, world: World, seed: int | None) -> Checkpoint | None:
    """The checkpoint that a resumed run goes on from, on all ranks; None where nothing has been begun.

    CheckpointError where the run has succeeded, began as another one, or lost its checkpoints.
    """
    found, fault = None, None
    if world.rank == 0:
        try:
            _check_unfinished(output)
            found = _latest(output)
            if found is not None:
                _check(found, output, identity(config, world, seed or found.identity["seed"]))
        except CheckpointError as error:
            fault = str(error)
    _raise_on_all(world, fault)
    return world.broadcast(found)


def folder_of(output: Path) -> Path:
    """Where the checkpoints of the run with this event log lie."""
    return output.with_suffix(".checkpoints")


def identity(config: Config, world: World, seed: int) -> dict[str, Any]:
    """What makes two attempts the same run; system settings may change."""
    return {
        "benchmark": config.benchmark.name,
        "rules": config.rules.name,
        "division": config.division,
        "seed": seed,
        "number_of_ranks": world.num_ranks,
        **logged_values(config.hyperparameters),
    }


def discard(output: Path) -> None:
    """Delete the checkpoints of a run that has succeeded; the result is not worse for what cannot be deleted."""
    shutil.rmtree(folder_of(output), ignore_errors=True)


def _check_unfinished(output: Path) -> None:
    stop = mllog.read(output).last("run_stop") if output.exists() else None
    if stop is not None and getattr(stop.metadata, "status", None) == "success":
        raise CheckpointError(f"{output}: the run has succeeded; there is nothing to resume")


def _latest(output: Path) -> Checkpoint | None:
    """The newest whole checkpoint."""
    paths = sorted(folder_of(output).glob("epoch_*.pt"), reverse=True)
    for path in paths:
        if path.stem.endswith(sha256(path)[:NUM_DIGITS]):
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        print(f"{path}: damaged; the checkpoint before it is taken", file=sys.stderr)
    if paths or (output.exists() and output.stat().st_size):
        raise CheckpointError(f"{folder_of(output)}: no whole checkpoint; move {output} away and start the run anew")
    return None


def _check(checkpoint: Checkpoint, output: Path, expected: dict[str, Any]) -> None:
    for key in expected.keys() | checkpoint.identity.keys():
        found, wanted = checkpoint.identity.get(key), expected.get(key)
        if found != wanted:
            raise CheckpointError(
                f"{folder_of(output)}: {key}: began with {found!r}, found {wanted!r}; resume a run as it began"
            )
    num_bytes = output.stat().st_size if output.exists() else 0
    if num_bytes < checkpoint.num_log_bytes:
        raise CheckpointError(
            f"{output}: found {num_bytes} bytes, expected {checkpoint.num_log_bytes} at least, as at the checkpoint"
        )


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    """Whole or not at all, and on the disk before an older one goes."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"epoch_{checkpoint.num_epochs_done:06d}"
    temporary = folder / f"{stem}.tmp"
    with temporary.open("wb") as file:
        torch.save(vars(checkpoint), file)
        file.flush()
        os.fsync(file.fileno())
    path = folder / f"{stem}_{sha256(temporary)[:NUM_DIGITS]}.pt"
    temporary.replace(path)
    _sync(folder)
    others = [other for other in sorted(folder.glob("epoch_*.pt")) if other != path]
    before = [other for other in others if other.name < stem]
    for old in set(others) - set(before[1 - NUM_KEPT :]):
        old.unlink()


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _unwrapped(part: Stateful) -> Stateful:
    return part.module if isinstance(part, DistributedDataParallel) else part


def _raise_on_all(world: World, fault: str | None) -> None:
    """Rank 0's fault is every rank's: none is left waiting."""
    fault = world.broadcast(fault)
    if fault:
        raise CheckpointError(fault)
