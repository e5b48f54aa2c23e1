# SPDX-License-Identifier: Apache-2.0
"""Commands of the documents that srun starts, under a real Slurm."""

import subprocess
import sys

import pytest

from tests.demos import COSMOFLOW, ROOT
from tests.documented import commands

pytestmark = pytest.mark.slow
STAGING = [command.text for command in commands() if command.text.startswith("srun ") and "staging" in command.text]


def test_the_documents_show_how_to_stage():
    assert STAGING


@pytest.mark.parametrize("line", STAGING)
def test_staging_as_documented(slurm, data_of, tmp_path, line):
    source, target = data_of(COSMOFLOW), tmp_path / "data"
    words = line.replace("PACKED", str(source)).replace("/nvme/data", str(target)).split()
    words[words.index("python")] = sys.executable
    environment = {**slurm.environment, "MASTER_ADDR": "127.0.0.1"}
    done = subprocess.run(["timeout", "120", *words], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{target}: staged on 1 nodes" in done.stdout
    assert (target / "manifest.json").is_file()
