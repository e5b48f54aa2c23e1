# SPDX-License-Identifier: Apache-2.0
"""The wheel works outside the checkout: it carries the rules, the pages and the templates."""

import json
import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from zipfile import ZipFile

import pytest

from compliance.command_line import LIBRARIES
from tests.demos import DEMOS

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """Folder with the unpacked wheel, as pip would lay it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):  # a copy: building in the checkout would leave build/ behind
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder, source]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    ZipFile(wheel).extractall(folder / "installed")
    return folder / "installed"


def run(installed: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(installed), "PYTHONSAFEPATH": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=installed.parent, env=environment, capture_output=True, text=True, check=False)


def test_the_wheel_knows_its_rule_sets(installed):
    result = run(installed, "compliance", "rules", "mlperf_hpc_demo", "--resolved")
    assert result.returncode == 0, result.stderr
    assert "mlperf_hpc_3.0.toml" in result.stdout


def test_the_wheel_carries_every_data_file_that_the_checkout_has(installed):
    for package in ("rules", "compliance", "cosmoflow"):
        for file in (ROOT / package).rglob("*"):
            if file.is_file() and file.suffix in {".toml", ".html", ".css", ".js", ".sh", ".slurm"}:
                assert (installed / file.relative_to(ROOT)).is_file(), f"{file.relative_to(ROOT)} is not in the wheel"


def test_the_wheel_trains_by_its_own_code(installed):
    result = run(installed, "cosmoflow.train", "--help")
    assert result.returncode == 0, result.stderr
    assert "--hyperparameters" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize("demo", DEMOS.values(), ids=list(DEMOS))
def test_the_wheel_runs_a_demo_outside_the_checkout(installed, demo, tmp_path):
    """Synthesize, campaign, check, score, report: all files beside the unpacked wheel, none from the checkout."""
    config, data, submission = (str(demo.configure(tmp_path / "config")), str(tmp_path / "data"), str(tmp_path / "out"))
    campaign = ["--benchmark", demo.package, "--runs", "1", "--data", data, "--output", submission]
    assert succeeds(run(installed, f"{demo.package}.synthesize", data, *demo.sizes.split()))
    assert succeeds(run(installed, "harness.campaign", config, *campaign))
    check = run(installed, "compliance", "check", submission, "--format", "json")
    found = {finding["rule"] for finding in json.loads(check.stdout)["findings"] if finding["severity"] == "error"}
    assert found <= {"R101", "H101", "Q503"}, check.stdout  # one run, on few samples
    assert succeeds(run(installed, "compliance", "score", submission))
    assert succeeds(run(installed, "compliance", "report", submission, "--output", str(tmp_path / "report.html")))
    assert (tmp_path / "report.html").stat().st_size > 10_000


def succeeds(done: subprocess.CompletedProcess) -> bool:
    assert done.returncode == 0, f"{done.args}: {done.stdout}{done.stderr}"
    return "Traceback" not in done.stderr


def test_the_wheel_holds_no_tests_and_no_measurements(installed):
    assert not (installed / "tests").exists()
    assert not (installed / "perf").exists()


IMPORTED_AS = {"pillow": "PIL", "scikit-learn": "sklearn"}


@pytest.mark.parametrize("extra", LIBRARIES)
def test_a_command_asks_for_the_libraries_that_its_extra_installs(extra):
    setup = ConfigParser(comment_prefixes="#")
    setup.read(ROOT / "setup.cfg")
    lines = setup["options.extras_require"][extra].split()
    names = [re.split(r"[<>=]", line)[0] for line in lines if not line.startswith("hpc-ai-bench")]
    assert {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names} == set(LIBRARIES[extra])
