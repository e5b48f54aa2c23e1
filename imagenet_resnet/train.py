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

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, Optimizer

from harness import cli, config, optim
from harness.data.loader import Loader
from harness.distributed import batch_norm
from harness.distributed.gradient_compression import compress_gradients
from harness.flops import training_flops
from harness.run import Run
from harness.train_command import TrainCommand
from imagenet_resnet.config import Hyperparameters, System
from imagenet_resnet.data import open_split
from imagenet_resnet.dataset import Dataset
from imagenet_resnet.loader import loader
from imagenet_resnet.model import ResNet50, normalised
from imagenet_resnet.precision import Precision

TRUST = 0.001
"""LARS' coefficient: the published one."""
LAMB_SECOND_DECAY = 0.999


def main(arguments: list[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    num_classes = request.settings.hyperparameters.num_classes
    with request.launch() as world:
        config.check_shares(request.settings, world.num_ranks)
        request = request.staged(world)
        precision = Precision.of(request.settings.system.precision, world.device)
        if request.settings.system.num_compute_threads:
            torch.set_num_threads(request.settings.system.num_compute_threads)
        train_set, validation_set = (
            open_split(request.data, split, num_classes=num_classes, rank=world.rank, num_ranks=world.num_ranks)
            for split in ("train", "validation")
        )
        with request.run(world) as run:
            train(run, train_set, validation_set, precision)


def train(run: Run, train_set: Dataset, validation_set: Dataset, precision: Precision) -> None:
    """The whole procedure: initialisation, then all epochs, of which the last one is always evaluated."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    run.log_data(train_set, validation_set)
    log_problem(run, precision)
    train_batches = build_loader(run, train_set, hyperparameters.global_batch_size // run.world.num_ranks, shuffle=True)
    validation_batches = build_loader(run, validation_set, system.evaluation_batch_size, shuffle=False)
    model = build_model(run)
    optimizer = build_optimizer(model, hyperparameters)
    parts = {"network": model, "optimizer": optimizer, "precision": precision}
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, **parts)

    run.start()
    for epoch in run.epochs(checkpoints=checkpoints):
        train_batches.set_epoch(epoch)
        train_epoch(run, epoch, model, optimizer, train_batches, precision)
        if epoch % system.epochs_between_evaluations == 0 or epoch == run.config.benchmark.num_epochs:
            with run.evaluation(epoch) as result:
                result.value = top1_accuracy(run, model, validation_batches, precision)


def train_epoch(
    run: Run, epoch: int, model: nn.Module, optimizer: Optimizer, batches: Loader, precision: Precision
) -> None:
    """One pass over the training samples, and its images per second."""
    model.train()
    hyperparameters, device = run.config.hyperparameters, run.world.device
    num_steps, start = len(batches), time.perf_counter()
    with run.progress(epoch, num_steps) as progress:
        for step, (image_NHWC, label_N) in enumerate(batches):
            time_epochs = epoch - 1 + (step + 0.5) / num_steps
            optim.set_learning_rate(
                optimizer, learning_rate(time_epochs, run.config.benchmark.num_epochs, hyperparameters)
            )
            score_NK = predict(run, model, image_NHWC, precision)
            label_N = label_N.to(device, non_blocking=True)
            loss = cross_entropy(score_NK, label_N, label_smoothing=hyperparameters.label_smoothing)
            optimizer.zero_grad()
            precision.backward(loss)
            precision.step(optimizer)
            progress.update(num_samples=len(label_N), loss=loss.detach())
    num_images = num_steps * hyperparameters.global_batch_size
    run.log("images_per_second_per_rank", images_per_second(run, num_images, start), epoch_num=epoch)


def images_per_second(run: Run, num_images: int, start: float) -> float:
    """Of a rank, training alone: all ranks' images / seconds since `start` / ranks, the device having caught up."""
    if run.world.device.type == "cuda":
        torch.cuda.synchronize(run.world.device)
    return num_images / (time.perf_counter() - start) / run.world.num_ranks


@torch.no_grad()
def top1_accuracy(run: Run, model: nn.Module, batches: Loader, precision: Precision) -> float:
    """The quality metric: the share of all validation samples whose highest score is their class's."""
    batch_norm.average_running_statistics(model)
    model.eval()
    network = model.module if isinstance(model, DistributedDataParallel) else model  # ranks' numbers of batches differ
    num_right, num_samples = torch.zeros((), dtype=torch.int64, device=run.world.device), 0
    for image_NHWC, label_N in batches:
        score_NK = predict(run, network, image_NHWC, precision)
        num_right += (score_NK.argmax(dim=1) == label_N.to(run.world.device)).sum()
        num_samples += len(label_N)
    return run.world.mean(num_right, num_samples)


def predict(run: Run, model: nn.Module, image_NHWC: Tensor, precision: Precision) -> Tensor:
    """uint8 pictures -> (N, K) scores in fp32, computed in the precision and memory layout that the system asks for."""
    layout = torch.channels_last if run.config.system.channels_last else torch.contiguous_format
    image_NCHW = image_NHWC.to(run.world.device, non_blocking=True).permute(0, 3, 1, 2)
    with precision.autocast():
        return model(normalised(image_NCHW).contiguous(memory_format=layout)).float()


def learning_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    """The rate at a time in epochs from 0: a linear rise from 0, then the schedule down to 0 or to its last step.

    A step takes the rate at its middle, so that neither the first nor the last one is lost to a rate of 0.
    """
    peak, warmup = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_warmup_epochs
    rate = _decayed_rate(time_epochs, num_epochs, hyperparameters)
    return optim.linear_warmup(time_epochs, rate, peak=peak, warmup=warmup, warmup_factor=math.inf)


def _decayed_rate(time_epochs: float, num_epochs: int, hyperparameters: Hyperparameters) -> float:
    peak, schedule = hyperparameters.opt_base_learning_rate, hyperparameters.opt_learning_rate_schedule
    if schedule == "step":
        return optim.step_decay(
            time_epochs,
            peak=peak,
            boundaries=hyperparameters.opt_learning_rate_decay_boundary_epochs,
            factors=hyperparameters.opt_learning_rate_decay_factor,
        )
    span = {"peak": peak, "start": hyperparameters.opt_learning_rate_warmup_epochs, "stop": num_epochs}
    if schedule == "quadratic":
        return optim.polynomial_decay(time_epochs, power=2, **span)
    return {"linear": optim.linear_decay, "cosine": optim.cosine_decay}[schedule](time_epochs, **span)


def log_problem(run: Run, precision: Precision) -> None:
    """Operations an image, and what the arithmetic and the gradients' way are."""
    run.log("flops_per_image", flops_per_image(run.config.hyperparameters))
    run.log("precision", precision.name)
    run.log("gradient_compression", run.config.system.gradient_compression)
    run.log("epochs_between_evaluations", run.config.system.epochs_between_evaluations)


def flops_per_image(hyperparameters: Hyperparameters) -> int:
    """Floating-point operations of training on one image, counted without computing."""
    side = hyperparameters.image_size
    with torch.device("meta"):
        return training_flops(network(hyperparameters), torch.empty(1, 3, side, side))


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> Loader:
    """This rank's batches of `batch_size` samples; the order of training follows the run's seed."""
    system = run.config.system
    return loader(
        dataset,
        batch_size=batch_size,
        side=run.config.hyperparameters.image_size,
        num_ranks=run.world.num_ranks,
        rank=run.world.rank,
        seed=run.seed,
        shuffle=shuffle,
        num_workers=system.num_workers,
        kind=system.loader,
        unreadable=system.unreadable,
        device=run.world.device,
    )


def build_model(run: Run) -> nn.Module:
    """The network from the run's seed: the same initial state whatever the system and the ranks."""
    system = run.config.system
    torch.manual_seed(run.seed)
    layout = torch.channels_last if system.channels_last else torch.contiguous_format
    model = network(run.config.hyperparameters).to(run.world.device, memory_format=layout)
    if system.compile:
        model.compile()
    if run.world.num_ranks == 1:
        return model
    # Running statistics are averaged before an evaluation, rather than overwritten by rank 0's in every step.
    model = DistributedDataParallel(model, broadcast_buffers=False, gradient_as_bucket_view=True)
    compress_gradients(model, system.gradient_compression)
    return model


def network(hyperparameters: Hyperparameters) -> ResNet50:
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
    network = model.module if isinstance(model, DistributedDataParallel) else model
    free = [] if hyperparameters.opt_weight_decay_on_batch_norm else network.batch_norm_parameters()
    free_ids = {id(parameter) for parameter in free}
    decayed = [parameter for parameter in network.parameters() if id(parameter) not in free_ids]
    groups = [
        group for group in optim.decay_groups(network, decayed, hyperparameters.opt_weight_decay) if group["params"]
    ]
    rate, momentum = hyperparameters.opt_base_learning_rate, hyperparameters.opt_momentum
    if hyperparameters.opt_name == "lars":
        return optim.LARS(groups, lr=rate, momentum=momentum, trust=TRUST)
    if hyperparameters.opt_name == "lamb":
        return optim.LAMB(groups, lr=rate, betas=(momentum, LAMB_SECOND_DECAY))
    return SGD(groups, lr=rate, momentum=momentum)


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
