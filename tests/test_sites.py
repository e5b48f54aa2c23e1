# SPDX-License-Identifier: Apache-2.0
"""The job scripts of particular systems run the benchmark's own, with stand-ins for `module`, `srun` and Python."""

import os
import re
import shutil
import subprocess
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SITES = sorted(ROOT.glob("sites/*.slurm"))
CONTAINERS = ("cuda", "rocm")
NOTE = '#!/bin/bash\necho "$(basename "$0") $*" >> "$CALLS"\n'
SLURM = {
    "SLURM_JOB_ID": "41",
    "SLURM_JOB_NUM_NODES": "2",
    "SLURM_NTASKS": "16",
    "SLURM_CPUS_PER_TASK": "7",
    "SLURM_JOB_NODELIST": "n[1-2]",
    "USER": "acme",
    "CRAY_LD_LIBRARY_PATH": "/opt/cray/lib",
}


@pytest.fixture(params=SITES, ids=lambda path: path.stem)
def site(request) -> Path:
    return request.param


@pytest.fixture
def submit(tmp_path, site):
    """Run the site's script; (exit code, the commands that it called, what it printed as an error)."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name in ("module", "srun", "python3", "scontrol", "hostname"):
        (commands / name).write_text(NOTE)
        (commands / name).chmod(0o755)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "activate").touch()

    def run(**variables: str) -> tuple[int, list[str], str]:
        calls = tmp_path / "calls"
        calls.touch()
        path = f"{commands}:{os.environ['PATH']}"
        environment = {"PATH": path, "CALLS": str(calls), "VENV": str(tmp_path / "venv"), **SLURM, **variables}
        done = subprocess.run(["bash", site], cwd=ROOT, env=environment, capture_output=True, text=True)
        return done.returncode, calls.read_text().splitlines(), done.stderr

    return run


def test_a_site_loads_its_modules_and_then_runs_the_benchmark_s_campaign(submit):
    code, calls, printed = submit(BENCHMARK="cosmoflow", CONFIG="my/config", DATA="data", OUTPUT="out")
    assert code == 0, printed
    assert calls[0].startswith("module ")
    assert calls[-1].startswith("python3 -m harness.campaign my/config --benchmark cosmoflow ")
    assert calls[-1].endswith("--data data --output out")


def test_a_job_without_a_benchmark_says_so(submit):
    code, calls, printed = submit(DATA="data", OUTPUT="out")
    assert (code, calls) == (1, [])
    assert "Set BENCHMARK to the benchmark" in printed


def test_a_site_cites_a_source_for_its_settings(site):
    assert len(re.findall(r"https://\S+", site.read_text())) >= 2
    assert "not run there" in site.read_text()


def test_options_of_sbatch_come_before_the_first_command(site):
    """sbatch ignores the ones after it."""
    lines = site.read_text().splitlines()
    first_command = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
    assert not [line for line in lines[first_command:] if line.startswith("#SBATCH")]


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shellcheck_finds_nothing(site):
    done = subprocess.run(["shellcheck", site], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CONTAINERS)
def test_both_forms_of_a_container_have_the_same_base_and_install_the_same(name):
    dockerfile = (ROOT / "containers" / f"{name}.Dockerfile").read_text()
    definition = (ROOT / "containers" / f"{name}.def").read_text()
    assert re.search(r"(?m)^FROM (\S+)$", dockerfile)[1] == re.search(r"(?m)^From: (\S+)$", definition)[1]
    installed = [re.search(r"pip install [^&\n]*[^&\s]", text)[0] for text in (dockerfile, definition)]
    assert installed[0] == installed[1]
    (extra,) = re.findall(r"\.\[(\w+)\]", installed[0])
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert setup.has_option("options.extras_require", extra)
