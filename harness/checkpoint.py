# SPDX-License-Identifier: Apache-2.0
"""Exact resume: saves, between epochs, everything that a run needs to continue as if it had never stopped.

    checkpoints = run.checkpoints(every_epochs=1, network=model, optimizer=optimizer)
    for epoch in run.epochs(limit, checkpoints):        # saves once before the first epoch, then after epochs
        ...
    python -m cosmoflow.train ... --output result_0.txt --resume

A checkpoint holds the states of the named parts, the random states of all ranks, the epoch and the length of the event
log. The order of samples and the learning rate follow from seed and epoch. On CPU, a resumed run has the losses of an
uninterrupted one to the last bit. Its log is cut back to the checkpoint, records `restart`, and continues; as a timed
run it does not count.

Checkpoints are files in <output>.checkpoints whose names hold the epoch and the SHA-256 of the content. Each is written
under a hidden name and then renamed, and the last two are kept, so that neither a kill nor a full disk leaves a run
without one. They are deleted when the run succeeds. Only rank 0 writes and reads them, so a part must have the same
state on all ranks; running statistics of batch norm are averaged for this, as before an evaluation.
"""

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from compliance import mllog
from compliance.files import atomic_write
from compliance.files.errors import UserError
from harness.config import Config, logged_values
from harness.data.manifest import FILE_NAME, Manifest, sha256
from harness.distributed import batch_norm
from harness.distributed.world import World

NUM_KEPT = 2
NUM_DIGITS = 16
"""Digits of the SHA-256 in the name of a checkpoint."""


class CheckpointError(UserError):
    """A run that cannot be resumed, or a checkpoint that cannot be written."""


class Stateful(Protocol):
    """A part of a run: a module, an optimizer, a scaler."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Mapping[str, Any]) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a run between two epochs."""

    num_epochs_done: int
    num_log_bytes: int
    """Length of the event log."""
    identity: dict[str, Any]
    """Values that must be equal in the run that continues; see identity()."""
    parts: dict[str, dict[str, Any]]
    """States by name."""
    random: list[dict[str, torch.Tensor]]
    """Random states of each rank: of the CPU, and of its device."""


class Checkpoints:
    """The checkpoints of one run. Every method is a collective: all ranks call it."""

    def __init__(
        self, *, world: World, output: Path, identity: dict[str, Any], every_epochs: int, **parts: Stateful
    ) -> None:
        """`output`: event log of the run; `every_epochs`: epochs from one checkpoint to the next, 0 for none."""
        self._world, self._output, self._every, self._identity = world, output, every_epochs, identity
        self._parts = {name: _unwrapped(part) for name, part in parts.items()}

    def save(self, num_epochs_done: int) -> None:
        """Write a checkpoint if one is due. CheckpointError on all ranks if rank 0 cannot write it."""
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
            except (UserError, OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
                fault = f"{folder_of(self._output)}: checkpoint not written: {error}".splitlines()[0]
        _raise_on_all(self._world, fault)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore all parts, and the random state of this rank."""
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
        states: list[Any] | None = [None] * self._world.num_ranks if self._world.rank == 0 else None
        dist.gather_object(state, states)
        return states or []


def find(output: Path, config: Config, world: World, seed: int | None, data: Path | None = None) -> Checkpoint | None:
    """The checkpoint from which a run is resumed, on all ranks; None if the run has not begun.

    CheckpointError if the run has succeeded, began with another configuration or other data, or has lost its
    checkpoints.
    """
    checkpoint, fault = None, None
    if world.rank == 0:
        try:
            _check_unfinished(output)
            checkpoint = _latest(output)
            if checkpoint is not None:
                expected = identity(config, world, seed or checkpoint.identity["seed"], data)
                _check(checkpoint, output, expected)
        except CheckpointError as error:
            fault = str(error)
    _raise_on_all(world, fault)
    return world.broadcast(checkpoint)


def folder_of(output: Path) -> Path:
    """Folder of the checkpoints of the run with this event log."""
    return output.with_suffix(".checkpoints")


def identity(config: Config, world: World, seed: int, data: Path | None = None) -> dict[str, Any]:
    """Values that make two attempts the same run; system settings may differ.

    The data set is known by its manifest: a copy in another folder is the same data set.
    """
    return {
        "benchmark": config.benchmark.name,
        "rules": config.rules.name,
        "division": config.division,
        "seed": seed,
        "number_of_ranks": world.num_ranks,
        "data_digest": _data_digest(data),
        **logged_values(config.hyperparameters),
    }


def _data_digest(data: Path | None) -> str | None:
    """Digest of the data set in this folder; None without a manifest."""
    return Manifest.load(data).digest() if data is not None and (data / FILE_NAME).exists() else None


def discard(output: Path) -> None:
    """Delete the checkpoints of a run that has succeeded. Deletion failures are ignored; the result is complete."""
    shutil.rmtree(folder_of(output), ignore_errors=True)


def _check_unfinished(output: Path) -> None:
    stop = mllog.read(output).last("run_stop") if output.exists() else None
    if stop is not None and getattr(stop.metadata, "status", None) == "success":
        raise CheckpointError(f"{output}: the run has succeeded; there is nothing to resume")


def _latest(output: Path) -> Checkpoint | None:
    """The newest undamaged checkpoint."""
    paths = sorted(folder_of(output).glob("epoch_*.pt"), reverse=True)
    for path in paths:
        if path.stem.endswith(sha256(path)[:NUM_DIGITS]):
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        print(f"{path}: damaged; trying the checkpoint before it", file=sys.stderr)
    if paths or (output.exists() and output.stat().st_size):
        raise CheckpointError(f"{folder_of(output)}: no whole checkpoint; move {output} away and start the run anew")
    return None


def _check(checkpoint: Checkpoint, output: Path, expected: dict[str, Any]) -> None:
    for key in expected.keys() | checkpoint.identity.keys():
        former, current = checkpoint.identity.get(key), expected.get(key)
        if former != current:
            raise CheckpointError(
                f"{folder_of(output)}: {key}: the run began with {former!r}, found {current!r}; "
                "resume it with the configuration and the data set that it began with"
            )
    num_bytes = output.stat().st_size if output.exists() else 0
    if num_bytes < checkpoint.num_log_bytes:
        raise CheckpointError(
            f"{output}: found {num_bytes} bytes, expected at least the {checkpoint.num_log_bytes} of the checkpoint"
        )


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a whole checkpoint or none; it is on the disk before an older one is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"epoch_{checkpoint.num_epochs_done:06d}"
    unnamed = folder / f"{stem}.tmp"
    with atomic_write.open_file(unnamed, durable=True) as file:
        torch.save(vars(checkpoint), file)
    path = folder / f"{stem}_{sha256(unnamed)[:NUM_DIGITS]}.pt"
    unnamed.replace(path)
    atomic_write.sync(folder)
    before = sorted(other for other in folder.glob("epoch_*.pt") if other.name < stem)
    for old in set(folder.iterdir()) - {path, *before[1 - NUM_KEPT :]}:  # later attempts, and files of a killed save
        old.unlink()


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _unwrapped(part: Stateful) -> Stateful:
    return part.module if isinstance(part, DistributedDataParallel) else part


def _raise_on_all(world: World, fault: str | None) -> None:
    """Raise a fault of rank 0 on every rank, so that none is left waiting."""
    fault = world.broadcast(fault)
    if fault:
        raise CheckpointError(fault)
