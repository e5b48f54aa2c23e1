# SPDX-License-Identifier: Apache-2.0
"""Train CosmoFlow until it meets its quality target, and write the event log of the run.

    python -m cosmoflow.train --config cosmoflow/configs/demo --data output/data
    torchrun --nproc-per-node 8 -m cosmoflow.train --config cosmoflow/configs/closed --data /scratch/cosmoflow

The same seed in one process on the CPU gives the same losses; several ranks give those of one at the same global batch.

Shapes: N samples of a rank's batch, C = 4 redshifts, D H W voxels, T = 4 target parameters.
"""

import sys
from functools import partial

from harness import cli

cli.answer_early(__name__, cli.parser("cosmoflow.train", __doc__))

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.optim import Optimizer

from cosmoflow.augmentation import random_cube_symmetry
from cosmoflow.config import Hyperparameters, System, check_job
from cosmoflow.data import Batch, Dataset, open_split
from cosmoflow.loader import loader
from cosmoflow.model import CosmoFlow, log_counts
from harness import local_copy, operator_check, ranges
from harness.data import node_parts
from harness.data.device_batches import DeviceBatches
from harness.data.listings import read_for_all
from harness.data.node_parts import NodePart, NodePartError
from harness.distributed import data_parallel, spatial
from harness.distributed.spatial import Grid
from harness.distributed.world import World
from harness.optim import schedules
from harness.optim.optimizers import KerasSGD, device_rate, set_learning_rate
from harness.optim.parameter_groups import decay_groups
from harness.precision import Precision
from harness.run import Run
from harness.step import Step, warm_up
from harness.train_command import TrainCommand

KERNEL_SIZES = {"mlperf_hpc_0.7": 2}
"""Kernel size of the model in rounds that differ from all later ones, which have 3."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`; None for those of the command line."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        grid = spatial.grid(request.settings.system.spatial_parts, world)
        check_job(request.settings, num_ranks=world.num_ranks, device_type=world.device.type)
        precision = Precision.start(request.settings.system.precision, world.device)
        opening = {"listed_by": read_for_all(request.data, world), "rank": world.rank, "num_ranks": world.num_ranks}
        train_set, validation_set = (open_split(request.data, split, **opening) for split in ("train", "validation"))
        check_holdings(train_set, grid, world)
        with request.run(world) as run:
            train(run, grid, precision, train_set, validation_set)


def train(run: Run, grid: Grid, precision: Precision, train_set: Dataset, validation_set: Dataset) -> None:
    """The whole procedure: initialization, then epochs and evaluations until the target is met."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    run.log("spatial_parts", system.spatial_parts)
    run.log("staging_form", node_parts.form(train_set.manifest, system.staging_form))
    batch_size = hyperparameters.global_batch_size // grid.num_replicas
    model = build_model(run, grid, input_size=train_set.sample_shape[-1])
    universes_NCDHW, _ = synthetic_batch(run, grid, train_set, batch_size)
    precision = operator_check.confirm(run, precision, model, partial(predict, model, precision, universes_NCDHW))
    run.log("precision", precision.name)
    replica = data_parallel.replicate(model, run.world, **data_parallel.exchange_settings(system))
    optimizer = build_optimizer(model, hyperparameters)
    seed_replica(run, grid)
    parts = {"model": model, "optimizer": optimizer, "precision": precision}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts)
    step = Step(partial(training_step, replica, optimizer, precision), replica, training=True)
    measure = Step(partial(absolute_errors, model, precision), model, training=False)
    sizes = {step: batch_size, measure: system.evaluation_batch_size}
    synthetic = [(each, synthetic_batch(run, grid, train_set, size)) for each, size in sizes.items()]
    warm_up(synthetic, run, **parts)

    run.start()
    if system.staging_folder or system.cache:
        with run.staging():
            local_copy.stage_and_cache(run, train_set, validation_set)
    train_batches = build_loader(run, grid, train_set, batch_size, shuffle=True)
    validation_batches = build_loader(run, grid, validation_set, system.evaluation_batch_size, shuffle=False)
    for epoch in run.epochs(system.max_epochs, checkpoints):
        set_learning_rate(optimizer, learning_rate(epoch - 1, hyperparameters))
        train_batches.set_epoch(epoch)
        train_epoch(run, grid, epoch, step, train_batches)
        with run.evaluation(epoch) as result, ranges.named("evaluation"):
            result.value = mean_absolute_error(run, measure, validation_batches)
        if run.reached(result):
            break


def train_epoch(run: Run, grid: Grid, epoch: int, step: Step, batches: DeviceBatches) -> None:
    """One pass over the training samples."""
    step.model.train()
    with run.progress(epoch, len(batches)) as progress:
        for counts_NCDHW, target_NT in ranges.traced(batches, run, epoch):
            loss = step(counts_NCDHW, target_NT)
            progress.update(num_samples=len(target_NT) / grid.num_parts, loss=loss)


def training_step(
    replica: nn.Module, optimizer: Optimizer, precision: Precision, counts_NCDHW: Tensor, target_NT: Tensor
) -> Tensor:
    """One update of the weights; returns the loss."""
    optimizer.zero_grad()
    with ranges.named("forward"):
        loss = mse_loss(predict(replica, precision, counts_NCDHW), target_NT)
    with ranges.named("backward"):
        precision.backward(loss)
    with ranges.named("optimizer"):
        precision.step(optimizer)
    return loss.detach()


def mean_absolute_error(run: Run, measure: Step, batches: DeviceBatches) -> float:
    """The quality metric: over all validation samples of all ranks and their four normalized targets."""
    measure.model.eval()
    total, num_values = torch.zeros((), dtype=torch.float64, device=run.world.device), 0
    for counts_NCDHW, target_NT in batches:
        total += measure(counts_NCDHW, target_NT)
        num_values += target_NT.numel()
    return run.world.mean(total, num_values)


@torch.no_grad()
def absolute_errors(model: nn.Module, precision: Precision, counts_NCDHW: Tensor, target_NT: Tensor) -> Tensor:
    """The sum of the absolute errors of a batch."""
    return (predict(model, precision, counts_NCDHW) - target_NT).abs().sum()


def predict(model: nn.Module, precision: Precision, counts_NCDHW: Tensor) -> Tensor:
    """int16 particle counts -> (N, T) in fp32."""
    with precision.autocast():
        return model(log_counts(counts_NCDHW))


def prepare(system: System, grid: Grid, augmented: bool, counts_NCDHW: Tensor, target_NT: Tensor) -> Batch:
    """A batch on the device as the model takes it: turned if augmented, this rank's part, in the system's order."""
    if augmented:
        counts_NCDHW = random_cube_symmetry(counts_NCDHW)
    order = data_parallel.memory_format(system, num_dimensions=3)
    return grid.part(counts_NCDHW).contiguous(memory_format=order), target_NT


def synthetic_batch(run: Run, grid: Grid, dataset: Dataset, num_samples: int) -> Batch:
    """A batch of empty universes on the device, for the warm-up."""
    counts_NCDHW, target_NT = (torch.zeros_like(tensor) for tensor in dataset.empty_batch(num_samples))
    batch = counts_NCDHW.to(run.world.device), target_NT.to(run.world.device)
    return prepare(run.config.system, grid, False, *batch)


def learning_rate(epoch: int, hyperparameters: Hyperparameters) -> float:
    """The rate of an epoch, counted from 0; it changes between epochs only."""
    peak = hyperparameters.opt_base_learning_rate
    return schedules.linear_warmup(
        epoch,
        _decayed_rate(epoch, hyperparameters),
        peak=peak,
        warmup=hyperparameters.opt_learning_rate_warmup_epochs,
        warmup_factor=hyperparameters.opt_learning_rate_warmup_factor,
    )


def _decayed_rate(epoch: int, hyperparameters: Hyperparameters) -> float:
    peak, schedule = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_decay_schedule
    if schedule is None:
        return schedules.step_decay(
            epoch,
            peak=peak,
            boundaries=hyperparameters.opt_learning_rate_decay_boundary_epochs,
            factors=hyperparameters.opt_learning_rate_decay_factor,
        )
    span = {
        "peak": peak,
        "start": hyperparameters.opt_learning_rate_warmup_epochs,
        "stop": hyperparameters.opt_learning_rate_decay_epochs,
        "end": hyperparameters.opt_end_learning_rate or 0.0,
    }
    if schedule == "polynomial":
        return schedules.polynomial_decay(epoch, power=hyperparameters.opt_learning_rate_decay_poly_power, **span)
    return {"linear": schedules.linear_decay, "cosine": schedules.cosine_decay}[schedule](epoch, **span)


def check_holdings(dataset: Dataset, grid: Grid, world: World) -> None:
    """Raise NodePartError unless the nodes together hold the data set and each rank's samples are on its node."""
    node_parts.check_complete(world, dataset.manifest)
    if NodePart.of(dataset.manifest) and grid.num_parts > 1:
        raise NodePartError(
            f"{dataset.folder}: found a node part, whose samples spatial_parts cannot cut; set spatial_parts = []"
        )


def build_loader(run: Run, grid: Grid, dataset: Dataset, batch_size: int, *, shuffle: bool) -> DeviceBatches:
    """This rank's batches of `batch_size` samples on its device; the ranks of a grid have the same samples."""
    world, system = run.world, run.config.system
    of_grids = {"num_ranks": grid.num_replicas, "rank": grid.replica}
    batches = loader(
        dataset,
        batch_size=batch_size,
        **(of_grids if grid.num_parts > 1 else node_parts.takers(world, dataset.manifest)),
        seed=run.seed,
        shuffle=shuffle,
        num_workers=system.num_workers,
        kind=system.loader,
    )
    augmented = shuffle and run.config.hyperparameters.augmentation is not None
    return DeviceBatches(batches, world.device, partial(prepare, system, grid, augmented))


def build_model(run: Run, grid: Grid, *, input_size: int) -> CosmoFlow:
    """The model of the round on the run's device. Its initial state follows from the run's seed alone."""
    system = run.config.system
    torch.manual_seed(run.seed)
    model = CosmoFlow(
        input_size=input_size,
        kernel_size=KERNEL_SIZES.get(run.config.rules.name, 3),
        dropout=run.config.hyperparameters.dropout,
        pool_first=system.pool_first,
    )
    model.blocks = spatial.partition(model.blocks, grid, input_size=input_size)
    return data_parallel.place(model, system, run.world.device, num_dimensions=3)


def build_optimizer(model: CosmoFlow, hyperparameters: Hyperparameters) -> Optimizer:
    """SGD with the momentum of Keras, and weight decay on the hidden dense kernels only."""
    groups = decay_groups(model, model.decayed_kernels(), hyperparameters.opt_weight_decay)
    rate = device_rate(hyperparameters.opt_base_learning_rate, model)
    return KerasSGD(groups, lr=rate, momentum=hyperparameters.sgd_opt_momentum)


def seed_replica(run: Run, grid: Grid) -> None:
    """Let dropout and augmentation draw differently for each rank's samples; ranks of a grid draw alike."""
    state = np.random.SeedSequence([run.seed, grid.replica]).generate_state(1)
    torch.manual_seed(int(state[0]))


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
