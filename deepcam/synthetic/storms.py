# SPDX-License-Identifier: Apache-2.0
"""Storms that DeepCAM is to find, and others that it must not mistake for them, as changes to a climate's fields.

Tropical cyclones: Holland's pressure profile, winds that turn with the hemisphere, a warm core, moist air, a rain ring.
Atmospheric rivers: curved filaments of moisture over 1500 km long, with winds along them.
Decoys: moist blobs that are too short, vortices without warmth or moisture, jets without moisture.

No storm carries a label: deepcam.synthetic.labelling reads the labels off the fields alone.

Source: Holland, "An analytic model of the wind and pressure profiles in hurricanes" (1980).
"""

from dataclasses import dataclass

import numpy as np

from deepcam.synthetic.climate import AIR_DENSITY, GRAVITY, KM_PER_DEGREE, Fields, Grid

PEAKEDNESS = 1.5
"""Holland's B."""
SMALLEST_CELLS = 2.0
"""No storm's radius is below so many pixels, or a coarse grid could not show it."""


@dataclass(frozen=True, kw_only=True)
class Vortex:
    """A round storm."""

    latitude: float
    longitude: float
    radius_km: float
    """Distance from the center at which the wind is strongest."""
    depth_pa: float
    """Fall of the pressure at its centre."""
    warmth_k: float
    """Warmth of the core at 200 hPa; below 0 for a cold one."""
    moisture: float
    """Column water in its middle, kg/m2; 0 leaves the water as it is."""


@dataclass(frozen=True, kw_only=True)
class Filament:
    """A curved line: a river with moisture and wind, a jet with wind alone, a blob with moisture alone."""

    latitudes: np.ndarray
    longitudes: np.ndarray
    """Points of the line, from upstream to downstream."""
    radius_km: float
    """Half width."""
    moisture: float
    """Column water that it adds, kg/m2."""
    wind: float
    """Wind along the line, m/s."""


def add_weather(grid: Grid, fields: Fields, generator: np.random.Generator) -> None:
    """Cyclones, rivers and decoys, in numbers and places drawn from the generator."""
    for filament in [
        *(_river(grid, generator) for _ in range(generator.integers(1, 6))),
        *(_blob(grid, generator) for _ in range(generator.integers(1, 5))),
        *(_jet(grid, generator) for _ in range(generator.integers(1, 4))),
    ]:
        add_filament(grid, fields, filament)
    for vortex in [
        *(_dry_vortex(grid, generator) for _ in range(generator.integers(1, 5))),
        *(_cyclone(grid, generator) for _ in range(generator.integers(0, 5))),
    ]:
        add_vortex(grid, fields, vortex)


def add_vortex(grid: Grid, fields: Fields, vortex: Vortex) -> None:
    east, north = grid.offset_km(vortex.latitude, vortex.longitude)
    distance = np.maximum(np.hypot(east, north), 0.05 * vortex.radius_km)
    reach = np.exp(-((distance / (6 * vortex.radius_km)) ** 2))
    core = np.exp(-((distance / (2 * vortex.radius_km)) ** 2))
    shape = (vortex.radius_km / distance) ** PEAKEDNESS
    fall = vortex.depth_pa * (1 - np.exp(-shape)) * reach
    fields["PS"] *= 1 - fall / fields["PSL"]
    fields["PSL"] -= fall
    fields["Z1000"] -= fall / (AIR_DENSITY * GRAVITY)
    wind = np.sqrt(PEAKEDNESS * vortex.depth_pa / AIR_DENSITY * shape * np.exp(-shape)) * reach
    turn = np.sign(vortex.latitude) * wind / distance  # anticlockwise in the north
    _add_wind(fields, -turn * north, turn * east)
    fields["T200"] += vortex.warmth_k * core
    fields["T500"] += 0.7 * vortex.warmth_k * core
    fields["Z200"] += 12 * vortex.warmth_k * core
    if vortex.moisture:
        _moisten(fields, core * np.maximum(vortex.moisture - fields["TMQ"], 0))
        ring = np.exp(-(((distance - 1.3 * vortex.radius_km) / (0.7 * vortex.radius_km)) ** 2))
        fields["PRECT"] += (
            1.2e-6 * ring * (0.7 + 0.3 * np.sin(2 * np.arctan2(north, east) + distance / vortex.radius_km))
        )


def add_filament(grid: Grid, fields: Fields, filament: Filament) -> None:
    distance, along, tangent_east, tangent_north = _along(grid, filament)
    ends = np.clip(np.minimum(along, 1 - along) / 0.12, 0, 1)
    band = np.exp(-((distance / filament.radius_km) ** 2)) * ends
    broad = np.exp(-((distance / (1.6 * filament.radius_km)) ** 2)) * ends
    _add_wind(fields, filament.wind * broad * tangent_east, filament.wind * broad * tangent_north)
    if filament.moisture:
        _moisten(fields, filament.moisture * band)
        fields["PRECT"] += 1.5e-7 * band


def _along(grid: Grid, filament: Filament) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """(H, W) distance to the nearest point of the line in km, that point's place from 0 to 1, the line's direction.

    Pixels farther from the line than five radii are infinitely far from it.
    """
    shape = (grid.height, grid.width)
    nearest, place = np.full(shape, np.inf), np.zeros(shape, dtype=int)
    for number, (latitude, longitude) in enumerate(zip(filament.latitudes, filament.longitudes, strict=True)):
        window, distance = _window(grid, latitude, longitude, 5 * filament.radius_km)
        closer = distance < nearest[window]
        place[window] = np.where(closer, number, place[window])
        nearest[window] = np.where(closer, distance, nearest[window])
    step_east = np.gradient(filament.longitudes) * np.cos(np.radians(filament.latitudes))
    step_north = np.gradient(filament.latitudes)
    length = np.hypot(step_east, step_north)
    last = len(filament.latitudes) - 1
    return nearest, place / last, (step_east / length)[place], (step_north / length)[place]


def _window(
    grid: Grid, latitude: float, longitude: float, reach_km: float
) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """Rows and columns around a point, across the date line too, and the pixels' distances from it in km."""
    degrees_north = (grid.latitude - latitude)[:, 0]
    degrees_east = ((grid.longitude - longitude + 180) % 360 - 180)[0]
    shrink = np.cos(np.radians(latitude))
    rows = np.flatnonzero(np.abs(degrees_north) * KM_PER_DEGREE <= reach_km)
    columns = np.flatnonzero(np.abs(degrees_east) * KM_PER_DEGREE * shrink <= reach_km)
    window = np.ix_(rows, columns)
    return window, KM_PER_DEGREE * np.hypot(degrees_north[rows][:, None], shrink * degrees_east[columns][None, :])


def _add_wind(fields: Fields, eastward: np.ndarray, northward: np.ndarray) -> None:
    """At 850 hPa in full; friction slows the wind at the bottom and turns it a little."""
    fields["U850"] += eastward
    fields["V850"] += northward
    fields["UBOT"] += 0.75 * eastward - 0.15 * northward
    fields["VBOT"] += 0.75 * northward + 0.15 * eastward


def _moisten(fields: Fields, water: np.ndarray) -> None:
    fields["TMQ"] += water
    fields["QREFHT"] += 1.2e-4 * water


def _radius_km(grid: Grid, generator: np.random.Generator, low: float, high: float) -> float:
    return max(generator.uniform(low, high), SMALLEST_CELLS * grid.row_km)


def _cyclone(grid: Grid, generator: np.random.Generator) -> Vortex:
    return Vortex(
        latitude=generator.choice([-1, 1]) * generator.uniform(8, 30),
        longitude=generator.uniform(0, 360),
        radius_km=_radius_km(grid, generator, 60, 140),
        depth_pa=generator.uniform(2500, 6500),
        warmth_k=generator.uniform(4, 9),
        moisture=generator.uniform(62, 80),
    )


def _dry_vortex(grid: Grid, generator: np.random.Generator) -> Vortex:
    return Vortex(
        latitude=generator.choice([-1, 1]) * generator.uniform(12, 60),
        longitude=generator.uniform(0, 360),
        radius_km=_radius_km(grid, generator, 100, 320),
        depth_pa=generator.uniform(1500, 4500),
        warmth_k=generator.uniform(-4, 0),
        moisture=0,
    )


def _curve(generator: np.random.Generator, length_km: float) -> tuple[np.ndarray, np.ndarray]:
    """A line from the subtropics poleward and eastward, as the flow ahead of a front carries moisture."""
    hemisphere = generator.choice([-1, 1])
    heading = np.radians(generator.uniform(15, 55))
    bend = generator.uniform(-0.25, 0.25)
    place = np.linspace(0, 1, 64)
    degrees = length_km / KM_PER_DEGREE
    across = bend * degrees * np.sin(np.pi * place)
    north = degrees * place * np.sin(heading) + across * np.cos(heading)
    start = generator.uniform(20, 34)
    latitude = np.clip(start + north, 15, 66)
    east = (degrees * place * np.cos(heading) - across * np.sin(heading)) / np.cos(np.radians(latitude))
    return hemisphere * latitude, generator.uniform(0, 360) + east


def _river(grid: Grid, generator: np.random.Generator) -> Filament:
    latitudes, longitudes = _curve(generator, generator.uniform(2600, 5200))
    radius = _radius_km(grid, generator, 180, 330)
    moisture, wind = generator.uniform(18, 32), generator.uniform(14, 26)
    return Filament(latitudes=latitudes, longitudes=longitudes, radius_km=radius, moisture=moisture, wind=wind)


def _blob(grid: Grid, generator: np.random.Generator) -> Filament:
    latitudes, longitudes = _curve(generator, generator.uniform(250, 700))
    radius = _radius_km(grid, generator, 180, 330)
    moisture, wind = generator.uniform(18, 32), generator.uniform(5, 22)
    return Filament(latitudes=latitudes, longitudes=longitudes, radius_km=radius, moisture=moisture, wind=wind)


def _jet(grid: Grid, generator: np.random.Generator) -> Filament:
    latitudes, longitudes = _curve(generator, generator.uniform(2600, 5200))
    radius = _radius_km(grid, generator, 180, 330)
    return Filament(
        latitudes=latitudes, longitudes=longitudes, radius_km=radius, moisture=0, wind=generator.uniform(14, 26)
    )
