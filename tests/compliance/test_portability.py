# SPDX-License-Identifier: Apache-2.0
"""The checker does not need Linux: it gives the same result without what only Linux, or only POSIX, has."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABSENT = """
import os, signal
for name in ("fork", "memfd_create", "sched_getaffinity", "O_NOFOLLOW", "O_NONBLOCK", "geteuid"):
    delattr(os, name)
for name in ("SIGCHLD", "SIGPIPE"):
    delattr(signal, name)
"""


@pytest.mark.parametrize("verb", ["check", "score"])
def test_the_result_is_the_same_on_a_system_without_fork(tmp_path, valid_round, verb):
    (tmp_path / "sitecustomize.py").write_text(ABSENT)
    command = [sys.executable, "-m", "compliance", verb, str(valid_round), "--format", "json"]
    results = []
    for path in (str(ROOT), f"{tmp_path}{os.pathsep}{ROOT}"):
        environment = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
