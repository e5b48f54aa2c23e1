# SPDX-License-Identifier: Apache-2.0
"""Train the Faster R-CNN for the benchmark's fixed number of epochs, and write the event log of the run.

    python -m ewa_fasterrcnn.train --config ewa_fasterrcnn/configs/demo --data output/ewa/data
    torchrun --nproc-per-node 8 -m ewa_fasterrcnn.train --config ewa_fasterrcnn/configs/closed --data /scratch/ewa

The clock runs from the first batch to the end of the last epoch; there is no early stop. The same seed in one process
on the CPU gives the same losses; several ranks give those of one at the same global batch.

Shapes: N images of a rank's batch, C = 16 channels, H x W pixels, B = 15 rows of boxes, L = 4 losses.
"""

import sys
import time

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from ewa_fasterrcnn.channel_statistics import Normalise
from ewa_fasterrcnn.config import Hyperparameters, System
from ewa_fasterrcnn.data import Dataset, open_split
from ewa_fasterrcnn.gradient_exchange import GradientExchange
from ewa_fasterrcnn.loader import loader
from ewa_fasterrcnn.metric import average_precision, mean_average_precision
from ewa_fasterrcnn.model.box_head import Detections, Truth
from ewa_fasterrcnn.model.faster_rcnn import LOSSES, FasterRCNN, training_flops
from ewa_fasterrcnn.optimizer import build_optimizer, clip_gradients, learning_rate
from harness import cli, config, optim
from harness.config import Config, ConfigError
from harness.data import manifest
from harness.data.loader import Loader
from harness.distributed import batch_norm
from harness.distributed.world import World
from harness.precision import uses_bf16
from harness.run import Run
from harness.train_command import TrainCommand


def main(arguments: list[str] | None = None) -> None:
    """The command; `arguments` in place of the command line's."""
    request = TrainCommand.parse(arguments, __doc__, Hyperparameters, System)
    with request.launch() as world:
        check_configuration(request.settings, world)
        request = request.staged(world)
        train_set = open_split(request.data, "train", rank=world.rank, num_ranks=world.num_ranks)
        validation_set = open_split(request.data, "validation", rank=world.rank, num_ranks=world.num_ranks)
        with request.run(world) as run:
            network = train(run, train_set, validation_set)
        if world.rank == 0 and request.settings.system.trained_weights:
            save_weights(network, request.settings)


def train(run: Run, train_set: Dataset, validation_set: Dataset) -> FasterRCNN:
    """The whole procedure: initialisation, then all epochs, of which the last one is always evaluated."""
    hyperparameters, system = run.config.hyperparameters, run.config.system
    train_batches = build_loader(run, train_set, hyperparameters.global_batch_size // run.world.num_ranks, shuffle=True)
    validation_batches = build_loader(run, validation_set, system.evaluation_batch_size, shuffle=False)
    network = build_network(run)
    exchange = build_exchange(run, network)
    optimizer = build_optimizer(network, hyperparameters)
    normalise = Normalise(train_set.statistics).to(run.world.device)
    run.log_data(train_set, validation_set)
    log_problem(run, train_set, network)
    checkpoints = run.checkpoints(every_epochs=system.checkpoint_every_epochs, network=network, optimizer=optimizer)

    run.start()
    for epoch in run.epochs(checkpoints=checkpoints):
        train_batches.set_epoch(epoch)
        train_epoch(run, epoch, exchange, normalise, optimizer, train_batches)
        if epoch % system.epochs_between_evaluations == 0 or epoch == run.config.benchmark.num_epochs:
            batch_norm.average_running_statistics(network)
            with run.evaluation(epoch) as result:
                result.value = evaluate(run, epoch, network, normalise, validation_batches, validation_set)
    return network


def train_epoch(
    run: Run, epoch: int, exchange: GradientExchange, normalise: Normalise, optimizer: Optimizer, batches: Loader
) -> None:
    """One pass over the training images, its losses, its images per second and its communication."""
    exchange.network.train()
    hyperparameters, num_epochs = run.config.hyperparameters, run.config.benchmark.num_epochs
    sums_L, start = torch.zeros(len(LOSSES), dtype=torch.float64, device=run.world.device), time.perf_counter()
    with run.progress(epoch, len(batches)) as progress:
        for step, (numbers_N, fields_NCHW, rows_NB5) in enumerate(batches):
            time_epochs = epoch - 1 + (step + 0.5) / len(batches)
            optim.set_learning_rate(optimizer, learning_rate(time_epochs, num_epochs, hyperparameters))
            optimizer.zero_grad()
            truths = [truth_of(rows_B5.to(run.world.device)) for rows_B5 in rows_NB5]
            generators = [generator_of(run.seed, epoch, int(number)) for number in numbers_N]
            losses_NL = predict(run, exchange.model, normalise, fields_NCHW, truths, generators)
            losses_NL.sum(dim=1).mean().backward()
            exchange.finish()
            clip_gradients(exchange.network, hyperparameters.gradient_clip_norm)
            optimizer.step()
            sums_L += losses_NL.detach().sum(dim=0)
            progress.update(num_samples=len(numbers_N), loss=losses_NL.detach().sum(dim=1).mean())
    num_images = len(batches) * hyperparameters.global_batch_size
    log_epoch(run, epoch, exchange, run.world.all_reduce_sum(sums_L), num_images, start)


@torch.no_grad()
def evaluate(
    run: Run, epoch: int, network: FasterRCNN, normalise: Normalise, batches: Loader, validation_set: Dataset
) -> float:
    """The quality metric, mAP at an overlap of 0.5, over the validation images of all ranks; right on rank 0."""
    network.eval()
    own = {}
    for numbers_N, fields_NCHW, _ in batches:
        found = predict(run, network, normalise, fields_NCHW)
        own |= {int(number): on_cpu(one) for number, one in zip(numbers_N, found, strict=True)}
    detections = gather(own, run.world)
    if run.world.rank != 0:
        return 0.0
    precision = average_precision(detections, validation_set.boxes_NB5)
    run.log("average_precision", precision, epoch_num=epoch)
    return mean_average_precision(precision)


def predict(
    run: Run,
    model: nn.Module,
    normalise: Normalise,
    fields_NCHW: Tensor,
    truths: list[Truth] | None = None,
    generators: list[torch.Generator] | None = None,
) -> Tensor | list[Detections]:
    """Losses, or without truths detections, of raw fields, in the precision and layout that the system asks for."""
    device, system = run.world.device, run.config.system
    layout = torch.channels_last if system.channels_last else torch.contiguous_format
    fields_NCHW = normalise(fields_NCHW.to(device, non_blocking=True)).contiguous(memory_format=layout)
    with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(system.precision, device.type)):
        return model(fields_NCHW, truths, generators)


def truth_of(rows_B5: Tensor) -> Truth:
    """The storms among an image's rows of boxes."""
    rows_G5 = rows_B5[rows_B5[:, 4] >= 0]
    return Truth(rows_G5[:, :4], rows_G5[:, 4].long())


def generator_of(seed: int, epoch: int, number: int) -> torch.Generator:
    """What draws an image's sampled anchors and regions: its own, so that it does not matter which rank has it."""
    state = np.random.SeedSequence([seed, epoch, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def gather(own: dict[int, Detections], world: World) -> dict[int, Detections]:
    """On rank 0 the detections of all ranks."""
    if world.num_ranks == 1:
        return own
    parts = [None] * world.num_ranks if world.rank == 0 else None
    dist.gather_object(own, parts)
    return {number: found for part in parts or () for number, found in part.items()}


def on_cpu(found: Detections) -> Detections:
    return Detections(*(column.float().cpu() for column in found))


def check_configuration(settings: Config, world: World) -> None:
    """ConfigError where a global batch cannot be shared equally, or weights are missing; sets TF32 for the process."""
    hyperparameters, system = settings.hyperparameters, settings.system
    config.check_shares(settings, world.num_ranks)
    if (hyperparameters.norm == "frozen") != (system.pretrained_weights is not None):
        found = f"found {system.pretrained_weights} with norm {hyperparameters.norm!r}"
        raise ConfigError(
            f"{settings.system_path}: [system] pretrained_weights: {found}, expected a file where norm is 'frozen', "
            "and none elsewhere"
        )
    if system.precision == "tf32" and world.device.type != "cuda":
        raise ConfigError(f"{settings.system_path}: [system] precision: found 'tf32' on a {world.device.type}")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = system.precision == "tf32"


def log_problem(run: Run, train_set: Dataset, network: FasterRCNN) -> None:
    """Operations an image, and what the arithmetic and the gradients' way are."""
    system, device = run.config.system, run.world.device
    run.log("flops_per_image", training_flops(network, train_set.image_shape[1:]))
    run.log("num_parameters", sum(parameter.numel() for parameter in network.parameters()))
    named = system.precision if system.precision != "auto" else "fp32"
    run.log("precision", "bf16" if uses_bf16(system.precision, device.type) else named)
    for name in ("gradient_compression", "overlap", "bucket_mebibytes", "epochs_between_evaluations"):
        run.log(name, getattr(system, name))
    if system.pretrained_weights:
        run.log("pretrained_weights_sha256", manifest.sha256(system.pretrained_weights))


def log_epoch(run: Run, epoch: int, exchange: GradientExchange, sums_L: Tensor, num_images: int, start: float) -> None:
    """What the score is computed from, what the losses were, and what a step sent."""
    if run.world.device.type == "cuda":
        torch.cuda.synchronize(run.world.device)
    seconds = time.perf_counter() - start
    run.log("images_per_second_per_rank", num_images / seconds / run.world.num_ranks, epoch_num=epoch)
    run.log("all_reduces_per_step", exchange.traffic.num_all_reduces, epoch_num=epoch)
    run.log("all_reduce_bytes_per_step", exchange.traffic.num_bytes, epoch_num=epoch)
    means_L = (sums_L / num_images).tolist()
    run.log("train_loss", sum(means_L), parts=dict(zip(LOSSES, means_L, strict=True)), epoch_num=epoch)


def build_loader(run: Run, dataset: Dataset, batch_size: int, *, shuffle: bool) -> Loader:
    """This rank's batches of `batch_size` images; the order of training follows the run's seed."""
    return loader(
        dataset,
        batch_size=batch_size,
        num_ranks=run.world.num_ranks,
        rank=run.world.rank,
        seed=run.seed,
        shuffle=shuffle,
        num_workers=run.config.system.num_workers,
    )


def build_network(run: Run) -> FasterRCNN:
    """The network from the run's seed: the same initial state whatever the system and the ranks."""
    torch.manual_seed(run.seed)
    model = network_of(run.config.hyperparameters)
    if run.config.system.pretrained_weights:
        model.backbone.load_pretrained(run.config.system.pretrained_weights)
    layout = torch.channels_last if run.config.system.channels_last else torch.contiguous_format
    return model.to(run.world.device, memory_format=layout)


def network_of(hyperparameters: Hyperparameters) -> FasterRCNN:
    return FasterRCNN(
        norm=hyperparameters.norm,
        base_width=hyperparameters.base_width,
        pyramid_channels=hyperparameters.pyramid_channels,
        head_features=hyperparameters.head_features,
        anchor_sizes=hyperparameters.anchor_sizes,
        num_proposals=hyperparameters.num_proposals,
        num_sampled_regions=hyperparameters.num_sampled_regions,
    )


def build_exchange(run: Run, network: FasterRCNN) -> GradientExchange:
    system = run.config.system
    return GradientExchange(
        network,
        run.world,
        bucket_mebibytes=system.bucket_mebibytes,
        overlap=system.overlap,
        compression=system.gradient_compression,
    )


def save_weights(network: FasterRCNN, settings: Config) -> None:
    """Write the trained network at once or not at all."""
    path = settings.system.trained_weights
    temporary = path.with_name(f".{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), temporary)
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
