# SPDX-License-Identifier: Apache-2.0
"""Code that the prepare and synthesize commands share: resumable work in processes, and checks before and after it.

    preparation.check_space(out, num_bytes)
    with preparation.begun(out, options):
        receipts = preparation.completed(out, {"train/a": partial(convert, "a")}, Converted, num_workers=8)
        preparation.finish(out, manifest)

    with preparation.new_folder(out) as folder: ...         # for work that is quick enough to be repeated

Until the manifest is written, out/.progress keeps a receipt of every finished task. After an interruption, the same
command continues with the unfinished ones. No data set is written over another one.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from compliance.files import atomic_write, lock
from compliance.files.errors import UserError
from harness import children, progress
from harness.data import manifest
from harness.data.manifest import DataFile, Manifest, ManifestError

SPLITS = ("train", "validation")
RECEIPTS_FOLDER, OPTIONS_FILE = ".progress", "options.json"


class PrepareError(UserError):
    """Data, folders or options that no data set can be prepared with; the text says what was found and expected."""


class TaskReceipt(Protocol):
    """The result of a task: a dataclass, which is saved as its receipt."""

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All files that the task wrote."""
        ...


Key = TypeVar("Key")
Result = TypeVar("Result")
Receipt = TypeVar("Receipt", bound=TaskReceipt)


def check_space(out: Path, num_bytes: int, remark: str = "") -> None:
    """Raise PrepareError if the disk cannot hold `num_bytes` in `out`; files already there count as a part of them."""
    disk = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    present = sum(path.stat().st_size for path in out.rglob("*") if path.is_file() and not path.is_symlink())
    free_bytes = shutil.disk_usage(disk).free + present
    if num_bytes > free_bytes:
        found, expected = (f"{number / 2**30:.1f} GiB" for number in (free_bytes, num_bytes))
        raise PrepareError(f"{out}: found {found} free, expected {expected}{remark}")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a folder that becomes `out` at the end of the block. UserError if `out` holds anything, or is in use."""
    with lock.held(out), atomic_write.unfinished_folder(out) as folder:
        for other in folder.parent.iterdir():  # left by calls that were killed
            if other.name.startswith(f".{out.name}.") and other.suffix == atomic_write.SUFFIX and other != folder:
                shutil.rmtree(other, ignore_errors=True)
        yield folder


@contextmanager
def begun(out: Path, options: Mapping[str, Any]) -> Iterator[None]:
    """Make the folders of a new preparation, or continue one; PrepareError if that one had other options.

    No other process prepares in `out` during the block.
    """
    with lock.held(out):
        _begin(out, options)
        yield


def _begin(out: Path, options: Mapping[str, Any]) -> None:
    receipts = out / RECEIPTS_FOLDER
    if (out / manifest.FILE_NAME).exists():
        raise PrepareError(f"{out}: found a finished data set; --verify checks it, or choose another folder")
    if out.exists() and not receipts.exists() and any(out.iterdir()):
        raise PrepareError(f"{out}: found other files, expected a new folder or an interrupted preparation")
    for folder in (*SPLITS, RECEIPTS_FOLDER):
        (out / folder).mkdir(parents=True, exist_ok=True)
    path, encoded = receipts / OPTIONS_FILE, msgspec.json.encode(options)
    if path.exists() and path.read_bytes() != encoded:
        raise PrepareError(
            f"{out}: found a preparation interrupted with other options; use the same options, or remove the folder"
        )
    atomic_write.write(path, encoded)


def completed(
    out: Path, tasks: Mapping[str, Callable[[], Receipt]], kind: type[Receipt], *, num_workers: int
) -> dict[str, Receipt]:
    """The receipt of each task by its name; tasks that an earlier, interrupted call finished are not repeated."""
    receipts = {name: receipt for name in tasks if (receipt := _receipt(out, name, kind))}
    missing = {name: task for name, task in tasks.items() if name not in receipts}
    with progress.counted("preparing", len(tasks), done=len(receipts)) as advance:
        for name, receipt in in_processes(missing, num_workers):
            atomic_write.write(_receipt_path(out, name), msgspec.json.encode(receipt))
            receipts[name] = receipt
            advance()
    return receipts


def in_processes(tasks: Mapping[Key, Callable[[], Result]], num_workers: int) -> Iterator[tuple[Key, Result]]:
    """Key and result of each task, in order; an error, or stopping early, drops the tasks that have not begun."""
    with children.pool(num_workers) as pool:
        futures = {key: pool.submit(task) for key, task in tasks.items()}
        try:
            for key, future in futures.items():
                yield key, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def finish(out: Path, described: Manifest) -> None:
    """Write the manifest, and remove the receipts of a resumable preparation."""
    described.save(out)
    shutil.rmtree(out / RECEIPTS_FOLDER)


def finished(folder: Path, options: Mapping[str, Any], counts: Mapping[str, int]) -> Manifest | None:
    """The manifest in `folder` if all files are whole and this version made these samples with these options."""
    try:
        listed = Manifest.load(folder)
        listed.verify(folder)
    except ManifestError:
        return None
    listed_options = {name: listed.provenance.get(name) for name in options}
    listed_counts = {name: split.num_samples for name, split in listed.splits.items() if split.num_samples}
    same = listed_options == options and listed_counts == counts
    return listed if same and listed.tool_version == manifest.tool_version() else None


def made(
    write: Callable[[str, int], Result],
    counts: Mapping[str, int],
    title: str,
    *,
    num_processes: int,
    step: int = 1,
    chunksize: int = 1,
) -> dict[str, list[Result]]:
    """The results of `write(split, number)`, in processes, for every `step`-th number below each split's count."""
    tasks = [(split, number) for split, count in counts.items() for number in range(0, count, step)]
    results: dict[str, list[Result]] = {split: [] for split in counts}
    with children.pool(num_processes) as pool:
        written = pool.map(write, *zip(*tasks, strict=True), chunksize=chunksize)
        for (split, _), result in zip(tasks, progress.tracked(written, title, total=len(tasks)), strict=True):
            results[split].append(result)
    return results


def _receipt(out: Path, name: str, kind: type[Receipt]) -> Receipt | None:
    """The receipt of a task that an earlier call finished, if all its files are still there."""
    path = _receipt_path(out, name)
    if not path.exists():
        return None
    receipt = msgspec.json.decode(path.read_bytes(), type=kind)
    return receipt if all(_is_whole(out / file.path, file) for file in receipt.files) else None


def _receipt_path(out: Path, name: str) -> Path:
    return out / RECEIPTS_FOLDER / f"{name.replace('/', '_')}.json"


def _is_whole(path: Path, file: DataFile) -> bool:
    return path.is_file() and path.stat().st_size == file.bytes
