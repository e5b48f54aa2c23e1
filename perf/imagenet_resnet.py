# SPDX-License-Identifier: Apache-2.0
"""ImageNet's input and training rates on this machine, compared with straightforward code, in turns in one process.

    python -m perf imagenet_resnet

Input: JPEGs of 500 x 375 to crops of 224, in two threads against two processes of a torch DataLoader with Pillow.
DALI is measured if it is installed.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

from harness.flops import training_flops
from imagenet_resnet import dali
from imagenet_resnet.data import open_split
from imagenet_resnet.image_folder import PictureFolder
from imagenet_resnet.jpeg import training_view
from imagenet_resnet.loader import loader
from imagenet_resnet.model import DEVIATION_C, MEAN_C, ResNet50, normalised
from imagenet_resnet.synthesize import synthesize
from imagenet_resnet.synthetic.gratings import Drawing
from perf import peak
from perf.measurement import Measurement, Row
from perf.turns import in_turn, training_row

SIDE = 224
NUM_PICTURES, NUM_WORKERS, BATCH_SIZE = 512, 2, 32
NUM_EPOCHS = 5
TRAINING_BATCH_SIZE, NUM_STEPS, NUM_WARM_UP_STEPS = 8, 7, 2


def measure() -> Measurement:
    with TemporaryDirectory(prefix="hpc_ai_bench_") as folder:
        drawing = Drawing(width=500, height=375)
        counts = {"train": NUM_PICTURES, "validation": drawing.num_classes}
        for form in ("folders", "shards"):
            synthesize(Path(folder, form), drawing, counts, form=form, num_processes=NUM_WORKERS)
        rows = _input_rows(Path(folder))
    rows += _training_rows()
    return Measurement(
        name="imagenet_resnet",
        title="ImageNet ResNet-50: input and training on CPU",
        peer="input: torch DataLoader and Pillow, normalized fp32 images; training: NCHW in fp32 or plain bf16",
        method=(
            f"Input: median of {NUM_EPOCHS} passes over {NUM_PICTURES} JPEGs of 500 x 375, {NUM_WORKERS} workers each. "
            f"Training: median of {NUM_STEPS} steps. Variants in turn, in one process."
        ),
        rows=rows,
        versions=("torch", "pillow", *(("nvidia-dali-cuda130",) if dali.pipeline_def else ())),
    )


class UsersDataset:
    """Straightforward data set: decode, crop, resize, mirror and normalize in the worker."""

    def __init__(self, folder: PictureFolder):
        self.paths, self.labels = folder.paths, folder.labels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        picture = Image.open(self.paths[index]).convert("RGB")
        view = training_view(picture.size, np.random.default_rng())
        picture = picture.crop((view.left, view.top, view.left + view.width, view.top + view.height))
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        if view.mirrored:
            picture = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image_CHW = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float()
        mean_C11, deviation_C11 = (torch.tensor(values).view(3, 1, 1) for values in (MEAN_C, DEVIATION_C))
        return (image_CHW - mean_C11) / deviation_C11, int(self.labels[index])


def _input_rows(folder: Path) -> list[Row]:
    sets = {form: open_split(folder / form, "train", num_classes=8) for form in ("folders", "shards")}
    options = {"batch_size": BATCH_SIZE, "side": SIDE, "seed": 1, "shuffle": True, "num_workers": NUM_WORKERS}
    peer = DataLoader(UsersDataset(sets["folders"]), BATCH_SIZE, shuffle=True, num_workers=NUM_WORKERS)
    readers = {f"{form}, plain": loader(dataset, **options) for form, dataset in sets.items()}
    if dali.pipeline_def:
        readers |= {f"{form}, DALI on CPU": loader(dataset, kind="dali", **options) for form, dataset in sets.items()}
    seconds = {name: [] for name in ("peer", *readers)}
    for _ in range(NUM_EPOCHS):
        for name, batches in {"peer": peer, **readers}.items():
            seconds[name].append(_pass_seconds(batches))
    peer_rate = NUM_PICTURES / median(seconds["peer"])
    return [_row(f"input, {name}", NUM_PICTURES / median(seconds[name]), peer_rate) for name in readers]


def _pass_seconds(batches: Iterable) -> float:
    start = time.perf_counter()
    num_pictures = sum(len(labels) for _, labels in batches)
    assert num_pictures == NUM_PICTURES
    return time.perf_counter() - start


def _row(what: str, rate: float, peer_rate: float) -> Row:
    return Row(what=what, unit="images/s", ours=rate, peer=peer_rate, ratio=rate / peer_rate)


def _training_rows() -> list[Row]:
    last, plain = torch.channels_last, torch.contiguous_format
    variants = {"fp32": (last, False), "bf16": (last, True), "plain": (plain, False), "plain bf16": (plain, True)}
    steps = {name: _step(layout, bf16=bf16) for name, (layout, bf16) in variants.items()}
    times = in_turn(steps, num_warm_ups=NUM_WARM_UP_STEPS, num_turns=NUM_STEPS)
    with torch.device("meta"):
        flops = training_flops(ResNet50(), torch.empty(1, 3, SIDE, SIDE))
    amounts = {"batch_size": TRAINING_BATCH_SIZE, "flops": flops, "unit": "images"}
    pairs = {"fp32": ("fp32", "plain"), "bf16 beside plain bf16": ("bf16", "plain bf16"), "bf16": ("bf16", "plain")}
    return [
        training_row(
            f"at {SIDE}, channels last, {what}", times[ours], times[peer], peak=peak.flops_per_s(ours), **amounts
        )
        for what, (ours, peer) in pairs.items()
    ]


def _step(layout: torch.memory_format, *, bf16: bool) -> Callable[[], None]:
    torch.manual_seed(1)
    model = ResNet50().to(memory_format=layout)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.875)
    image_NCHW = torch.randint(0, 256, (TRAINING_BATCH_SIZE, 3, SIDE, SIDE), dtype=torch.uint8)
    label_N = torch.randint(0, 1000, (TRAINING_BATCH_SIZE,))

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            score_NK = model(normalised(image_NCHW).contiguous(memory_format=layout))
        optimizer.zero_grad()
        cross_entropy(score_NK.float(), label_N).backward()
        optimizer.step()

    return step
