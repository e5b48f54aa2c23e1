# SPDX-License-Identifier: Apache-2.0
"""Behavior that the train commands of all benchmarks share."""

import pytest

from tests import commands
from tests.demos import DEMOS


@pytest.mark.parametrize("package", DEMOS)
def test_missing_data_is_one_line_before_any_log(package, tmp_path):
    log, nowhere = tmp_path / "result_0.txt", tmp_path / "nowhere"
    folder = f"{package}/configs/demo"
    run = commands.run("-m", f"{package}.train", "--config", folder, "--data", nowhere, "--output", log)
    assert run.returncode == 2
    assert run.stderr.startswith(f"error: {nowhere}/train: no such folder; expected the train split")
    assert run.stderr.count("\n") == 1
    assert not log.exists()
