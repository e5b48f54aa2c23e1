# SPDX-License-Identifier: Apache-2.0
"""stats.h5: the real file's layout, the arithmetic, and the refusal of another data set's."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from deepcam.channel_statistics import Normalise, Statistics, StatisticsError

REAL = Path(__file__).parents[3] / "shared" / "data" / "deepcam_stats.h5"
GENERATOR = np.random.default_rng(0)
SAMPLES = [(GENERATOR.normal(size=(4, 6, 16)) * 3 + 100).astype(np.float32) for _ in range(3)]


def test_the_moments_are_those_of_all_pixels():
    statistics = Statistics.joined(map(Statistics.of, SAMPLES))
    together = np.stack(SAMPLES).reshape(-1, 16).astype(np.float64)
    assert statistics.count == 3
    np.testing.assert_allclose(statistics.mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(statistics.sqmean, (together**2).mean(0), rtol=1e-6)
    np.testing.assert_array_equal(statistics.minval, together.min(0).astype(np.float32))
    np.testing.assert_array_equal(statistics.maxval, together.max(0).astype(np.float32))


def test_a_saved_file_has_the_real_layout_and_comes_back(tmp_path):
    statistics = Statistics.joined(map(Statistics.of, SAMPLES))
    statistics.save(tmp_path / "stats.h5")
    with h5py.File(tmp_path / "stats.h5") as file:
        assert sorted(file["climate"]) == ["count", "maxval", "mean", "minval", "sqmean"]
        assert all(file["climate"][name].dtype == np.float32 for name in ("mean", "sqmean", "minval", "maxval"))
    loaded = Statistics.load(tmp_path / "stats.h5")
    assert loaded.count == 3
    np.testing.assert_array_equal(loaded.maxval, statistics.maxval)


@pytest.mark.skipif(not REAL.exists(), reason="the public stats.h5 of the real data set is not beside this checkout")
def test_the_real_file_is_read():
    statistics = Statistics.load(REAL)
    assert statistics.count == 121_266
    assert statistics.maxval[0] == pytest.approx(108.997, abs=1e-3)  # TMQ
    assert (statistics.minval < statistics.mean).all()
    assert (statistics.mean < statistics.maxval).all()


def test_normalisation_maps_the_range_to_zero_and_one():
    statistics = Statistics.joined(map(Statistics.of, SAMPLES))
    normalised = Normalise(statistics)(torch.from_numpy(np.stack(SAMPLES)))
    assert normalised.shape == (3, 16, 4, 6)
    assert normalised.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(normalised.amin((0, 2, 3)), torch.zeros(16))
    torch.testing.assert_close(normalised.amax((0, 2, 3)), torch.ones(16))
    low, high = statistics.minval[3], statistics.maxval[3]
    assert float(normalised[1, 3, 2, 5]) == pytest.approx((SAMPLES[1][2, 5, 3] - low) / (high - low), rel=1e-5)


def test_a_sample_outside_the_range_belongs_to_another_data_set():
    statistics = Statistics.joined(map(Statistics.of, SAMPLES))
    sample = Path("train/data-x.h5")
    statistics.check_covers(SAMPLES[0], sample=sample, tolerance=0.0)
    shifted = SAMPLES[0].copy()
    shifted[..., 9] += 1000
    with pytest.raises(StatisticsError, match=r"train/data-x\.h5: T500: found values from 1\d\d\d.*another data set"):
        statistics.check_covers(shifted, sample=sample, tolerance=0.5)


def damaged(tmp_path: Path, change) -> Path:
    path = tmp_path / "stats.h5"
    Statistics.joined(map(Statistics.of, SAMPLES)).save(path)
    with h5py.File(path, "a") as file:
        change(file["climate"])
    return path


def remove_maxval(group: h5py.Group) -> None:
    del group["maxval"]


def shorten_mean(group: h5py.Group) -> None:
    del group["mean"]
    group["mean"] = np.zeros(15, dtype=np.float32)


def flatten_range(group: h5py.Group) -> None:
    group["maxval"][4] = group["minval"][4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_maxval, "maxval.*expected climate/count, /mean"),
        (shorten_mean, r"climate/mean: found shape \(15,\), expected \(16,\)"),
        (flatten_range, "VBOT: found minval .* in rising order"),
    ],
)
def test_a_damaged_file_is_named_with_its_fault(tmp_path, change, message):
    path = damaged(tmp_path, change)
    with pytest.raises(StatisticsError, match=message) as error:
        Statistics.load(path)
    assert str(error.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(StatisticsError, match=r"stats\.h5: no such file"):
        Statistics.load(tmp_path / "stats.h5")
