# SPDX-License-Identifier: Apache-2.0
"""Preparation keeps every value, splits as the reference does, describes what it wrote, and goes on where it was."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from deepcam import prepare, sample_files
from deepcam.data import open_split
from deepcam.prepare import split_by_name
from deepcam.sample_files import FORMATS
from harness.data.manifest import Manifest


def run(*arguments: object) -> int:
    return prepare.main([*map(str, arguments), "--workers", "1"])


@pytest.fixture
def raw(make_data, tmp_path) -> Path:
    """Twenty samples in one folder, as downloaded."""
    folder = make_data(train=20, folder="made") / "train"
    return folder.rename(tmp_path / "raw")


@pytest.mark.parametrize("form", FORMATS)
def test_conversion_keeps_every_value(raw, tmp_path, form):
    assert run(raw, tmp_path / "out", "--format", form) == 0
    training = open_split(tmp_path / "out", "train")
    assert training.sample_format.name == form
    for index, identifier in enumerate(training.identifiers):
        original = sample_files.read(FORMATS["hdf5"], raw, identifier)
        assert all(map(np.array_equal, training[index], original))


def test_the_split_is_80_10_10_and_leaves_none_out(raw, tmp_path, capsys):
    assert run(raw, tmp_path / "out") == 0
    assert "16 train, 2 validation, 2 test" in capsys.readouterr().out
    listed = Manifest.load(tmp_path / "out")
    labels = [Path(file.path).name for split in listed.splits.values() for file in split.files if "label" in file.path]
    assert len(labels) == len(set(labels)) == 20


def test_the_split_of_the_real_number_of_files_has_the_real_sizes():
    paths = [Path(f"raw/{number:06}") for number in range(151_583)]
    splits = split_by_name(FORMATS["hdf5"], paths)
    assert [len(splits[split]) for split in ("train", "validation", "test")] == [121_266, 15_158, 15_159]


def test_the_split_is_the_shuffle_of_the_reference():
    """numpy's legacy shuffle of the sorted file names, seed 12345, computed here the slow way."""
    names = [f"data-{number:02}.h5" for number in range(20)]
    generator = np.random.RandomState(12345)
    for last in reversed(range(1, len(names))):
        other = generator.randint(0, last + 1)
        names[last], names[other] = names[other], names[last]
    found = split_by_name(FORMATS["hdf5"], [Path(f"raw/{number:02}") for number in range(20)])
    assert {f"data-{path.name}.h5" for path in found["validation"]} == set(names[16:18])


def test_a_split_that_is_there_is_kept(make_data, tmp_path):
    folder = make_data(train=5, validation=3)
    assert run(folder, tmp_path / "out") == 0
    assert [len(open_split(tmp_path / "out", split)) for split in ("train", "validation")] == [5, 3]


def test_statistics_are_taken_over_or_computed_on_the_training_samples(make_data, tmp_path):
    folder = make_data()
    assert run(folder, tmp_path / "out") == 0
    assert (tmp_path / "out" / "stats.h5").read_bytes() == (folder / "stats.h5").read_bytes()
    (folder / "stats.h5").unlink()
    assert run(folder, tmp_path / "computed") == 0
    found = open_split(tmp_path / "computed", "train").statistics
    expected = open_split(tmp_path / "out", "train").statistics
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-6)
    assert found.count == 5


def test_an_interrupted_run_goes_on(raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setattr(prepare, "finish", _interrupted)
        assert run(raw, out) == 130
    kept, lost = sorted((out / "train").glob("data-*"))[:2]
    before = kept.stat().st_mtime_ns
    lost.unlink()
    assert run(raw, out) == 0
    assert kept.stat().st_mtime_ns == before
    assert lost.exists()
    assert run("--verify", out) == 0


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def test_verification_finds_a_changed_byte(raw, tmp_path, capsys):
    assert run(raw, tmp_path / "out") == 0
    path = sorted((tmp_path / "out" / "train").glob("data-*"))[0]
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert run("--verify", tmp_path / "out") == 2
    assert f"{path}: sha256: found" in capsys.readouterr().err


def test_samples_made_elsewhere_are_described(make_data):
    folder = make_data("fused")
    (folder / "stats.h5").unlink()
    assert run("--describe", folder) == 0
    assert Manifest.load(folder).splits["train"].num_samples == 5
    assert len(open_split(folder, "validation")) == 3


def test_a_broken_sample_stops_the_preparation_by_name(raw, tmp_path, capsys):
    with h5py.File(raw / "data-2000-01-03-00-0.h5", "a") as file:
        file["climate/data"][2, 3, 0] = np.nan
    assert run(raw, tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert "data-2000-01-03-00-0.h5: TMQ: found nan at row 2, column 3" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_folders_that_cannot_be_prepared_are_named(make_data, tmp_path, capsys):
    folder = make_data("numpy")
    for arguments, message in [
        ((tmp_path / "nothing", tmp_path / "out"), "nothing: no such folder"),
        ((tmp_path, tmp_path / "out"), "found no samples"),
        ((folder, folder), "is RAW itself"),
    ]:
        assert run(*arguments) == 2
        assert message in capsys.readouterr().err
    assert run(folder, tmp_path / "out") == 0
    assert run(folder, tmp_path / "out", "--format", "fused") == 2
    assert "found a finished data set; --verify checks it, or choose another folder" in capsys.readouterr().err
