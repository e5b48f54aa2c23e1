# SPDX-License-Identifier: Apache-2.0
"""Timed data-parallel training steps; `breakdown` and `scaling` run these functions on every rank.

on_ranks("characterize.measure.data_parallel:throughput", settings, num_ranks=2)
on_ranks("characterize.measure.data_parallel:timeline", settings, num_ranks=2)
"""

import time
from dataclasses import asdict
from functools import partial
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from characterize.measure import benchmarks
from characterize.measure.communication_timeline import Recorder, StepTimes
from characterize.measure.training_step import TrainingStep
from harness.device import synchronize
from harness.distributed.world import World


def throughput(world: World, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of each step on the slowest rank, for which all ranks wait."""
    step = _build(world, settings)
    walls = _time_steps(world, step, settings)
    if world.num_ranks > 1:
        slowest = torch.tensor(walls, dtype=torch.float64, device=world.device)
        distributed.all_reduce(slowest, distributed.ReduceOp.MAX)
        walls = slowest.tolist()
    return {"seconds": walls, "num_ranks": world.num_ranks, "num_nodes": world.num_nodes}


def timeline(world: World, settings: dict[str, Any]) -> list[dict[str, list[dict]]]:
    """Buckets and step times of every rank, without warm-up: DDP rebuilds its buckets after the first step."""
    step = _build(world, settings)
    recorder = Recorder(compression=settings["compression"])
    step.model.register_comm_hook(recorder, Recorder.hook)
    steps = [_timed_step(world, step, recorder) for _ in range(settings["warm_up"] + settings["num_steps"])]
    own = {"buckets": recorder.buckets, "steps": steps}
    records = {name: [asdict(one) for one in ones if one.step >= settings["warm_up"]] for name, ones in own.items()}
    everybody: list = [None] * world.num_ranks
    distributed.all_gather_object(everybody, records)
    return everybody


def _timed_step(world: World, step: TrainingStep, recorder: Recorder) -> StepTimes:
    """One step with the times between its phases; an accelerator's queue is emptied between them."""
    world.barrier()
    start_s = time.monotonic()
    step.optimizer.zero_grad()
    loss = step.forward()
    synchronize(world.device)
    backward_s = recorder.begin_backward()
    loss.backward()
    synchronize(world.device)
    backward_end_s = time.monotonic()
    step.optimizer.step()
    synchronize(world.device)
    return StepTimes(
        step=recorder.step,
        start_s=start_s,
        backward_s=backward_s,
        backward_end_s=backward_end_s,
        end_s=time.monotonic(),
    )


def _build(world: World, settings: dict[str, Any]) -> TrainingStep:
    benchmark = benchmarks.named([settings["benchmark"]])[0]
    return TrainingStep.build(
        benchmark,
        size=tuple(settings["size"]),
        num_samples=settings["num_samples"],
        device=world.device,
        wrap=partial(DistributedDataParallel) if world.num_ranks > 1 else lambda model: model,
    )


def _time_steps(world: World, step: TrainingStep, settings: dict[str, Any]) -> list[float]:
    for _ in range(settings["warm_up"]):
        step()
    walls = []
    for _ in range(settings["num_steps"]):
        world.barrier()
        synchronize(world.device)
        start = time.perf_counter()
        step()
        synchronize(world.device)
        walls.append(time.perf_counter() - start)
    return walls
