# SPDX-License-Identifier: Apache-2.0
"""A handful of synthetic storms, and configurations of a very small network."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest

from ewa_fasterrcnn.synthesize import World, plan, synthesize

HYPERPARAMETERS = """
rules = "hpc_ai500_demo"
division = "free"
[hyperparameters]
opt_base_learning_rate = 0.01
opt_learning_rate_schedule = "cosine"
opt_learning_rate_warmup_epochs = 1
base_width = 8
pyramid_channels = 16
head_features = 16
anchor_sizes = [8, 16, 24, 32, 48]
num_proposals = 40
num_sampled_regions = 16
{lines}
[batch]
global_batch_size = {batch}
"""
SYSTEM = """
[submission]
org = "Test"
platform = "test"
status = "research"
[system]
evaluation_batch_size = 2
{lines}
"""


@pytest.fixture(scope="session")
def storms(tmp_path_factory) -> Path:
    """A data set of 6 + 3 images of 64 x 96 pixels."""
    folder = tmp_path_factory.mktemp("storms")
    synthesize(folder, World(height=64, width=96), plan(6, 3, 2), num_processes=1)
    return folder


def write_configuration(folder: Path, *, batch: int = 2, hyperparameters: str = "", system: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = HYPERPARAMETERS.format(batch=batch, lines=hyperparameters)
    (folder / "hyperparameters.toml").write_text(text)
    (folder / "system.toml").write_text(SYSTEM.format(lines=system))
    return folder


@pytest.fixture
def configure(tmp_path):
    """Write a configuration folder; lines of TOML come on top of the small network's."""
    return partial(write_configuration, tmp_path / "config")


@pytest.fixture(scope="session")
def configure_once(tmp_path_factory):
    """The same, for fixtures that outlive a test."""
    return partial(write_configuration, tmp_path_factory.mktemp("session") / "config")


@pytest.fixture
def write_year(tmp_path):
    """Write a year file; `boxes` are rows for its images, padded with unused ones."""

    def write(name="climo_1979.h5", *, boxes=((),), shape=(16, 8, 12), folder=None) -> Path:
        path = (folder or tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = np.full((len(boxes), 15, 5), -1, dtype=np.float32)
        for image, own in enumerate(boxes):
            for number, row in enumerate(own):
                rows[image, number] = row
        generator = np.random.default_rng(len(name) + int(name[6:10]))
        with h5py.File(path, "w") as file:
            file["images"] = generator.normal(size=(len(boxes), *shape)).astype(np.float32)
            file["boxes"] = rows
        return path

    return write
