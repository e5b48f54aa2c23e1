# SPDX-License-Identifier: Apache-2.0
"""A precision that is named is set; "auto" asks the device; fp32 leaves no TF32 on."""

import pytest
import torch

from harness import precision
from harness.precision import Precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _restore_tf32():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    precision.computes_with_bf16.cache_clear()
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
    precision.computes_with_bf16.cache_clear()


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16", "fp16"])
@pytest.mark.parametrize("device_type", ["cpu", "cuda"])
def test_a_precision_that_is_named_is_taken_on_any_device(name, device_type):
    assert precision.choose(name, device_type) == name


@pytest.mark.parametrize(
    ("units", "name"), [({"amx_bf16"}, "bf16"), ({"avx512_bf16"}, "bf16"), ({"avx512_f"}, "fp32"), (set(), "fp32")]
)
def test_auto_tries_bf16_if_the_processor_has_instructions_for_it(monkeypatch, units, name):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: dict.fromkeys(units, True))
    precision_of_run = Precision.start("auto", CPU)
    assert (precision_of_run.name, precision_of_run.is_automatic) == (name, True)


@pytest.mark.parametrize("name", ["fp32", "tf32", "bf16"])
def test_tf32_is_on_only_if_it_is_named(name):
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    assert Precision.start(name, CPU).name == name
    assert torch.backends.cuda.matmul.allow_tf32 is (name == "tf32")
    assert torch.backends.cudnn.allow_tf32 is (name == "tf32")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_matrix_products_compute_in_the_precision(name, dtype):
    rows = torch.ones(4, 4)
    with Precision(name, "cpu").autocast():
        assert (rows @ rows).dtype == dtype


def step(arithmetic: Precision, weight: torch.nn.Parameter, optimizer: torch.optim.Optimizer, factor: float) -> None:
    optimizer.zero_grad()
    arithmetic.backward((weight * factor).sum())
    arithmetic.step(optimizer)


def test_the_loss_scale_of_fp16_leaves_the_step_as_it_is_and_survives_a_checkpoint():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.5, fused=True)
    arithmetic = Precision("fp16", "cpu")
    step(arithmetic, weight, optimizer, 0.25)
    assert weight.tolist() == [0.875, 0.875]
    step(arithmetic, weight, optimizer, float("inf"))
    assert weight.tolist() == [0.875, 0.875]
    restored = Precision("fp16", "cpu")
    restored.load_state_dict(arithmetic.state_dict())
    assert restored.state_dict()["scale"] == arithmetic.state_dict()["scale"] == 32768


def test_gradients_that_were_unscaled_for_clipping_are_not_unscaled_again():
    weight = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.5, fused=True)
    arithmetic = Precision("fp16", "cpu")
    arithmetic.backward((weight * 8).sum())
    arithmetic.unscale(optimizer)
    assert weight.grad.tolist() == [8, 8]
    torch.nn.utils.clip_grad_norm_([weight], 0.5 * 2**0.5)
    arithmetic.step(optimizer)
    assert weight.tolist() == pytest.approx([0.75, 0.75], rel=1e-5)


def test_fp32_has_no_state():
    assert Precision("fp32", "cpu").state_dict() == {}
