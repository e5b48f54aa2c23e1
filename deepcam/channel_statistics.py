# SPDX-License-Identifier: Apache-2.0
"""stats.h5: what every channel's values are like over the training set, and the normalisation they serve.

    statistics = Statistics.load(Path("data/stats.h5"))
    normalise = Normalise(statistics).to(device)
    fields_NCHW = normalise(batch_NHWC)              # (x - min) / (max - min), on the device

The file is that of the MLPerf HPC reference: group `climate` with `count`, `mean`, `sqmean`, `minval`, `maxval`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor, nn

from compliance.files.errors import UserError
from deepcam.sample_files import CHANNELS, NUM_CHANNELS

FILE_NAME = "stats.h5"
SPLIT = "statistics"
"""Name of the file among a manifest's splits: without samples, so that it is verified and staged as they are."""
MOMENTS = ("mean", "sqmean", "minval", "maxval")


class StatisticsError(UserError):
    """A stats.h5 that cannot be read, or that was computed on another data set."""


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """Each array holds one value a channel, in the order of samples.CHANNELS."""

    count: int
    """Samples."""
    mean: np.ndarray
    """Mean over all pixels and samples."""
    sqmean: np.ndarray
    """Mean of the squares."""
    minval: np.ndarray
    """Smallest value."""
    maxval: np.ndarray
    """Largest value."""

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read stats.h5; StatisticsError where it is missing, broken, or leaves a channel no range."""
        try:
            with h5py.File(path, "r") as file:
                arrays = {name: file["climate"][name][()] for name in MOMENTS}
                statistics = cls(count=int(file["climate/count"][()]), **arrays)
        except FileNotFoundError:
            raise StatisticsError(
                f"{path}: no such file; `python -m deepcam.prepare --describe FOLDER` computes it"
            ) from None
        except OSError as error:
            raise StatisticsError(f"{path}: cannot be read: {error.strerror or error}") from None
        except KeyError as error:
            raise StatisticsError(f"{path}: {error.args[0]}; expected climate/count, /{', /'.join(MOMENTS)}") from None
        statistics._check(path)
        return statistics

    @classmethod
    def of(cls, fields_HWC: np.ndarray) -> "Statistics":
        """The statistics of one sample; sums are carried in double precision."""
        values = fields_HWC.reshape(-1, NUM_CHANNELS)
        mean, sqmean = values.mean(0, dtype=np.float64), np.square(values, dtype=np.float64).mean(0)
        return cls(count=1, mean=mean, sqmean=sqmean, minval=values.min(0), maxval=values.max(0))

    @classmethod
    def joined(cls, parts: Iterable["Statistics"]) -> "Statistics":
        """The statistics of all samples from those of its parts, which are taken one at a time."""
        parts = iter(parts)
        joint = next(parts)
        for part in parts:
            count = joint.count + part.count
            weight = part.count / count
            joint = cls(
                count=count,
                mean=joint.mean + weight * (part.mean - joint.mean),
                sqmean=joint.sqmean + weight * (part.sqmean - joint.sqmean),
                minval=np.minimum(joint.minval, part.minval),
                maxval=np.maximum(joint.maxval, part.maxval),
            )
        return joint

    def save(self, path: Path) -> None:
        """Write stats.h5 at once or not at all."""
        temporary = path.with_name(f".{path.name}")
        with h5py.File(temporary, "w") as file:
            file["climate/count"] = np.int64(self.count)
            for name in MOMENTS:
                file[f"climate/{name}"] = getattr(self, name).astype(np.float32)
        temporary.replace(path)

    def check_covers(self, fields_HWC: np.ndarray, *, sample: Path, tolerance: float) -> None:
        """Raise StatisticsError, naming the channel, where a sample leaves the range by more than `tolerance` of it."""
        values = fields_HWC.reshape(-1, NUM_CHANNELS)
        margin = tolerance * (self.maxval - self.minval)
        low, high = values.min(0), values.max(0)
        outside = np.flatnonzero((low < self.minval - margin) | (high > self.maxval + margin))
        if outside.size:
            channel = outside[0]
            raise StatisticsError(
                f"{sample}: {CHANNELS[channel]}: found values from {low[channel]:.6g} to {high[channel]:.6g}, but "
                f"{FILE_NAME} says {self.minval[channel]:.6g} to {self.maxval[channel]:.6g}: it belongs to another "
                "data set; remove it, and `python -m deepcam.prepare --describe FOLDER` computes this one's"
            )

    def _check(self, path: Path) -> None:
        for name in MOMENTS:
            shape = np.shape(getattr(self, name))
            if shape != (NUM_CHANNELS,):
                raise StatisticsError(f"{path}: climate/{name}: found shape {shape}, expected ({NUM_CHANNELS},)")
        sound = np.isfinite(self.minval) & np.isfinite(self.maxval) & (self.maxval > self.minval)
        if not sound.all():
            channel = np.flatnonzero(~sound)[0]
            found = f"minval {self.minval[channel]} and maxval {self.maxval[channel]}"
            raise StatisticsError(f"{path}: {CHANNELS[channel]}: found {found}, expected two numbers in rising order")


class Normalise(nn.Module):
    """(N, H, W, 16) as read from disk -> (N, 16, H, W) in [0, 1], in PyTorch's channels_last order: a view, no copy."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        lowest = torch.as_tensor(statistics.minval, dtype=torch.float32)
        spread = torch.as_tensor(statistics.maxval, dtype=torch.float32) - lowest
        self.register_buffer("lowest", lowest, persistent=False)
        self.register_buffer("scale", 1 / spread, persistent=False)

    def forward(self, fields_NHWC: Tensor) -> Tensor:
        return ((fields_NHWC - self.lowest) * self.scale).movedim(-1, 1)
