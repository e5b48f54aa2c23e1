# SPDX-License-Identifier: Apache-2.0
"""The cost of staging on a node hardly grows with the number of nodes; docs/scaling.md computes with these counts."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from harness.data.manifest import Manifest, Split, describe

NUM_FILES, FILE_BYTES = 16, 300_000


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    (folder / "train").mkdir()
    for number in range(NUM_FILES):
        (folder / f"train/{number:02}").write_bytes(bytes([number]) * FILE_BYTES)
    files = tuple(describe(folder, path) for path in sorted((folder / "train").iterdir()))
    splits = {"train": Split(num_samples=NUM_FILES, files=files)}
    description = {"format": "numpy", "arrays": {}, "provenance": {}, "tool": "test", "tool_version": "1"}
    Manifest(benchmark="toy", synthetic=True, splits=splits, **description).save(folder)
    return folder


@pytest.mark.parametrize("num_nodes", [2, 4, 8, 16])
def test_connections_requests_and_reads_of_a_node(source, tmp_path, num_nodes):
    line = [sys.executable, "-m", "tests.harness.staging.exchange_counts", str(source), str(tmp_path), str(num_nodes)]
    finished = subprocess.run(line, capture_output=True, text=True, timeout=100)
    assert finished.returncode == 0, finished.stderr
    nodes = [json.loads(text) for text in finished.stdout.splitlines()]
    assert len(nodes) == num_nodes
    assert sum(node["listings_read"] for node in nodes) == 1
    assert sum(node["bytes_read"] for node in nodes) == NUM_FILES * FILE_BYTES
    max_connections = math.log2(num_nodes) + 1
    for node in nodes:
        assert node["connections"] <= max_connections
        assert node["store_requests"] <= 2 * max_connections + 2
        assert node["bytes_of_payloads"] == NUM_FILES * FILE_BYTES * (num_nodes - 1) // num_nodes
    Manifest.load(source).verify(tmp_path / "node_0", checksums=True)
