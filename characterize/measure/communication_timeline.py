# SPDX-License-Identifier: Apache-2.0
"""Timeline of gradient communication from a DDP communication hook.

    recorder = Recorder(compression="none")
    model.register_comm_hook(recorder, Recorder.hook)
    ... steps ...
    parts = divide([buckets_of_rank_0, buckets_of_rank_1])      # seconds per step, summed over buckets
    phases = phases_of(steps_of_rank_0, buckets_of_rank_0)      # seconds of each step; they add up to the step

`divide` gives the parts of HPC AI500's table 12. Buckets travel at the same time, so their parts overlap and exceed the
step. `phases_of` gives what a step waits for: communication is hidden as long as gradients are still being computed,
and exposed afterwards.

All ranks must share a clock: processes of one node share CLOCK_MONOTONIC. DDP fixes its buckets when it is built, so
Horovod's negotiation phase does not exist and is 0.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from statistics import fmean

import torch
from torch import distributed
from torch.futures import Future

PARTS = (
    "negotiation",
    "wait for data",
    "wait for other data",
    "queuing",
    "memcpy in",
    "all-reduce",
    "memcpy out",
)
COMPRESSIONS = {"none": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """Times of one bucket on one rank, in seconds of the node's monotonic clock."""

    step: int
    index: int
    num_bytes: int
    """Bytes sent, after compression."""
    backward_s: float
    """Start of this step's backward pass."""
    ready_s: float
    """Last gradient of the bucket was computed."""
    packed_s: float
    """Bucket was scaled, cast and passed to the communication library."""
    reduced_s: float
    """All-reduce finished."""
    unpacked_s: float
    """Sum was cast back to the gradient's data type."""


@dataclass(frozen=True, kw_only=True)
class StepTimes:
    """Times of one step on one rank, in seconds of the node's monotonic clock."""

    step: int
    start_s: float
    backward_s: float
    """Start of the backward pass."""
    backward_end_s: float
    """End of the backward pass, when all gradients are reduced."""
    end_s: float
    """End of the optimizer's update."""


@dataclass(frozen=True, kw_only=True)
class Phases:
    """Seconds of one step; the first four add up to the step."""

    forward: float
    backward: float
    """Until the last gradient is computed."""
    exposed_communication: float
    """From the last gradient to the end of the last all-reduce: all that communication adds to the step."""
    optimizer: float
    hidden_communication: float
    """Time of all-reduces during the backward pass."""

    @property
    def step(self) -> float:
        return self.forward + self.backward + self.exposed_communication + self.optimizer


@dataclass
class Recorder:
    """State of the communication hook."""

    compression: str = "none"
    step: int = -1
    backward_s: float = 0.0
    buckets: list[Bucket] = field(default_factory=list)

    def begin_backward(self) -> float:
        """Note and return the start of the backward pass; call it right before backward()."""
        self.step += 1
        self.backward_s = time.monotonic()
        return self.backward_s

    def hook(self, bucket: distributed.GradBucket) -> Future[torch.Tensor]:
        """Average the bucket over ranks, as DDP does by default, and record the times."""
        ready_s, step, began_s = time.monotonic(), self.step, self.backward_s
        gradients, dtype = bucket.buffer(), COMPRESSIONS[self.compression]
        sent = gradients.div_(distributed.get_world_size())
        sent = sent.to(dtype) if dtype else sent
        packed_s = time.monotonic()
        future = distributed.all_reduce(sent, async_op=True).get_future()
        index, num_bytes = bucket.index(), sent.numel() * sent.element_size()

        def unpack(done: Future[list[torch.Tensor]]) -> torch.Tensor:
            reduced_s = time.monotonic()
            result = done.value()[0]
            result = gradients.copy_(result) if dtype else result
            self.buckets.append(
                Bucket(
                    step=step,
                    index=index,
                    num_bytes=num_bytes,
                    backward_s=began_s,
                    ready_s=ready_s,
                    packed_s=packed_s,
                    reduced_s=reduced_s,
                    unpacked_s=time.monotonic(),
                )
            )
            return result

        return future.then(unpack)


def divide(ranks: Sequence[Sequence[Bucket]]) -> dict[str, float]:
    """Seconds per step of each part, averaged over ranks; all ranks have the same buckets."""
    steps = sorted({bucket.step for bucket in ranks[0]})
    rows = [
        _divide_step([_of_step(rank, step) for rank in ranks], rank) for step in steps for rank in range(len(ranks))
    ]
    return {part: fmean(row[part] for row in rows) for part in PARTS}


def phases_of(steps: Sequence[StepTimes], buckets: Sequence[Bucket]) -> list[Phases]:
    """Phases of each of a rank's steps."""
    return [_phases(step, _of_step(buckets, step.step)) for step in steps]


def mean_phases(phases: Sequence[Phases]) -> Phases:
    """Mean over steps and ranks."""
    return Phases(**{each.name: fmean(getattr(one, each.name) for one in phases) for each in fields(Phases)})


def _phases(step: StepTimes, buckets: Sequence[Bucket]) -> Phases:
    last_gradient_s = max((bucket.ready_s for bucket in buckets), default=step.backward_end_s)
    on_the_way = [(bucket.packed_s, min(bucket.reduced_s, last_gradient_s)) for bucket in buckets]
    return Phases(
        forward=step.backward_s - step.start_s,
        backward=last_gradient_s - step.backward_s,
        exposed_communication=step.backward_end_s - last_gradient_s,
        optimizer=step.end_s - step.backward_end_s,
        hidden_communication=_covered(on_the_way),
    )


def _covered(intervals: Sequence[tuple[float, float]]) -> float:
    """Length of the union of the intervals."""
    total, reached = 0.0, float("-inf")
    for start, stop in sorted(intervals):
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total


def _of_step(buckets: Sequence[Bucket], step: int) -> list[Bucket]:
    """Buckets of one step in the order of communication."""
    return sorted((bucket for bucket in buckets if bucket.step == step), key=lambda bucket: bucket.ready_s)


def _divide_step(ranks: Sequence[Sequence[Bucket]], rank: int) -> dict[str, float]:
    """Parts of one rank in one step, summed over its buckets."""
    total = dict.fromkeys(PARTS, 0.0)
    own, free_s = ranks[rank], own_start(ranks[rank])
    previous_s = free_s
    for position, bucket in enumerate(own):
        all_packed_s = max(other[position].packed_s for other in ranks)
        begins_s = max(all_packed_s, free_s)
        total["wait for data"] += max(0.0, bucket.ready_s - previous_s)
        total["memcpy in"] += bucket.packed_s - bucket.ready_s
        total["wait for other data"] += all_packed_s - bucket.packed_s
        total["queuing"] += begins_s - all_packed_s
        total["all-reduce"] += max(0.0, bucket.reduced_s - begins_s)
        total["memcpy out"] += bucket.unpacked_s - bucket.reduced_s
        previous_s, free_s = bucket.packed_s, max(free_s, bucket.reduced_s)
    return total


def own_start(buckets: Sequence[Bucket]) -> float:
    """Start of the step's backward pass."""
    return min(bucket.backward_s for bucket in buckets)
