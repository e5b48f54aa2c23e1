# SPDX-License-Identifier: Apache-2.0
"""Each benchmark's steps of training and evaluation keep all operands on the accelerator, and read nothing back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensor
from torch.optim import Optimizer

from cosmoflow import train as cosmoflow
from deepcam import train as deepcam
from deepcam.channel_statistics import Normalise, Statistics
from deepcam.loss import _on_device
from ewa_fasterrcnn import train as ewa_fasterrcnn
from harness import config
from harness.distributed import spatial
from harness.distributed.world import World
from harness.precision import Precision
from harness.run import Run
from imagenet_resnet import train as imagenet_resnet
from imagenet_resnet.model import _moments
from tests.fake_accelerator import HAS_CUDA, fake_accelerator

ROOT = Path(__file__).parents[1]
NUM_SAMPLES = 2


@dataclass(frozen=True, kw_only=True)
class Steps:
    """A benchmark's steps on the device."""

    model: nn.Module
    training: Callable[[Optimizer], Callable[..., Tensor]]
    """The step with an optimizer."""
    evaluation: Callable[..., object]
    batch: tuple[Tensor, ...]


def run_of(train: ModuleType, device: torch.device) -> Run:
    """A run of the demo on the device; nothing is logged."""
    folder = ROOT / train.__name__.partition(".")[0] / "configs" / "demo"
    types = {"hyperparameters_type": train.Hyperparameters, "system_type": train.System}
    return Run(config.load(folder, **types), ROOT / "unused.log", world=World(device=device), seed=1)


def training_step(train: ModuleType, steps: Steps, run: Run) -> Callable[..., Tensor]:
    """The training step with its optimizer, whose learning rate is on the device; constructors read the rate once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train, "device_rate", lambda rate, model: rate)
        optimizer = train.build_optimizer(steps.model, run.config.hyperparameters)
    for group in optimizer.param_groups:
        if group.get("fused") and not HAS_CUDA:
            group["fused"] = False  # PyTorch's unfused optimizers read a rate that is a tensor
        else:
            group["lr"] = torch.full((), group["lr"], device=run.world.device)
    return steps.training(optimizer)


def cosmoflow_steps(run: Run, precision: Precision) -> Steps:
    grid = spatial.grid((), run.world)
    model = cosmoflow.build_model(run, grid, input_size=32)
    counts_NCDHW = torch.zeros(NUM_SAMPLES, 4, 32, 32, 32, dtype=torch.int16, device=run.world.device)
    target_NT = torch.zeros(NUM_SAMPLES, 4, device=run.world.device)
    batch = cosmoflow.prepare(run.config.system, grid, False, counts_NCDHW, target_NT)
    return Steps(
        model=model,
        training=lambda optimizer: partial(cosmoflow.training_step, model, optimizer, precision),
        evaluation=partial(cosmoflow.absolute_errors, model, precision),
        batch=batch,
    )


def deepcam_steps(run: Run, precision: Precision) -> Steps:
    model = deepcam.build_model(run)
    numbers = np.arange(16, dtype=np.float32)
    statistics = Statistics(count=1, mean=numbers, sqmean=numbers, minval=numbers, maxval=numbers + 1)
    normalise = Normalise(statistics).to(run.world.device)
    fields_NHWC = torch.zeros(NUM_SAMPLES, 64, 96, 16, device=run.world.device)
    labels_NHW = torch.zeros(NUM_SAMPLES, 64, 96, dtype=torch.uint8, device=run.world.device)
    return Steps(
        model=model,
        training=lambda optimizer: partial(deepcam.training_step, run, model, normalise, optimizer, precision),
        evaluation=partial(deepcam.scores, run, model, normalise, precision),
        batch=(fields_NHWC, labels_NHW),
    )


def imagenet_steps(run: Run, precision: Precision) -> Steps:
    model = imagenet_resnet.build_model(run)
    return Steps(
        model=model,
        training=lambda optimizer: partial(imagenet_resnet.training_step, run, model, optimizer, precision),
        evaluation=partial(imagenet_resnet.num_right, run, model, precision),
        batch=imagenet_resnet.synthetic_batch(run, NUM_SAMPLES),
    )


@pytest.fixture(autouse=True)
def no_kept_constants() -> Iterator[None]:
    """Constants on a device are made once; fake ones belong to one test."""
    for cached in (_moments, _on_device):
        cached.cache_clear()
    yield
    for cached in (_moments, _on_device):
        cached.cache_clear()


def ewa_steps(run: Run, precision: Precision) -> Steps:
    model, device = ewa_fasterrcnn.build_model(run), run.world.device
    fields_NCHW = torch.zeros(NUM_SAMPLES, 16, 96, 144, device=device)
    rows_NB5 = torch.zeros(NUM_SAMPLES, 3, 5, device=device)
    batch = torch.zeros(NUM_SAMPLES, dtype=torch.int64, device=device), fields_NCHW, rows_NB5
    key_of_epoch = torch.zeros((), dtype=torch.int64, device=device)
    exchange, normalise = ewa_fasterrcnn.build_exchange(run, model), nn.Identity()

    @torch.no_grad()
    def evaluation(*batch: Tensor) -> tuple[Tensor, ...]:
        return ewa_fasterrcnn.predict(run, model.eval(), normalise, precision, batch[1])

    return Steps(
        model=model,
        training=lambda optimizer: partial(
            ewa_fasterrcnn.training_step, run, exchange, normalise, optimizer, precision, key_of_epoch
        ),
        evaluation=evaluation,
        batch=batch,
    )


BENCHMARKS = {
    cosmoflow: cosmoflow_steps,
    deepcam: deepcam_steps,
    imagenet_resnet: imagenet_steps,
    ewa_fasterrcnn: ewa_steps,
}


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"] if HAS_CUDA else ["fp32"])
@pytest.mark.parametrize("train", BENCHMARKS, ids=lambda train: train.__name__)
def test_all_operands_of_the_steps_are_on_the_accelerator(train, precision):
    with fake_accelerator() as device:
        steps = BENCHMARKS[train](run := run_of(train, device), Precision(precision, "cuda"))
        step = training_step(train, steps, run)
        results = [step(*steps.batch) for _ in range(2)]  # the second one finds the optimizer's state
        measured = steps.evaluation(*steps.batch)
    results += measured if isinstance(measured, tuple) else (measured,)
    assert all(isinstance(tensor, FakeTensor) for tensor in results)
    assert {tensor.device for tensor in results} == {device}


@pytest.mark.parametrize("train", [cosmoflow, deepcam, imagenet_resnet], ids=lambda train: train.__name__)
def test_a_batch_that_was_left_on_the_cpu_is_found(train):
    with fake_accelerator() as device:
        steps = BENCHMARKS[train](run := run_of(train, device), Precision("fp32", "cuda"))
        step = training_step(train, steps, run)
        with pytest.raises(RuntimeError, match="device"):
            step(*(torch.zeros_like(tensor, device="cpu") for tensor in steps.batch))


def test_reading_a_value_is_found():
    with fake_accelerator() as device, pytest.raises(DataDependentOutputException):
        torch.zeros(1, device=device).item()
