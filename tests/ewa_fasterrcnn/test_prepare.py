# SPDX-License-Identifier: Apache-2.0
"""Preparation of downloaded years: split, statistics, manifest, resumption, bad input."""

import h5py
import numpy as np
import pytest

from ewa_fasterrcnn import prepare
from ewa_fasterrcnn.channel_statistics import Statistics
from ewa_fasterrcnn.data import open_split
from ewa_fasterrcnn.prepare import year_range
from harness.data.manifest import Manifest

STORM = (1, 2, 5, 9, 1)


@pytest.fixture
def raw(write_year, tmp_path):
    """Three years of two images."""
    folder = tmp_path / "raw"
    for year in (1979, 1980, 1987):
        write_year(f"climo_{year}.h5", boxes=([STORM], []), folder=folder)
    return folder


def call(raw, out, *options) -> int:
    return prepare.main([str(raw), str(out), "--train-years", "1979,1980", "--workers", "1", *options])


def test_years_go_to_their_split_with_statistics_and_manifest(raw, tmp_path, capsys):
    out = tmp_path / "out"
    assert call(raw, out) == 0
    assert "4 train images in 2 years, 2 validation images in 1 years" in capsys.readouterr().out
    assert (out / "train" / "climo_1979.h5").is_symlink()
    dataset = open_split(out, "train")
    values = np.stack([dataset.read(number) for number in range(4)]).transpose(1, 0, 2, 3).reshape(16, -1)
    channels = Statistics.load(out / "statistics.json").channels
    assert [channel.mean for channel in channels] == pytest.approx(values.mean(1), abs=1e-5)
    listed = Manifest.load(out)
    assert (listed.synthetic, listed.provenance["validation_years"]) == (False, "1987")
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "statistics.json", "train", "validation"]


def test_copies_need_the_downloads_no_more(raw, tmp_path):
    out = tmp_path / "out"
    assert call(raw, out, "--copy") == 0
    for path in raw.iterdir():
        path.unlink()
    assert len(open_split(out, "validation")) == 2
    assert prepare.main(["--verify", str(out)]) == 0


def test_verification_finds_a_changed_byte(raw, tmp_path, capsys):
    out = tmp_path / "out"
    call(raw, out, "--copy")
    path = out / "train" / "climo_1980.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert prepare.main(["--verify", str(out)]) == 2
    assert "climo_1980.h5: sha256: found" in capsys.readouterr().err


def test_synthetic_years_stay_marked(storms, tmp_path):
    out, years = tmp_path / "out", tmp_path / "years"
    years.mkdir()
    for path in storms.rglob("*.h5"):
        (years / path.name).symlink_to(path)
    options = ["--train-years", "1979-1980", "--validation-years", "1981"]
    assert prepare.main([str(years), str(out), *options]) == 0
    assert Manifest.load(out).synthetic is True
    assert (out / "statistics.json").read_text() == (storms / "statistics.json").read_text()


def test_an_interrupted_preparation_goes_on_with_what_is_missing(raw, tmp_path, write_year, capsys):
    out = tmp_path / "out"
    write_year("climo_1987.h5", boxes=([(1, 2, 5, 9, 7)], []), folder=raw)
    assert call(raw, out) == 2
    assert "climo_1987.h5: image 0, box 0: found class 7" in capsys.readouterr().err
    assert not (out / "manifest.json").exists()
    done = (out / "train" / "climo_1979.h5").lstat().st_mtime_ns
    write_year("climo_1987.h5", boxes=([STORM], []), folder=raw)
    assert call(raw, out) == 0
    assert (out / "train" / "climo_1979.h5").lstat().st_mtime_ns == done


def test_bad_input_is_one_line(raw, tmp_path, write_year, capsys):
    out = tmp_path / "out"
    faults = {
        ("--validation-years", "1990"): "found no climo_1990.h5, only the years 1979, 1980, 1987",
        ("--validation-years", "1980"): "found 1980 to train and to evaluate on",
    }
    for options, fault in faults.items():
        assert call(raw, out, *options) == 2
        printed = capsys.readouterr().err
        assert fault in printed
        assert printed.count("\n") == 1
    assert call(tmp_path / "nowhere", out) == 2
    assert "no such folder" in capsys.readouterr().err
    assert call(raw, out) == 0
    assert call(raw, out) == 2
    assert "found a finished data set" in capsys.readouterr().err


def test_values_that_are_no_numbers_are_named(raw, tmp_path, capsys):
    with h5py.File(raw / "climo_1980.h5", "r+") as file:
        file["images"][1, 6, 2, 3] = np.nan
    assert call(raw, tmp_path / "out") == 2
    assert "climo_1980.h5: image 1: TMQ: found nan at row 2, column 3, expected" in capsys.readouterr().err


def test_ranges_of_years():
    assert year_range("1979-1981,1984") == [1979, 1980, 1981, 1984]
    with pytest.raises(ValueError):
        year_range("all")
    with pytest.raises(SystemExit):
        prepare.main(["raw", "out", "--train-years", "1981-1979"])


# --- years that are in their place already


@pytest.fixture
def placed(write_year, tmp_path):
    """Two years to train on and one to evaluate on, without statistics and manifest."""
    folder = tmp_path / "placed"
    for name in ("train/climo_1979.h5", "train/climo_1980.h5", "validation/climo_1987.h5"):
        write_year(name.split("/")[1], boxes=([STORM], []), folder=folder / name.split("/")[0])
    return folder


def describe(folder, capsys) -> tuple[int, str]:
    code = prepare.main(["--describe", str(folder), "--workers", "1"])
    printed = capsys.readouterr()
    return code, printed.out + printed.err


def test_years_in_their_place_are_described_as_they_are(placed, raw, tmp_path, capsys):
    code, text = describe(placed, capsys)
    assert code == 0, text
    call(raw, tmp_path / "out")
    assert Statistics.load(placed / "statistics.json") == Statistics.load(tmp_path / "out" / "statistics.json")
    assert len(open_split(placed, "train")) == 4
    assert prepare.main(["--verify", str(placed)]) == 0
    assert describe(placed, capsys)[0] == 2


def test_describing_finds_missing_values(placed, capsys):
    with h5py.File(placed / "validation" / "climo_1987.h5", "r+") as file:
        file["images"][1, 15, 0, 0] = 9.96921e36
    code, text = describe(placed, capsys)
    assert code == 2
    assert "climo_1987.h5: image 1: ZBOT: found 9.96921e+36 at row 0, column 0" in text
    assert not (placed / "manifest.json").exists()


def test_describing_needs_years_in_both_splits_and_each_in_one(placed, capsys):
    (placed / "validation" / "climo_1987.h5").rename(placed / "validation" / "climo_1980.h5")
    assert "found 1980 to train and to evaluate on" in describe(placed, capsys)[1]
    (placed / "validation" / "climo_1980.h5").unlink()
    assert "validation: found no climo_YYYY.h5" in describe(placed, capsys)[1]
