# SPDX-License-Identifier: Apache-2.0
"""A small data set of noise within known bounds, for the tests of files and loaders."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deepcam import sample_files
from deepcam.channel_statistics import Statistics

HEIGHT, WIDTH = 16, 32


def noise(seed: int) -> sample_files.Sample:
    generator = np.random.default_rng(seed)
    fields = generator.uniform(-50, 90, (HEIGHT, WIDTH, sample_files.NUM_CHANNELS)).astype(np.float32)
    fields[0, 0], fields[0, 1] = -50, 90  # every sample fills the range, so that none leaves stats.h5
    return fields, generator.integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8)


@pytest.fixture
def make_data(tmp_path: Path) -> Callable[..., Path]:
    """make_data(form="hdf5", train=5, validation=3) -> a folder with splits and stats.h5, without a manifest."""

    def make(form: str = "hdf5", *, train: int = 5, validation: int = 3, folder: str = "data") -> Path:
        root = tmp_path / folder
        seed = 0
        for split, count in (("train", train), ("validation", validation)):
            (root / split).mkdir(parents=True)
            for number in range(count):
                sample_files.write(
                    sample_files.FORMATS[form], root / split, f"2000-01-{number + 1:02}-00-0", *noise(seed)
                )
                seed += 1
        Statistics.joined(Statistics.of(noise(number)[0]) for number in range(train)).save(root / "stats.h5")
        return root

    return make
