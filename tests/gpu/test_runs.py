# SPDX-License-Identifier: Apache-2.0
"""Demos on GPUs: their logs pass the checker, with CUDA graphs, and on all GPUs of this node over NCCL.

They are verified on no GPU yet.
"""

import pytest
import torch

from tests import commands
from tests.demos import DEMOS

SMALL = {"H101", "Q503"}
"""Rules that a demo with a few samples breaks: the numbers of samples, and what few epochs must reach."""


@pytest.mark.slow
@pytest.mark.parametrize("all_gpus", [False, True], ids=["one GPU", "all GPUs"])
@pytest.mark.parametrize("cuda_graph", [False, True], ids=["eager", "graph"])
@pytest.mark.parametrize("name", ["cosmoflow", "deepcam", "imagenet_resnet"])
def test_a_demo_trains_and_its_log_passes(name, cuda_graph, all_gpus, tmp_path):
    demo, log = DEMOS[name], tmp_path / "result_0.txt"
    data = demo.synthesize(tmp_path / "data")
    config = demo.configure(tmp_path / "config", cuda_graph=cuda_graph)
    options = ("--config", config, "--data", data, "--output", log, "--seed", "1")
    num_ranks = torch.cuda.device_count() if all_gpus else 1
    run = commands.run("-m", f"{name}.train", *options, num_ranks=num_ranks)
    assert run.returncode == 0, run.stderr
    assert demo.faults(log) <= SMALL


def test_all_gpus_compute_right_and_alike():
    run = commands.run("-m", "harness.verify", "--slower", "1000", num_ranks=torch.cuda.device_count())
    assert run.returncode == 0, run.stdout
