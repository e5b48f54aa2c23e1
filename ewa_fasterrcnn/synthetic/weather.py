# SPDX-License-Identifier: Apache-2.0
"""Synthetic weather with storms that a network can learn to find, in the sixteen channels of the data set.

Zonal means by latitude, smooth noise that is periodic in longitude, and storms drawn into them, each with a box that
follows from its own size: tropical depressions (weak vortices), tropical cyclones (strong ones with a warm core),
extratropical cyclones (large ones with a cold core), atmospheric rivers (curved bands of moisture and wind).

Storms are wider than real ones, so that a grid of 96 x 144 pixels shows them. Where one crosses the edge of the map,
its fields go on at the other edge; its box is the part on the side of its centre, since a box cannot wrap.

Shape legend: H latitudes (row 0 is the south), W longitudes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ewa_fasterrcnn.year_files import CHANNELS, MOST_BOXES, UNUSED

CLIMATE = {
    "PRECT": (4e-8, 1e-8, 1e-8),
    "PS": (100_900, 99_500, 500),
    "PSL": (101_200, 100_400, 400),
    "QREFHT": (0.017, 0.001, 0.0008),
    "T200": (219, 211, 1.0),
    "T500": (268, 238, 1.5),
    "TMQ": (42, 5, 4),
    "TREFHT": (300, 252, 2.5),
    "TS": (301, 253, 2.5),
    "U850": (-4, 4, 3),
    "UBOT": (-3, 3, 2.2),
    "V850": (0, 0, 3),
    "VBOT": (0, 0, 2.2),
    "Z100": (16_600, 15_600, 50),
    "Z200": (12_350, 10_900, 60),
    "ZBOT": (65, 55, 0.6),
}
"""For each channel: mean at the equator, mean at the poles, standard deviation of the weather; SI units."""
LARGEST_WAVE = 6.0
"""Waves around the globe below which the noise has no more power."""
MOST_TRIES = 20
"""Places tried for a storm that must not overlap another."""

Fields = dict[str, np.ndarray]
Box = tuple[float, float, float, float]
Storm = tuple[Callable[[Fields], None], Box]
"""Function that draws a storm into the fields, and its box: ymin, xmin, ymax, xmax."""


@dataclass(frozen=True)
class Map:
    """A regular grid over the whole globe."""

    height: int
    width: int

    @cached_property
    def latitude(self) -> np.ndarray:
        """(H, 1) degrees of the pixels' centres, south first."""
        return ((np.arange(self.height) + 0.5) / self.height * 180 - 90)[:, None]

    def east_of(self, longitude: float) -> np.ndarray:
        """(1, W) degrees from a longitude, around the globe the shorter way."""
        longitudes = (np.arange(self.width) + 0.5) / self.width * 360
        return ((longitudes - longitude + 180) % 360 - 180)[None, :]

    def box(self, south: float, west: float, north: float, east: float) -> Box:
        """ymin, xmin, ymax, xmax in pixels of an area in degrees whose centre is on the map."""
        rows = np.clip((np.array([south, north]) + 90) / 180, 0, 1) * self.height
        columns = np.clip(np.array([west, east]) / 360, 0, 1) * self.width
        return rows[0], columns[0], rows[1], columns[1]


@dataclass(frozen=True, kw_only=True)
class VortexKind:
    """Ranges that a kind of vortex is drawn from."""

    latitudes: tuple[float, float]
    """Degrees from the equator, on either side."""
    radius: tuple[float, float]
    """Degrees from the centre to the edges of the box."""
    depth_pa: tuple[float, float]
    """Fall of the pressure at the centre."""
    wind: tuple[float, float]
    """Fastest wind, m/s."""
    warmth_k: tuple[float, float]
    """Warmth of the core in the upper air; below 0 where it is cold."""


VORTICES = (
    VortexKind(latitudes=(6, 22), radius=(7, 10), depth_pa=(500, 1000), wind=(9, 15), warmth_k=(0.5, 1.5)),
    VortexKind(latitudes=(9, 30), radius=(8, 13), depth_pa=(2500, 6000), wind=(28, 50), warmth_k=(4, 8)),
    VortexKind(latitudes=(36, 66), radius=(15, 23), depth_pa=(2000, 4000), wind=(15, 26), warmth_k=(-8, -4)),
)
"""By class number: tropical depression, tropical cyclone, extratropical cyclone."""
RIVER = 3


def make_image(generator: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """One time step: (C, H, W) fields and (B, 5) rows of boxes, both float32."""
    globe = Map(height, width)
    fields = background(globe, generator)
    rows: list[tuple[float, ...]] = []
    for kind in generator.permutation(RIVER + 1):
        for _ in range(generator.integers(0, 3)):
            place = _free_place(globe, generator, kind, rows)
            if place is not None:
                draw, box = place
                draw(fields)
                rows.append((*box, kind))
    rows_B5 = np.full((MOST_BOXES, 5), UNUSED, dtype=np.float32)
    for number, row in enumerate(rows):
        rows_B5[number] = row
    return np.stack([fields[name] for name in CHANNELS]).astype(np.float32), rows_B5


def background(globe: Map, generator: np.random.Generator) -> Fields:
    """Weather without storms. Channels of one height share their noise in part, as pressure and its level do."""
    polar = np.sin(np.radians(globe.latitude)) ** 2
    shared = noise(globe, generator)
    return {
        name: equator + (pole - equator) * polar + deviation * (0.5 * shared + 0.87 * noise(globe, generator))
        for name, (equator, pole, deviation) in CLIMATE.items()
    }


def noise(globe: Map, generator: np.random.Generator) -> np.ndarray:
    """(H, W) Gaussian noise of unit variance, periodic in longitude, whose power falls with the fourth power of k."""
    rows, columns = 2 * globe.height, globe.width  # of which half is kept, so that the poles do not join
    wave = np.hypot(np.fft.fftfreq(rows, 1 / rows)[:, None], np.fft.rfftfreq(columns, 1 / columns)[None, :])
    amplitude = 1 / (LARGEST_WAVE**2 + wave**2)
    amplitude[0, 0] = 0
    spectrum = amplitude * np.fft.rfft2(generator.standard_normal((rows, columns)))
    field = np.fft.irfft2(spectrum, s=(rows, columns))[: globe.height]
    return (field - field.mean()) / field.std()


def _free_place(globe: Map, generator: np.random.Generator, kind: int, rows: list[tuple]) -> Storm | None:
    """A storm whose box overlaps none of the others; None where there is no room."""
    for _ in range(MOST_TRIES):
        drawn = _river(globe, generator) if kind == RIVER else _vortex(globe, generator, VORTICES[kind])
        if not any(_overlap(drawn[1], row) for row in rows):
            return drawn
    return None


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _vortex(globe: Map, generator: np.random.Generator, kind: VortexKind) -> Storm:
    side = generator.choice([-1, 1])  # storms of the south turn the other way
    latitude, longitude = side * generator.uniform(*kind.latitudes), generator.uniform(0, 360)
    radius, depth = generator.uniform(*kind.radius), generator.uniform(*kind.depth_pa)
    wind, warmth = generator.uniform(*kind.wind), generator.uniform(*kind.warmth_k)

    def draw(fields: Fields) -> None:
        east, north = globe.east_of(longitude), globe.latitude - latitude
        distance = np.hypot(east, north) / (radius / 2)
        core = np.exp(-(distance**2) / 2)
        for name in ("PS", "PSL"):
            fields[name] -= depth * core
        # wind * distance * exp((1 - distance^2) / 2) is fastest, `wind`, at a distance of 1.
        turn = side * wind * np.exp((1 - distance**2) / 2) / (radius / 2)
        _add_wind(fields, -turn * north, turn * east)
        fields["T200"] += warmth * core
        fields["T500"] += 0.7 * warmth * core
        fields["Z200"] += 12 * warmth * core
        fields["TMQ"] += (0.3 * wind if warmth > 0 else 0.2 * wind) * core
        fields["PRECT"] += 4e-9 * wind * core

    return draw, globe.box(latitude - radius, longitude - radius, latitude + radius, longitude + radius)


def _river(globe: Map, generator: np.random.Generator) -> Storm:
    """A band from the moist tropics towards the pole and east, bent to one side."""
    side = generator.choice([-1, 1])
    start = np.array([side * generator.uniform(14, 24), generator.uniform(0, 360)])
    reach = np.array([side * generator.uniform(16, 28), generator.uniform(30, 55)])
    bend, half_width = generator.uniform(-6, 6), generator.uniform(3.0, 4.5)
    moisture, wind = generator.uniform(20, 32), generator.uniform(14, 24)
    places = np.linspace(0, 1, 25)[:, None]
    points = start + places * reach + np.sin(np.pi * places) * bend * np.array([1.0, 0.0])
    low, high = points.min(0) - half_width, points.max(0) + half_width
    shift = 360 * np.floor((low[1] + high[1]) / 2 / 360)  # the centre must be on the map

    def draw(fields: Fields) -> None:
        distances = [np.hypot(globe.east_of(longitude), globe.latitude - latitude) for latitude, longitude in points]
        band = np.exp(-((np.min(distances, axis=0) / half_width) ** 2))
        direction = reach / np.hypot(*reach)
        _add_wind(fields, wind * direction[1] * band, wind * direction[0] * band)
        fields["TMQ"] += moisture * band
        fields["QREFHT"] += 1.5e-4 * moisture * band
        fields["PRECT"] += 6e-8 * band

    return draw, globe.box(low[0], low[1] - shift, high[0], high[1] - shift)


def _add_wind(fields: Fields, eastward: np.ndarray, northward: np.ndarray) -> None:
    """At 850 hPa in full, at the bottom less."""
    for name, wind in (("U850", eastward), ("V850", northward)):
        fields[name] = fields[name] + wind
        bottom = name[0] + "BOT"
        fields[bottom] = fields[bottom] + 0.75 * wind
