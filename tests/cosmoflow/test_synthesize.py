# SPDX-License-Identifier: Apache-2.0
"""Simulated universes: their files, their reproducibility, the command."""

import subprocess
import sys

import h5py
import numpy as np
import pytest

from compliance.files.errors import UserError
from cosmoflow import synthesize
from cosmoflow.synthesize import HIGHEST, LOWEST, Simulation, SynthesizeError, simulate
from harness.data.manifest import Manifest

SMALL = Simulation(size=8, seed=3)


def contents(folder) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.hdf5")}


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic")
    synthesize.synthesize(folder, SMALL, {"train": 3, "validation": 2}, num_processes=1)
    return folder


def test_a_file_has_the_layout_of_the_original_data(data_set):
    path = min((data_set / "train").iterdir())
    assert path.name == "univ_ics_2019-03_a10000000.hdf5"
    with h5py.File(path) as file:
        assert set(file) == {"full", "namePar", "physPar", "unitPar", "redshifts"}
        assert (file["full"].shape, file["full"].dtype) == ((8, 8, 8, 4), np.int16)
        assert file["namePar"][()].tolist() == [b"Omega_m", b"sigma_8", b"N_spec", b"H_0"]
        assert file["redshifts"][()].tolist() == [0.0, 0.5, 1.5, 3.0]
        assert file["unitPar"].dtype == np.float32
        assert file.attrs["synthetic"]


def test_every_redshift_holds_one_particle_a_voxel(data_set):
    for path in data_set.rglob("*.hdf5"):
        with h5py.File(path) as file:
            assert file["full"][()].sum(axis=(0, 1, 2)).tolist() == [8**3] * 4


def test_targets_are_the_parameters_mapped_to_one_range():
    low = np.array([LOWEST.omega_m, LOWEST.sigma_8, LOWEST.n_s, LOWEST.h_0])
    high = np.array([HIGHEST.omega_m, HIGHEST.sigma_8, HIGHEST.n_s, HIGHEST.h_0])
    for number in range(20):
        universe = simulate(SMALL, "train", number)
        assert (np.abs(universe.unit_parameters) <= 1).all()
        back = 2 * (universe.physical_parameters - low) / (high - low) - 1
        np.testing.assert_allclose(back, universe.unit_parameters, atol=1e-12)


def test_the_number_of_processes_changes_nothing(data_set, tmp_path):
    synthesize.synthesize(tmp_path, SMALL, {"train": 3, "validation": 2}, num_processes=2)
    assert contents(tmp_path) == contents(data_set)
    assert Manifest.load(tmp_path) == Manifest.load(data_set)


def test_more_universes_leave_the_first_ones_alone(data_set, tmp_path):
    synthesize.synthesize(tmp_path, SMALL, {"train": 4, "validation": 2}, num_processes=1)
    assert contents(data_set).items() < contents(tmp_path).items()


def test_universes_differ_from_each_other_and_between_seeds():
    universes = [simulate(SMALL, "train", 0), simulate(SMALL, "train", 1), simulate(SMALL, "validation", 0)]
    universes.append(simulate(Simulation(size=8, seed=4), "train", 0))
    assert len({universe.full.tobytes() for universe in universes}) == 4


def test_the_manifest_is_marked_synthetic_and_matches_the_files(data_set):
    listed = Manifest.load(data_set)
    listed.verify(data_set, checksums=True)
    assert listed.synthetic
    assert {name: split.num_samples for name, split in listed.splits.items()} == {"train": 3, "validation": 2}
    assert listed.provenance["seed"] == 3
    assert listed.provenance["sigma_8"] == "0.4 to 1.2"


def test_a_finished_data_set_is_kept_and_no_other_is_written_over_it(tmp_path):
    counts = {"train": 1, "validation": 1}
    synthesize.synthesize(tmp_path, SMALL, counts, num_processes=1)
    path = min((tmp_path / "train").iterdir())
    written_ns = path.stat().st_mtime_ns
    synthesize.synthesize(tmp_path, SMALL, counts, num_processes=1)
    assert path.stat().st_mtime_ns == written_ns
    with pytest.raises(UserError, match="exists already and is not overwritten; name another folder"):
        synthesize.synthesize(tmp_path, Simulation(size=8, seed=5), counts, num_processes=1)
    assert path.stat().st_mtime_ns == written_ns


def test_a_data_set_with_a_truncated_file_is_not_kept_as_finished(tmp_path):
    counts = {"train": 1, "validation": 1}
    synthesize.synthesize(tmp_path, SMALL, counts, num_processes=1)
    path = min((tmp_path / "train").iterdir())
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="exists already and is not overwritten"):
        synthesize.synthesize(tmp_path, SMALL, counts, num_processes=1)


@pytest.mark.parametrize("options", [{"size": 1}, {"cell": 0.0}, {"seed": -1}])
def test_impossible_options_are_named(options):
    with pytest.raises(SynthesizeError, match=f"{next(iter(options))} {next(iter(options.values()))}"):
        Simulation(**options)


def test_the_command_writes_a_data_set_and_a_picture(tmp_path):
    picture = tmp_path / "preview.png"
    command = [
        sys.executable,
        "-m",
        "cosmoflow.synthesize",
        str(tmp_path / "data"),
        "--train",
        "2",
        "--validation",
        "1",
    ]
    done = subprocess.run([*command, "--size", "8", "--preview", str(picture)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "synthetic universes of 8^3 voxels: 2 train, 1 validation" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_command_reports_a_fault_in_one_line(tmp_path, capsys):
    assert synthesize.main([str(tmp_path / "data"), "--seed", "-1"]) == 2
    assert capsys.readouterr().err.startswith("synthesize: simulation: found ")
    assert not (tmp_path / "data").exists()
