# SPDX-License-Identifier: Apache-2.0
"""List of benchmarks: installed ones are found, and unknown names are refused with a suggestion."""

import tomllib
from pathlib import Path

import pytest
import torch

import cosmoflow
from characterize.measure import benchmarks
from characterize.measure.training_step import TrainingStep
from characterize.results.result import CharacterizeError
from cosmoflow.model import CosmoFlow


def test_installed_benchmarks_have_networks():
    found = benchmarks.installed()
    assert "cosmoflow" in found
    assert [one.name for one in benchmarks.named(None)] == list(found)


def test_the_measured_network_has_the_settings_of_the_configurations():
    """Every configuration pools first; one sample would time a convolution three times slower than two samples."""
    benchmark = benchmarks.named(["cosmoflow"])[0]
    configured = Path(cosmoflow.__file__).parent.glob("configs/*/system.toml")
    assert {tomllib.loads(path.read_text())["system"]["pool_first"] for path in configured} == {True}
    with torch.device("meta"):
        measured, pools_first = benchmark.make_model((64, 64, 64)), CosmoFlow(input_size=64, pool_first=True)
    assert repr(measured) == repr(pools_first) != repr(CosmoFlow(input_size=64, pool_first=False))
    assert benchmark.small_samples >= 2


def test_a_wrong_name_is_told_the_nearest():
    with pytest.raises(CharacterizeError, match="did you mean cosmoflow"):
        benchmarks.named(["cosmoflo"])


def test_a_package_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setattr(benchmarks, "find_spec", lambda name: None if name.startswith("deepcam") else True)
    assert "deepcam" not in benchmarks.installed()
    assert "cosmoflow" in benchmarks.installed()


@pytest.mark.parametrize("name", ["cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn"])
def test_batches_fit_the_networks(name):
    """Run each network on the meta device, which checks shapes only."""
    if name not in benchmarks.installed():
        pytest.skip(f"{name} is not installed")
    benchmark = benchmarks.installed()[name]
    with torch.device("meta"):
        output = benchmark.forward(
            benchmark.make_model(benchmark.small_size), benchmark.make_batch(2, benchmark.small_size)
        )
    assert output.numel() > 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_changes_the_network(toy, precision):
    step = TrainingStep.build(toy, size=(8, 8), num_samples=4, device=torch.device("cpu"), precision=precision)
    before = [parameter.detach().clone() for parameter in step.model.parameters()]
    loss = step()
    assert torch.isfinite(loss)
    assert any((old != new).any() for old, new in zip(before, step.model.parameters(), strict=True))


def test_every_process_builds_the_same_step(toy):
    one, two = (TrainingStep.build(toy, size=(8, 8), num_samples=4, device=torch.device("cpu")) for _ in range(2))
    assert one().item() == two().item()
