# SPDX-License-Identifier: Apache-2.0
"""What the synthesize commands of the benchmarks share: whether a data set is there already, and making its samples.

if kept := synthesis.finished(folder, options, {"train": 64, "validation": 16}):
    return kept
files = synthesis.made(partial(write, folder), {"train": 64, "validation": 16}, "drawing", num_processes=8)
"""

from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from harness import bars
from harness.data import manifest
from harness.data.manifest import Manifest, ManifestError

Result = TypeVar("Result")


def finished(folder: Path, options: Mapping[str, Any], counts: Mapping[str, int]) -> Manifest | None:
    """The manifest in `folder`, where all files are whole and this version made these samples with these options."""
    try:
        found = Manifest.load(folder)
        found.verify(folder)
    except ManifestError:
        return None
    found_options = {name: found.provenance.get(name) for name in options}
    found_counts = {name: split.num_samples for name, split in found.splits.items() if split.num_samples}
    same = found_options == options and found_counts == counts
    return found if same and found.tool_version == manifest.tool_version() else None


def made(
    write: Callable[[str, int], Result],
    counts: Mapping[str, int],
    title: str,
    *,
    num_processes: int,
    step: int = 1,
    chunksize: int = 1,
) -> dict[str, list[Result]]:
    """What `write(split, number)` made in each split, in processes, for every `step`-th number below its count."""
    tasks = [(split, number) for split, count in counts.items() for number in range(0, count, step)]
    results: dict[str, list[Result]] = {split: [] for split in counts}
    with ProcessPoolExecutor(num_processes) as pool:
        written = pool.map(write, *zip(*tasks, strict=True), chunksize=chunksize)
        for (split, _), result in zip(tasks, bars.tracked(written, title, total=len(tasks)), strict=True):
            results[split].append(result)
    return results
