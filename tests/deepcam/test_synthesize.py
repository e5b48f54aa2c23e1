# SPDX-License-Identifier: Apache-2.0
"""Synthetic climates: the right form, the same from the same seed, storms labelled and decoys not."""

import numpy as np
import pytest

from deepcam import data, synthesize
from deepcam.sample_files import CHANNELS
from deepcam.synthesize import World, make_sample
from deepcam.synthetic import climate, labelling, storms
from deepcam.synthetic.climate import Grid
from deepcam.synthetic.storms import Filament, Vortex
from harness.data.manifest import Manifest

GRID = Grid(96, 144)


@pytest.fixture
def calm() -> climate.Fields:
    """Weather without storms, moist enough in the middle latitudes for a river."""
    return climate.background(GRID, np.random.default_rng(3), climate.elevation_km(GRID, 1))


def vortex(**changes) -> Vortex:
    cyclone = {"latitude": 18.0, "longitude": 200.0, "radius_km": 300.0, "depth_pa": 4500.0, "warmth_k": 6.0}
    return Vortex(**{**cyclone, "moisture": 70.0, **changes})


def filament(length_degrees: float = 34.0, **changes) -> Filament:
    place = np.linspace(0, 1, 64)
    line = {"latitudes": 28 + 0.35 * length_degrees * place, "longitudes": 350 + length_degrees * place}
    return Filament(**{**line, "radius_km": 260.0, "moisture": 28.0, "wind": 20.0, **changes})


def counts(fields: climate.Fields) -> tuple[int, int]:
    found = labelling.labels(GRID, fields)
    return int((found == labelling.CYCLONE).sum()), int((found == labelling.RIVER).sum())


def test_calm_weather_is_background(calm):
    assert counts(calm) == (0, 0)


@pytest.mark.parametrize("latitude", [18.0, -18.0])
def test_a_cyclone_is_labelled_around_its_centre(calm, latitude):
    storms.add_vortex(GRID, calm, vortex(latitude=latitude))
    mask = labelling.labels(GRID, calm) == labelling.CYCLONE
    rows, columns = np.nonzero(mask)
    assert 20 < mask.sum() < 120
    assert GRID.latitude[rows, 0].mean() == pytest.approx(latitude, abs=2)
    assert GRID.longitude[0, columns].mean() == pytest.approx(200, abs=3)


@pytest.mark.parametrize(
    "change", [{"warmth_k": -3.0}, {"depth_pa": 600.0}, {"latitude": 55.0}], ids=["cold core", "shallow", "polar"]
)
def test_other_vortices_are_background(calm, change):
    storms.add_vortex(GRID, calm, vortex(**change))
    assert counts(calm)[0] == 0


@pytest.mark.parametrize("hemisphere", [1, -1])
def test_cyclones_turn_with_the_hemisphere(hemisphere):
    calm = {name: np.zeros((96, 144)) for name in CHANNELS} | {
        "PSL": np.full((96, 144), 1e5),
        "PS": np.full((96, 144), 1e5),
    }
    storms.add_vortex(GRID, calm, vortex(latitude=18.0 * hemisphere))
    east, north = GRID.offset_km(18.0 * hemisphere, 200.0)
    circulation = (east * calm["V850"] - north * calm["U850"]).sum()
    assert np.sign(circulation) == hemisphere


def test_a_river_is_labelled_across_the_date_line(calm):
    storms.add_filament(GRID, calm, filament())
    mask = labelling.labels(GRID, calm) == labelling.RIVER
    columns = np.nonzero(mask)[1]
    assert mask.sum() > 20
    assert columns.min() < 10
    assert columns.max() > 138


@pytest.mark.parametrize(
    "change", [{"moisture": 0.0}, {"length_degrees": 5.0}, {"moisture": 3.0}], ids=["dry jet", "short blob", "thin"]
)
def test_other_filaments_are_background(calm, change):
    storms.add_filament(GRID, calm, filament(**change))
    assert counts(calm)[1] == 0


def test_noise_has_the_spectrum_it_promises():
    grid = Grid(256, 512)
    fields = [climate.noise(grid, np.random.default_rng(seed), largest_wave=2.0) for seed in range(8)]
    power = np.mean([np.abs(np.fft.rfft(field, axis=1)) ** 2 for field in fields], axis=(0, 1))
    waves = np.arange(10, 60)
    slope = np.polyfit(np.log(waves), np.log(power[waves]), 1)[0]
    assert slope == pytest.approx(-3, abs=0.3)
    assert all(field.std() == pytest.approx(1) for field in fields)


def test_samples_have_climate_like_ranges():
    fields, labels = zip(*(make_sample(World(), "train", number) for number in range(24)), strict=True)
    columns = dict(zip(CHANNELS, np.moveaxis(np.stack(fields), -1, 0), strict=True))
    assert columns["TMQ"].min() > 0
    assert 8 < columns["TMQ"].mean() < 25
    assert columns["TMQ"].max() < 130
    assert columns["PSL"].min() > 85_000
    assert columns["PSL"].max() < 112_000
    assert columns["PS"].min() > 45_000
    assert np.abs(columns["U850"]).max() < 100
    assert columns["PRECT"].min() >= 0
    shares = np.bincount(np.stack(labels).ravel(), minlength=3) / np.stack(labels).size
    assert 0.97 < shares[0] < 0.995
    assert 0.001 < shares[1] < 0.01
    assert 0.004 < shares[2] < 0.02


def test_the_same_seed_gives_the_same_sample_and_another_another():
    first, again = make_sample(World(), "train", 5), make_sample(World(), "train", 5)
    assert all(map(np.array_equal, first, again))
    for other in (make_sample(World(seed=2), "train", 5), make_sample(World(), "validation", 5)):
        assert not np.array_equal(first[0], other[0])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made") / "data"
    options = ["--train", "3", "--validation", "2", "--height", "48", "--width", "80", "--workers", "2"]
    code = synthesize.main([str(folder), *options, "--preview", str(folder.with_name("preview.png"))])
    assert code == 0
    return folder, options


def test_a_made_data_set_opens_as_one_for_training(made):
    folder, _ = made
    training, validation = (data.open_split(folder, split) for split in ("train", "validation"))
    assert (len(training), len(validation)) == (3, 2)
    assert training.sample_shape == (48, 80, 16)
    assert training.statistics.count == 3
    assert training.manifest.synthetic
    assert Manifest.load(folder).provenance["share_background"] > 0.9


def test_the_preview_is_a_picture(made):
    assert made[0].with_name("preview.png").read_bytes().startswith(b"\x89PNG")


def test_a_finished_data_set_is_kept(made, capsys):
    folder, options = made
    path = next((folder / "train").iterdir())
    before = path.stat().st_mtime_ns
    assert synthesize.main([str(folder), *options]) == 0
    assert path.stat().st_mtime_ns == before
    assert "3 train, 2 validation" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--height", "100"], "100 x 96 pixels: both must be multiples of 16"),
        (["--height", "16"], "expected at least 48 x 48"),
    ],
)
def test_options_that_make_no_sample_are_refused_in_one_line(tmp_path, capsys, options, message):
    assert synthesize.main([str(tmp_path / "data"), *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()
