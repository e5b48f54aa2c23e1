# SPDX-License-Identifier: Apache-2.0
"""Tests in this folder need a GPU; elsewhere they are skipped with the reason. None of them has run on one yet."""

from pathlib import Path

import pytest
import torch
from torch import nn

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder, and skip them if there is no GPU."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker("gpu")
            if not torch.cuda.is_available():
                item.add_marker(pytest.mark.skip(reason="PyTorch finds no CUDA or ROCm device on this machine"))


@pytest.fixture
def device() -> torch.device:
    return torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Devices and graphs draw random numbers differently."""
    monkeypatch.setattr(nn.Dropout, "forward", lambda module, features: features)
