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
from harness import bars
from harness.data import manifest
from harness.data.manifest import DataFile, Manifest

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
    with bars.counted("preparing", len(tasks), done=len(made)) as advance:
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
    with bars.counted("verifying", sum(len(split.files) for split in listed.splits.values())) as advance:
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
