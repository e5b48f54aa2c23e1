# SPDX-License-Identifier: Apache-2.0
"""Named ranges of a training step, and a trace of some steps.

    with ranges.named("forward"): ...                       # data, forward, backward, optimizer, evaluation
    for batch in ranges.traced(batches, run, epoch): ...      # profile = "2:10": a trace of ten steps of epoch 2

The ranges appear in traces of torch.profiler and, on an accelerator, in those of Nsight Systems (NVTX) or rocprof
(roctx). All-reduces appear there under the names that NCCL or gloo give them. The ranges of a step that is a CUDA graph
appear while it is captured, and not when it is replayed.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch.profiler import ProfilerActivity

from compliance.files import atomic_write

if TYPE_CHECKING:
    from harness.run import Run

NUM_WARM_UP_STEPS = 1
"""Steps before those of the trace, in which the profiler starts."""

Item = TypeVar("Item")


@contextmanager
def named(name: str) -> Iterator[None]:
    """A range in the traces of all profilers."""
    with ExitStack() as stack:
        stack.enter_context(torch.profiler.record_function(name))
        if torch.cuda.is_available():
            stack.enter_context(torch.cuda.nvtx.range(name))
        yield


def each(name: str, items: Iterable[Item]) -> Iterator[Item]:
    """The items, with a range around the time that each takes to arrive."""
    iterator = iter(items)
    while True:
        with named(name):
            try:
                item = next(iterator)
            except StopIteration:
                return
        yield item


def traced(batches: Iterable[Item], run: "Run", epoch: int) -> Iterator[Item]:
    """The batches; in the epoch that `profile` names, rank 0 writes a trace of so many steps beside the event log."""
    profile = run.config.system.profile
    chosen, _, num_steps = profile.partition(":")
    if not profile or run.world.rank != 0 or epoch != int(chosen):
        yield from batches
        return
    schedule = torch.profiler.schedule(wait=0, warmup=NUM_WARM_UP_STEPS, active=int(num_steps), repeat=1)
    write = partial(_write_trace, run.output.with_suffix(".trace.json"))
    with torch.profiler.profile(activities=_activities(), schedule=schedule, on_trace_ready=write) as profiler:
        for batch in batches:
            yield batch
            profiler.step()


def _write_trace(output: Path, profiler: torch.profiler.profile) -> None:
    with atomic_write.unfinished_file(output) as part:
        profiler.export_chrome_trace(str(part))


def _activities() -> list[ProfilerActivity]:
    return [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
