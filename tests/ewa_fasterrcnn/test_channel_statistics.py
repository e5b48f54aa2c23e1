# SPDX-License-Identifier: Apache-2.0
"""Channel statistics: joined parts, the file, the normalisation."""

import numpy as np
import pytest
import torch

from ewa_fasterrcnn.channel_statistics import Moments, Normalise, Statistics, StatisticsError, join
from ewa_fasterrcnn.year_files import CHANNELS


@pytest.fixture
def images() -> np.ndarray:
    generator = np.random.default_rng(0)
    scale = 10.0 ** np.arange(-8, 8)[:, None, None]
    return ((generator.normal(size=(5, 16, 6, 7)) + generator.normal(size=(5, 16, 1, 1))) * scale + 3e4 * scale).astype(
        np.float32
    )


def test_joined_moments_are_those_of_all_images(images):
    statistics = join(Moments.of(image) for image in images).statistics()
    values = images.astype(np.float64).transpose(1, 0, 2, 3).reshape(16, -1)
    assert statistics.num_images == 5
    assert [channel.name for channel in statistics.channels] == list(CHANNELS)
    for name, expected in [("mean", values.mean(1)), ("deviation", values.std(1)), ("lowest", values.min(1))]:
        found = [getattr(channel, name) for channel in statistics.channels]
        assert found == pytest.approx(expected, rel=1e-6)


def test_normalised_channels_have_mean_0_and_deviation_1(images):
    normalise = Normalise(join(Moments.of(image) for image in images).statistics())
    values = normalise(torch.from_numpy(images)).double()
    assert values.mean(dim=(0, 2, 3)).tolist() == pytest.approx([0] * 16, abs=0.02)
    assert values.std(dim=(0, 2, 3), correction=0).tolist() == pytest.approx([1] * 16, abs=0.02)


def test_the_file_keeps_every_digit(images, tmp_path):
    statistics = Moments.of(images[0]).statistics()
    statistics.save(tmp_path / "statistics.json")
    assert Statistics.load(tmp_path / "statistics.json") == statistics


def test_unusable_files_are_named(images, tmp_path):
    path = tmp_path / "statistics.json"
    with pytest.raises(StatisticsError, match="cannot be read"):
        Statistics.load(path)
    path.write_text("{}")
    with pytest.raises(StatisticsError, match="not statistics of channels"):
        Statistics.load(path)
    Moments.of(np.zeros((16, 4, 4), dtype=np.float32)).statistics().save(path)
    with pytest.raises(StatisticsError, match="PRECT: found deviation 0"):
        Statistics.load(path)
    path.write_text(path.read_text().replace("PSL", "P"))
    with pytest.raises(StatisticsError, match="channels: found"):
        Statistics.load(path)
