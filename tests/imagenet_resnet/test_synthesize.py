# SPDX-License-Identifier: Apache-2.0
"""Gratings: real JPEGs, evenly shared classes, the same for the same seed, and telling apart what the class says."""

import io

import numpy as np
import pytest
from PIL import Image

from harness.data.manifest import Manifest
from imagenet_resnet import synthesize
from imagenet_resnet.synthetic.gratings import Drawing, GratingError, draw

DRAWING = Drawing(num_classes=6)


def pixels(label: int, number: int, drawing: Drawing = DRAWING) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(draw(drawing, label=label, split="train", number=number)))).astype(float)


def test_a_picture_is_a_jpeg_of_the_size_asked_for():
    picture = Image.open(io.BytesIO(draw(Drawing(width=100, height=75), label=0, split="train", number=0)))
    assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (100, 75))


def test_seed_split_and_number_decide_a_picture():
    first = draw(DRAWING, label=1, split="train", number=5)
    assert first == draw(DRAWING, label=1, split="train", number=5)
    assert first != draw(DRAWING, label=1, split="validation", number=5)
    assert first != draw(DRAWING, label=1, split="train", number=6)
    assert first != draw(Drawing(num_classes=6, seed=2), label=1, split="train", number=5)


@pytest.mark.parametrize("label", range(6))
def test_the_strongest_wave_has_the_tilt_of_the_class(label):
    for number in range(5):
        spectrum = np.abs(np.fft.rfft2(pixels(label, number).mean(axis=2) - 128))
        spectrum[0, 0] = 0
        row, column = np.unravel_index(spectrum.argmax(), spectrum.shape)
        down = abs(np.fft.fftfreq(DRAWING.height)[row])
        across = column / DRAWING.width
        assert np.arctan2(down, across) == pytest.approx(DRAWING.tilt(label), abs=0.12)


def test_every_other_class_is_grey():
    for label in range(6):
        hue = np.mean([np.ptp(pixels(label, number).mean(axis=(0, 1))) for number in range(8)])
        assert (hue < 3) == (label % 2 == 1)


@pytest.mark.parametrize("fields", [{"num_classes": 1}, {"width": 8}, {"seed": -1}])
def test_impossible_drawings_are_refused(fields):
    with pytest.raises(GratingError, match="drawing: found"):
        Drawing(**fields)


def run(folder, *options) -> int:
    small = ("--classes", 3, "--train", 7, "--validation", 4, "--width", 32, "--height", 24, "--workers", 1)
    return synthesize.main([str(folder), *map(str, small), *map(str, options)])


@pytest.mark.parametrize("form", ["folders", "shards"])
def test_a_data_set_is_whole_and_marked_synthetic(tmp_path, form, capsys):
    assert run(tmp_path, "--form", form) == 0
    manifest = Manifest.load(tmp_path)
    manifest.verify(tmp_path, checksums=True)
    assert manifest.synthetic
    assert {split: one.num_samples for split, one in manifest.splits.items()} == {"train": 7, "validation": 4}
    assert "synthetic pictures of 32 x 24 pixels in 3 classes" in capsys.readouterr().out


def test_a_finished_data_set_is_kept_and_no_other_is_written_over_it(tmp_path, capsys):
    assert run(tmp_path) == 0
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.JPEG")}
    assert run(tmp_path) == 0
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.JPEG")} == written
    assert run(tmp_path, "--seed", 2) == 2
    assert "exists already and is not overwritten; name another folder" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.JPEG")} == written


def test_too_few_pictures_are_one_line(tmp_path, capsys):
    assert run(tmp_path, "--validation", 2) == 2
    assert "expected at least one picture of each class" in capsys.readouterr().err


def test_a_preview_is_drawn(tmp_path):
    assert run(tmp_path / "data", "--preview", tmp_path / "preview.png") == 0
    assert Image.open(tmp_path / "preview.png").width > 500
