# SPDX-License-Identifier: Apache-2.0
"""A synthetic climate without storms: sixteen fields on a globe that look like a climate model's.

Zonal means by latitude, geography that all samples share, and weather as periodic noise with a k^-3 energy spectrum,
tied together by physics of the first order: winds follow a stream function, pressure is in geostrophic balance with
them, the air holds as much water as its temperature allows. deepcam.synthetic.storms adds what is to be found.

Ranges follow the statistics of the real data set: TMQ up to 109 kg/m2, sea-level pressure 87.6 to 112 kPa.

Shape legend: H latitudes (row 0 is the south), W longitudes (periodic).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

KM_PER_DEGREE = 111.2
METRES_PER_KM = 1000.0
AIR_DENSITY = 1.15
GRAVITY = 9.81

Fields = dict[str, np.ndarray]
"""Every channel by its name, (H, W) each, in the units of the CAM5 model: K, Pa, m/s, m, kg/kg, kg/m2."""


@dataclass(frozen=True)
class Grid:
    """A regular grid over the whole globe."""

    height: int
    """Latitudes."""
    width: int
    """Longitudes."""

    @cached_property
    def latitude(self) -> np.ndarray:
        """(H, 1) degrees of the pixels' centres, south first."""
        return ((np.arange(self.height) + 0.5) / self.height * 180 - 90)[:, None]

    @cached_property
    def longitude(self) -> np.ndarray:
        """(1, W) degrees, 0 to 360."""
        return (np.arange(self.width) / self.width * 360)[None, :]

    @cached_property
    def row_km(self) -> float:
        """Distance between neighbouring latitudes."""
        return 180 / self.height * KM_PER_DEGREE

    @cached_property
    def column_km(self) -> np.ndarray:
        """(H, 1) distance between neighbouring longitudes."""
        return 360 / self.width * KM_PER_DEGREE * np.cos(np.radians(self.latitude))

    @cached_property
    def coriolis(self) -> np.ndarray:
        """(H, 1) Coriolis parameter in 1/s."""
        return 1.458e-4 * np.sin(np.radians(self.latitude))

    def offset_km(self, latitude: float, longitude: float) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) kilometres east and north of a point, around the globe the shorter way."""
        degrees_east = (self.longitude - longitude + 180) % 360 - 180
        east = degrees_east * KM_PER_DEGREE * np.cos(np.radians((self.latitude + latitude) / 2))
        north = np.broadcast_to((self.latitude - latitude) * KM_PER_DEGREE, east.shape)
        return east, north


def noise(
    grid: Grid, generator: np.random.Generator, *, largest_wave: float = 5.0, steepness: float = 3.0
) -> np.ndarray:
    """(H, W) Gaussian noise of unit variance, periodic in longitude; its energy falls as k^-steepness.

    `largest_wave` waves around the globe hold the most energy. The noise is made on a globe gone around twice, of which
    one half is kept, so that the poles do not join.
    """
    rows, columns = 2 * grid.height, grid.width
    wave = np.hypot(np.fft.fftfreq(rows, 1 / rows)[:, None], np.fft.rfftfreq(columns, 1 / columns)[None, :])
    # Energy k^-3 along a line is power k^-4 in the plane, thus amplitude k^-2.
    amplitude = (largest_wave**2 + wave**2) ** (-(steepness + 1) / 4)
    amplitude[0, 0] = 0
    spectrum = amplitude * np.fft.rfft2(generator.standard_normal((rows, columns)))
    field = np.fft.irfft2(spectrum, s=(rows, columns))[: grid.height]
    return (field - field.mean()) / field.std()


def elevation_km(grid: Grid, planet_seed: int) -> np.ndarray:
    """(H, W) height of the land, 0 at sea: the geography of a planet, for all of its samples the same."""
    land = noise(grid, np.random.default_rng(planet_seed), largest_wave=3.0)
    return np.minimum(1.6 * np.clip(land - 0.6, 0, None) ** 1.5, 5.0)


def background(grid: Grid, generator: np.random.Generator, elevation: np.ndarray) -> Fields:
    """One day's weather without storms."""
    latitude = grid.latitude - generator.uniform(-8, 8)  # the season moves the thermal equator
    heat = np.sin(np.radians(np.clip(latitude, -90, 90))) ** 2
    warmth, wetness = noise(grid, generator), noise(grid, generator, largest_wave=8)
    # Wind is the slope of the stream function: for its energy to fall as k^-3, that of the function falls as k^-5.
    stream = noise(grid, generator, steepness=5)
    fields = _temperatures(heat, warmth, elevation)
    fields |= _winds(grid, latitude, stream)
    fields |= _pressures(grid, latitude, stream, elevation)
    fields |= _heights(heat, fields)
    fields |= _moisture(latitude, wetness, elevation, fields)
    return fields


def _temperatures(heat: np.ndarray, warmth: np.ndarray, elevation: np.ndarray) -> Fields:
    surface = 301 - 50 * heat + 2.5 * warmth - 6.0 * elevation
    return {
        "TS": surface,
        "TREFHT": surface - 1.0 + 0.4 * warmth,
        "T500": 268 - 32 * heat + 1.2 * warmth,
        "T200": 219 - 8 * heat - 0.8 * warmth,
    }


def _winds(grid: Grid, latitude: np.ndarray, stream: np.ndarray) -> Fields:
    """Trade winds, westerlies, and eddies along the stream function, stronger away from the equator."""
    stream = stream * stream_scale(grid, stream)
    eastward = -np.gradient(stream, axis=0) / (grid.row_km * METRES_PER_KM)
    slope = (np.roll(stream, -1, axis=1) - np.roll(stream, 1, axis=1)) / 2
    # Towards the poles the columns close up; without the bound any slope would be a storm there.
    northward = slope / (np.maximum(grid.column_km, 0.5 * grid.column_km.max()) * METRES_PER_KM)
    mean = 9 * np.exp(-(((np.abs(latitude) - 45) / 13) ** 2)) - 6 * np.exp(-((latitude / 14) ** 2))
    u850, v850 = mean + eastward, northward
    return {"U850": u850, "V850": v850, "UBOT": 0.6 * u850 - 0.1 * v850, "VBOT": 0.6 * v850 + 0.1 * u850}


def stream_scale(grid: Grid, stream: np.ndarray) -> float:
    """Square metres a second for one unit of the stream function, so that eddies blow at 5 m/s."""
    slope = np.gradient(stream, axis=0) / (grid.row_km * METRES_PER_KM)
    return 5.0 / float(slope.std())


def _pressures(grid: Grid, latitude: np.ndarray, stream: np.ndarray, elevation: np.ndarray) -> Fields:
    """Subtropical highs, subpolar lows, and the eddies' geostrophic pressure: lows turn with the hemisphere."""
    highs = np.exp(-(((np.abs(latitude) - 32) / 12) ** 2))
    lows = np.exp(-(((np.abs(latitude) - 62) / 11) ** 2))
    geostrophic = AIR_DENSITY * grid.coriolis * stream * stream_scale(grid, stream)
    sea_level = 101_100 + 900 * highs - 1500 * lows + geostrophic
    return {"PSL": sea_level, "PS": sea_level * np.exp(-elevation / 8.0)}


def _heights(heat: np.ndarray, fields: Fields) -> Fields:
    return {
        "Z1000": (fields["PSL"] - 100_000) / (AIR_DENSITY * GRAVITY),
        "Z200": 12_350 - 1500 * heat + 30 * (fields["T500"] - 268 + 32 * heat),
        "ZBOT": 0.2166 * fields["TREFHT"],
    }


def _moisture(latitude: np.ndarray, wetness: np.ndarray, elevation: np.ndarray, fields: Fields) -> Fields:
    """Water by the Clausius-Clapeyron relation: 6.5 % more a kelvin; subtropics dry, the convergence zone wet."""
    humidity = 0.62 + 0.13 * wetness + 0.15 * np.exp(-((latitude / 10) ** 2))
    humidity = np.clip(humidity - 0.12 * np.exp(-(((np.abs(latitude) - 27) / 9) ** 2)), 0.12, 1.0)
    saturation = np.exp(0.065 * (fields["TREFHT"] - 300))
    column = 72 * saturation * humidity * np.exp(-elevation / 2.2)
    rain = 1.2e-8 * np.exp(1.5 * wetness) * saturation
    return {"TMQ": np.clip(column, 0.05, 75), "QREFHT": 0.019 * saturation * humidity, "PRECT": rain}
