# SPDX-License-Identifier: Apache-2.0
"""DeepCAM and ImageNet ResNet train from node parts: each node reads its own samples, and all samples once an epoch."""

import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from compliance import mllog
from harness.data.manifest import Manifest
from harness.data.node_parts import NodePart
from tests.demos import DEMOS, ROOT

SIZES = {"deepcam": "--train 8 --validation 2 --height 64 --width 96", "imagenet_resnet": "--train 64 --validation 16"}

TRAIN = """
import importlib, os, sys
from harness import cli
package = sys.argv.pop(1)
def note(path):
    with open(os.environ["NODE"] + "/reads", "a") as notes:
        notes.write(f"{path}\\n")
if package == "deepcam":
    from deepcam import sample_files
    read = sample_files.read
    def noting(sample_format, folder, identifier, out=None):
        note(sample_format.paths(folder, identifier)[0])
        return read(sample_format, folder, identifier, out)
    sample_files.read = noting
else:
    from imagenet_resnet import jpeg
    read = jpeg.read
    def noting(path):
        note(path)
        return read(path)
    jpeg.read = noting
sys.exit(cli.exit_code(importlib.import_module(package + ".train").main))
"""


def train(package: str, config: Path, data: Path, folder: Path) -> list[tuple[int, str]]:
    """Train on two nodes of one rank each, with $NODE for each node's storage; exit codes and what was printed."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": 2, "LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    common |= {"PYTHONPATH": ROOT, "OMP_NUM_THREADS": 1}
    processes = []
    for rank in range(2):
        node = folder / f"node_{rank}"
        node.mkdir()
        place = {"RANK": rank, "GROUP_RANK": rank, "NODE": node}
        environment = os.environ | {name: str(value) for name, value in (common | place).items()}
        line = [sys.executable, "-c", TRAIN, package, "--config", str(config), "--data", str(data), "--seed", "1"]
        processes.append(subprocess.Popen(line, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True))
    printed = [process.communicate(timeout=200)[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, printed, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["deepcam", "imagenet_resnet"])
def test_each_node_trains_from_its_part(tmp_path, package):
    demo = DEMOS[package]
    line = [sys.executable, "-m", f"{package}.synthesize", str(tmp_path / "data"), *SIZES[package].split()]
    subprocess.run([*line, "--workers", "1"], cwd=ROOT, check=True, capture_output=True)
    settings = {"staging_folder": "$NODE/data", "staging_form": "node_part", "num_workers": 0, "precision": "fp32"}
    settings |= {"cache": False} if package == "deepcam" else {}
    config = demo.configure(tmp_path / "config", **settings)
    assert train(package, config, tmp_path / "data", tmp_path) == [(0, ""), (0, "")]
    log = mllog.read(tmp_path / "result_0.txt")
    whole = Manifest.load(tmp_path / "data")
    num_train, num_validation = (whole.split(name).num_samples for name in ("train", "validation"))
    assert (log.value("train_samples"), log.value("eval_samples")) == (num_train, num_validation)
    assert log.value("staging_form") == "node_part"
    num_epochs = len(log.all("epoch_start"))
    reads = Counter()
    for rank in range(2):
        part = Manifest.load(tmp_path / f"node_{rank}/data")
        assert NodePart.of(part) == NodePart(index=rank, count=2)
        lines = (tmp_path / f"node_{rank}/reads").read_text().splitlines()
        own = Counter(text for text in lines if f"node_{rank}/data/train/" in text)
        assert own.keys() == {str(tmp_path / f"node_{rank}/data" / file.path) for file in part.split("train").files}
        reads += own
    assert sum(reads.values()) == num_train * num_epochs
    assert set(reads.values()) == {num_epochs}
