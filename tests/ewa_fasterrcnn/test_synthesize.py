# SPDX-License-Identifier: Apache-2.0
"""Synthetic years: layout, reproducibility, the command."""

import h5py
import numpy as np
import pytest

from ewa_fasterrcnn import synthesize
from ewa_fasterrcnn.channel_statistics import Statistics
from ewa_fasterrcnn.synthesize import SynthesizeError, World, plan
from harness.data.manifest import Manifest


def test_years_hold_the_published_layout_and_are_marked_synthetic(storms):
    assert sorted(path.relative_to(storms).as_posix() for path in storms.rglob("*.h5")) == [
        "train/climo_1979.h5",
        "train/climo_1980.h5",
        "validation/climo_1981.h5",
    ]
    with h5py.File(storms / "train" / "climo_1979.h5") as file:
        assert (file["images"].shape, file["images"].dtype) == ((3, 16, 64, 96), np.float32)
        assert file["boxes"].shape == (3, 15, 5)
        assert file.attrs["synthetic"]
    listed = Manifest.load(storms)
    assert (listed.synthetic, listed.benchmark) == (True, "ewa_fasterrcnn")
    assert {name: split.num_samples for name, split in listed.splits.items()} == {
        "train": 6,
        "validation": 3,
        "statistics": 0,
    }


def test_statistics_are_those_of_the_training_years(storms):
    images = []
    for path in sorted((storms / "train").glob("*.h5")):
        with h5py.File(path) as file:
            images.append(file["images"][()].astype(np.float64))
    values = np.concatenate(images).transpose(1, 0, 2, 3).reshape(16, -1)
    channels = Statistics.load(storms / "statistics.json").channels
    assert [channel.mean for channel in channels] == pytest.approx(values.mean(1), rel=1e-5)
    assert [channel.deviation for channel in channels] == pytest.approx(values.std(1), rel=1e-4)


def test_the_seed_decides_whatever_the_number_of_processes(storms, tmp_path):
    for seed, same in ((1, True), (2, False)):
        folder = tmp_path / str(seed)
        synthesize.synthesize(folder, World(height=64, width=96, seed=seed), plan(6, 3, 2), num_processes=2)
        with h5py.File(folder / "train/climo_1980.h5") as one, h5py.File(storms / "train/climo_1980.h5") as other:
            assert np.array_equal(one["images"][()], other["images"][()]) is same


def test_training_images_are_shared_by_their_years_as_evenly_as_it_goes():
    years = plan(7, 4, 3)
    assert [(year.number, year.split, year.num_images) for year in years] == [
        (1979, "train", 3),
        (1980, "train", 2),
        (1981, "train", 2),
        (1982, "validation", 4),
    ]
    with pytest.raises(SynthesizeError, match="at least one image in each year"):
        plan(2, 1, 3)


def test_the_command_keeps_what_is_there_and_draws_a_preview(storms, tmp_path, capsys):
    options = ["--train", "6", "--validation", "3", "--height", "64", "--width", "96"]
    before = (storms / "manifest.json").stat().st_mtime_ns
    picture = tmp_path / "storms.png"
    assert synthesize.main([str(storms), *options, "--preview", str(picture)]) == 0
    assert (storms / "manifest.json").stat().st_mtime_ns == before
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "synthetic weather: 6 train images in 2 years" in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--train", "1"], ["--height", "8"], ["--seed", "-1"]])
def test_impossible_options_are_one_line(tmp_path, capsys, options):
    assert synthesize.main([str(tmp_path / "out"), *options]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith("synthesize: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
