# SPDX-License-Identifier: Apache-2.0
"""Train CosmoFlow until it meets its quality target, and write the event log of the run.

    python -m cosmoflow.train --config cosmoflow/configs/demo --data output/data
    torchrun --nproc-per-node 8 -m cosmoflow.train --config cosmoflow/configs/closed --data /scratch/cosmoflow

The same seed in one process on the CPU gives the same losses; several ranks give those of one at the same global batch.
"""

# Shapes: N samples of a rank's batch, C = 4 redshifts, D H W voxels, T = 4 target parameters.

import sys

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

from cosmoflow.augmentation import random_cube_symmetry
from cosmoflow.config import Hyperparameters, System
from cosmoflow.data import Dataset, open_split
from cosmoflow.loader import loader
from cosmoflow.model import CosmoFlow, log_counts
from harness import cli, config, local_copy, optim
from harness.config import Config
from harness.data import node_parts
from harness.data.loader import Loader
from harness.data.node_parts import NodePart, NodePartError
from harness.distributed import spatial
from harness.distributed.spatial import Grid
from harness.distributed.world import World
from harness.precision import uses_bf16
from harness.run import Run
from harness.train_command import TrainCommand

KERNEL_SIZES = {"mlperf_hpc_0.7": 2}
"""Rounds whose network had another kernel size than the 3 of all later ones."""


def main(arguments: list[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        grid = spatial.grid(request.settings.system.spatial_parts, world)
        check_shares(request.settings, grid)
        train_set = open_split(request.data, "train", rank=world.rank, num_ranks=world.num_ranks)
        validation_set = open_split(request.data, "validation", rank=world.rank, num_ranks=world.num_ranks)
        check_holdings(train_set, grid, world)
        with request.run(world) as run:
            train(run, grid, train_set, validation_set)


def train(run: Run, grid: Grid, train_set: Dataset, validation_set: Dataset) -> None:
    """The whole procedure: initialisation, then epochs and evaluations until the target is met."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    run.log("precision", "bf16" if uses_bf16(system.precision, run.world.device.type) else "fp32")
    run.log("spatial_parts", system.spatial_parts)
    run.log("staging_form", "node_part" if NodePart.of(train_set.manifest) else system.staging_form)
    model = build_model(run, grid, input_size=train_set.sample_shape[-1])
    optimizer = build_optimizer(model, hyperparameters)
    seed_replica(run, grid)
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, network=model, optimizer=optimizer)

    run.start()
    if system.staging_folder or system.cache:
        with run.staging():
            local_copy.stage_and_cache(run, train_set, validation_set, form=system.staging_form)
    batch_size = hyperparameters.global_batch_size // grid.num_replicas
    train_batches = build_loader(run, grid, train_set, batch_size, shuffle=True)
    validation_batches = build_loader(run, grid, validation_set, system.evaluation_batch_size, shuffle=False)
    for epoch in run.epochs(system.max_epochs, checkpoints):
        optim.set_learning_rate(optimizer, learning_rate(epoch - 1, hyperparameters))
        train_batches.set_epoch(epoch)
        train_epoch(run, grid, epoch, model, optimizer, train_batches)
        with run.evaluation(epoch) as result:
            result.value = mean_absolute_error(run, grid, model, validation_batches)
        if run.reached(result):
            break


def train_epoch(run: Run, grid: Grid, epoch: int, model: nn.Module, optimizer: Optimizer, batches: Loader) -> None:
    """One pass over the training samples."""
    model.train()
    augmented = run.config.hyperparameters.augmentation is not None
    with run.progress(epoch, len(batches)) as progress:
        for counts_NCDHW, target_NT in batches:
            if augmented:
                counts_NCDHW = random_cube_symmetry(counts_NCDHW)
            prediction_NT = predict(run, model, grid.part(counts_NCDHW))
            loss = mse_loss(prediction_NT, target_NT.to(run.world.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            progress.update(num_samples=len(target_NT) / grid.num_parts, loss=loss)


@torch.no_grad()
def mean_absolute_error(run: Run, grid: Grid, model: nn.Module, batches: Loader) -> float:
    """The quality metric: over all validation samples of all ranks and their four normalised targets."""
    model.eval()
    total, num_values = torch.zeros((), dtype=torch.float64, device=run.world.device), 0
    for counts_NCDHW, target_NT in batches:
        error_NT = predict(run, model, grid.part(counts_NCDHW)) - target_NT.to(run.world.device)
        total += error_NT.abs().sum()
        num_values += error_NT.numel()
    return run.world.mean(total, num_values)


def predict(run: Run, model: nn.Module, counts_NCDHW: Tensor) -> Tensor:
    """int16 particle counts -> (N, T) in fp32, computed in the precision and memory layout that the system asks for."""
    device, system = run.world.device, run.config.system
    layout = torch.channels_last_3d if system.channels_last else torch.contiguous_format
    counts_NCDHW = counts_NCDHW.to(device, non_blocking=True).contiguous(memory_format=layout)
    with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(system.precision, device.type)):
        return model(log_counts(counts_NCDHW)).float()


def learning_rate(epoch: int, hyperparameters: Hyperparameters) -> float:
    """The rate of an epoch, counted from 0: it changes between epochs only."""
    peak = hyperparameters.opt_base_learning_rate
    return optim.linear_warmup(
        epoch,
        _decayed_rate(epoch, hyperparameters),
        peak=peak,
        warmup=hyperparameters.opt_learning_rate_warmup_epochs,
        warmup_factor=hyperparameters.opt_learning_rate_warmup_factor,
    )


def _decayed_rate(epoch: int, hyperparameters: Hyperparameters) -> float:
    peak, schedule = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_decay_schedule
    if schedule is None:
        return optim.step_decay(
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
        return optim.polynomial_decay(epoch, power=hyperparameters.opt_learning_rate_decay_poly_power, **span)
    return {"linear": optim.linear_decay, "cosine": optim.cosine_decay}[schedule](epoch, **span)


def check_shares(settings: Config, grid: Grid) -> None:
    """Every rank, or grid of ranks, takes an equal share of a global batch; ConfigError where that cannot be."""
    who = "ranks" if grid.num_parts == 1 else f"grids of {grid.num_parts} ranks"
    config.check_shares(settings, grid.num_replicas, f"{grid.num_replicas} {who}")


def check_holdings(dataset: Dataset, grid: Grid, world: World) -> None:
    """The nodes hold the data set together, and a rank's samples are on its node; NodePartError where not."""
    node_parts.check_complete(world, dataset.manifest)
    if NodePart.of(dataset.manifest) and grid.num_parts > 1:
        raise NodePartError(
            f"{dataset.folder}: is a node part, whose samples cannot be cut by spatial_parts; set it to []"
        )


def build_loader(run: Run, grid: Grid, dataset: Dataset, batch_size: int, *, shuffle: bool) -> Loader:
    """This rank's batches of `batch_size` samples, whole ones, the same for the ranks of a grid."""
    world = run.world
    if NodePart.of(dataset.manifest):
        num_takers, taker = world.ranks_per_node, world.local_rank
    else:
        num_takers, taker = grid.num_replicas, grid.replica
    return loader(
        dataset,
        batch_size=batch_size,
        num_ranks=num_takers,
        rank=taker,
        seed=run.seed,
        shuffle=shuffle,
        num_workers=run.config.system.num_workers,
        kind=run.config.system.loader,
    )


def build_model(run: Run, grid: Grid, *, input_size: int) -> nn.Module:
    """The network of the round, from the run's seed: the same initial state whatever the system and the ranks."""
    system = run.config.system
    torch.manual_seed(run.seed)
    model = CosmoFlow(
        input_size=input_size,
        kernel_size=KERNEL_SIZES.get(run.config.rules.name, 3),
        dropout=run.config.hyperparameters.dropout,
        pool_first=system.pool_first,
    )
    model.blocks = spatial.partition(model.blocks, grid, input_size=input_size)
    layout = torch.channels_last_3d if system.channels_last else torch.contiguous_format
    model = model.to(run.world.device, memory_format=layout)
    if system.compile:
        model.compile()
    return DistributedDataParallel(model) if run.world.num_ranks > 1 else model


def build_optimizer(model: nn.Module, hyperparameters: Hyperparameters) -> SGD:
    """SGD with momentum, and weight decay on the hidden dense kernels only."""
    network = model.module if isinstance(model, DistributedDataParallel) else model
    groups = optim.decay_groups(network, network.decayed_kernels(), hyperparameters.opt_weight_decay)
    return SGD(groups, lr=hyperparameters.opt_base_learning_rate, momentum=hyperparameters.sgd_opt_momentum)


def seed_replica(run: Run, grid: Grid) -> None:
    """Dropout and augmentation draw anew for each rank's samples, and alike where ranks share their samples."""
    state = np.random.SeedSequence([run.seed, grid.replica]).generate_state(1)
    torch.manual_seed(int(state[0]))


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
