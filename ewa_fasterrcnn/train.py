# SPDX-License-Identifier: Apache-2.0
"""Train the Faster R-CNN for the benchmark's fixed number of epochs, and write the event log of the run.

    python -m ewa_fasterrcnn.train --config ewa_fasterrcnn/configs/demo --data output/ewa/data
    torchrun --nproc-per-node 8 -m ewa_fasterrcnn.train --config ewa_fasterrcnn/configs/closed --data /scratch/ewa

The clock runs from the first batch to the end of the last epoch; there is no early stop. The same seed in one process
on the CPU gives the same losses; several ranks give those of one at the same global batch.

Shapes: N images of a rank's batch, C = 16 channels, H x W pixels, B = 15 rows of boxes, L = 4 losses.
"""

import math
import sys
import time
from functools import partial
from pathlib import Path

from harness import cli

cli.answer_early(__name__, cli.parser("ewa_fasterrcnn.train", __doc__))

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from compliance.files import atomic_write
from ewa_fasterrcnn.channel_statistics import Normalise
from ewa_fasterrcnn.config import Hyperparameters, System, check_job
from ewa_fasterrcnn.data import Batch, Dataset, open_split
from ewa_fasterrcnn.gradient_exchange import GradientExchange, Traffic
from ewa_fasterrcnn.loader import loader
from ewa_fasterrcnn.metric import average_precision, mean_average_precision
from ewa_fasterrcnn.model.box_head import Detections, Truth, by_image
from ewa_fasterrcnn.model.faster_rcnn import LOSSES, FasterRCNN, training_flops
from ewa_fasterrcnn.model.random_numbers import epoch_key, image_keys
from ewa_fasterrcnn.year_files import MOST_BOXES, UNUSED
from harness import operator_check, ranges
from harness.data import manifest
from harness.data.device_batches import DeviceBatches
from harness.data.listings import read_for_all
from harness.device import synchronize
from harness.distributed import batch_norm, data_parallel
from harness.distributed.world import World
from harness.optim import schedules
from harness.optim.optimizers import device_rate, hpc_ai500_optimizer, set_learning_rate
from harness.optim.parameter_groups import all_but_norms, decay_groups
from harness.precision import Precision
from harness.run import Run
from harness.step import Step, warm_up
from harness.train_command import TrainCommand


def main(arguments: list[str] | None = None) -> None:
    """Run the command with `arguments`; None for those of the command line."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        check_job(request.settings, num_ranks=world.num_ranks, device_type=world.device.type)
        request = request.staged(world)
        precision = Precision.start(request.settings.system.precision, world.device)
        opening = {"listed_by": read_for_all(request.data, world), "rank": world.rank, "num_ranks": world.num_ranks}
        train_set, validation_set = (open_split(request.data, split, **opening) for split in ("train", "validation"))
        with request.run(world) as run:
            model = train(run, precision, train_set, validation_set)
        if world.rank == 0 and request.settings.system.trained_weights:
            save_weights(model, request.settings.system.trained_weights)


def train(run: Run, precision: Precision, train_set: Dataset, validation_set: Dataset) -> FasterRCNN:
    """The whole procedure: initialization, then all epochs; the last one is always evaluated."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    batch_size = hyperparameters.global_batch_size // run.world.num_ranks
    train_batches = build_loader(run, train_set, batch_size, shuffle=True)
    validation_batches = build_loader(run, validation_set, system.evaluation_batch_size, shuffle=False)
    model = build_model(run)
    normalise = Normalise(train_set.statistics).to(run.world.device)
    images = (epoch_key(run.seed, 0, run.world.device), *synthetic_batch(train_set, batch_size, run.world.device))
    forward = partial(losses_of, run, model, normalise, precision, *images)
    precision = operator_check.confirm(run, precision, model, forward)
    exchange = build_exchange(run, model)
    optimizer = build_optimizer(model, hyperparameters)
    run.log_data(train_set, validation_set)
    log_problem(run, precision, train_set, model)
    parts = {"model": model, "optimizer": optimizer, "precision": precision}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts)
    step = Step(partial(training_step, run, exchange, normalise, optimizer, precision), exchange.replica, training=True)
    detect = Step(partial(find, run, model, normalise, precision), model, training=False)
    fields_NCHW = synthetic_batch(train_set, system.evaluation_batch_size, run.world.device)[1]
    warm_up([(step, images), (detect, (fields_NCHW,))], run, **parts)

    run.start()
    for epoch in run.epochs(checkpoints=checkpoints):
        train_batches.set_epoch(epoch)
        train_epoch(run, epoch, step, exchange.traffic, optimizer, train_batches)
        if epoch % system.epochs_between_evaluations == 0 or epoch == run.config.benchmark.num_epochs:
            batch_norm.average_running_statistics(model)
            with run.evaluation(epoch) as result, ranges.named("evaluation"):
                result.value = evaluate(run, epoch, detect, validation_batches, validation_set)
    return model


def train_epoch(
    run: Run, epoch: int, step: Step, traffic: Traffic, optimizer: Optimizer, batches: DeviceBatches
) -> None:
    """One pass over the training images; logs its losses, images per second and communication."""
    step.model.train()
    hyperparameters, num_epochs, device = run.config.hyperparameters, run.config.benchmark.num_epochs, run.world.device
    sums_L, start = torch.zeros(len(LOSSES), dtype=torch.float64, device=device), time.perf_counter()
    key_of_epoch = epoch_key(run.seed, epoch, device)
    with run.progress(epoch, len(batches)) as progress:
        for number, batch in enumerate(ranges.traced(batches, run, epoch)):
            time_epochs = epoch - 1 + (number + 0.5) / len(batches)
            set_learning_rate(optimizer, learning_rate(time_epochs, num_epochs, hyperparameters))
            losses_NL = step(key_of_epoch, *batch)
            sums_L += losses_NL.sum(dim=0)
            progress.update(num_samples=len(losses_NL), loss=losses_NL.sum(dim=1).mean())
    num_images = len(batches) * hyperparameters.global_batch_size
    log_epoch(run, epoch, traffic, run.world.all_reduce_sum(sums_L), num_images, start)


def training_step(
    run: Run,
    exchange: GradientExchange,
    normalise: Normalise,
    optimizer: Optimizer,
    precision: Precision,
    *inputs: Tensor,
) -> Tensor:
    """One update of the weights; (N, L) losses of the rank's images. Nothing in it waits for the device.

    inputs: the key of the epoch, and the batch.
    """
    optimizer.zero_grad()
    with ranges.named("forward"):
        losses_NL = losses_of(run, exchange.replica, normalise, precision, *inputs)
    with ranges.named("backward"):
        precision.backward(losses_NL.sum(dim=1).mean())
        exchange.finish()
    with ranges.named("optimizer"):
        precision.unscale(optimizer)
        clip_gradients(exchange.replica, run.config.hyperparameters.gradient_clip_norm)
        precision.step(optimizer)
    return losses_NL.detach()


def losses_of(
    run: Run,
    model: nn.Module,
    normalise: Normalise,
    precision: Precision,
    key_of_epoch: Tensor,
    numbers_N: Tensor,
    fields_NCHW: Tensor,
    rows_NB5: Tensor,
) -> Tensor:
    """(N, L) losses of a batch."""
    truth, keys_N = Truth.of_rows(rows_NB5), image_keys(key_of_epoch, numbers_N)
    return predict(run, model, normalise, precision, fields_NCHW, truth, keys_N)


@torch.no_grad()
def evaluate(run: Run, epoch: int, detect: Step, batches: DeviceBatches, validation_set: Dataset) -> float:
    """The quality metric, mAP at an overlap of 0.5, over the validation images of all ranks; right on rank 0."""
    detect.model.eval()
    own: dict[int, Detections] = {}
    for numbers_N, fields_NCHW, _ in batches:
        own |= dict(zip(numbers_N.tolist(), by_image(detect(fields_NCHW)), strict=True))
    detections = gather(own, run.world)
    if run.world.rank != 0:
        return 0.0
    precision_by_class = average_precision(detections, validation_set.boxes_NB5)
    run.log("average_precision", precision_by_class, epoch_num=epoch)
    return mean_average_precision(precision_by_class)


@torch.no_grad()
def find(run: Run, model: nn.Module, normalise: Normalise, precision: Precision, fields_NCHW: Tensor) -> Detections:
    """The detections of a batch."""
    return predict(run, model, normalise, precision, fields_NCHW)


def predict(
    run: Run,
    model: nn.Module,
    normalise: Normalise,
    precision: Precision,
    fields_NCHW: Tensor,
    truth: Truth | None = None,
    keys_N: Tensor | None = None,
) -> Tensor | Detections:
    """Losses of raw fields; without truth, detections."""
    order = data_parallel.memory_format(run.config.system)
    fields_NCHW = normalise(fields_NCHW).contiguous(memory_format=order)
    with precision.autocast():
        return model(fields_NCHW, truth, keys_N)


def gather(own: dict[int, Detections], world: World) -> dict[int, Detections]:
    """The detections of all ranks, on rank 0; none on the others."""
    if world.num_ranks == 1:
        return own
    parts = [None] * world.num_ranks if world.rank == 0 else None
    dist.gather_object(own, parts)
    return {number: image for part in parts or () for number, image in part.items()}


def learning_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    """The rate at a time in epochs from 0: a linear rise from 0, then steps or a cosine down to 0.

    A step uses the rate at its middle, so that neither the first nor the last step has a rate of 0.
    """
    peak, warmup = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_warmup_epochs
    if hyperparameters.opt_learning_rate_schedule == "step":
        boundaries = hyperparameters.opt_learning_rate_decay_boundary_epochs
        factor = hyperparameters.opt_learning_rate_decay_factor
        rate = schedules.step_decay(time_epochs, peak=peak, boundaries=boundaries, factors=factor)
    else:
        rate = schedules.cosine_decay(time_epochs, peak=peak, start=warmup, stop=num_epochs)
    return schedules.linear_warmup(time_epochs, rate, peak=peak, warmup=warmup, warmup_factor=math.inf)


def clip_gradients(replica: nn.Module, largest_norm: float | None) -> None:
    """Scale all gradients down together if their norm is larger. They are the mean over ranks already."""
    if largest_norm is not None:
        nn.utils.clip_grad_norm_(replica.parameters(), largest_norm)


def log_problem(run: Run, precision: Precision, train_set: Dataset, model: FasterRCNN) -> None:
    """Log the operations per image, and the settings that a reader of the speed needs."""
    system = run.config.system
    run.log("flops_per_image", training_flops(model, train_set.image_shape[1:]))
    run.log("num_parameters", sum(parameter.numel() for parameter in model.parameters()))
    run.log("precision", precision.name)
    for name in ("gradient_compression", "overlap", "bucket_mebibytes", "epochs_between_evaluations"):
        run.log(name, getattr(system, name))
    if system.pretrained_weights:
        run.log("pretrained_weights_sha256", manifest.sha256(system.pretrained_weights))


def log_epoch(run: Run, epoch: int, traffic: Traffic, sums_L: Tensor, num_images: int, start: float) -> None:
    """Log the speed, which the score is computed from, the losses, and the bytes that a step sent."""
    synchronize(run.world.device)
    seconds = time.perf_counter() - start
    run.log("images_per_second_per_rank", num_images / seconds / run.world.num_ranks, epoch_num=epoch)
    run.log("all_reduces_per_step", traffic.num_all_reduces, epoch_num=epoch)
    run.log("all_reduce_bytes_per_step", traffic.num_bytes, epoch_num=epoch)
    means_L = (sums_L / num_images).tolist()
    run.log("train_loss", sum(means_L), parts=dict(zip(LOSSES, means_L, strict=True)), epoch_num=epoch)


def synthetic_batch(dataset: Dataset, num_images: int, device: torch.device) -> Batch:
    """Images without storms on the device, for the warm-up."""
    fields_NCHW = torch.zeros(num_images, *dataset.image_shape, device=device)
    rows_NB5 = torch.full((num_images, MOST_BOXES, 5), float(UNUSED), device=device)
    return torch.zeros(num_images, dtype=torch.long, device=device), fields_NCHW, rows_NB5


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> DeviceBatches:
    """This rank's batches of `batch_size` images on its device; the order of training follows the run's seed."""
    batches = loader(
        dataset,
        batch_size=batch_size,
        num_ranks=run.world.num_ranks,
        rank=run.world.rank,
        seed=run.seed,
        shuffle=shuffle,
        num_workers=run.config.system.num_workers,
    )
    return DeviceBatches(batches, run.world.device)


def build_model(run: Run) -> FasterRCNN:
    """The model on the run's device. Its initial state follows from the run's seed alone, or from a file of weights."""
    torch.manual_seed(run.seed)
    model = new_model(run.config.hyperparameters)
    if run.config.system.pretrained_weights:
        model.backbone.load_pretrained(run.config.system.pretrained_weights)
    return data_parallel.place(model, run.config.system, run.world.device)


def new_model(hyperparameters: Hyperparameters) -> FasterRCNN:
    """The model that the hyperparameters describe."""
    return FasterRCNN(
        norm=hyperparameters.norm,
        base_width=hyperparameters.base_width,
        pyramid_channels=hyperparameters.pyramid_channels,
        head_features=hyperparameters.head_features,
        anchor_sizes=hyperparameters.anchor_sizes,
        num_proposals=hyperparameters.num_proposals,
        num_sampled_regions=hyperparameters.num_sampled_regions,
    )


def build_optimizer(model: FasterRCNN, hyperparameters: Hyperparameters) -> Optimizer:
    """SGD, LARS or LAMB, with weight decay on all parameters, or on all but those of norms."""
    decay_all = hyperparameters.opt_weight_decay_on_batch_norm
    decayed = model.parameters() if decay_all else all_but_norms(model)
    groups = decay_groups(model, decayed, hyperparameters.opt_weight_decay)
    rate = device_rate(hyperparameters.opt_base_learning_rate, model)
    return hpc_ai500_optimizer(hyperparameters.opt_name, groups, lr=rate, momentum=hyperparameters.opt_momentum)


def build_exchange(run: Run, model: FasterRCNN) -> GradientExchange:
    """The exchange of the model's gradients between the ranks, as the system settings say."""
    system = run.config.system
    return GradientExchange(
        model,
        run.world,
        overlap=system.overlap,
        compression=system.gradient_compression,
        **data_parallel.exchange_settings(system),
    )


def save_weights(model: FasterRCNN, path: Path) -> None:
    """Write the trained weights at once or not at all. Raises UserError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write.unfinished_file(path) as part:
        torch.save(model.state_dict(), part)


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
