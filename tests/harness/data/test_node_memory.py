# SPDX-License-Identifier: Apache-2.0
"""A cached data set is in the memory of a node once, however many ranks train there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cosmoflow import synthesize
from harness.data import node_memory

NUM_SAMPLES, SIDE = 16, 64
DATA_BYTES = NUM_SAMPLES * 4 * SIDE**3 * 2

pytestmark = pytest.mark.skipif(not node_memory.SHARED.is_dir(), reason="no /dev/shm on this system")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cached") / "data"
    size = ["--train", str(NUM_SAMPLES), "--validation", "1", "--size", str(SIDE)]
    synthesize.main([str(folder), *size, "--workers", "1"])
    return folder


def cached(data: Path, store: Path, num_ranks: int) -> list[dict]:
    """The lines that the ranks of a node print."""
    line = [sys.executable, "-m", "tests.harness.data.cached_ranks", str(data), str(store), str(num_ranks)]
    finished = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    return [json.loads(text) for text in finished.stdout.splitlines()]


def test_four_ranks_hold_one_copy_and_see_all_samples(data, tmp_path):
    (alone,) = cached(data, tmp_path / "one", 1)
    ranks = cached(data, tmp_path / "four", 4)
    assert [rank["digest"] for rank in ranks] == [alone["digest"]] * 4
    assert alone["num_bytes"] >= DATA_BYTES
    assert sum(rank["num_bytes"] for rank in ranks) < 2 * DATA_BYTES
    assert not list(node_memory.SHARED.glob("hpc_ai_bench_*"))


def test_a_broken_sample_of_one_rank_is_an_error_on_all(data, tmp_path):
    broken = sorted((data / "train").iterdir())[-1]
    content = broken.read_bytes()
    broken.write_bytes(b"x" * len(content))
    try:
        errors = [rank["error"] for rank in cached(data, tmp_path / "store", 2)]
    finally:
        broken.write_bytes(content)
    assert len(set(errors)) == 1
    assert errors[0].startswith("DataError: local rank ")
    assert str(broken.parent) in errors[0]
