# SPDX-License-Identifier: Apache-2.0
"""From a picture file to pixels: crops, colour modes and files that cannot be decoded."""

import io
import math

import numpy as np
import pytest
from PIL import Image

from imagenet_resnet import jpeg
from imagenet_resnet.jpeg import PictureError, View, evaluation_view, render, training_view


def smooth_picture(width: int, height: int) -> np.ndarray:
    """Brightness rises to the right in red and downwards in green; blue is even."""
    x, y = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return np.stack([x, y, np.full_like(x, 100)], axis=-1).astype(np.uint8)


def encoded(picture: Image.Image, kind: str = "JPEG", **options) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def photograph() -> bytes:
    return encoded(Image.fromarray(smooth_picture(200, 100)), quality=95)


def whole(size) -> View:
    return View(left=0, top=0, width=size[0], height=size[1])


def test_a_view_shows_its_part(photograph):
    left_half = render(photograph, lambda _: View(left=0, top=0, width=100, height=100), 32)
    assert left_half.shape == (32, 32, 3)
    assert left_half.dtype == np.uint8
    assert left_half[16, -1, 0] == pytest.approx(127, abs=4)
    assert left_half[-1, 16, 1] == pytest.approx(253, abs=4)


def test_a_mirrored_view_exchanges_left_and_right(photograph):
    plain = render(photograph, whole, 32)
    mirrored = render(photograph, lambda size: View(left=0, top=0, width=size[0], height=size[1], mirrored=True), 32)
    assert np.array_equal(plain[:, ::-1], mirrored)


def test_a_large_jpeg_is_decoded_smaller_to_nearly_the_same_pixels():
    large = encoded(Image.fromarray(smooth_picture(1600, 1200)), quality=95)
    view = View(left=400, top=200, width=900, height=800)
    expected = Image.open(io.BytesIO(large)).resize((100, 100), Image.Resampling.BILINEAR, box=(400, 200, 1300, 1000))
    assert np.abs(render(large, lambda _: view, 100).astype(int) - np.asarray(expected)).max() <= 3


def test_evaluation_shows_the_centre():
    assert evaluation_view((500, 256)) == View(left=138, top=16, width=224, height=224)
    assert evaluation_view((1, 1)).width == 1


def test_training_views_keep_to_area_and_aspect_ratio():
    rng = np.random.default_rng(1)
    views = [training_view((500, 375), rng) for _ in range(500)]
    shares = [view.width * view.height / (500 * 375) for view in views]
    ratios = [view.width / view.height for view in views]
    assert (min(shares), max(shares)) == (pytest.approx(0.05, abs=0.02), pytest.approx(0.97, abs=0.06))
    assert min(ratios) > 0.73
    assert max(ratios) < 1.37
    assert abs(np.mean(np.log(ratios))) < 0.03
    assert all(0 <= view.left <= 500 - view.width and 0 <= view.top <= 375 - view.height for view in views)
    assert 0.4 < np.mean([view.mirrored for view in views]) < 0.6


@pytest.mark.parametrize("size", [(1000, 2), (2, 1000), (1, 1)])
def test_a_picture_of_odd_shape_still_has_a_view(size):
    view = training_view(size, np.random.default_rng(0))
    assert 1 <= view.width <= size[0]
    assert 1 <= view.height <= size[1]


def test_the_same_random_stream_draws_the_same_view():
    assert training_view((50, 40), np.random.default_rng(7)) == training_view((50, 40), np.random.default_rng(7))


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("LA", "PNG")]
)
def test_the_odd_files_of_imagenet_become_rgb(mode, kind):
    source = Image.fromarray(smooth_picture(60, 60))
    pixels = render(encoded(source.convert(mode), kind), whole, 60)
    expected = np.asarray(source.convert("L").convert("RGB") if mode in ("L", "LA") else source)
    assert np.abs(pixels.astype(int) - expected).mean() < (25 if mode == "P" else 4)


def test_cmyk_is_not_inverted():
    red = Image.new("RGB", (32, 32), (220, 20, 20))
    pixel = render(encoded(red.convert("CMYK")), whole, 8)[4, 4]
    assert pixel[0] > 180
    assert pixel[1] < 80


@pytest.mark.parametrize("cut", [0, 10, 700])
def test_broken_files_are_refused(photograph, cut):
    with pytest.raises(PictureError):
        render(photograph[:cut], whole, 16)


def test_other_kinds_of_files_are_refused():
    for content in (b"no picture", encoded(Image.new("RGB", (9, 9)), "BMP")):
        with pytest.raises(PictureError, match="neither JPEG nor PNG"):
            render(content, whole, 16)


def test_size_is_read_from_the_head(photograph):
    assert jpeg.size_of(photograph[: math.ceil(len(photograph) / 2)]) == (200, 100)


def test_a_picture_of_16_bits_is_refused_as_it_would_saturate():
    content = encoded(Image.fromarray(np.full((20, 20), 30_000, dtype=np.uint16)), "PNG")
    for use in (lambda: render(content, whole, 16), lambda: jpeg.size_of(content)):
        with pytest.raises(PictureError, match="found 16 bits or more a pixel"):
            use()


@pytest.mark.parametrize(("side", "message"), [(12_000, "found 12000 x 12000 pixels"), (20_000, "too many pixels")])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded(side, message):
    bomb = encoded(Image.new("1", (side, side)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(PictureError, match=message):
        render(bomb, whole, 16)
