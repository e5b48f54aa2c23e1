# SPDX-License-Identifier: Apache-2.0
"""Train DeepCAM until it meets its quality target, and write the event log of the run.

    python -m deepcam.train --config deepcam/configs/demo --data output/deepcam/data
    torchrun --nproc-per-node 8 -m deepcam.train --config deepcam/configs/closed --data /scratch/deepcam

Several ranks give the result of one at the same global batch where batch norm spans them all (batchnorm_group_size).

Shapes: N samples of a rank's batch, C = 16 channels, H x W pixels, K = 3 classes.
"""

import sys
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Adam, AdamW, Optimizer

from deepcam.channel_statistics import Normalise
from deepcam.config import Hyperparameters, System
from deepcam.data import Batch, Dataset, open_split
from deepcam.gradient_skipping import GradientSkipping
from deepcam.loader import loader
from deepcam.loss import weighted_cross_entropy
from deepcam.metric import MeanIoU
from deepcam.model import DeepCAM
from harness import cli, config, local_copy, optim
from harness.config import Config, ConfigError
from harness.data.loader import Loader
from harness.distributed import batch_norm
from harness.distributed.world import World
from harness.optim import LAMB
from harness.precision import uses_bf16
from harness.run import Run
from harness.train_command import TrainCommand


def main(arguments: list[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        check_shares(request.settings, world)
        train_set = open_split(request.data, "train", rank=world.rank, num_ranks=world.num_ranks)
        validation_set = open_split(request.data, "validation", rank=world.rank, num_ranks=world.num_ranks)
        with request.run(world) as run:
            train(run, train_set, validation_set)


def train(run: Run, train_set: Dataset, validation_set: Dataset) -> None:
    """The whole procedure: initialisation, then epochs and evaluations until the target is met."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    run.log("precision", "bf16" if uses_bf16(system.precision, run.world.device.type) else "fp32")
    train_batches = build_loader(run, train_set, hyperparameters.global_batch_size // run.world.num_ranks, shuffle=True)
    validation_batches = build_loader(run, validation_set, system.evaluation_batch_size, shuffle=False)
    network = build_network(run)
    model = distributed(network, run.world)
    optimizer = build_optimizer(network, hyperparameters)
    normalise = Normalise(train_set.statistics).to(run.world.device)
    skipping = GradientSkipping(network, hyperparameters.gradient_skipping_threshold)
    parts = {"network": network, "optimizer": optimizer, "skipping": skipping}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts)

    run.start()
    if system.staging_folder or system.cache:
        with run.staging():
            local_copy.stage_and_cache(run, train_set, validation_set)
    for epoch in run.epochs(system.max_epochs, checkpoints):
        train_batches.set_epoch(epoch)
        if skipping.num_skipped:
            model = distributed(network, run.world)  # its gradient buckets hold what is still updated
        train_epoch(run, epoch, model, normalise, optimizer, train_batches)
        batch_norm.average_running_statistics(network)
        with run.evaluation(epoch) as result:
            result.value = evaluate(run, epoch, network, normalise, validation_batches)
        if run.reached(result):
            break
        if skipping.threshold is not None:
            run.log("gradient_skipping_stages", skipping.update(), epoch_num=epoch)


def train_epoch(
    run: Run, epoch: int, model: nn.Module, normalise: Normalise, optimizer: Optimizer, batches: Loader
) -> None:
    """One pass over the training samples, all ranks together."""
    model.train()
    first_step, losses = (epoch - 1) * len(batches), []
    with run.progress(epoch, len(batches)) as progress:
        for step, batch in enumerate(batches, first_step):
            optim.set_learning_rate(optimizer, learning_rate(step, run.config.hyperparameters))
            optimizer.zero_grad()
            loss = accumulate_gradients(run, model, normalise, batch)
            optimizer.step()
            losses.append(loss)
            progress.update(num_samples=len(batch[0]), loss=loss)
    last_step = first_step + len(losses)
    train_loss = run.world.mean(torch.stack(losses).sum(), len(losses))
    run.log("learning_rate", float(optimizer.param_groups[0]["lr"]), epoch_num=epoch, step_num=last_step)
    run.log("train_loss", train_loss, epoch_num=epoch, step_num=last_step)


def accumulate_gradients(run: Run, model: nn.Module, normalise: Normalise, batch: Batch) -> Tensor:
    """Gradients of the mean loss over a rank's batch, in gradient_accumulation_frequency passes; returns that mean.

    The ranks exchange gradients in the last pass only.
    """
    num_passes = run.config.hyperparameters.gradient_accumulation_frequency
    total = torch.zeros((), device=run.world.device)
    for number, (fields_NHWC, labels_NHW) in enumerate(split(batch, num_passes), start=1):
        last = number == num_passes
        with nullcontext() if last or run.world.num_ranks == 1 else model.no_sync():
            logits_NKHW, labels_NHW = predict(run, model, normalise, fields_NHWC, labels_NHW)
            part = weighted_cross_entropy(logits_NKHW, labels_NHW) / num_passes
            part.backward()
        total += part.detach()
    return total


@torch.no_grad()
def evaluate(run: Run, epoch: int, network: nn.Module, normalise: Normalise, batches: Loader) -> float:
    """The quality metric, the mean IoU over the validation samples of all ranks; their loss is logged beside it."""
    network.eval()
    accuracy = MeanIoU(run.world.device)
    total_loss, num_samples = torch.zeros((), dtype=torch.float64, device=run.world.device), 0
    for fields_NHWC, labels_NHW in batches:
        logits_NKHW, labels_NHW = predict(run, network, normalise, fields_NHWC, labels_NHW)
        accuracy.update(logits_NKHW, labels_NHW)
        total_loss += weighted_cross_entropy(logits_NKHW, labels_NHW) * len(labels_NHW)
        num_samples += len(labels_NHW)
    run.log("eval_loss", run.world.mean(total_loss, num_samples), epoch_num=epoch)
    return accuracy.value(run.world.all_reduce_sum)


def predict(
    run: Run, model: nn.Module, normalise: Normalise, fields_NHWC: Tensor, labels_NHW: Tensor
) -> tuple[Tensor, Tensor]:
    """Logits of raw fields, and the labels beside them on the device, in the precision that the system asks for."""
    device, system = run.world.device, run.config.system
    fields_NCHW = normalise(fields_NHWC.to(device, non_blocking=True))
    if not system.channels_last:
        fields_NCHW = fields_NCHW.contiguous()
    with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(system.precision, device.type)):
        return model(fields_NCHW), labels_NHW.to(device, non_blocking=True)


def split(batch: Batch, num_parts: int) -> list[Batch]:
    """A batch in equal parts."""
    return list(zip(*(part.tensor_split(num_parts) for part in batch), strict=True))


def learning_rate(step: int, hyperparameters: Hyperparameters) -> float:
    """The rate of a step, counted from 0: warm-up, then milestones or a cosine counted from its end."""
    warmup, factor = hyperparameters.scheduler_lr_warmup_steps, hyperparameters.scheduler_lr_warmup_factor
    peak, time = hyperparameters.opt_lr * factor, max(0, step - warmup)
    if hyperparameters.scheduler_type == "multistep":
        milestones, decay = hyperparameters.scheduler_milestones, hyperparameters.scheduler_decay_rate
        rate = optim.step_decay(time, peak=peak, boundaries=milestones, factors=decay)
    else:
        half_period, end = hyperparameters.scheduler_t_max, hyperparameters.scheduler_eta_min
        rate = optim.cosine_annealing(time, peak=peak, half_period=half_period, end=end)
    return optim.deepcam_warmup(step, rate, start=hyperparameters.opt_lr, warmup=warmup, warmup_factor=factor)


def check_shares(settings: Config, world: World) -> None:
    """Every rank takes an equal share of a global batch, pass by pass; ConfigError where that cannot be."""
    hyperparameters = settings.hyperparameters
    passes = hyperparameters.gradient_accumulation_frequency
    takers = f"{world.num_ranks} ranks x {passes} accumulated gradients"
    config.check_shares(settings, world.num_ranks * passes, takers)
    if world.num_ranks % hyperparameters.batchnorm_group_size:
        raise ConfigError(
            f"{settings.hyperparameters_path}: batchnorm_group_size: found {hyperparameters.batchnorm_group_size}, "
            f"expected a divisor of the number of ranks, {world.num_ranks}"
        )


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> Loader:
    """This rank's batches of `batch_size` samples; the order of training follows the run's seed."""
    return loader(
        dataset,
        batch_size=batch_size,
        num_ranks=run.world.num_ranks,
        rank=run.world.rank,
        seed=run.seed,
        shuffle=shuffle,
        num_workers=run.config.system.num_workers,
        kind=run.config.system.loader,
    )


def build_network(run: Run) -> DeepCAM:
    """The network from the run's seed, the same initial state on all ranks; batch norm spans its group of ranks."""
    system = run.config.system
    torch.manual_seed(run.seed)
    layout = torch.channels_last if system.channels_last else torch.contiguous_format
    network = DeepCAM().to(run.world.device, memory_format=layout)
    network = batch_norm.convert(network, batch_norm.process_group(run.config.hyperparameters.batchnorm_group_size))
    if system.compile:
        network.compile()
    return network


def distributed(network: nn.Module, world: World) -> nn.Module:
    """The network with its gradients averaged over ranks. Running statistics stay each rank's own until evaluation."""
    return DistributedDataParallel(network, broadcast_buffers=False) if world.num_ranks > 1 else network


def build_optimizer(network: nn.Module, hyperparameters: Hyperparameters) -> Optimizer:
    """One group: weight decay is on all parameters."""
    common = {
        "lr": hyperparameters.opt_lr,
        "betas": tuple(hyperparameters.opt_betas),
        "eps": hyperparameters.opt_eps,
        "weight_decay": hyperparameters.opt_weight_decay,
    }
    if hyperparameters.opt_name != "LAMB":
        return {"Adam": Adam, "AdamW": AdamW}[hyperparameters.opt_name](network.parameters(), fused=True, **common)
    return LAMB(
        network.parameters(),
        bias_correction=hyperparameters.opt_bias_correction,
        grad_averaging=hyperparameters.opt_grad_averaging,
        max_grad_norm=hyperparameters.opt_max_grad_norm,
        **common,
    )


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
