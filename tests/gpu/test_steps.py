# SPDX-License-Identifier: Apache-2.0
"""Training steps of all benchmarks on a GPU: against the CPU, as CUDA graphs, without host synchronization, in memory.

They are verified on no GPU yet.
"""

import pytest
import torch

from characterize.measure import benchmarks
from harness.precision import Precision
from perf.gpu import Variant, moved, training_step

BENCHMARKS = benchmarks.installed()
PRECISIONS = {"fp32": 1e-4, "tf32": 1e-2, "bf16": 5e-2, "fp16": 1e-2}
"""Largest relative difference of a loss from the CPU's in fp32."""
SIZES = {"cosmoflow": (32, 32, 32), "deepcam": (64, 96), "imagenet_resnet": (64, 64), "ewa_fasterrcnn": (96, 144)}
NUM_SAMPLES = 2


def loss(name: str, precision: str, device: torch.device) -> float:
    """The loss of the first step, from the same weights and data on all devices."""
    benchmark = BENCHMARKS[name]
    torch.manual_seed(0)
    batch, model = benchmark.make_batch(NUM_SAMPLES, SIZES[name]), benchmark.make_model(SIZES[name])
    with Precision.start(precision, device).autocast():
        return benchmark.loss(model.to(device), moved(batch, device)).item()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_loss_is_that_of_the_cpu(name, precision, device):
    expected = loss(name, "fp32", torch.device("cpu"))
    assert loss(name, precision, device) == pytest.approx(expected, rel=PRECISIONS[precision])


@pytest.mark.parametrize("name", BENCHMARKS)
def test_the_losses_of_a_graph_are_those_of_single_operations(name, device):
    eager, graph = (
        training_step(BENCHMARKS[name], SIZES[name], NUM_SAMPLES, Variant(precision="bf16", graph=graph), device)
        for graph in (False, True)
    )
    assert graph().item() == pytest.approx(eager().item(), rel=1e-2)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_step_does_not_make_the_host_wait(name, device):
    step = training_step(BENCHMARKS[name], SIZES[name], NUM_SAMPLES, Variant(precision="bf16"), device)
    step()
    torch.cuda.set_sync_debug_mode("error")
    try:
        step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", BENCHMARKS)
def test_memory_does_not_grow_from_step_to_step(name, device):
    step = training_step(BENCHMARKS[name], SIZES[name], NUM_SAMPLES, Variant(precision="bf16"), device)
    for _ in range(3):
        step()
    before = torch.cuda.memory_allocated(device)
    for _ in range(5):
        step()
    assert torch.cuda.memory_allocated(device) == before
