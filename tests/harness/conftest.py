# SPDX-License-Identifier: Apache-2.0
"""A toy benchmark for the tests of the harness: without network and data, and with given evaluation results."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from compliance.rulesets import ruleset
from harness.config import Config, Submission

ROOT = Path(__file__).parents[2]

CONFIG_PY = """
from dataclasses import dataclass

@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    global_batch_size: int
    opt_name: str = "sgd"
    opt_base_learning_rate: float = 0.1
    opt_learning_rate_warmup_epochs: int = 0
    opt_learning_rate_warmup_factor: float = 1.0
    opt_learning_rate_decay_boundary_epochs: tuple[int, ...] = (3,)
    opt_learning_rate_decay_factor: tuple[float, ...] = (0.5,)
    dropout: float | None = None

@dataclass(frozen=True, kw_only=True)
class System:
    num_workers: int = 0
    epoch_limit: int = 9
    fail_at_seed: int = 0
    wait_at_seed: int = 0
"""

TRAIN_PY = """
import sys
from harness import cli, config
from harness.distributed.world import launch
from harness.run import Run
from cosmoflow.config import Hyperparameters, System

def main():
    arguments = cli.parser("toy.train", "toy").parse_args()
    settings = config.load(
        arguments.config, arguments.hyperparameters, arguments.system,
        hyperparameters_type=Hyperparameters, system_type=System,
    )
    with launch() as world, Run(settings, arguments.output, world=world, seed=arguments.seed) as run:
        run.log("train_samples", 256)
        run.log("eval_samples", 256)
        run.start()
        for epoch in run.epochs(settings.system.epoch_limit):
            with run.evaluation(epoch) as result:
                result.value = world.mean(1.0, epoch)
            if run.reached(result):
                break

if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
"""

HYPERPARAMETERS_TOML = """
rules = "mlperf_hpc_demo"
division = "closed"

[hyperparameters]
opt_base_learning_rate = 0.001

[batch]
global_batch_size = 64
"""

SYSTEM_TOML = """
[submission]
org = "Example Lab"
platform = "one laptop"
status = "research"

[system]
num_workers = 2
"""


@dataclass(frozen=True, kw_only=True)
class ToyHyperparameters:
    global_batch_size: int = 64
    opt_name: str = "sgd"
    opt_base_learning_rate: float = 0.1
    opt_learning_rate_warmup_epochs: int = 0
    opt_learning_rate_warmup_factor: float = 1.0
    opt_learning_rate_decay_boundary_epochs: tuple[int, ...] = (3, 5)
    opt_learning_rate_decay_factor: tuple[float, ...] = (0.5, 0.25)
    dropout: float | None = None


@pytest.fixture
def make_config() -> Callable[..., Config]:
    """A Config of the toy; keyword arguments replace fields of the benchmark's rules."""

    def make(
        rules: str = "mlperf_hpc_demo", benchmark: str = "cosmoflow", division: str = "closed", **changed_rules
    ) -> Config:
        loaded = ruleset.load(rules)
        return Config(
            benchmark=replace(loaded.benchmark(benchmark), **changed_rules),
            rules=loaded,
            division=division,
            hyperparameters=ToyHyperparameters(),
            system=None,
            submission=Submission(org="Example Lab", platform="one laptop", status="research"),
            hyperparameters_path=Path("hyperparameters.toml"),
            system_path=Path("system.toml"),
        )

    return make


@pytest.fixture
def toy_folder(tmp_path: Path) -> Path:
    """A working folder whose package `cosmoflow` is the toy; its configuration is cosmoflow/configs/demo."""
    package = tmp_path / "cosmoflow"
    files = {
        "__init__.py": "",
        "config.py": CONFIG_PY,
        "train.py": TRAIN_PY,
        "configs/demo/hyperparameters.toml": HYPERPARAMETERS_TOML,
        "configs/demo/system.toml": SYSTEM_TOML,
        "launch/setup.sh": "#!/bin/sh\n",
        "launch/init_datasets.sh": "#!/bin/sh\n",
        "launch/run_and_time.sh": "#!/bin/sh\n",
    }
    for name, text in files.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


@pytest.fixture
def toy_environment(toy_folder: Path) -> dict[str, str]:
    """Environment of a process that trains the toy: its package comes before the real one."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "PMI_", "OMPI_"))}
    return {**outer, "PYTHONPATH": f"{toy_folder}{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1"}


@pytest.fixture
def toy_train(toy_folder: Path) -> list[str]:
    """The toy's train command."""
    return [sys.executable, "-m", "cosmoflow.train", "--config", str(toy_folder / "cosmoflow/configs/demo")]
