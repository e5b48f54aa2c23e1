# SPDX-License-Identifier: Apache-2.0
"""A benchmark with steps of about a millisecond."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from characterize.measure.benchmarks import Benchmark


@pytest.fixture
def toy() -> Benchmark:
    """Benchmark of two convolutions (one depthwise), batch norm, pooling and a dense layer on 8 x 8 pixels."""

    def make_model(size):
        return nn.Sequential(
            nn.Conv2d(2, 4, 3, padding=1, bias=False),
            nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(4 * size[0] * size[1] // 4, 3, bias=False),
        )

    def make_batch(num_samples, size):
        return torch.rand(num_samples, 2, *size), torch.randint(0, 3, (num_samples,))

    return Benchmark(
        name="toy",
        title="Toy",
        reference_size=(8, 8),
        small_size=(8, 8),
        samples_per_rank=4,
        small_samples=2,
        make_model=make_model,
        make_batch=make_batch,
        loss=lambda model, batch: functional.cross_entropy(model(batch[0]), batch[1]),
        forward=lambda model, batch: model(batch[0]),
        input_bytes=512,
    )
