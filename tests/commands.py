# SPDX-License-Identifier: Apache-2.0
"""Runs commands of the repository in processes of their own, as a user does.

run = commands.run("-m", "deepcam.train", "--config", folder, "--data", data, "--output", log, num_ranks=2)
assert commands.errors(log, "mlperf_hpc_demo") == []
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment() -> dict[str, str]:
    """The environment of a rank; one thread, because tests share few cores."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def run(*program: object, num_ranks: int = 1) -> subprocess.CompletedProcess:
    """Run Python with these arguments, under torchrun if there are several ranks."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_ranks)]
    command = [sys.executable, *(launcher if num_ranks > 1 else ()), *map(str, program)]
    return subprocess.run(command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300)


def errors(log: Path, rules: str) -> list[str]:
    """Messages of the errors that the checker finds in a log."""
    check = run("-m", "compliance", "check", log, "--rules", rules, "--format", "json")
    findings = json.loads(check.stdout)["findings"]
    return [finding["message"] for finding in findings if finding["severity"] == "error"]
