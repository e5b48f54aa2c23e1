# SPDX-License-Identifier: Apache-2.0
"""Train ResNet-50 for the benchmark's fixed number of epochs, and write the event log of the run.

    python -m imagenet_resnet.train --config imagenet_resnet/configs/demo --data output/data
    torchrun --nproc-per-node 8 -m imagenet_resnet.train --config imagenet_resnet/configs/closed --data /imagenet

The clock runs from the first batch to the end of the last epoch; there is no early stop. The same seed in one process
on the CPU gives the same losses. Batch norm's statistics are each rank's own, as in the reference.

Shapes: N samples of a rank's batch, H W pixels, C channels, K classes.
"""

import math
import sys
import time
from functools import partial

from harness import cli

cli.answer_early(__name__, cli.parser("imagenet_resnet.train", __doc__))

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from harness import operator_check, ranges
from harness.data import node_parts
from harness.data.device_batches import DeviceBatches
from harness.data.listings import read_for_all
from harness.device import synchronize
from harness.distributed import batch_norm, data_parallel
from harness.distributed.gradient_compression import compress_gradients
from harness.flops import training_flops
from harness.optim import schedules
from harness.optim.optimizers import device_rate, hpc_ai500_optimizer, set_learning_rate
from harness.optim.parameter_groups import all_but_norms, decay_groups
from harness.precision import Precision
from harness.run import Run
from harness.step import Step, warm_up
from harness.train_command import TrainCommand
from imagenet_resnet.config import Hyperparameters, System, check_job
from imagenet_resnet.data import Batch, open_split
from imagenet_resnet.dataset import Dataset
from imagenet_resnet.loader import loader
from imagenet_resnet.model import ResNet50, normalised


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`; None for those of the command line."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    num_classes = request.settings.hyperparameters.num_classes
    with request.launch() as world:
        check_job(request.settings, num_ranks=world.num_ranks, device_type=world.device.type)
        request = request.staged(world)
        precision = Precision.start(request.settings.system.precision, world.device)
        if request.settings.system.num_compute_threads:
            torch.set_num_threads(request.settings.system.num_compute_threads)
        opening = {"listed_by": read_for_all(request.data, world), "rank": world.rank, "num_ranks": world.num_ranks}
        train_set, validation_set = (
            open_split(request.data, split, num_classes=num_classes, **opening) for split in ("train", "validation")
        )
        node_parts.check_complete(world, train_set.manifest)
        with request.run(world) as run:
            train(run, precision, train_set, validation_set)


def train(run: Run, precision: Precision, train_set: Dataset, validation_set: Dataset) -> None:
    """The whole procedure: initialization, then all epochs; the last one is always evaluated."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    batch_size = hyperparameters.global_batch_size // run.world.num_ranks
    train_batches = build_loader(run, train_set, batch_size, shuffle=True)
    validation_batches = build_loader(run, validation_set, system.evaluation_batch_size, shuffle=False)
    model = build_model(run)
    images_NHWC, _ = synthetic_batch(run, batch_size)
    precision = operator_check.confirm(run, precision, model, partial(predict, run, model, precision, images_NHWC))
    log_problem(run, precision)
    run.log("staging_form", node_parts.form(train_set.manifest, system.staging_form))
    replica = data_parallel.replicate(model, run.world, **data_parallel.exchange_settings(system))
    compress_gradients(replica, system.gradient_compression)
    optimizer = build_optimizer(model, hyperparameters)
    parts = {"model": model, "optimizer": optimizer, "precision": precision}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts)
    step = Step(partial(training_step, run, replica, optimizer, precision), replica, training=True)
    measure = Step(partial(num_right, run, model, precision), model, training=False)
    sizes = {step: batch_size, measure: system.evaluation_batch_size}
    warm_up([(each, synthetic_batch(run, size)) for each, size in sizes.items()], run, **parts)

    run.start()
    for epoch in run.epochs(checkpoints=checkpoints):
        train_batches.set_epoch(epoch)
        train_epoch(run, epoch, step, optimizer, train_batches)
        if epoch % system.epochs_between_evaluations == 0 or epoch == run.config.benchmark.num_epochs:
            with run.evaluation(epoch) as result, ranges.named("evaluation"):
                batch_norm.average_running_statistics(model)
                result.value = top1_accuracy(run, measure, validation_batches)


def train_epoch(run: Run, epoch: int, step: Step, optimizer: Optimizer, batches: DeviceBatches) -> None:
    """One pass over the training samples; logs its images per second."""
    step.model.train()
    hyperparameters, num_steps, start = run.config.hyperparameters, len(batches), time.perf_counter()
    with run.progress(epoch, num_steps) as progress:
        for number, (image_NHWC, label_N) in enumerate(ranges.traced(batches, run, epoch)):
            time_epochs = epoch - 1 + (number + 0.5) / num_steps
            set_learning_rate(optimizer, learning_rate(time_epochs, run.config.benchmark.num_epochs, hyperparameters))
            progress.update(num_samples=len(label_N), loss=step(image_NHWC, label_N))
    num_images = num_steps * hyperparameters.global_batch_size
    run.log("images_per_second_per_rank", images_per_second(run, num_images, start), epoch_num=epoch)


def training_step(
    run: Run, replica: nn.Module, optimizer: Optimizer, precision: Precision, image_NHWC: Tensor, label_N: Tensor
) -> Tensor:
    """One update of the weights; returns the loss."""
    optimizer.zero_grad()
    with ranges.named("forward"):
        score_NK = predict(run, replica, precision, image_NHWC)
        loss = cross_entropy(score_NK, label_N, label_smoothing=run.config.hyperparameters.label_smoothing)
    with ranges.named("backward"):
        precision.backward(loss)
    with ranges.named("optimizer"):
        precision.step(optimizer)
    return loss.detach()


def images_per_second(run: Run, num_images: int, start: float) -> float:
    """Images of all ranks / seconds since `start` / ranks, after the device has finished."""
    synchronize(run.world.device)
    return num_images / (time.perf_counter() - start) / run.world.num_ranks


def top1_accuracy(run: Run, measure: Step, batches: DeviceBatches) -> float:
    """The quality metric: the share of all validation samples whose own class has the highest score."""
    measure.model.eval()
    total, num_samples = torch.zeros((), dtype=torch.int64, device=run.world.device), 0
    for image_NHWC, label_N in batches:
        total += measure(image_NHWC, label_N)
        num_samples += len(label_N)
    return run.world.mean(total, num_samples)


@torch.no_grad()
def num_right(run: Run, model: nn.Module, precision: Precision, image_NHWC: Tensor, label_N: Tensor) -> Tensor:
    """The number of samples whose own class has the highest score."""
    return (predict(run, model, precision, image_NHWC).argmax(dim=1) == label_N).sum()


def predict(run: Run, model: nn.Module, precision: Precision, image_NHWC: Tensor) -> Tensor:
    """uint8 pictures -> (N, K) scores in fp32."""
    order = data_parallel.memory_format(run.config.system)
    with precision.autocast():
        return model(normalised(image_NHWC.permute(0, 3, 1, 2)).contiguous(memory_format=order)).float()


def learning_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    """The rate at a time in epochs from 0: a linear rise from 0, then the schedule down to 0 or to its last drop.

    A step uses the rate at its middle, so that neither the first nor the last step has a rate of 0.
    """
    peak, warmup = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_warmup_epochs
    rate = _decayed_rate(time_epochs, num_epochs, hyperparameters)
    return schedules.linear_warmup(time_epochs, rate, peak=peak, warmup=warmup, warmup_factor=math.inf)


def _decayed_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    peak, schedule = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_schedule
    if schedule == "step":
        return schedules.step_decay(
            time_epochs,
            peak=peak,
            boundaries=hyperparameters.opt_learning_rate_decay_boundary_epochs,
            factors=hyperparameters.opt_learning_rate_decay_factor,
        )
    span = {"peak": peak, "start": hyperparameters.opt_learning_rate_warmup_epochs, "stop": num_epochs}
    if schedule == "quadratic":
        return schedules.polynomial_decay(time_epochs, power=2, **span)
    return {"linear": schedules.linear_decay, "cosine": schedules.cosine_decay}[schedule](time_epochs, **span)


def log_problem(run: Run, precision: Precision) -> None:
    """Log the operations per image, and the settings that a reader of the speed needs."""
    run.log("flops_per_image", flops_per_image(run.config.hyperparameters))
    run.log("precision", precision.name)
    run.log("gradient_compression", run.config.system.gradient_compression)
    run.log("epochs_between_evaluations", run.config.system.epochs_between_evaluations)


def flops_per_image(hyperparameters: Hyperparameters) -> int:
    """Floating-point operations of training on one image, counted without computing."""
    side = hyperparameters.image_size
    with torch.device("meta"):
        return training_flops(new_model(hyperparameters), torch.empty(1, 3, side, side))


def synthetic_batch(run: Run, num_samples: int) -> Batch:
    """A batch of black pictures on the device, for the warm-up."""
    side, device = run.config.hyperparameters.image_size, run.world.device
    image_NHWC = torch.zeros(num_samples, side, side, 3, dtype=torch.uint8, device=device)
    return image_NHWC, torch.zeros(num_samples, dtype=torch.int64, device=device)


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> DeviceBatches:
    """This rank's batches of `batch_size` samples on its device; the order of training follows the run's seed."""
    system = run.config.system
    batches = loader(
        dataset,
        batch_size=batch_size,
        side=run.config.hyperparameters.image_size,
        **node_parts.takers(run.world, dataset.manifest),
        seed=run.seed,
        shuffle=shuffle,
        num_workers=system.num_workers,
        kind=system.loader,
        unreadable=system.unreadable,
        device=run.world.device,
    )
    return DeviceBatches(batches, run.world.device)


def build_model(run: Run) -> ResNet50:
    """The model on the run's device. Its initial state follows from the run's seed alone."""
    torch.manual_seed(run.seed)
    return data_parallel.place(new_model(run.config.hyperparameters), run.config.system, run.world.device)


def new_model(hyperparameters: Hyperparameters) -> ResNet50:
    """The model that the hyperparameters describe."""
    return ResNet50(
        num_classes=hyperparameters.num_classes,
        blocks=hyperparameters.resnet_blocks,
        width=hyperparameters.resnet_width,
        zero_init_last_gamma=hyperparameters.zero_init_last_gamma,
        batch_norm_decay=hyperparameters.batch_norm_decay,
        batch_norm_epsilon=hyperparameters.batch_norm_epsilon,
    )


def build_optimizer(model: nn.Module, hyperparameters: Hyperparameters) -> Optimizer:
    """SGD, LARS or LAMB, with weight decay on all parameters, or on all but those of batch norms."""
    decay_all = hyperparameters.opt_weight_decay_on_batch_norm
    decayed = model.parameters() if decay_all else all_but_norms(model)
    groups = decay_groups(model, decayed, hyperparameters.opt_weight_decay)
    rate = device_rate(hyperparameters.opt_base_learning_rate, model)
    return hpc_ai500_optimizer(hyperparameters.opt_name, groups, lr=rate, momentum=hyperparameters.opt_momentum)


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
