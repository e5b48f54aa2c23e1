# SPDX-License-Identifier: Apache-2.0
"""The exchange of gradients between two ranks: the mean with every setting, and the count of what was sent."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ewa_fasterrcnn.gradient_exchange import GradientExchange
from harness.distributed.world import World

SCRIPT = Path(__file__).with_name("communication_ranks.py")
ROOT = Path(__file__).parents[2]
NUM_BYTES = 4 * (20 * 30 + 30 + 30 * 10 + 10)


def ranks_module():
    spec = importlib.util.spec_from_file_location("communication_ranks", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> list[dict]:
    path = tmp_path_factory.mktemp("ranks") / "results.json"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT, path]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def expected() -> list[torch.Tensor]:
    """The gradients of one process with the images of both ranks."""
    module = ranks_module()
    network = module.network()
    network(torch.cat([module.rows(0), module.rows(1)])).square().mean().backward()
    return [parameter.grad for parameter in network.parameters()]


TOLERANCE = {"none": 1e-6, "fp16": 1e-3, "bf16": 1e-2}


def test_every_setting_gives_the_mean_over_ranks(results, expected):
    assert len(results) == 12
    for result in results:
        largest = max(gradient.abs().max().item() for gradient in expected)
        for found, wanted in zip(result["gradients"], expected, strict=True):
            assert torch.allclose(torch.tensor(found), wanted, atol=TOLERANCE[result["compression"]] * largest), result


def test_bytes_are_counted_as_they_travel(results):
    for result in results:
        assert result["num_bytes"] == NUM_BYTES / (1 if result["compression"] == "none" else 2)


def test_small_buckets_are_many_all_reduces_and_one_large_one_is_one(results):
    for result in results:
        if result["bucket_mebibytes"] == 25:
            assert result["num_all_reduces"] == 1
        else:  # 1049 bytes: the larger weights are buckets of their own
            assert result["num_all_reduces"] >= 2


def test_one_rank_exchanges_nothing():
    network = ranks_module().network()
    exchange = GradientExchange(network, World(), bucket_mebibytes=25, overlap=True, compression="bf16")
    assert exchange.replica is network
    network(torch.randn(4, 20)).sum().backward()
    before = network[0].weight.grad.clone()
    exchange.finish()
    assert torch.equal(network[0].weight.grad, before)
    assert (exchange.traffic.num_all_reduces, exchange.traffic.num_bytes) == (0, 0)
