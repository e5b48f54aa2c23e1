# SPDX-License-Identifier: Apache-2.0
"""Turn the official archives of ILSVRC 2012 into tar shards for training, with indexes, manifest and checksums.

    python -m imagenet_resnet.prepare RAW OUT --workers 32            # RAW holds the three archives
    python -m imagenet_resnet.prepare RAW OUT --broken skip           # leave out what cannot be decoded, and say so
    python -m imagenet_resnet.prepare --verify OUT                    # every byte against the manifest
    python -m imagenet_resnet.prepare --index FOLDER                  # indexes of shards that were made elsewhere

Every picture is decoded once. A JPEG in RGB or grey is kept byte for byte; what else there is (a PNG called JPEG,
pictures in CMYK) becomes an RGB JPEG, and the manifest names it. Training pictures are shuffled over the shards.
Interrupted, the same command goes on where it was.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from compliance import whole_file
from harness import manifest
from harness.manifest import Array, Manifest, Split
from imagenet_resnet import archives, shards
from imagenet_resnet.archives import Archives, Picture
from imagenet_resnet.conversion import Receipt, ShardTask, write_shard

SPLITS = ("train", "validation")
RECEIPTS_FOLDER, OPTIONS_FILE = ".progress", "options.json"


class PrepareError(ValueError):
    """Folders or options that no data set can be prepared with."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How the shards are made."""

    samples_per_shard: int = 1024
    """Pictures in a file: about 110 MB of ImageNet."""
    seed: int = 1
    """Of the order in which training pictures stand."""
    broken: str = "error"
    """What becomes of a picture that cannot be decoded: "error" or "skip"."""

    def __post_init__(self):
        if self.samples_per_shard < 1 or self.seed < 0:
            found = f"{self.samples_per_shard} samples a shard, seed {self.seed}"
            raise PrepareError(f"preparation: found {found}, expected at least 1 and at least 0")


def prepare(raw: Path, out: Path, preparation: Preparation, *, num_workers: int, official: bool = True) -> Manifest:
    """Write the shards of both splits below `out`; returns the manifest, which is written last."""
    source = Archives(raw)
    if official:
        with _progress("checking the archives", len(archives.MD5)) as advance:
            source.check(advance)
    listed = {"train": source.training(), "validation": source.validation()}
    tasks = list(_tasks(out, source.classes, listed, preparation))
    _check_space(out, listed)
    _open_receipts(out, asdict(preparation))
    receipts = _write_all(out, tasks, num_workers)
    complete = _described(receipts, tasks, source, preparation, official)
    complete.save(out)
    shutil.rmtree(out / RECEIPTS_FOLDER)
    return complete


def verify(folder: Path) -> Manifest:
    """Read every file of a prepared data set; ManifestError naming what differs or is missing."""
    listed = Manifest.load(folder)
    num_files = sum(len(split.files) for split in listed.splits.values())
    with _progress("verifying", num_files) as advance:
        listed.verify(folder, checksums=True, advance=advance)
    return listed


def index(folder: Path) -> int:
    """Write the index of every shard below a folder; their number."""
    paths = sorted(folder.rglob("*.tar"))
    if not paths:
        raise PrepareError(f"{folder}: found no shards *.tar there or below")
    with _progress("indexing", len(paths)) as advance:
        for path in paths:
            shards.write_index(path)
            advance()
    return len(paths)


def _tasks(
    out: Path, classes: list[str], listed: dict[str, list[Picture]], preparation: Preparation
) -> Iterator[ShardTask]:
    label_of = {name: label for label, name in enumerate(classes)}
    for split, pictures in listed.items():
        order = np.arange(len(pictures))
        if split == "train":
            order = np.random.default_rng(preparation.seed).permutation(order)
        for number, start in enumerate(range(0, len(pictures), preparation.samples_per_shard)):
            own = [pictures[place] for place in order[start : start + preparation.samples_per_shard]]
            yield ShardTask(
                folder=out,
                name=f"{split}/{split}-{number:06d}.tar",
                first=start,
                pictures=own,
                labels=[label_of[picture.class_name] for picture in own],
                skip_broken=preparation.broken == "skip",
            )


def _write_all(out: Path, tasks: list[ShardTask], num_workers: int) -> dict[str, Receipt]:
    """What was made of each task; shards that an earlier, interrupted call has finished are not made again."""
    receipts = {task.name: receipt for task in tasks if (receipt := _receipt(out, task))}
    with _progress("preparing", len(tasks)) as advance, ProcessPoolExecutor(num_workers) as pool:
        for _ in receipts:
            advance()
        futures = {task.name: pool.submit(write_shard, task) for task in tasks if task.name not in receipts}
        try:
            for name, future in futures.items():
                receipts[name] = future.result()
                path = _receipt_path(out, name)
                whole_file.write(path, msgspec.json.encode(receipts[name]))
                advance()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return receipts


def _described(
    receipts: dict[str, Receipt], tasks: list[ShardTask], source: Archives, preparation: Preparation, official: bool
) -> Manifest:
    ordered = [receipts[task.name] for task in tasks]
    of_split = {split: [one for one in ordered if one.files[0].path.startswith(f"{split}/")] for split in SPLITS}
    return Manifest(
        benchmark="imagenet_resnet",
        synthetic=False,
        format="webdataset",
        arrays={
            "image": Array(dtype="uint8", shape=(None, None, 3)),
            "label": Array(dtype="int64", shape=()),
        },
        splits={
            split: Split(
                num_samples=sum(one.num_samples for one in own), files=tuple(f for one in own for f in one.files)
            )
            for split, own in of_split.items()
        },
        provenance={
            "source": "ILSVRC 2012, official archives" if official else f"{source.folder}, checksums not compared",
            "num_classes": len(source.classes),
            "converted": ", ".join(name for one in ordered for name in one.converted),
            "left_out": ", ".join(name for one in ordered for name in one.left_out),
            **asdict(preparation),
        },
        tool="imagenet_resnet.prepare",
        tool_version=manifest.tool_version(),
    )


def _check_space(out: Path, listed: dict[str, list[Picture]]) -> None:
    num_bytes = sum(picture.size + 2048 for pictures in listed.values() for picture in pictures)
    out.mkdir(parents=True, exist_ok=True)
    present = sum(path.stat().st_size for path in out.rglob("*.tar"))
    free_bytes = shutil.disk_usage(out).free + present
    if num_bytes > free_bytes:
        found = f"found {free_bytes / 2**30:.1f} GiB free"
        raise PrepareError(f"{out}: {found}, expected {num_bytes / 2**30:.1f} GiB")


def _open_receipts(out: Path, options: dict) -> None:
    """Make the folders of a new preparation, or go on with one; PrepareError where that had other options."""
    receipts = out / RECEIPTS_FOLDER
    if (out / manifest.FILE_NAME).exists() or (not receipts.exists() and any(out.iterdir())):
        raise PrepareError(f"{out}: found other files, expected a new folder or an interrupted preparation")
    for split in SPLITS:
        (out / split).mkdir(exist_ok=True)
    receipts.mkdir(exist_ok=True)
    path, encoded = receipts / OPTIONS_FILE, msgspec.json.encode(options)
    if path.exists() and path.read_bytes() != encoded:
        raise PrepareError(f"{out}: found a preparation interrupted with other options; repeat those, or remove it")
    whole_file.write(path, encoded)


def _receipt(out: Path, task: ShardTask) -> Receipt | None:
    """What an earlier call made of a task, if that is all still there."""
    path = _receipt_path(out, task.name)
    if not path.exists():
        return None
    receipt = msgspec.json.decode(path.read_bytes(), type=Receipt)
    whole = all(
        (out / file.path).is_file() and (out / file.path).stat().st_size == file.bytes for file in receipt.files
    )
    return receipt if whole else None


def _receipt_path(out: Path, name: str) -> Path:
    return out / RECEIPTS_FOLDER / f"{Path(name).stem}.json"


@contextmanager
def _progress(description: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on stderr, silent when that is no terminal; yields what advances it by one."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total)
        yield lambda: progress.advance(task)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        print(_run(parser, options))
    except (ValueError, OSError, BrokenProcessPool) as error:
        print(f"prepare: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("prepare: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _run(parser: argparse.ArgumentParser, options: argparse.Namespace) -> str:
    if options.index:
        return f"{options.index}: {index(options.index)} shards indexed"
    if options.verify:
        return _summary(options.verify, verify(options.verify))
    if not options.out:
        parser.error("expected RAW and OUT, or --verify FOLDER, or --index FOLDER")
    preparation = Preparation(samples_per_shard=options.samples_per_shard, seed=options.seed, broken=options.broken)
    official = not options.any_checksum
    return _summary(
        options.out, prepare(options.raw, options.out, preparation, num_workers=options.workers, official=official)
    )


def _summary(folder: Path, done: Manifest) -> str:
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in done.splits.items())
    lines = [f"{folder}: {done.format}: {counts}, as its manifest says"]
    lines += [f"{what}: {names}" for what in ("converted", "left_out") if (names := done.provenance.get(what))]
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m imagenet_resnet.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("raw", type=Path, nargs="?", metavar="RAW", help=f"folder of {', '.join(archives.MD5)}")
    add("out", type=Path, nargs="?", metavar="OUT", help="folder to write")
    add("--samples-per-shard", type=int, default=Preparation.samples_per_shard, metavar="N", help="(%(default)s)")
    add("--seed", type=int, default=Preparation.seed, help="of the order of the training pictures (%(default)s)")
    add("--broken", choices=("error", "skip"), default="error", help="pictures that cannot be decoded (%(default)s)")
    add("--any-checksum", action="store_true", help="take archives that are not the published ones")
    add("--workers", type=int, default=os.cpu_count(), help="parallel processes (%(default)s)")
    add("--verify", type=Path, metavar="FOLDER", help="check a prepared data set, every byte")
    add("--index", type=Path, metavar="FOLDER", help="write the indexes of others' shards")
    return parser


if __name__ == "__main__":
    sys.exit(main())
