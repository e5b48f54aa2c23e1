# SPDX-License-Identifier: Apache-2.0
"""Exact resume: saves, between epochs, everything that a run needs to continue as if it had never stopped.

    checkpoints = run.checkpoints(every_epochs=1, network=model, optimizer=optimizer)
    for epoch in run.epochs(limit, checkpoints):        # saves once before the first epoch, then after epochs
        ...
    python -m cosmoflow.train ... --output result_0.txt --resume

A checkpoint holds the states of the named parts, the random states of all ranks, the epoch, and the length and the
SHA-256 of the event log. The order of samples and the learning rate follow from seed and epoch. On CPU, a resumed run
has the losses of an uninterrupted one to the last bit. Its log is cut back to the checkpoint, records `restart`, and
continues; as a timed run it does not count. A log that was edited before that point is not continued. If a run was
killed before its first checkpoint, it starts anew and its former log is kept under another name.

Checkpoints are files in <output>.checkpoints whose names hold the epoch and the SHA-256 of the content. Each is written
under another name and then renamed, and the last two are kept, so that neither a kill nor a full disk leaves a run
without one. If one cannot be read, the one before it is used. They are deleted when the run succeeds. Only rank 0
writes and reads them, so a part must have the same state on all ranks; running statistics of batch norm are averaged
for this, as before an evaluation.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from itertools import count
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
from harness.data.manifest import sha256
from harness.distributed import batch_norm
from harness.distributed.world import World

NUM_KEPT = 2
NUM_DIGITS = 16
"""Digits of the SHA-256 in the name of a checkpoint."""


class CheckpointError(UserError):
    """A run that cannot be resumed, or a checkpoint that cannot be written."""

    same_on_all_ranks = True


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
    log_sha256: str
    """SHA-256 of that part of the event log."""
    identity: dict[str, Any]
    """Values that must be equal in the run that continues; see identity()."""
    parts: dict[str, dict[str, Any]]
    """States by name."""
    random: list[dict[str, torch.Tensor]]
    """Random states of each rank: of the CPU, and of its device."""


class Checkpoints:
    """The checkpoints of one run. Every method is a collective: all ranks call it."""

    def __init__(
        self,
        *,
        world: World,
        output: Path,
        identity: dict[str, Any],
        every_epochs: int,
        uninterrupted: Callable[[], AbstractContextManager] = nullcontext,
        **parts: Stateful,
    ) -> None:
        """`output`: event log of the run; `every_epochs`: epochs from one checkpoint to the next, 0 for none.

        `uninterrupted`: makes a block in which no signal raises; PyTorch would report it as a failed write.
        """
        self._world, self._output, self._every, self._identity = world, output, every_epochs, identity
        self._uninterrupted = uninterrupted
        self._parts = {name: _unwrapped(part) for name, part in parts.items()}

    def save(self, num_epochs_done: int) -> None:
        """Write a checkpoint if one is due. CheckpointError on all ranks if rank 0 cannot write it."""
        if not self._every or num_epochs_done % self._every:
            return
        for part in self._parts.values():
            if isinstance(part, nn.Module):
                batch_norm.average_running_statistics(part)
        random = self._gather(_random_state(self._world.device))
        self._world.on_first_rank(lambda: self._write(num_epochs_done, random))

    def _write(self, num_epochs_done: int, random: list[dict[str, torch.Tensor]]) -> None:
        with self._uninterrupted():
            self._write_whole(num_epochs_done, random)

    def _write_whole(self, num_epochs_done: int, random: list[dict[str, torch.Tensor]]) -> None:
        folder = folder_of(self._output)
        try:
            atomic_write.sync(self._output)
            num_bytes = self._output.stat().st_size
            checkpoint = Checkpoint(
                num_epochs_done=num_epochs_done,
                num_log_bytes=num_bytes,
                log_sha256=_sha256_of_head(self._output, num_bytes),
                identity=self._identity,
                parts={name: part.state_dict() for name, part in self._parts.items()},
                random=random,
            )
            _write(checkpoint, folder)
        except (UserError, OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            raise CheckpointError(f"{folder}: checkpoint not written: {error}".splitlines()[0]) from None

    def restore(self, checkpoint: Checkpoint) -> None:
        """Restore all parts, and the random state of this rank. CheckpointError if a part is not that of this code."""
        for name, part in self._parts.items():
            try:
                part.load_state_dict(checkpoint.parts[name])
            except (KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
                raise CheckpointError(
                    f"{folder_of(self._output)}: {name}: the checkpoint does not fit this code: "
                    f"{str(error).splitlines()[0]}; resume with the code that began the run, or start it anew"
                ) from None
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


def find(
    output: Path, config: Config, world: World, seed: int | None, data_sha256: str | None = None
) -> Checkpoint | None:
    """The checkpoint from which a run is resumed, on all ranks; None if it begins, or begins anew.

    CheckpointError if the run has succeeded, if it began with another configuration or data set, if its log was edited,
    or if none of its checkpoints can be read.
    """

    def found() -> Checkpoint | None:
        _check_unfinished(output)
        checkpoint = _latest(output, world.num_ranks)
        if checkpoint is not None:
            expected = identity(config, world, seed or checkpoint.identity["seed"], data_sha256)
            _check(checkpoint, output, expected)
        return checkpoint

    return world.on_first_rank(found)


def folder_of(output: Path) -> Path:
    """Folder of the checkpoints of the run with this event log."""
    return output.with_suffix(".checkpoints")


def identity(config: Config, world: World, seed: int, data_sha256: str | None) -> dict[str, Any]:
    """Values that make two attempts the same run; system settings may differ. `data_sha256`: that of the manifest."""
    return {
        "benchmark": config.benchmark.name,
        "rules": config.rules.name,
        "division": config.division,
        "seed": seed,
        "number_of_ranks": world.num_ranks,
        "data_manifest_sha256": data_sha256,
        **logged_values(config.hyperparameters),
    }


def discard(output: Path) -> None:
    """Delete the checkpoints of a run that has succeeded. Deletion failures are ignored; the result is complete."""
    shutil.rmtree(folder_of(output), ignore_errors=True)


def _check_unfinished(output: Path) -> None:
    stop = mllog.read(output).last("run_stop") if output.exists() else None
    if stop is not None and getattr(stop.metadata, "status", None) == "success":
        raise CheckpointError(f"{output}: the run has succeeded; there is nothing to resume")


def _latest(output: Path, num_ranks: int) -> Checkpoint | None:
    """The newest checkpoint that can be read; None for a run without one, whose log is then moved away."""
    paths = sorted(folder_of(output).glob("epoch_*.pt"), reverse=True)
    for path in paths:
        try:
            return _load(path, num_ranks)
        except Exception as error:  # a foreign file may fail in any way
            reason = (str(error) or type(error).__name__).splitlines()[0]
            print(f"{path}: damaged; trying the checkpoint before it ({reason})", file=sys.stderr)
    if paths:
        raise CheckpointError(f"{folder_of(output)}: no whole checkpoint; move {output} away and start the run anew")
    if output.exists() and output.stat().st_size:
        _move_away(output)
    return None


def _load(path: Path, num_ranks: int) -> Checkpoint:
    """A checkpoint. An error of many types if the file is not the one that was written, or not a checkpoint."""
    if not path.stem.endswith(sha256(path)[:NUM_DIGITS]):
        raise ValueError("its content differs from the SHA-256 in its name")
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict) or content.keys() != {field.name for field in fields(Checkpoint)}:
        raise TypeError("it is no checkpoint of a run")
    checkpoint = Checkpoint(**content)
    tables = (checkpoint.identity, checkpoint.parts, *checkpoint.random)
    if not all(isinstance(table, dict) for table in tables) or "seed" not in checkpoint.identity:
        raise TypeError("it is no checkpoint of a run")
    if checkpoint.identity.get("number_of_ranks") == num_ranks != len(checkpoint.random):
        raise ValueError(f"it has the random states of {len(checkpoint.random)} ranks, expected {num_ranks}")
    return checkpoint


def _move_away(output: Path) -> None:
    """Keep the log of a run that has no checkpoint under another name, because the run starts anew."""
    if not mllog.read(output).events:
        raise CheckpointError(
            f"{output}: is no event log and has no checkpoint beside it; move it away, or name another"
        )
    names = (output.with_name(f"{output.name}.abandoned_{number}") for number in count(1))
    former = next(path for path in names if not path.exists())
    output.rename(former)
    print(f"{output}: ended before its first checkpoint; starting anew, the former log is {former}", file=sys.stderr)


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
    if _sha256_of_head(output, checkpoint.num_log_bytes) != checkpoint.log_sha256:
        raise CheckpointError(
            f"{output}: differs from the log that the checkpoint was saved with; an edited log is not continued: "
            "restore it, or move it away and start the run anew"
        )


def _sha256_of_head(path: Path, num_bytes: int) -> str:
    with path.open("rb") as file:
        return hashlib.sha256(file.read(num_bytes)).hexdigest()


def _write(checkpoint: Checkpoint, folder: Path) -> None:
    """Write a whole checkpoint or none; it is on the disk before an older one is deleted."""
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"epoch_{checkpoint.num_epochs_done:06d}"
    unnamed = folder / f"{stem}.tmp"
    with atomic_write.open_file(unnamed, durable=True) as file:
        torch.save(vars(checkpoint), file)
    path = folder / f"{stem}_{sha256(unnamed)[:NUM_DIGITS]}.pt"
    if path.is_dir():
        _remove(path)
    unnamed.replace(path)
    atomic_write.sync(folder)
    before = sorted(other for other in folder.glob("epoch_*.pt") if other.name < stem)
    for old in set(folder.iterdir()) - {path, *before[1 - NUM_KEPT :]}:  # later attempts, and files of a killed save
        _remove(old)


def _remove(path: Path) -> None:
    """Delete a file, or a folder that has taken its place."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _random_state(device: torch.device) -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    return state | {"device": torch.cuda.get_rng_state(device)} if device.type == "cuda" else state


def _unwrapped(part: Stateful) -> Stateful:
    return part.module if isinstance(part, DistributedDataParallel) else part
