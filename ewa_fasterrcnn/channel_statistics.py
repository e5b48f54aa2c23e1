# SPDX-License-Identifier: Apache-2.0
"""statistics.json: what every channel's values are like over the training years, and the normalisation they serve.

statistics = Statistics.load(Path("data/statistics.json"))
normalise = Normalise(statistics).to(device)
fields_NCHW = normalise(fields_NCHW)                 # zero mean and unit variance a channel, on the device
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from compliance.files.errors import UserError
from ewa_fasterrcnn.year_files import CHANNELS

FILE_NAME = "statistics.json"


class StatisticsError(UserError):
    """Statistics that cannot be read, or that no normalisation can use."""


@dataclass(frozen=True, kw_only=True)
class Channel:
    """One channel over all pixels of all training images."""

    name: str
    mean: float
    deviation: float
    """Standard deviation."""
    lowest: float
    highest: float


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """All channels in their order."""

    num_images: int
    channels: tuple[Channel, ...]

    @classmethod
    def load(cls, path: Path) -> "Statistics":
        """Read the file; StatisticsError where it is missing, broken, or leaves a channel without spread."""
        try:
            statistics = msgspec.json.decode(Path(path).read_bytes(), type=cls)
        except OSError as error:
            raise StatisticsError(f"{path}: cannot be read: {error.strerror}; prepare the data set first") from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise StatisticsError(f"{path}: not statistics of channels: {error}") from None
        names = tuple(channel.name for channel in statistics.channels)
        if names != CHANNELS:
            raise StatisticsError(f"{path}: channels: found {list(names)}, expected {list(CHANNELS)}")
        for channel in statistics.channels:
            if not channel.deviation > 0:
                found = f"found deviation {channel.deviation}, expected a number above 0"
                raise StatisticsError(f"{path}: {channel.name}: {found}")
        return statistics

    def save(self, path: Path) -> None:
        """Write the file at once or not at all."""
        temporary = path.with_name(f".{path.name}")
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")
        temporary.replace(path)


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Sums over images, in double precision, that can be joined."""

    num_images: int
    mean_C: np.ndarray
    variance_C: np.ndarray
    lowest_C: np.ndarray
    highest_C: np.ndarray

    @classmethod
    def of(cls, image_CHW: np.ndarray) -> "Moments":
        """The moments of one image."""
        values = image_CHW.reshape(len(image_CHW), -1)
        return cls(
            num_images=1,
            mean_C=values.mean(1, dtype=np.float64),
            variance_C=values.var(1, dtype=np.float64),
            lowest_C=values.min(1),
            highest_C=values.max(1),
        )

    def joined(self, other: "Moments") -> "Moments":
        """The moments of both: Chan's formula, in which variances of values far from zero do not cancel away."""
        num_images = self.num_images + other.num_images
        share, apart_C = other.num_images / num_images, other.mean_C - self.mean_C
        return Moments(
            num_images=num_images,
            mean_C=self.mean_C + share * apart_C,
            variance_C=(1 - share) * self.variance_C + share * other.variance_C + share * (1 - share) * apart_C**2,
            lowest_C=np.minimum(self.lowest_C, other.lowest_C),
            highest_C=np.maximum(self.highest_C, other.highest_C),
        )

    def statistics(self) -> Statistics:
        columns = (self.mean_C, np.sqrt(self.variance_C), self.lowest_C, self.highest_C)
        rows = zip(CHANNELS, *(column.tolist() for column in columns), strict=True)
        fields = ("name", "mean", "deviation", "lowest", "highest")
        return Statistics(
            num_images=self.num_images,
            channels=tuple(Channel(**dict(zip(fields, row, strict=True))) for row in rows),
        )


def join(parts: Iterable[Moments]) -> Moments:
    """The moments of all images from those of parts, which are taken one at a time."""
    parts = iter(parts)
    joint = next(parts)
    for part in parts:
        joint = joint.joined(part)
    return joint


class Normalise(nn.Module):
    """(N, C, H, W) in the units of the files -> zero mean and unit variance, always in fp32: pressures are 1e5 Pa."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        means = torch.tensor([channel.mean for channel in statistics.channels])
        deviations = torch.tensor([channel.deviation for channel in statistics.channels])
        self.register_buffer("mean_C11", means[:, None, None], persistent=False)
        self.register_buffer("scale_C11", 1 / deviations[:, None, None], persistent=False)

    def forward(self, fields_NCHW: Tensor) -> Tensor:
        return (fields_NCHW - self.mean_C11) * self.scale_C11
