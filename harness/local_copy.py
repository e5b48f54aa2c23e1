# SPDX-License-Identifier: Apache-2.0
"""Copies the data of a run to where it is read fast: the node's own storage, and memory.

with run.staging():
    local_copy.stage_and_cache(run, train_set, validation_set)
"""

from pathlib import Path
from typing import Protocol

from harness.data.checks import DataError
from harness.distributed.node_group import NodeGroup
from harness.run import Run
from harness.staging import stage


class Dataset(Protocol):
    """A split that can be read from another folder."""

    folder: Path
    """Folder of the data set."""

    def move(self, folder: Path) -> None:
        """Read from a copy of the data set in `folder` from now on."""
        ...

    def fill_cache(self, node: NodeGroup) -> None:
        """Read every sample into memory that the ranks of the node share: a collective call of these ranks."""
        ...


def stage_and_cache(run: Run, *splits: Dataset) -> None:
    """Stage and cache the splits of one data set, as `staging_folder` and `cache` of the system ask."""
    system = run.config.system
    if system.staging_folder:
        folder = stage.stage(splits[0].folder, system.staging_folder, world=run.world, form=system.staging_form)
        for split in splits:
            split.move(folder)
    if system.cache:
        with NodeGroup(run.world, error=DataError) as node:
            for split in splits:
                split.fill_cache(node)
