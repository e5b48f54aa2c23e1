# SPDX-License-Identifier: Apache-2.0
"""Train DeepCAM until it meets its quality target, and write the event log of the run.

    python -m deepcam.train --config deepcam/configs/demo --data output/deepcam/data
    torchrun --nproc-per-node 8 -m deepcam.train --config deepcam/configs/closed --data /scratch/deepcam

Several ranks give the result of one at the same global batch if batch norm spans them all (batchnorm_group_size).

Shapes: N samples of a rank's batch, C = 16 channels, H x W pixels, K = 3 classes.
"""

import sys
from contextlib import nullcontext
from functools import partial

from harness import cli

cli.answer_early(__name__, cli.parser("deepcam.train", __doc__))

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from deepcam.channel_statistics import Normalise
from deepcam.config import Hyperparameters, System, check_job
from deepcam.data import Batch, Dataset, open_split
from deepcam.gradient_skipping import GradientSkipping
from deepcam.loader import loader
from deepcam.loss import weighted_cross_entropy
from deepcam.metric import MeanIoU, confusion, sample_iou
from deepcam.model import DeepCAM
from deepcam.schedule import learning_rate
from harness import local_copy, operator_check, ranges
from harness.data import node_parts
from harness.data.device_batches import DeviceBatches
from harness.data.listings import read_for_all
from harness.distributed import batch_norm, data_parallel
from harness.optim.optimizers import LAMB, device_rate, set_learning_rate
from harness.precision import Precision
from harness.run import Run
from harness.step import Step, warm_up
from harness.train_command import TrainCommand


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`; None for those of the command line."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        check_job(request.settings, num_ranks=world.num_ranks, device_type=world.device.type)
        precision = Precision.start(request.settings.system.precision, world.device)
        opening = {"listed_by": read_for_all(request.data, world), "rank": world.rank, "num_ranks": world.num_ranks}
        train_set, validation_set = (open_split(request.data, split, **opening) for split in ("train", "validation"))
        node_parts.check_complete(world, train_set.manifest)
        with request.run(world) as run:
            train(run, precision, train_set, validation_set)


def train(run: Run, precision: Precision, train_set: Dataset, validation_set: Dataset) -> None:
    """The whole procedure: initialization, then epochs and evaluations until the target is met."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    run.log("staging_form", node_parts.form(train_set.manifest, system.staging_form))
    train_batches, validation_batches = build_loaders(run, train_set, validation_set)
    model = build_model(run)
    optimizer = build_optimizer(model, hyperparameters, capturable=system.cuda_graph)
    normalise = Normalise(train_set.statistics).to(run.world.device)
    batch_size = hyperparameters.global_batch_size // run.world.num_ranks
    fields_NHWC, _ = synthetic_batch(run, train_set, batch_size // hyperparameters.gradient_accumulation_frequency)
    forward = partial(predict, run, model, normalise, precision, fields_NHWC)
    precision = operator_check.confirm(run, precision, model, forward)
    run.log("precision", precision.name)
    step = build_step(run, model, normalise, optimizer, precision)
    measure = Step(partial(scores, run, model, normalise, precision), model, training=False)
    skipping = GradientSkipping(model, hyperparameters.gradient_skipping_threshold)
    parts = {"model": model, "optimizer": optimizer, "precision": precision}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts, skipping=skipping)
    sizes = {step: batch_size, measure: system.evaluation_batch_size}
    warm_up([(each, synthetic_batch(run, train_set, size)) for each, size in sizes.items()], run, **parts)

    run.start()
    if system.staging_folder or system.cache:
        with run.staging():
            local_copy.stage_and_cache(run, train_set, validation_set)
            train_batches, validation_batches = build_loaders(run, train_set, validation_set)  # maybe of a node part
    for epoch in run.epochs(system.max_epochs, checkpoints):
        train_batches.set_epoch(epoch)
        if skipping.num_skipped:  # buckets for the gradients that are still computed
            step = build_step(run, model, normalise, optimizer, precision)
        train_epoch(run, epoch, step, optimizer, train_batches)
        batch_norm.average_running_statistics(model)
        with run.evaluation(epoch) as result, ranges.named("evaluation"):
            result.value = evaluate(run, epoch, measure, validation_batches)
        if run.reached(result):
            break
        if skipping.threshold is not None:
            run.log("gradient_skipping_stages", skipping.update(), epoch_num=epoch)


def train_epoch(run: Run, epoch: int, step: Step, optimizer: Optimizer, batches: DeviceBatches) -> None:
    """One pass over the training samples."""
    step.model.train()
    first_step = (epoch - 1) * len(batches)
    total = torch.zeros((), dtype=torch.float64, device=run.world.device)
    with run.progress(epoch, len(batches)) as progress:
        for number, batch in enumerate(ranges.traced(batches, run, epoch), first_step):
            rate = learning_rate(number, run.config.hyperparameters)
            set_learning_rate(optimizer, rate)
            loss = step(*batch)
            total += loss
            progress.update(num_samples=len(batch[0]), loss=loss)
    last_step = first_step + len(batches)
    run.log("learning_rate", rate, epoch_num=epoch, step_num=last_step)
    run.log("train_loss", run.world.mean(total, len(batches)), epoch_num=epoch, step_num=last_step)


def training_step(
    run: Run,
    replica: nn.Module,
    normalise: Normalise,
    optimizer: Optimizer,
    precision: Precision,
    fields_NHWC: Tensor,
    labels_NHW: Tensor,
) -> Tensor:
    """One update of the weights; returns the loss."""
    optimizer.zero_grad()
    loss = accumulate_gradients(run, replica, normalise, precision, (fields_NHWC, labels_NHW))
    with ranges.named("optimizer"):
        precision.step(optimizer)
    return loss


def accumulate_gradients(
    run: Run, replica: nn.Module, normalise: Normalise, precision: Precision, batch: Batch
) -> Tensor:
    """Gradients of the mean loss over a rank's batch, in gradient_accumulation_frequency passes; returns that mean.

    The ranks exchange gradients in the last pass only.
    """
    num_passes = run.config.hyperparameters.gradient_accumulation_frequency
    total = torch.zeros((), device=run.world.device)
    for number, (fields_NHWC, labels_NHW) in enumerate(split(batch, num_passes), start=1):
        last = number == num_passes
        with nullcontext() if last or run.world.num_ranks == 1 else replica.no_sync():
            with ranges.named("forward"):
                logits_NKHW = predict(run, replica, normalise, precision, fields_NHWC)
                part = weighted_cross_entropy(logits_NKHW, labels_NHW) / num_passes
            with ranges.named("backward"):
                precision.backward(part)
        total += part.detach()
    return total


def evaluate(run: Run, epoch: int, measure: Step, batches: DeviceBatches) -> float:
    """The quality metric, the mean IoU over the validation samples of all ranks; their loss is logged too."""
    measure.model.eval()
    accuracy = MeanIoU(run.world.device)
    total_loss, num_samples = torch.zeros((), dtype=torch.float64, device=run.world.device), 0
    for fields_NHWC, labels_NHW in batches:
        scores_N, loss = measure(fields_NHWC, labels_NHW)
        accuracy.update(scores_N)
        total_loss += loss * len(labels_NHW)
        num_samples += len(labels_NHW)
    run.log("eval_loss", run.world.mean(total_loss, num_samples), epoch_num=epoch)
    return accuracy.value(run.world.all_reduce_sum)


@torch.no_grad()
def scores(
    run: Run, model: nn.Module, normalise: Normalise, precision: Precision, fields_NHWC: Tensor, labels_NHW: Tensor
) -> tuple[Tensor, Tensor]:
    """The IoU of each sample, and the mean loss."""
    logits_NKHW = predict(run, model, normalise, precision, fields_NHWC)
    return sample_iou(confusion(logits_NKHW, labels_NHW)), weighted_cross_entropy(logits_NKHW, labels_NHW)


def predict(run: Run, model: nn.Module, normalise: Normalise, precision: Precision, fields_NHWC: Tensor) -> Tensor:
    """Logits of raw fields."""
    order = data_parallel.memory_format(run.config.system)
    with precision.autocast():
        return model(normalise(fields_NHWC).contiguous(memory_format=order))


def split(batch: Batch, num_parts: int) -> list[Batch]:
    """A batch in equal parts."""
    return list(zip(*(part.tensor_split(num_parts) for part in batch), strict=True))


def build_loaders(run: Run, train_set: Dataset, validation_set: Dataset) -> tuple[DeviceBatches, DeviceBatches]:
    """This rank's batches for training and for evaluation. Raises DataError."""
    batch_size = run.config.hyperparameters.global_batch_size // run.world.num_ranks
    return (
        build_loader(run, train_set, batch_size, shuffle=True),
        build_loader(run, validation_set, run.config.system.evaluation_batch_size, shuffle=False),
    )


def build_step(run: Run, model: nn.Module, normalise: Normalise, optimizer: Optimizer, precision: Precision) -> Step:
    """A step of training on a new replica of the model."""
    replica = data_parallel.replicate(model, run.world, **data_parallel.exchange_settings(run.config.system))
    return Step(partial(training_step, run, replica, normalise, optimizer, precision), replica, training=True)


def synthetic_batch(run: Run, dataset: Dataset, num_samples: int) -> Batch:
    """A batch of empty fields on the device, for the warm-up."""
    height, width, num_channels = dataset.sample_shape
    fields_NHWC = torch.zeros(num_samples, height, width, num_channels, device=run.world.device)
    return fields_NHWC, torch.zeros(num_samples, height, width, dtype=torch.uint8, device=run.world.device)


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> DeviceBatches:
    """This rank's batches of `batch_size` samples on its device; the order of training follows the run's seed."""
    batches = loader(
        dataset,
        batch_size=batch_size,
        **node_parts.takers(run.world, dataset.manifest),
        seed=run.seed,
        shuffle=shuffle,
        num_workers=run.config.system.num_workers,
        kind=run.config.system.loader,
    )
    return DeviceBatches(batches, run.world.device)


def build_model(run: Run) -> DeepCAM:
    """The model on the run's device. Its initial state follows from the run's seed alone."""
    torch.manual_seed(run.seed)
    group = batch_norm.process_group(run.config.hyperparameters.batchnorm_group_size)
    model = batch_norm.convert(DeepCAM().to(run.world.device), group)
    return data_parallel.place(model, run.config.system, run.world.device)


def build_optimizer(model: nn.Module, hyperparameters: Hyperparameters, *, capturable: bool = False) -> Optimizer:
    """One parameter group: weight decay is on all parameters. `capturable`: a CUDA graph is to hold its step."""
    common = {
        "lr": device_rate(hyperparameters.opt_lr, model),
        "betas": tuple(hyperparameters.opt_betas),
        "eps": hyperparameters.opt_eps,
        "weight_decay": hyperparameters.opt_weight_decay,
    }
    if hyperparameters.opt_name != "LAMB":
        kind = {"Adam": Adam, "AdamW": AdamW}[hyperparameters.opt_name]
        return kind(model.parameters(), fused=True, capturable=capturable, **common)
    return LAMB(
        model.parameters(),
        bias_correction=hyperparameters.opt_bias_correction,
        grad_averaging=hyperparameters.opt_grad_averaging,
        max_grad_norm=hyperparameters.opt_max_grad_norm,
        **common,
    )


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
