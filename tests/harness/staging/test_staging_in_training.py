# SPDX-License-Identifier: Apache-2.0
"""A benchmark trains from what was staged: a replica or a node part on each node, from files or from archives."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from compliance import mllog
from harness.archive import archive
from harness.data.manifest import Manifest
from harness.data.node_parts import NodePart

ROOT = Path(__file__).parents[3]
NUM_TRAIN, NUM_VALIDATION = 8, 3

TRAIN = """
import os, sys
from harness import cli
from cosmoflow import sample_files, train
plain = sample_files.read
def noting(sample_format, stem):
    with open(os.environ["NODE"] + "/reads", "a") as notes:
        notes.write(f"{stem}\\n")
    return plain(sample_format, stem)
sample_files.read = noting
sys.exit(cli.exit_code(train.main))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A few small universes; beside them, packed, the same."""
    folder = tmp_path_factory.mktemp("universes") / "data"
    counts = ["--train", str(NUM_TRAIN), "--validation", str(NUM_VALIDATION)]
    simulate = [sys.executable, "-m", "cosmoflow.synthesize", str(folder), *counts]
    subprocess.run(simulate, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True)
    archive.pack(folder, folder.with_name("packed"))
    return folder


@pytest.fixture
def train(tmp_path):
    """Train for an epoch, each rank a node of its own with its storage in $NODE; exit codes and what was printed.

    "{rank}" in the data's name is the node's number.
    """

    def start(data: Path, *, num_nodes: int = 1, **system: str) -> list[tuple[int, str]]:
        demo = ROOT / "cosmoflow/configs/demo"
        settings = "\n".join(f'{name} = "{value}"' for name, value in system.items())
        text = (demo / "system.toml").read_text().replace("max_epochs = 12", "max_epochs = 1")
        text = text.replace('precision = "auto"', 'precision = "fp32"')  # auto may say that bf16 is wrong here
        (tmp_path / "system.toml").write_text(text.replace("cache = true", settings))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        world = {"WORLD_SIZE": str(num_nodes), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        processes = []
        for rank in range(num_nodes):
            (tmp_path / f"node_{rank}").mkdir(exist_ok=True)
            place = {"RANK": str(rank), "GROUP_RANK": str(rank), "NODE": str(tmp_path / f"node_{rank}")}
            environment = os.environ | meeting | world | place
            options = ["--config", str(demo), "--system", "system.toml", "--data", str(data).format(rank=rank)]
            line = [sys.executable, "-c", TRAIN, *options, "--seed", "1"]
            processes.append(subprocess.Popen(line, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True))
        printed = [process.communicate(timeout=120)[1] for process in processes]
        return [(process.returncode, text) for process, text in zip(processes, printed, strict=True)]

    return start


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", ["data", "packed"])
def test_training_reads_the_staged_copy_and_logs_the_staging(train, data, tmp_path, form):
    assert train(data.with_name(form), staging_folder="$NODE/data") == [(0, "")]
    log = mllog.read(tmp_path / "result_0.txt")
    assert log.first("staging_stop").metadata.staging_duration > 0
    assert log.first("eval_error") is not None
    assert tree(tmp_path / "node_0/data") == tree(data)


def test_training_from_archives_needs_a_folder_to_unpack_them(train, data):
    ((code, printed),) = train(data.with_name("packed"))
    assert code == 2
    assert "is packed in archives; set staging_folder in" in printed


def seen(tmp_path: Path, split: str) -> Counter:
    """How often each sample was read from the nodes' own storage."""
    lines = [line for path in tmp_path.glob("node_*/reads") for line in path.read_text().splitlines()]
    return Counter(Path(line).name for line in lines if f"/data/{split}/" in line and "/node_" in line)


@pytest.mark.parametrize("form", ["data", "packed"])
def test_two_nodes_train_on_a_shard_each_and_see_every_sample_once_an_epoch(train, data, tmp_path, form):
    options = {"staging_folder": "$NODE/data", "staging_form": "node_part"}
    assert train(data.with_name(form), num_nodes=2, **options) == [(0, ""), (0, "")]
    log = mllog.read(tmp_path / "result_0.txt")
    assert (log.value("train_samples"), log.value("eval_samples")) == (NUM_TRAIN, NUM_VALIDATION)
    parts = [NodePart.of(Manifest.load(tmp_path / f"node_{rank}/data")) for rank in range(2)]
    assert [(node_part.index, node_part.count) for node_part in parts] == [(0, 2), (1, 2)]
    for split in ("train", "validation"):
        names = {path.stem for path in (data / split).iterdir()}
        assert seen(tmp_path, split) == Counter(dict.fromkeys(names, 1))


def test_shards_that_were_staged_before_are_trained_from(train, data, tmp_path):
    for rank in range(2):
        listed = NodePart(index=rank, count=2).cut(Manifest.load(data))
        for split in listed.splits.values():
            for file in split.files:
                path = tmp_path / f"node_{rank}/data" / file.path
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((data / file.path).read_bytes())
        listed.save(tmp_path / f"node_{rank}/data")
    assert train(tmp_path / "node_{rank}/data", num_nodes=2) == [(0, ""), (0, "")]
    log = mllog.read(tmp_path / "result_0.txt")
    assert (log.value("train_samples"), log.value("staging_form")) == (NUM_TRAIN, "node_part")
    counts = seen(tmp_path, "train")
    assert counts.keys() == {path.stem for path in (data / "train").iterdir()}
    assert sum(counts.values()) == NUM_TRAIN + 2  # each node looks at its first sample before the run
    (code, printed), _ = train(tmp_path / "node_0/data", num_nodes=2)
    assert code == 2
    assert "this node holds node part 0 of 2, and the 2 nodes together not each part once" in printed
