# SPDX-License-Identifier: Apache-2.0
"""Pictures whose class can be seen and learned in seconds: gratings under noise, as real JPEGs.

    jpeg = draw(Drawing(num_classes=8, width=112, height=84, seed=1), label=3, split="train", number=17)

A class is a tilt of the bars, and whether they are grey or coloured. What the crops of training change tells nothing
about it: to which side the bars lean, their scale, place, brightness, hue and noise are drawn at random.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from compliance.files.errors import UserError

STREAMS = {"train": 1, "validation": 2}
"""Each split draws from its own random streams, so that its pictures do not depend on how many the others have."""
CYCLES = (9.0, 15.0)
"""Bars across a picture: enough for a small crop to show some."""
NOISE = 24.0
"""Standard deviation of the noise of a pixel, of 255."""
JPEG_QUALITY = 90


class GratingError(UserError):
    """Options that no picture can be drawn from."""


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Settings that all pictures of a data set share."""

    num_classes: int = 8
    """Classes, from 2 on: the more, the closer their tilts."""
    width: int = 112
    """Pixels across."""
    height: int = 84
    """Pixels down."""
    seed: int = 1
    """Chooses all pictures."""

    def __post_init__(self):
        if self.num_classes < 2 or min(self.width, self.height) < 16 or self.seed < 0:
            found = f"{self.num_classes} classes, {self.width} x {self.height} pixels, seed {self.seed}"
            raise GratingError(f"drawing: found {found}, expected 2 classes, 16 pixels a side and seed 0 or more")

    def tilt(self, label: int) -> float:
        """Angle of a class's bars against the vertical, in radians, between 0 and a right angle."""
        num_tilts = -(-self.num_classes // 2)
        return math.pi / 2 * (label // 2 + 0.5) / num_tilts


def class_name(label: int) -> str:
    """Folder of a class, in the manner of ImageNet's; sorted by name they are in the order of their labels."""
    return f"n{label:08d}"


def draw(drawing: Drawing, *, label: int, split: str, number: int) -> bytes:
    """Picture `number` of a split as a JPEG file of class `label`; a stream of its own decides all that is random."""
    rng = np.random.default_rng([drawing.seed, STREAMS[split], number])
    wave_HW = _bars(drawing, drawing.tilt(label) * rng.choice([-1, 1]), rng)
    dark_C, light_C = _colours(rng, grey=label % 2 == 1)
    share_HW1 = (wave_HW[..., None] + 1) / 2
    picture_HWC = dark_C + share_HW1 * (light_C - dark_C) + rng.normal(0, NOISE, size=(*wave_HW.shape, 3))
    return encode(picture_HWC.clip(0, 255).astype(np.uint8))


def encode(picture_HWC: np.ndarray) -> bytes:
    """A JPEG file."""
    stream = io.BytesIO()
    Image.fromarray(picture_HWC).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def _bars(drawing: Drawing, tilt: float, rng: np.random.Generator) -> np.ndarray:
    """A wave from -1 to 1 at every pixel."""
    wavelength = min(drawing.width, drawing.height) / rng.uniform(*CYCLES)
    x_W, y_H = np.arange(drawing.width), np.arange(drawing.height)
    along_HW = math.cos(tilt) * x_W[None, :] + math.sin(tilt) * y_H[:, None]
    return np.sin(2 * math.pi * (along_HW / wavelength + rng.uniform()))


def _colours(rng: np.random.Generator, *, grey: bool) -> tuple[np.ndarray, np.ndarray]:
    """A dark and a light colour, each channel at least 64 apart, drawn evenly otherwise."""
    dark_C, contrast_C = rng.uniform(0, 128, size=3), rng.uniform(64, 127, size=3)
    if grey:
        dark_C, contrast_C = np.full(3, dark_C[0]), np.full(3, contrast_C[0])
    return dark_C, dark_C + contrast_C
