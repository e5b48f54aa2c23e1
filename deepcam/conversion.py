# SPDX-License-Identifier: Apache-2.0
"""Writing a data set: its samples, stats.h5 over the training samples, and the manifest that describes them all."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepcam import sample_files
from deepcam.channel_statistics import FILE_NAME as STATISTICS_NAME
from deepcam.channel_statistics import SPLIT as STATISTICS_SPLIT
from deepcam.channel_statistics import Statistics
from deepcam.loss import CLASS_NAMES
from deepcam.sample_files import NUM_CHANNELS, NUM_CLASSES, SampleFormat
from harness.data import manifest
from harness.data.manifest import Array, DataFile, Manifest, Split

SHARE_KEYS = tuple(f"share_{name.replace(' ', '_')}" for name in CLASS_NAMES)
"""Name in the manifest of the classes' shares of all pixels."""


@dataclass(frozen=True, kw_only=True)
class WrittenSample:
    """One sample on disk."""

    files: tuple[DataFile, ...]
    """As the manifest lists them."""
    shape: tuple[int, int]
    """Height and width."""
    statistics: Statistics
    """Statistics of this sample alone."""
    pixels: np.ndarray
    """Pixels of each class."""


def describe_sample(root: Path, split: str, sample_format: SampleFormat, identifier: str) -> WrittenSample:
    """Read back a sample of `root`/`split`, which checks it; SampleError where it is broken."""
    fields_HWC, labels_HW = sample_files.read(sample_format, root / split, identifier)
    paths = sample_format.paths(root / split, identifier)
    return WrittenSample(
        files=tuple(manifest.describe(root, path) for path in paths),
        shape=labels_HW.shape,
        statistics=Statistics.of(fields_HWC),
        pixels=np.bincount(labels_HW.ravel(), minlength=NUM_CLASSES),
    )


def finish(
    root: Path,
    written: Mapping[str, list[WrittenSample]],
    sample_format: SampleFormat,
    *,
    synthetic: bool,
    provenance: Mapping[str, str | int],
    tool: str,
) -> Manifest:
    """Write stats.h5, unless there is one, and the manifest of the samples of every split."""
    if not (root / STATISTICS_NAME).exists():
        Statistics.joined(sample.statistics for sample in written["train"]).save(root / STATISTICS_NAME)
    pixels = sum(sample.pixels for split in written.values() for sample in split)
    complete = Manifest(
        benchmark="deepcam",
        synthetic=synthetic,
        format=sample_format.name,
        arrays=_arrays(written["train"][0].shape),
        splits={
            **{
                name: Split(num_samples=len(split), files=tuple(file for sample in split for file in sample.files))
                for name, split in written.items()
            },
            STATISTICS_SPLIT: Split(num_samples=0, files=(manifest.describe(root, root / STATISTICS_NAME),)),
        },
        provenance={
            **provenance,
            **dict(zip(SHARE_KEYS, map(float, pixels / pixels.sum()), strict=True)),
        },
        tool=tool,
        tool_version=manifest.tool_version(),
    )
    complete.save(root)
    return complete


def summary(described: Manifest) -> str:
    """Counts of samples and shares of the classes, in two lines."""
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in described.splits.items() if split.num_samples)
    shares = zip(SHARE_KEYS, CLASS_NAMES, strict=True)
    return f"samples: {counts}\npixels: " + ", ".join(f"{described.provenance[key]:.3%} {name}" for key, name in shares)


def _arrays(shape: tuple[int, int]) -> dict[str, Array]:
    """Arrays that a reader gets of a sample, whatever the form on disk."""
    return {
        "fields": Array(dtype="float32", shape=(*shape, NUM_CHANNELS)),
        "labels": Array(dtype="uint8", shape=shape),
    }
