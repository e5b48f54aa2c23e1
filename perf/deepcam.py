# SPDX-License-Identifier: Apache-2.0
"""DeepCAM on this CPU: training step against its plain form, and loader against raw reads, in turns.

python -m perf deepcam
"""

import multiprocessing
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from deepcam import sample_files
from deepcam.channel_statistics import Statistics
from deepcam.data import Dataset
from deepcam.loader import loader
from deepcam.loss import CLASS_WEIGHTS, weighted_cross_entropy
from deepcam.metric import confusion, sample_iou
from deepcam.model import DeepCAM, Pyramid
from deepcam.sample_files import FORMATS
from harness.flops import training_flops
from perf import peak
from perf.measurement import Measurement, Row
from perf.turns import in_turn, training_row

HEIGHT, WIDTH, BATCH_SIZE = 192, 288, 2
NUM_WARM_UP_STEPS, NUM_STEPS = 1, 5
NUM_FILES, NUM_EPOCHS = 48, 5


def measure() -> Measurement:
    return Measurement(
        name="deepcam",
        title="DeepCAM: training and reading on CPU",
        peer="for a step, the plain form in the same PyTorch (NCHW, fp32 or plain bf16, softmax before the metric, "
        "pooled branch tiled); for reading, a loop of h5py reads of the same files, without checks and batches",
        method=f"Medians of {NUM_STEPS} training steps with metric at {HEIGHT} x {WIDTH}, and the best of {NUM_EPOCHS} "
        f"epochs over {NUM_FILES} files in the page cache, each variant in turn in one process.",
        rows=[*_step_rows(), *_memory_rows(), *_loader_rows()],
        versions=("torch", "h5py", "numpy"),
    )


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One variant of the same training step."""

    layout: torch.memory_format
    bf16: bool
    plain: bool
    """True: tile the pooled branch, and compute the softmax for the metric."""


class TiledPyramid(Pyramid):
    """Pyramid that tiles the pooled vector over height and width before concatenation."""

    def forward(self, features_NCHW: Tensor) -> Tensor:
        tiles = self.pooled(features_NCHW).tile(1, 1, *features_NCHW.shape[-2:])
        branches = torch.cat([*(branch(features_NCHW) for branch in self.branches), tiles], dim=1)
        return self.head(self.projection(branches))


def _variants() -> dict[str, Variant]:
    return {
        "plain": Variant(layout=torch.contiguous_format, bf16=False, plain=True),
        "plain bf16": Variant(layout=torch.contiguous_format, bf16=True, plain=True),
        "fp32": Variant(layout=torch.channels_last, bf16=False, plain=False),
        "bf16": Variant(layout=torch.channels_last, bf16=True, plain=False),
    }


def _step_rows() -> list[Row]:
    steps = {name: _step(variant) for name, variant in _variants().items()}
    times = in_turn(steps, num_warm_ups=NUM_WARM_UP_STEPS, num_turns=NUM_STEPS)
    with torch.device("meta"):
        amounts = {"batch_size": BATCH_SIZE, "flops": training_flops(DeepCAM(), torch.empty(1, 16, HEIGHT, WIDTH))}
    return [
        training_row("channels last, fp32", times["fp32"], times["plain"], peak=peak.flops_per_s("fp32"), **amounts),
        *(
            training_row(
                f"channels last, bf16{beside}", times["bf16"], times[peer], peak=peak.flops_per_s("bf16"), **amounts
            )
            for beside, peer in ((" beside plain bf16", "plain bf16"), ("", "plain"))
        ),
    ]


def _step(variant: Variant) -> Callable[[], None]:
    torch.manual_seed(1)
    model = DeepCAM()
    if variant.plain:
        model.pyramid.__class__ = TiledPyramid
    model = model.to(memory_format=variant.layout)
    optimizer = torch.optim.Adam(model.parameters(), fused=True)
    fields_NCHW = torch.rand(BATCH_SIZE, 16, HEIGHT, WIDTH).contiguous(memory_format=variant.layout)
    labels_NHW = torch.randint(0, 3, (BATCH_SIZE, HEIGHT, WIDTH), dtype=torch.uint8)
    finish = _plain_loss_and_metric if variant.plain else _loss_and_metric

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=variant.bf16):
            logits_NKHW = model(fields_NCHW)
        finish(logits_NKHW, labels_NHW).backward()
        optimizer.step()

    return step


def _loss_and_metric(logits_NKHW: Tensor, labels_NHW: Tensor) -> Tensor:
    sample_iou(confusion(logits_NKHW.detach(), labels_NHW))
    return weighted_cross_entropy(logits_NKHW, labels_NHW)


def _plain_loss_and_metric(logits_NKHW: Tensor, labels_NHW: Tensor) -> Tensor:
    labels_NHW = labels_NHW.long()
    with torch.no_grad():
        prediction_NHW = torch.softmax(logits_NKHW, 1).argmax(1)
        for kind in range(3):
            predicted, labelled = prediction_NHW == kind, labels_NHW == kind
            for left, right in ((predicted, labelled), (predicted, ~labelled), (~predicted, labelled)):
                (left & right).sum((1, 2))
    logits_NKHW = logits_NKHW.float()  # autocast does not cover the loss
    return cross_entropy(logits_NKHW, labels_NHW, weight=torch.tensor(CLASS_WEIGHTS), reduction="none").mean()


def _memory_rows() -> Iterator[Row]:
    """Measure each variant in its own process, because a process keeps the memory of earlier variants."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=1) as pool:
        names = ("plain", "fp32", "bf16")
        peaks = dict(zip(names, pool.map(_peak_mib, names), strict=True))
    for name in ("fp32", "bf16"):
        what = f"peak memory of a process that trains, channels last, {name}"
        yield Row(what=what, unit="MiB", ours=peaks[name], peer=peaks["plain"], ratio=peaks["plain"] / peaks[name])


def _peak_mib(name: str) -> float:
    step = _step(_variants()[name])
    for _ in range(NUM_WARM_UP_STEPS + 1):
        step()
    lines = Path("/proc/self/status").read_text().splitlines()  # ru_maxrss starts at the parent's value
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def _loader_rows() -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        data = {name: _data_set(Path(folder, name), name) for name in ("hdf5", "numpy")}
        paths = [data["hdf5"].paths(index)[0] for index in range(NUM_FILES)]
        ways = {
            "raw": lambda: _raw_reads(paths),
            "hdf5": lambda: loader(data["hdf5"], batch_size=BATCH_SIZE),
            "numpy": lambda: loader(data["numpy"], batch_size=BATCH_SIZE),
        }
        seconds = {name: [] for name in ways}
        for _ in range(NUM_EPOCHS):
            for name, way in ways.items():
                seconds[name].append(_exhaust(way()))
    rates = {name: NUM_FILES / min(values) for name, values in seconds.items()}
    for name in ("hdf5", "numpy"):
        yield Row(
            what=f"reading {name} in batches, every value checked, one process",
            unit="samples/s",
            ours=rates[name],
            peer=rates["raw"],
            ratio=rates[name] / rates["raw"],
            note=f"{rates[name] * HEIGHT * WIDTH * 17 * 4 / 1e9:.2f} GB/s of the HDF5 form",
        )


def _data_set(folder: Path, form: str) -> Dataset:
    (folder / "train").mkdir(parents=True)
    generator = np.random.default_rng(1)
    fields = generator.random((HEIGHT, WIDTH, sample_files.NUM_CHANNELS), dtype=np.float32)
    labels = generator.integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)
    identifiers = [f"{number:03}" for number in range(NUM_FILES)]
    for identifier in identifiers:
        sample_files.write(FORMATS[form], folder / "train", identifier, fields, labels)
    statistics = Statistics.of(fields)
    return Dataset(
        folder=folder, split="train", sample_format=FORMATS[form], identifiers=identifiers, statistics=statistics
    )


def _raw_reads(paths: list[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        with h5py.File(path, "r") as file:
            yield file["climate/data"][()], file["climate/labels_0"][()]


def _exhaust(items: Iterable) -> float:
    start = time.perf_counter()
    for _ in items:
        pass
    return time.perf_counter() - start
