# SPDX-License-Identifier: Apache-2.0
"""A cluster for all tests, and the demos' data and configurations that they submit."""

import sys
from pathlib import Path

import pytest

from tests.demos import COSMOFLOW, ROOT, Demo
from tests.slurm.cluster import Slurm, missing

OPTIONS = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--gpus-per-node=0", "--chdir", str(ROOT))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    if missing():
        pytest.skip(missing())
    with Slurm(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def data_of(tmp_path_factory):
    """The data set of a demo, made once."""
    made = {}

    def data_of(demo: Demo) -> Path:
        if demo.package not in made:
            made[demo.package] = demo.synthesize(tmp_path_factory.mktemp("data") / "data")
        return made[demo.package]

    return data_of


@pytest.fixture
def submit(slurm, data_of, tmp_path):
    """Submit a demo's batch script; the job. Its submission goes to out, what it prints to printed."""

    def submit(*options: str, demo: Demo = COSMOFLOW, system: dict | None = None, **variables: str) -> str:
        config = demo.configure(tmp_path / "config", **system or {})
        variables = {"DATA": str(data_of(demo)), "CONFIG": str(config), "NUM_RUNS": "1", **variables}
        variables |= {"OUTPUT": str(tmp_path / "out"), "PYTHON": sys.executable}
        variables |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
        printed = ("--output", str(tmp_path / "printed"))
        script = str(ROOT / demo.package / "launch/run.slurm")
        return slurm.sbatch(*OPTIONS, *printed, *options, script, **variables)

    return submit
