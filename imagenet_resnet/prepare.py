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
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.preparation_parser("imagenet_resnet.prepare", __doc__, raw="folder of the three archives")
    add = parser.add_argument
    add("--index", type=Path, metavar="FOLDER", help="write the indexes of others' shards instead")
    add("--samples-per-shard", type=cli.positive, default=1024, metavar="N", help="pictures of a shard (%(default)s)")
    add("--seed", type=int, default=1, metavar="N", help="order of the training pictures (%(default)s)")
    add("--broken", choices=("error", "skip"), default="error", help="pictures that cannot be decoded (%(default)s)")
    add("--any-checksum", action="store_true", help="accept archives that are not the published ones")
    return parser


cli.answer_early(__name__, options())

import numpy as np

from harness import progress
from harness.data import manifest, preparation
from harness.data.manifest import Array, Manifest, Split
from harness.data.preparation import SPLITS, PrepareError
from imagenet_resnet import ilsvrc_archives, webdataset
from imagenet_resnet.conversion import Receipt, ShardTask, write_shard
from imagenet_resnet.ilsvrc_archives import Archives, Picture


@dataclass(frozen=True, kw_only=True)
class Sharding:
    """How the shards are made."""

    samples_per_shard: int = 1024
    """Pictures in a file: about 110 MB of ImageNet."""
    seed: int = 1
    """Seed of the order of training pictures in the shards."""
    broken: str = "error"
    """Treatment of a picture that cannot be decoded: "error" or "skip"."""

    def __post_init__(self):
        if self.samples_per_shard < 1 or self.seed < 0:
            found = f"{self.samples_per_shard} samples a shard, seed {self.seed}"
            raise PrepareError(f"preparation: found {found}, expected at least 1 and at least 0")


def prepare(raw: Path, out: Path, sharding: Sharding, *, num_workers: int, official: bool = True) -> Manifest:
    """Write the shards of both splits below `out`; returns the manifest, which is written last."""
    source = Archives(raw)
    if official:
        with progress.counted("checking the archives", len(ilsvrc_archives.MD5)) as advance:
            source.check(advance)
    listed = {"train": source.training(), "validation": source.validation()}
    tasks = list(_tasks(out, source.classes, listed, sharding))
    _check_space(out, listed)
    writing = {task.name: partial(write_shard, task) for task in tasks}
    with preparation.begun(out, asdict(sharding)):
        receipts = preparation.completed(out, writing, Receipt, num_workers=num_workers)
        complete = _described(receipts, tasks, source, sharding, official)
        preparation.finish(out, complete)
    return complete


def index(folder: Path) -> int:
    """Write the index of every shard below a folder; their number."""
    paths = sorted(folder.rglob("*.tar"))
    if not paths:
        raise PrepareError(f"{folder}: found no shards *.tar there or below")
    with progress.counted("indexing", len(paths)) as advance:
        for path in paths:
            webdataset.write_index(path)
            advance()
    return len(paths)


def _tasks(out: Path, classes: list[str], listed: dict[str, list[Picture]], sharding: Sharding) -> Iterator[ShardTask]:
    label_of = {name: label for label, name in enumerate(classes)}
    for split, pictures in listed.items():
        order = np.arange(len(pictures))
        if split == "train":
            order = np.random.default_rng(sharding.seed).permutation(order)
        for number, start in enumerate(range(0, len(pictures), sharding.samples_per_shard)):
            own = [pictures[place] for place in order[start : start + sharding.samples_per_shard]]
            yield ShardTask(
                folder=out,
                name=f"{split}/{split}-{number:06d}.tar",
                first=start,
                pictures=own,
                labels=[label_of[picture.class_name] for picture in own],
                skip_broken=sharding.broken == "skip",
            )


def _described(
    receipts: dict[str, Receipt], tasks: list[ShardTask], source: Archives, sharding: Sharding, official: bool
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
            **asdict(sharding),
        },
        tool="imagenet_resnet.prepare",
        tool_version=manifest.tool_version(),
    )


def _check_space(out: Path, listed: dict[str, list[Picture]]) -> None:
    num_bytes = sum(picture.size + 2048 for pictures in listed.values() for picture in pictures)
    preparation.check_space(out, num_bytes)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    parser = options()
    given = parser.parse_args(arguments)
    return cli.report("prepare", lambda: _run(parser, given), resumes=True)


def _run(parser: argparse.ArgumentParser, given: argparse.Namespace) -> str:
    if given.index:
        return f"{given.index}: {index(given.index)} shards indexed"
    if given.verify:
        return _summary(given.verify, manifest.verify_whole(given.verify))
    if not given.out:
        parser.error("expected RAW and OUT, or --verify FOLDER, or --index FOLDER")
    sharding = Sharding(samples_per_shard=given.samples_per_shard, seed=given.seed, broken=given.broken)
    official = not given.any_checksum
    return _summary(given.out, prepare(given.raw, given.out, sharding, num_workers=given.workers, official=official))


def _summary(folder: Path, done: Manifest) -> str:
    counts = ", ".join(f"{split.num_samples} {name}" for name, split in done.splits.items())
    lines = [f"{folder}: {done.format}: {counts}, as its manifest says"]
    lines += [f"{what}: {names}" for what in ("converted", "left_out") if (names := done.provenance.get(what))]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
