# SPDX-License-Identifier: Apache-2.0
"""Faster R-CNN on this CPU: RoIAlign and suppression against peers, parts of a training step, reading of years.

python -m perf ewa_fasterrcnn
"""

import copy
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import h5py
import numpy as np
import torch
from torch import Tensor

from ewa_fasterrcnn.model.box_head import Truth
from ewa_fasterrcnn.model.boxes import overlaps
from ewa_fasterrcnn.model.faster_rcnn import FasterRCNN, training_flops
from ewa_fasterrcnn.model.random_numbers import ANCHORS, REGIONS, random_numbers
from ewa_fasterrcnn.model.region_proposals import proposal_losses
from ewa_fasterrcnn.model.roi_ops import roi_align, suppress
from ewa_fasterrcnn.year_files import YearFile
from perf import peak
from perf.measurement import Measurement, Row
from perf.turns import Times, in_turn, training_row
from tests.ewa_fasterrcnn.model.plain_detector import plain_roi_align

NUM_WARM_UPS = 1
NUM_TURNS = 5
NUM_REGIONS, NUM_BOXES, NUM_CHANNELS, MAP_SIZE = 256, 1000, 256, (96, 144)
STEP_SIZE = (384, 576)
"""A quarter of the reference image, which fits into a laptop's memory."""
LAYOUTS = {
    "fp32": torch.channels_last,
    "bf16": torch.channels_last,
    "plain": torch.contiguous_format,
    "plain bf16": torch.contiguous_format,
}
NUM_IMAGES, IMAGE_SHAPE = 6, (16, 768, 1152)
BYTES_PER_MEBIBYTE = 2**20


def measure() -> Measurement:
    torch.manual_seed(1)
    return Measurement(
        name="ewa_fasterrcnn",
        title="Faster R-CNN (EWA): training on CPU",
        peer="plain forms of the operators; the plain step (NCHW, fp32 or bf16); plain reads of the same bytes",
        method=f"Median of {NUM_TURNS} turns of each, taken in turn in one process, operators on one thread; the "
        "step's parts are shares of it.",
        rows=[*_on_one_thread(_operator_rows), *_step_rows(), _reading_row()],
        versions=("torch", "h5py"),
    )


def _on_one_thread(rows: Callable[[], list[Row]]) -> list[Row]:
    """Threads of one process that wait for each other distort times of milliseconds, if other jobs are running."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return rows()
    finally:
        torch.set_num_threads(num_threads)


def _operator_rows() -> list[Row]:
    features = torch.randn(1, NUM_CHANNELS, *MAP_SIZE, requires_grad=True)
    regions, boxes, scores = _boxes(NUM_REGIONS), _boxes(NUM_BOXES), torch.rand(NUM_BOXES)
    level_NR = torch.zeros(1, NUM_REGIONS, dtype=torch.long)
    align = _timed(
        lambda: roi_align([features], regions[None], level_NR, [1 / 4]).sum().backward(),
        lambda: plain_roi_align(features[0], regions, scale=1 / 4).sum().backward(),
    )
    thin_out = _timed(
        lambda: suppress(boxes, scores, threshold=0.7), lambda: _loop_suppress(boxes, scores, threshold=0.7)
    )
    size = f"{NUM_CHANNELS} x {MAP_SIZE[0]} x {MAP_SIZE[1]}"
    what = f"RoIAlign forward and backward, {NUM_REGIONS} regions of {size}, against grid_sample"
    return [
        _rate_row(what, "regions/s", NUM_REGIONS, *align),
        _rate_row(f"suppression of {NUM_BOXES} boxes, against a loop over boxes", "boxes/s", NUM_BOXES, *thin_out),
    ]


def _loop_suppress(boxes: Tensor, scores: Tensor, threshold: float) -> list[int]:
    """Textbook algorithm: take the best box, drop all boxes that overlap it, repeat."""
    left, kept = scores.argsort(descending=True), []
    while len(left):
        kept.append(int(left[0]))
        left = left[1:][overlaps(boxes[left[:1]], boxes[left[1:]])[0] <= threshold]
    return kept


def _boxes(num: int) -> Tensor:
    height, width = (4 * cells for cells in MAP_SIZE)
    low = torch.rand(num, 2) * torch.tensor([height * 0.8, width * 0.8])
    return torch.cat([low, low + 16 + torch.rand(num, 2) * 100], dim=1)


def _step_rows() -> list[Row]:
    """Training steps of the reference network, channels last against plain and bf16 against fp32, and their parts."""
    model = FasterRCNN()
    steps = {
        name: _Step(copy.deepcopy(model), layout=layout, bf16=name.endswith("bf16")) for name, layout in LAYOUTS.items()
    }
    times = in_turn({name: step.run for name, step in steps.items()}, num_warm_ups=NUM_WARM_UPS, num_turns=NUM_TURNS)
    amounts = {"batch_size": 1, "flops": training_flops(model, STEP_SIZE), "unit": "images"}
    size = f"reference at {STEP_SIZE[0]} x {STEP_SIZE[1]}"
    pairs = {"fp32": ("fp32", "plain"), "bf16 beside plain bf16": ("bf16", "plain bf16"), "bf16": ("bf16", "plain")}
    return [
        *(
            training_row(
                f"{size}, channels last, {what}", times[ours], times[peer], peak=peak.flops_per_s(ours), **amounts
            )
            for what, (ours, peer) in pairs.items()
        ),
        *(
            Row(what=f"share of the step in bf16: {name}", unit="%", ours=100 * share)
            for name, share in steps["bf16"].shares().items()
        ),
    ]


class _Step:
    """A training step with the time of each part."""

    PARTS = ("backbone and pyramid", "region proposals", "RoIAlign and box head", "backward")

    def __init__(self, model: FasterRCNN, *, layout: torch.memory_format, bf16: bool) -> None:
        self.model, self.bf16 = model.to(memory_format=layout), bf16
        self.fields = torch.randn(1, 16, *STEP_SIZE).contiguous(memory_format=layout)
        storms = torch.tensor([[[40.0, 60.0, 140.0, 180.0, 1.0], [200.0, 300.0, 240.0, 350.0, 2.0]]])
        self.truth, self.key = Truth.of_rows(storms), torch.tensor([1])
        self.seconds: dict[str, list[float]] = {part: [] for part in self.PARTS}

    def run(self) -> None:
        size = self.fields.shape[-2:]
        marks = [time.perf_counter()]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            pyramid = self.model.pyramid(self.model.backbone(self.fields))
            marks.append(time.perf_counter())
            judged = self.model.proposals(pyramid, size)
            proposals = self.model.proposals.select(judged, size)
            random = random_numbers(self.key, len(judged.anchors_A4), purpose=ANCHORS)
            losses = [*proposal_losses(judged, self.truth.boxes_NG4, random)]
            marks.append(time.perf_counter())
            random = random_numbers(self.key, 2 + proposals.boxes_NP4.shape[1], purpose=REGIONS)
            losses += self.model.head.losses(pyramid[:-1], proposals, self.truth, random, size)
            marks.append(time.perf_counter())
        sum(losses).sum().backward()
        marks.append(time.perf_counter())
        self.model.zero_grad()
        for part, start, stop in zip(self.PARTS, marks, marks[1:], strict=False):
            self.seconds[part].append(stop - start)

    def shares(self) -> dict[str, float]:
        medians = {part: median(seconds[NUM_WARM_UPS:]) for part, seconds in self.seconds.items()}
        return {part: seconds / sum(medians.values()) for part, seconds in medians.items()}


def _reading_row() -> Row:
    """Read images of a year file with a cold page cache, compared with plain reads of the same bytes."""
    num_bytes = NUM_IMAGES * 4 * int(np.prod(IMAGE_SHAPE))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "climo_1979.h5")
        with h5py.File(path, "w") as file:
            images = file.create_dataset("images", (NUM_IMAGES, *IMAGE_SHAPE), dtype=np.float32)
            for number in range(NUM_IMAGES):
                images[number] = np.float32(number)
            file["boxes"] = np.full((NUM_IMAGES, 15, 5), -1, dtype=np.float32)
            file.flush()
            offset = images.id.get_offset()
        timed = _timed(lambda: _read_year(path), lambda: _read_plainly(path, offset))
    row = _rate_row("reading images of 57 MB, HDF5 with a cold cache", "MiB/s", num_bytes / BYTES_PER_MEBIBYTE, *timed)
    return Row(**{**vars(row), "note": f"peer: the same bytes by readinto; {row.note}"})


def _read_year(path: Path) -> None:
    _drop_from_cache(path)
    with YearFile(path) as year:
        for number in range(year.num_images):
            year.read(number)


def _read_plainly(path: Path, offset: int) -> None:
    _drop_from_cache(path)
    with path.open("rb", buffering=0) as file:
        file.seek(offset)
        for _ in range(NUM_IMAGES):
            file.readinto(np.empty(IMAGE_SHAPE, dtype=np.float32))


def _drop_from_cache(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _timed(ours: Callable[[], object], peer: Callable[[], object]) -> tuple[Times, Times]:
    times = in_turn({"ours": ours, "peer": peer}, num_warm_ups=NUM_WARM_UPS, num_turns=NUM_TURNS)
    return times["ours"], times["peer"]


def _rate_row(what: str, unit: str, amount: float, ours: Times, peer: Times) -> Row:
    rate, peer_rate = amount / median(ours.wall_s), amount / median(peer.wall_s)
    note = f"CPU-s {median(ours.cpu_s):.3g}, peer {median(peer.cpu_s):.3g}"
    return Row(what=what, unit=unit, ours=rate, peer=peer_rate, ratio=rate / peer_rate, note=note)
