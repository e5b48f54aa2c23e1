# SPDX-License-Identifier: Apache-2.0
"""The request of a train command: the files that its options name, and the run that they describe."""

from pathlib import Path

import pytest

from compliance.files.errors import UserError
from cosmoflow.config import Hyperparameters, System
from harness.distributed.world import World
from harness.train_command import TrainCommand

DEMO = "cosmoflow/configs/demo"


def parse(*arguments: str) -> TrainCommand:
    return TrainCommand.parse(["--config", DEMO, *arguments], "trains", Hyperparameters, System)


def test_the_data_folder_is_that_of_the_system_unless_the_command_names_one():
    assert parse().data == parse().settings.system.data_folder
    assert parse("--data", "elsewhere").data == Path("elsewhere")


def test_a_given_file_replaces_the_one_in_the_folder(tmp_path):
    system = tmp_path / "mine.toml"
    system.write_text(Path(DEMO, "system.toml").read_text().replace("max_epochs = 12", "max_epochs = 3"))
    request = parse("--system", str(system))
    assert (request.settings.system.max_epochs, request.settings.system_path) == (3, system)
    with pytest.raises(UserError, match=str(system)):
        parse("--hyperparameters", str(system))


def test_the_run_has_the_requested_seed_and_output(tmp_path):
    run = parse("--seed", "7", "--output", str(tmp_path / "log.txt")).run(World())
    assert (run.seed, run.output) == (7, tmp_path / "log.txt")
    with parse("--output", str(tmp_path / "log.txt"), "--resume").run(World()) as drawn:  # a new run
        assert drawn.seed > 0
