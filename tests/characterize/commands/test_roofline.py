# SPDX-License-Identifier: Apache-2.0
"""Roofline: a measured step is compared like with like, and marked if it is not the reference's."""

import pytest
import torch

from characterize.commands import roofline
from characterize.measure import benchmarks
from characterize.measure.step_costs import count
from characterize.measure.timing import Timing


@pytest.fixture
def steps_of_two_seconds(monkeypatch):
    """Every timed step takes 2 s, at its fastest 1 s."""
    timing = Timing(seconds=2.0, fastest_seconds=1.0, spread=0.5, core_seconds=2.0, repeats=3)
    monkeypatch.setattr(roofline, "time_repeatedly", lambda step, **settings: timing)
    monkeypatch.setattr(roofline.TrainingStep, "build", lambda *arguments, **settings: None)


@pytest.mark.parametrize("name", ["cosmoflow", "imagenet_resnet"])
def test_a_smaller_input_or_batch_is_marked(steps_of_two_seconds, name):
    """ImageNet is timed at its reference size, but with fewer than 128 samples."""
    benchmark = benchmarks.named([name])[0]
    placed = roofline._placed(benchmark, torch.device("cpu"), 2, "GEMM, fp32", full=False)
    assert not placed.is_measured_at_size


def test_the_attained_rate_is_that_of_the_fastest_repeat_as_the_ceilings(steps_of_two_seconds):
    benchmark = benchmarks.named(["cosmoflow"])[0]
    placed = roofline._placed(benchmark, torch.device("cpu"), 2, "GEMM, fp32", full=False)
    flops = benchmark.small_samples * count(benchmark, benchmark.small_size, 1).flops
    assert placed.workload.attained_flops_per_s == pytest.approx(flops / 1.0)
