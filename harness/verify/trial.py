# SPDX-License-Identifier: Apache-2.0
"""Trial of one device: its operators against references, the bits of a replayed training step, and its speeds.

    device = measure(world, precisions=["fp32", "bf16"], num_repeats=10)

A synthetic check of single operators misses faults that depend on load and temperature. The same training step is
therefore replayed from the same weights, and the bits of the new weights are compared over time and over devices.
"""

import hashlib
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from harness import operator_check, operators, processor
from harness.device import seconds_of
from harness.distributed.world import World
from harness.precision import Precision, set_tf32
from harness.verify.network import LOADS, seeded

COPY_BYTES = {"cpu": 64 << 20, "cuda": 1 << 30}
"""Size of a copy that measures the memory's bandwidth: larger than caches."""
MESSAGE_BYTES = {"cpu": 8 << 20, "cuda": 256 << 20}
NUM_COPIES = 7
STEP, MEMORY, LINK = "step (ms)", "memory (GB/s)", "link (GB/s)"
"""Names of the figures."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """Observations of one device."""

    rank: int
    node: str
    """Host name."""
    number: int
    """Number of the device, or of the process, on its node."""
    kind: str
    """Name of the device; bits and speeds are compared between devices of one kind."""
    faults: tuple[str, ...] = ()
    """A line for each operator that is wrong, and for each error that the device raised."""
    digests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By precision, the digest of the weights after each replay of the step."""
    figures: dict[str, float] = field(default_factory=dict)
    """Speeds by name; a device that raised an error has none."""


def measure(world: World, *, precisions: Sequence[str], num_repeats: int) -> Device:
    """All trials on this rank's device. All ranks call it; an error that a device raises is one of its faults."""
    faults: list[str] = []
    digests: dict[str, tuple[str, ...]] = {}
    figures: dict[str, float] = {}
    for name in precisions:
        with _raised_into(faults, f"operators in {name}"):
            faults += _wrong_operators(name, world.device)
        world.barrier()  # all devices of a node are under load at the same time
        with _raised_into(faults, f"training step in {name}"), _repeatable(world):
            digests[name], figures[STEP] = _replay(name, world.device, num_repeats)
    world.barrier()
    with _raised_into(faults, "copy in memory"):
        figures[MEMORY] = _memory_bandwidth(world.device)
    if world.num_ranks > 1:
        figures[LINK] = _link_bandwidth(world)
    return Device(
        rank=world.rank,
        node=socket.gethostname(),
        number=world.local_rank,
        kind=kind_of(world.device),
        faults=tuple(faults),
        digests=digests,
        figures=figures,
    )


def kind_of(device: torch.device) -> str:
    """The name of the accelerator, or of the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor.model_name()


@contextmanager
def _raised_into(faults: list[str], what: str) -> Iterator[None]:
    """Turn the errors of a broken device into a fault, so that the other ranks do not wait for this one."""
    try:
        yield
    except RuntimeError as error:
        faults.append(f"{what}: {str(error).strip().splitlines()[0]}")


@contextmanager
def _repeatable(world: World) -> Iterator[None]:
    """Kernels that add up in a fixed order, and as many threads on each rank; restored afterwards."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    num_threads, was_deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(min(world.all_gather(num_threads)))
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(was_deterministic)
        torch.set_num_threads(num_threads)


def _wrong_operators(name: str, device: torch.device) -> list[str]:
    network, (volumes_NCDHW, images_NCHW, _) = seeded(LOADS[device.type], device)
    precision = Precision.start(name, device)

    def forward() -> None:
        with precision.autocast():
            network(volumes_NCDHW, images_NCHW)

    recorded = operators.record(network, forward)
    return [f"{name}: {fault}" for fault in operator_check.check(recorded, name, device).faults]


def _replay(name: str, device: torch.device, num_repeats: int) -> tuple[tuple[str, ...], float]:
    """Digests of the weights after a step from the same weights, and the median of the step's milliseconds."""
    network, batch = seeded(LOADS[device.type], device)
    start = [tensor.detach().clone() for tensor in _state(network)]
    precision, optimizer = Precision.start(name, device), SGD(network.parameters(), lr=0.1)
    digests, times_ms = [], []
    for repeat in range(num_repeats + 1):
        with torch.no_grad():
            for tensor, value in zip(_state(network), start, strict=True):
                tensor.copy_(value)
        seconds = seconds_of(lambda: _step(network, optimizer, precision, *batch), device)
        if repeat:  # the first one chooses and loads the kernels
            digests.append(_digest(network))
            times_ms.append(1000 * seconds)
    set_tf32(False)
    return tuple(digests), median(times_ms)


def _step(
    network: nn.Module,
    optimizer: SGD,
    precision: Precision,
    volumes_NCDHW: Tensor,
    images_NCHW: Tensor,
    classes_N: Tensor,
) -> None:
    optimizer.zero_grad()
    with precision.autocast():
        scores_NK = network(volumes_NCDHW, images_NCHW)
    cross_entropy(scores_NK.float(), classes_N).backward()
    optimizer.step()


def _state(network: nn.Module) -> list[Tensor]:
    return [*network.parameters(), *network.buffers()]


def _digest(network: nn.Module) -> str:
    digest = hashlib.sha256()
    for tensor in _state(network):
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _memory_bandwidth(device: torch.device) -> float:
    """GB/s of reading and writing in a copy on the device."""
    source = torch.ones(COPY_BYTES[device.type], dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    times = [seconds_of(lambda: target.copy_(source), device) for _ in range(NUM_COPIES)]
    return 2 * source.numel() / median(times[1:]) / 1e9


def _link_bandwidth(world: World) -> float:
    """GB/s at which this rank sends and receives at the same time; the better one of two pairs of partners.

    The partners are on other nodes if there are several. With two pairs, a slow link shows at its own rank and not at
    the partners.
    """
    stride = world.ranks_per_node if world.num_nodes > 1 and world.is_even else 1
    return max(_exchange(world, distance) for distance in (stride, 2 * stride))


def _exchange(world: World, distance: int) -> float:
    """GB/s from the rank at this distance; the distance to itself measures nothing."""
    if distance % world.num_ranks == 0:
        return 0.0
    size = MESSAGE_BYTES[world.device.type]
    sent = torch.ones(size, dtype=torch.uint8, device=world.device)
    received = torch.empty_like(sent)
    target, source = (world.rank + distance) % world.num_ranks, (world.rank - distance) % world.num_ranks

    def exchange() -> None:
        pair = [dist.P2POp(dist.isend, sent, target), dist.P2POp(dist.irecv, received, source)]
        for work in dist.batch_isend_irecv(pair):
            work.wait()

    world.barrier()
    times = [seconds_of(exchange, world.device) for _ in range(NUM_COPIES)]
    return size / median(times[1:]) / 1e9
