# SPDX-License-Identifier: Apache-2.0
"""Staging against cp, rsync and the disk itself, and of two nodes from a slow source against each for itself.

python -m perf staging                          the last of them needs root, iproute2, sshfs and openssh-sftp-server
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from harness.archive import archive
from harness.data import manifest
from harness.data.manifest import Manifest, Split
from harness.page_cache import drop_caches
from harness.staging.stage import stage
from perf import shared_source
from perf.measurement import Measurement, Row

NUM_TURNS = 5
NUM_LARGE, LARGE_BYTES = 4, 256 << 20
NUM_SHARED, SHARED_BYTES = 4, 128 << 20
NUM_SHARED_TURNS = 3
SOURCE_RATE, NODE_RATE = "400mbit", "4gbit"
NUM_SMALL, SMALL_BYTES = 20_000, 8 << 10

Copy = Callable[[Path], object]


def measure() -> Measurement:
    if not shutil.which("rsync"):
        print("not measured: staging beside rsync: rsync not found", file=sys.stderr)
    Path("output").mkdir(exist_ok=True)  # on the disk of the checkout: /tmp may be memory
    with tempfile.TemporaryDirectory(prefix="staging_", dir="output") as name:
        folder = Path(name).absolute()
        rows = [*_large(folder / "large"), *_small(folder / "small"), *_shared(folder / "shared")]
    return Measurement(
        name="staging",
        title="Staging",
        peer="dd with direct I/O (the disk's own rate), cp -r and rsync -a; ours on each node for itself",
        method=f"One node: median of {NUM_TURNS} copies by each, in turn, on one disk; caches dropped before, synced "
        "within the time; ours checks every file's SHA-256, the peers check nothing. Two nodes: network namespaces and "
        f"a third with the source, mounted by sshfs over a link of {SOURCE_RATE} that both share; between the nodes "
        f"{NODE_RATE}; median of {NUM_SHARED_TURNS}.",
        rows=rows,
        versions=("zstandard",),
    )


def _large(folder: Path) -> list[Row]:
    source = _data_set(folder / "source", NUM_LARGE, np.random.default_rng(1).bytes(LARGE_BYTES))
    peers = {**_dd(source), **_peers(source)}
    seconds = _in_turn(folder / "out", {"ours": lambda out: stage(source, out), **peers})
    gigabytes = NUM_LARGE * LARGE_BYTES / 1e9
    return [
        Row(
            what=f"one node, {NUM_LARGE} files of {LARGE_BYTES >> 20} MiB, beside {name}",
            unit="GB/s",
            ours=gigabytes / seconds["ours"],
            peer=gigabytes / seconds[name],
            ratio=seconds[name] / seconds["ours"],
        )
        for name in peers
    ]


def _small(folder: Path) -> list[Row]:
    counts = np.random.default_rng(1).poisson(0.5, SMALL_BYTES).astype(np.uint8).tobytes()
    source, packed = _data_set(folder / "source", NUM_SMALL, counts), folder / "packed"
    archive.pack(source, packed)
    ours = {"packed": lambda out: stage(packed, out), "plain": lambda out: stage(source, out)}
    peers = _peers(source)
    seconds = _in_turn(folder / "out", {**ours, **peers})
    return [
        Row(
            what=f"one node, {NUM_SMALL} files of {SMALL_BYTES >> 10} KiB, {form}, beside {name}",
            unit="files/s",
            ours=NUM_SMALL / seconds[form],
            peer=NUM_SMALL / seconds[name],
            ratio=seconds[name] / seconds[form],
            note="packed once before, with harness.archive" if form == "packed" else "",
        )
        for form in ours
        for name in peers
    ]


def _shared(folder: Path) -> list[Row]:
    """Read once and exchanged, beside every node reading all."""
    if reason := shared_source.missing():
        print(f"not measured: staging from a shared source: {reason}", file=sys.stderr)
        return []
    data = _data_set(folder / "source", NUM_SHARED, np.random.default_rng(1).bytes(SHARED_BYTES))
    with shared_source.shared_source(data, source_rate=SOURCE_RATE, node_rate=NODE_RATE) as (nodes, source):
        program = [sys.executable, "-m", "perf.staging_rank"]
        found = nodes.run(
            [
                source.mounted(rank, [*program, str(mount), str(folder / "out"), str(NUM_SHARED_TURNS)])
                for rank, mount in enumerate(source.mounts)
            ]
        )
    seconds = {way: median(times) for way, times in json.loads(found[0]).items()}
    megabytes = NUM_SHARED * SHARED_BYTES / 1e6
    return [
        Row(
            what=f"two nodes, {NUM_SHARED} files of {SHARED_BYTES >> 20} MiB from a source of {SOURCE_RATE}, "
            "beside each node reading all",
            unit="MB/s a node",
            ours=megabytes / seconds["together"],
            peer=megabytes / seconds["each"],
            ratio=seconds["each"] / seconds["together"],
            note="2 where nothing but the source's link took time",
        )
    ]


def _peers(source: Path) -> dict[str, Copy]:
    peers = {"cp": ["cp", "-r", f"{source}/."], "rsync": ["rsync", "-a", f"{source}/"]}
    return {
        name: lambda out, line=line: subprocess.run([*line, f"{out}/"], check=True)
        for name, line in peers.items()
        if shutil.which(name)
    }


def _dd(source: Path) -> dict[str, Copy]:
    direct = ["bs=16M", "iflag=direct", "oflag=direct"]

    def copy(out: Path) -> None:
        out.mkdir()
        for path in sorted((source / "train").iterdir()):
            line = ["dd", f"if={path}", f"of={out / path.name}", *direct, "conv=fsync", "status=none"]
            subprocess.run(line, check=True)

    return {"dd": copy} if shutil.which("dd") else {}


def _in_turn(out: Path, copies: dict[str, Copy]) -> dict[str, float]:
    """Median seconds of each."""
    seconds = defaultdict(list)
    names = list(copies)
    for turn in range(NUM_TURNS):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:  # nobody always after the same one
            copy = copies[name]
            shutil.rmtree(out, ignore_errors=True)
            subprocess.run(["sync"], check=True)
            drop_caches(out.parent)
            start = time.perf_counter()
            copy(out)
            subprocess.run(["sync", "--file-system", str(out)], check=True)
            seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def _data_set(folder: Path, num_files: int, content: bytes) -> Path:
    """Files that differ in their first bytes."""
    (folder / "train").mkdir(parents=True)
    for number in range(num_files):
        (folder / f"train/{number:06}.bin").write_bytes(number.to_bytes(8, "little") + content[8:])
    files = tuple(manifest.describe(folder, path) for path in sorted((folder / "train").iterdir()))
    splits = {"train": Split(num_samples=num_files, files=files)}
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "perf.staging", "tool_version": ""}
    Manifest(benchmark="none", synthetic=True, splits=splits, **description).save(folder)
    return folder
