# SPDX-License-Identifier: Apache-2.0
"""The measurement of GPUs: its end without one, and its steps, which run on a processor too."""

import pytest
import torch
from torch import nn

from characterize.measure import benchmarks
from perf import gpu
from perf.measurement import NotMeasurable


def test_without_a_gpu_it_ends_with_the_reason(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NotMeasurable, match="gpu: PyTorch finds no CUDA or ROCm device on this machine"):
        gpu.measure()


def test_all_forms_of_a_step_have_the_same_loss(monkeypatch):
    monkeypatch.setattr(nn.Dropout, "forward", lambda module, features: features)
    benchmark = benchmarks.installed()["cosmoflow"]
    forms = (gpu.Variant(), gpu.Variant(channels_last=True))
    plain, turned = (gpu.training_step(benchmark, (32, 32, 32), 1, form, torch.device("cpu")) for form in forms)
    assert turned().item() == pytest.approx(plain().item(), rel=1e-4)


def test_the_rate_of_a_matrix_product_is_measured(monkeypatch):
    monkeypatch.setattr(gpu, "GEMM_SIZE", 64)
    assert gpu.gemm_flops_per_s(torch.float32, torch.device("cpu")) > 0
