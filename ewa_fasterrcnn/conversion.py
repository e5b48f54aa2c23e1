# SPDX-License-Identifier: Apache-2.0
"""The manifest of a data set of year files, which prepare.py and synthesize.py both write."""

from collections.abc import Callable
from pathlib import Path

from ewa_fasterrcnn.channel_statistics import FILE_NAME as STATISTICS_NAME
from ewa_fasterrcnn.year_files import CHANNELS, MOST_BOXES, YearFile
from harness.data import manifest
from harness.data.manifest import Array, Manifest, Split

STATISTICS_SPLIT = "statistics"
"""The statistics are no samples, but they belong to the data set wherever it is copied."""


def data_set(
    folder: Path,
    years: dict[str, list[str]],
    *,
    provenance: dict[str, str | int],
    tool: str,
    advance: Callable[[], object] = lambda: None,
) -> Manifest:
    """Describe the years of each split and the statistics, all written already; reads every byte of them."""
    splits, shape, synthetic = {}, (), False
    for split, paths in years.items():
        files, num_images = [], 0
        for path in paths:
            with YearFile(folder / path) as year:
                num_images, shape = num_images + year.num_images, year.image_shape
                synthetic |= year.synthetic
            files.append(manifest.describe(folder, folder / path))
            advance()
        splits[split] = Split(num_samples=num_images, files=tuple(files))
    splits[STATISTICS_SPLIT] = Split(num_samples=0, files=(manifest.describe(folder, folder / STATISTICS_NAME),))
    return Manifest(
        benchmark="ewa_fasterrcnn",
        synthetic=synthetic,
        format="hdf5",
        arrays={
            "images": Array(dtype="float32", shape=(len(CHANNELS), *shape[1:])),
            "boxes": Array(dtype="float32", shape=(MOST_BOXES, 5)),
        },
        splits=splits,
        provenance={**provenance, "statistics_sha256": manifest.sha256(folder / STATISTICS_NAME)},
        tool=tool,
        tool_version=manifest.tool_version(),
    )


def in_words(described: Manifest) -> str:
    """How many images and bytes there are in which split."""
    parts = [
        f"{split.num_samples} {name} images in {len(split.files)} years"
        for name, split in described.splits.items()
        if name != STATISTICS_SPLIT
    ]
    num_bytes = sum(file.bytes for split in described.splits.values() for file in split.files)
    return f"{', '.join(parts)}; {num_bytes / 2**20:.1f} MiB"
