# SPDX-License-Identifier: Apache-2.0
"""A precision that is asked for is taken; "auto" asks the device."""

import pytest
import torch

from harness.precision import uses_bf16


@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_a_precision_that_is_named_is_taken_on_any_device(device_type):
    assert uses_bf16("bf16", device_type)
    assert not uses_bf16("fp32", device_type)


@pytest.mark.parametrize("has_matrix_unit", [True, False])
def test_auto_is_bf16_where_the_processor_has_a_matrix_unit(monkeypatch, has_matrix_unit):
    uses_bf16.cache_clear()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_matrix_unit})
    assert uses_bf16("auto", "cpu") is has_matrix_unit
    uses_bf16.cache_clear()
