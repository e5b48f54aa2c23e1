# SPDX-License-Identifier: Apache-2.0
"""One command trains any benchmark."""

import pytest

from harness import hpc_train
from tests import commands
from tests.demos import DEMOS


def test_all_benchmarks_are_offered():
    assert hpc_train.benchmarks() == sorted(DEMOS)


def test_the_help_of_a_benchmark_is_its_own(capsys):
    with pytest.raises(SystemExit):
        hpc_train.main(["deepcam", "--help"])
    printed = capsys.readouterr().out
    assert "python -m deepcam.train --config" in printed
    assert "--resume" in printed


def test_a_misspelled_benchmark_is_one_line(capsys):
    with pytest.raises(SystemExit):
        hpc_train.main(["cosmoflw"])
    assert "found cosmoflw; did you mean 'cosmoflow'?" in capsys.readouterr().err


def test_training_is_that_of_the_package(tmp_path):
    log, nowhere = tmp_path / "result_0.txt", tmp_path / "nowhere"
    options = ["--config", "cosmoflow/configs/demo", "--data", nowhere, "--output", log]
    run = commands.run("-m", "harness.hpc_train", "cosmoflow", *options)
    assert (run.returncode, run.stderr.count("\n")) == (2, 1)
    assert run.stderr.startswith(f"error: {nowhere}/train: no such folder")
