# SPDX-License-Identifier: Apache-2.0
"""One picture file -> the uint8 pixels that the network sees: decoded, cropped, resized and mirrored.

    view = training_view(size, rng)                       # or evaluation_view(size)
    pixels_HWC = render(encoded, view, 224)

Training takes a random part of 5 to 100 % of the picture's area with an aspect ratio from 3:4 to 4:3, mirrored half
the time. Of the two input paths of the public HPC AI500 code this is the framework's own; its other one draws 10 to
100 % and 4:5 to 5:4. Evaluation takes the centre: 224 of 256 parts of the shorter side.

Among ImageNet's files are a PNG that is called JPEG, pictures in CMYK, and grey ones: all become RGB here.
"""

import io
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from compliance.files.errors import UserError

AREA_SHARES = (0.05, 1.0)
ASPECT_RATIOS = (3 / 4, 4 / 3)
CENTRE_SHARE = 224 / 256
"""The side of the centre of an evaluation picture, of its shorter side."""
NUM_TRIALS = 10
FORMATS = ("JPEG", "PNG")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
"""Pillow's modes of pictures whose values do not fit into 8 bits; its conversion to RGB would saturate them."""
MAX_PIXELS = Image.MAX_IMAGE_PIXELS or 89_478_485
"""Limit of a picture, which would need a quarter of a gigabyte; Pillow itself only warns up to twice as many."""

Size = tuple[int, int]
"""Width and height."""


class PictureError(UserError):
    """A file that is no picture which can be decoded."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The part of a picture that is shown."""

    left: int
    top: int
    width: int
    height: int
    mirrored: bool = False
    """Left and right exchanged."""


def training_view(size: Size, rng: np.random.Generator) -> View:
    """A random part; where ten draws find none that fits the picture, the largest part of an allowed aspect ratio."""
    width, height = size
    mirrored = bool(rng.random() < 0.5)
    areas = rng.uniform(*AREA_SHARES, size=NUM_TRIALS) * width * height
    ratios = np.exp(rng.uniform(*np.log(ASPECT_RATIOS), size=NUM_TRIALS))
    for area, ratio in zip(areas, ratios, strict=True):
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = rng.integers(0, width - across + 1), rng.integers(0, height - down + 1)
            return View(left=int(left), top=int(top), width=across, height=down, mirrored=mirrored)
    narrowest, widest = ASPECT_RATIOS
    across = min(width, round(height * widest))
    return _centred(size, max(1, across), max(1, min(height, round(across / narrowest))), mirrored=mirrored)


def evaluation_view(size: Size) -> View:
    """The square centre."""
    side = max(1, round(min(size) * CENTRE_SHARE))
    return _centred(size, side, side)


def _centred(size: Size, width: int, height: int, *, mirrored: bool = False) -> View:
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return View(left=left, top=top, width=width, height=height, mirrored=mirrored)


def size_of(encoded: bytes) -> Size:
    """Width and height, from the file's head alone; PictureError."""
    with opened(encoded) as picture:
        return picture.size


def render(encoded: bytes, choose_view: Callable[[Size], View], side: int) -> np.ndarray:
    """(side, side, 3) uint8 of the view that is chosen by the picture's size; PictureError.

    A JPEG that is at least twice too large is decoded at half, a quarter or an eighth of its size, which takes a
    fraction of the time and averages the pixels that resizing would average.
    """
    with opened(encoded) as picture:
        view = choose_view(picture.size)
        scale_x, scale_y = _draft(picture, view, side)
        left, top = view.left / scale_x, view.top / scale_y
        box = (left, top, left + view.width / scale_x, top + view.height / scale_y)
        try:
            shown = as_rgb(picture).resize((side, side), Image.Resampling.BILINEAR, box=box)
        except (OSError, SyntaxError, ValueError) as error:
            raise PictureError(str(error)) from None
    if view.mirrored:
        shown = shown.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return np.asarray(shown)


def as_rgb(picture: Image.Image) -> Image.Image:
    """Grey, CMYK, palette and transparent pictures as RGB; decodes the pixels."""
    if picture.mode == "P":
        picture = picture.convert("RGBA")
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def read(path: Path | str) -> bytes:
    """A whole file."""
    with open(path, "rb", buffering=0) as stream:  # noqa: PTH123, a hot path
        return stream.read(os.fstat(stream.fileno()).st_size)


def opened(encoded: bytes) -> Image.Image:
    """The picture with its head read and its pixels not decoded yet; PictureError if it is unfit for training."""
    try:
        picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise PictureError(f"too many pixels: {error}") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise PictureError(f"neither JPEG nor PNG: {str(error).partition('<')[0].strip()}") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise PictureError(f"found {width} x {height} pixels, expected at most {MAX_PIXELS} in all")
    if picture.mode in DEEP_MODES:
        raise PictureError(f"found 16 bits or more a pixel (mode {picture.mode}), expected 8 a channel; convert it")
    return picture


def _draft(picture: Image.Image, view: View, side: int) -> tuple[float, float]:
    """Let a JPEG be decoded smaller where the view stays at least `side` pixels; how many times smaller, x and y."""
    width, height = picture.size
    drafted = picture.draft(None, (math.ceil(width * side / view.width), math.ceil(height * side / view.height)))
    if drafted is None:
        return 1.0, 1.0
    return width / picture.size[0], height / picture.size[1]
