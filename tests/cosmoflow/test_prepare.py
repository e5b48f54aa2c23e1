# SPDX-License-Identifier: Apache-2.0
"""Preparing a data set: crops, split, manifest, interruption, and the command."""

import subprocess
import sys
from collections import Counter

import h5py
import numpy as np
import pytest

from cosmoflow import conversion, prepare
from cosmoflow.conversion import Conversion, split_by_universe
from cosmoflow.data import open_split
from cosmoflow.sample_files import SampleError
from cosmoflow.synthesize import Simulation, synthesize
from harness.data import preparation
from harness.data.manifest import FILE_NAME, Manifest, ManifestError
from harness.data.preparation import PrepareError

NUMPY = Conversion(format="numpy", crop=8, validation_fraction=0.4)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    synthesize(folder, Simulation(size=16), {"universes": 5}, num_processes=1)
    return folder


@pytest.fixture
def copied(raw, tmp_path):
    """A copy of two universes, to be damaged."""
    for path in sorted(raw.glob("*.hdf5"))[:2]:
        (tmp_path / "raw" / "21688988").mkdir(parents=True, exist_ok=True)
        (tmp_path / "raw" / "21688988" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "raw"


def universe_of(stem: str) -> str:
    return stem.rsplit("/", 1)[-1].rsplit("_", 1)[0]


def test_crops_put_together_are_the_universe(raw, tmp_path):
    prepare.prepare(raw, tmp_path / "out", NUMPY, num_workers=1)
    dataset = open_split(tmp_path / "out", "train")
    name = universe_of(dataset.stems[0])
    with h5py.File(raw / f"{name}.hdf5") as file:
        full_DHWC = file["full"][()]
    crops = [dataset[index][0].numpy() for index, stem in enumerate(dataset.stems) if universe_of(stem) == name]
    whole_CDHW = np.block([[[crops[4 * x + 2 * y + z] for z in (0, 1)] for y in (0, 1)] for x in (0, 1)])
    np.testing.assert_array_equal(np.moveaxis(whole_CDHW, 0, -1), full_DHWC)


def test_samples_are_named_as_the_published_ones(copied, tmp_path):
    prepare.prepare(copied, tmp_path / "out", NUMPY, num_workers=1)
    names = sorted(path.name for path in (tmp_path / "out").rglob("*_data.npy"))
    assert names[0] == "21688988_univ_ics_2019-03_a30000000_000_data.npy"
    assert names[-1] == "21688988_univ_ics_2019-03_a30000001_007_data.npy"


def test_no_universe_is_in_both_splits(raw, tmp_path):
    prepare.prepare(raw, tmp_path / "out", NUMPY, num_workers=1)
    universes = {
        split: Counter(map(universe_of, open_split(tmp_path / "out", split).stems)) for split in prepare.SPLITS
    }
    assert not universes["train"].keys() & universes["validation"].keys()
    assert [len(universes[split]) for split in prepare.SPLITS] == [3, 2]
    assert set((universes["train"] + universes["validation"]).values()) == {8}


def test_the_split_depends_on_names_alone():
    names = [f"univ_{number}" for number in range(90)]
    splits = split_by_universe(names, 1 / 9)
    assert Counter(splits.values()) == {"train": 80, "validation": 10}
    assert split_by_universe(names[::-1], 1 / 9) == splits
    few = Counter(split_by_universe(names[:2], 1 / 9).values())
    assert few == {"train": 1, "validation": 1}


@pytest.mark.parametrize("name", ["hdf5", "numpy", "tfrecord"])
def test_workers_change_nothing_and_the_manifest_holds(raw, tmp_path, name):
    chosen = Conversion(format=name, crop=8)
    manifests = [
        prepare.prepare(raw, tmp_path / str(num_workers), chosen, num_workers=num_workers) for num_workers in (1, 2)
    ]
    assert manifests[0] == manifests[1] == prepare.verify(tmp_path / "1")
    assert manifests[0].synthetic
    assert manifests[0].arrays["volume"].shape == (4, 8, 8, 8)
    assert {split: entry.num_samples for split, entry in manifests[0].splits.items()} == {"train": 32, "validation": 8}
    assert sorted(path.name for path in (tmp_path / "1").iterdir()) == [FILE_NAME, "train", "validation"]


def test_an_interrupted_preparation_goes_on(raw, tmp_path):
    out, (last, *_) = tmp_path / "out", sorted(raw.glob("*.hdf5"))[::-1]
    whole = prepare.prepare(raw, tmp_path / "whole", NUMPY, num_workers=1)
    content = last.read_bytes()
    last.write_bytes(content[:5000])
    with pytest.raises(SampleError, match=str(last)):
        prepare.prepare(raw, out, NUMPY, num_workers=1)
    last.write_bytes(content)
    assert not (out / FILE_NAME).exists()
    done_ns = {path: path.stat().st_mtime_ns for path in out.rglob("*_a30000000_*.npy")}
    assert done_ns
    assert prepare.prepare(raw, out, NUMPY, num_workers=1) == whole
    assert {path: path.stat().st_mtime_ns for path in done_ns} == done_ns


def test_other_options_do_not_go_on_where_these_stopped(raw, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparation, "completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare.prepare(raw, tmp_path / "out", NUMPY, num_workers=1)
    with pytest.raises(PrepareError, match="out: found a preparation interrupted with other options"):
        prepare.prepare(raw, tmp_path / "out", Conversion(format="hdf5", crop=8), num_workers=1)


def test_a_folder_with_other_files_is_left_alone(raw, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(PrepareError, match="found other files, expected a new folder"):
        prepare.prepare(raw, tmp_path, NUMPY, num_workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_too_little_disk_space_is_known_before(raw, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 100_000}))
    with pytest.raises(PrepareError, match=r"found 0.0 GiB free, expected 0.0 GiB for 5 universes"):
        prepare.prepare(raw, tmp_path / "out", NUMPY, num_workers=1)
    assert not (tmp_path / "out").exists()


def test_lost_particles_are_noticed(copied, tmp_path):
    path = min(copied.rglob("*.hdf5"))
    with h5py.File(path, "r+") as file:
        file["full"][:8, :, :, 2] = 0
    with pytest.raises(SampleError, match=rf"{path}: full: found \[4096, 4096, \d+, 4096\] particles .*expected 4096"):
        prepare.prepare(copied, tmp_path / "out", NUMPY, num_workers=1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("unitPar"), r"expected a universe: missing \['unitPar'\]"),
        (lambda file: replaced(file, np.zeros((16, 16, 16, 4))), r"full: found float64 \(16, 16, 16, 4\), expected"),
        (lambda file: replaced(file, np.zeros((16, 16, 8, 4), np.int16)), r"full: found int16 \(16, 16, 8, 4\)"),
    ],
)
def test_a_file_that_is_no_universe_is_named(copied, tmp_path, change, message):
    path = min(copied.rglob("*.hdf5"))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(SampleError, match=f"{path}: .*{message}"):
        prepare.prepare(copied, tmp_path / "out", NUMPY, num_workers=1)


def replaced(file, full):
    del file["full"]
    file["full"] = full


def test_a_crop_that_does_not_tile_is_refused(raw, tmp_path):
    with pytest.raises(SampleError, match="full: found an edge of 16, expected a multiple of 5"):
        prepare.prepare(raw, tmp_path / "out", Conversion(format="numpy", crop=5), num_workers=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "zip"}, r"--format: found 'zip', expected one of \['hdf5', 'numpy', 'tfrecord'\]"),
        ({"format": "numpy", "compress": True}, "--gzip: found it with --format numpy"),
        ({"format": "numpy", "validation_fraction": 1.0}, "--validation-fraction: found 1.0"),
    ],
)
def test_impossible_options_are_named(options, message):
    with pytest.raises(PrepareError, match=message):
        Conversion(**options)


def test_verify_names_a_changed_and_an_unlisted_file(raw, tmp_path):
    prepare.prepare(raw, tmp_path, NUMPY, num_workers=1)
    extra = tmp_path / "train" / "extra.npy"
    extra.write_bytes(b"")
    with pytest.raises(ManifestError, match=f"{extra}: found 1 files that the manifest does not list"):
        prepare.verify(tmp_path)
    extra.unlink()
    changed = min((tmp_path / "train").iterdir())
    changed.write_bytes(changed.read_bytes()[::-1])
    with pytest.raises(ManifestError, match=f"{changed}: sha256: found"):
        prepare.verify(tmp_path)


def test_samples_prepared_elsewhere_are_described_with_the_index_for_dali(raw, tmp_path):
    listed = prepare.prepare(raw, tmp_path, Conversion(format="tfrecord", crop=8), num_workers=1)
    for path in [tmp_path / FILE_NAME, *tmp_path.rglob("*.idx")]:
        path.unlink()
    described = prepare.describe(tmp_path)
    assert described.splits == listed.splits
    assert (described.format, described.compression, described.arrays) == ("tfrecord", None, listed.arrays)
    assert prepare.verify(tmp_path) == described
    with pytest.raises(ManifestError, match="found a manifest; --verify checks"):
        prepare.describe(tmp_path)


def test_gzip_is_named_in_the_manifest_and_has_no_index(raw, tmp_path):
    compressed = Conversion(format="tfrecord", compress=True, crop=8)
    assert prepare.prepare(raw, tmp_path, compressed, num_workers=1).compression == "gzip"
    assert list(tmp_path.rglob("*.idx")) == []
    (tmp_path / FILE_NAME).unlink()
    assert prepare.describe(tmp_path).compression == "gzip"


def test_a_sample_is_never_seen_unfinished(raw, tmp_path, monkeypatch):
    def fails_half_way(stem, crop, _compress):
        (stem.with_name(stem.name + "_data.npy")).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(conversion.WRITERS, "numpy", fails_half_way)
    path = min(raw.glob("*.hdf5"))
    with pytest.raises(OSError, match="No space left"):
        conversion.convert(path, tmp_path / "sample", NUMPY, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []


def test_the_command_prepares_and_verifies(raw, tmp_path):
    options = ["--format", "tfrecord", "--gzip", "--crop", "16", "--workers", "1"]
    command = [sys.executable, "-m", "cosmoflow.prepare", raw, tmp_path / "out", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "synthetic tfrecord samples: 4 train, 1 validation" in done.stdout
    assert Manifest.load(tmp_path / "out").provenance["universes"] == 5
    assert prepare.main(["--verify", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out"], "prepare: nowhere: found no universes *.hdf5 there or below\n"),
        (["--verify", "nowhere"], "prepare: nowhere/manifest.json: no manifest;"),
        (["nowhere", "out", "--format", "numpy", "--gzip"], "prepare: --gzip: found it with --format numpy"),
    ],
)
def test_the_command_reports_a_fault_in_one_line(arguments, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert prepare.main(arguments) == 2
    assert capsys.readouterr().err.startswith(message)


def test_the_command_without_folders_shows_its_usage(capsys):
    with pytest.raises(SystemExit, match="2"):
        prepare.main([])
    assert "expected RAW and OUT" in capsys.readouterr().err
