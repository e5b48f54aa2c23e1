# SPDX-License-Identifier: Apache-2.0
"""What the prepare commands of the benchmarks share: work in processes that can be interrupted, and checks around it.

    preparation.check_space(out, num_bytes)
    preparation.begin(out, options)
    made = preparation.completed(out, {"train/a": partial(convert, "a")}, Converted, num_workers=8)
    preparation.finish(out, manifest)

Until the manifest is written, a receipt of every finished task lies in out/.progress: the same command goes on there.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from compliance.files import atomic_write
from harness import progress
from harness.data import manifest
from harness.data.manifest import DataFile, Manifest, ManifestError

SPLITS = ("train", "validation")
RECEIPTS_FOLDER, OPTIONS_FILE = ".progress", "options.json"


class PrepareError(ValueError):
    """Data, folders or options that no data set can be prepared with; the text says what was found and expected."""


class TaskReceipt(Protocol):
    """What a task has made: a dataclass, which is also its receipt."""

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All that it wrote."""
        ...


Key, Result = TypeVar("Key"), TypeVar("Result")
Receipt = TypeVar("Receipt", bound=TaskReceipt)


def check_space(out: Path, num_bytes: int, remark: str = "") -> None:
    """PrepareError where the disk cannot hold `num_bytes` in `out`, of which what is there already is a part."""
    disk = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    present = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    free_bytes = shutil.disk_usage(disk).free + present
    if num_bytes > free_bytes:
        found, expected = (f"{number / 2**30:.1f} GiB" for number in (free_bytes, num_bytes))
        raise PrepareError(f"{out}: found {found} free, expected {expected}{remark}")


def begin(out: Path, options: Mapping[str, Any]) -> None:
    """Make the folders of a new preparation, or go on with one; PrepareError where that had other options."""
    receipts = out / RECEIPTS_FOLDER
    if (out / manifest.FILE_NAME).exists() or (out.exists() and not receipts.exists() and any(out.iterdir())):
        raise PrepareError(f"{out}: found other files, expected a new folder or an interrupted preparation")
    for folder in (*SPLITS, RECEIPTS_FOLDER):
        (out / folder).mkdir(parents=True, exist_ok=True)
    path, encoded = receipts / OPTIONS_FILE, msgspec.json.encode(options)
    if path.exists() and path.read_bytes() != encoded:
        raise PrepareError(f"{out}: found a preparation interrupted with other options; repeat those, or remove it")
    atomic_write.write(path, encoded)


def completed(
    out: Path, tasks: Mapping[str, Callable[[], Receipt]], kind: type[Receipt], *, num_workers: int
) -> dict[str, Receipt]:
    """What each task made, by its name; what an earlier, interrupted call has finished is not made again."""
    made = {name: receipt for name in tasks if (receipt := _receipt(out, name, kind))}
    missing = {name: task for name, task in tasks.items() if name not in made}
    with progress.counted("preparing", len(tasks), done=len(made)) as advance:
        for name, receipt in in_processes(missing, num_workers):
            atomic_write.write(_receipt_path(out, name), msgspec.json.encode(receipt))
            made[name] = receipt
            advance()
    return made


def in_processes(tasks: Mapping[Key, Callable[[], Result]], num_workers: int) -> Iterator[tuple[Key, Result]]:
    """Key and result of each task, in their order; a fault, or leaving early, drops the tasks that have not begun."""
    with ProcessPoolExecutor(num_workers) as pool:
        futures = {key: pool.submit(task) for key, task in tasks.items()}
        try:
            for key, future in futures.items():
                yield key, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def finish(out: Path, described: Manifest) -> None:
    """Write the manifest, and remove what an interrupted preparation would go on from."""
    described.save(out)
    shutil.rmtree(out / RECEIPTS_FOLDER)


def verify(folder: Path) -> Manifest:
    """Read every file of a prepared data set; ManifestError naming what differs or is missing."""
    listed = Manifest.load(folder)
    with progress.counted("verifying", sum(len(split.files) for split in listed.splits.values())) as advance:
        listed.verify(folder, checksums=True, advance=advance)
    return listed


def _receipt(out: Path, name: str, kind: type[Receipt]) -> Receipt | None:
    """What an earlier call made in a task, if that is all still there."""
    path = _receipt_path(out, name)
    if not path.exists():
        return None
    receipt = msgspec.json.decode(path.read_bytes(), type=kind)
    return receipt if all(_is_whole(out / file.path, file) for file in receipt.files) else None


def _receipt_path(out: Path, name: str) -> Path:
    return out / RECEIPTS_FOLDER / f"{name.replace('/', '_')}.json"


def _is_whole(path: Path, file: DataFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes


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
        for (split, _), result in zip(tasks, progress.tracked(written, title, total=len(tasks)), strict=True):
            results[split].append(result)
    return results
