# SPDX-License-Identifier: Apache-2.0
"""Labels read off the fields, as the labels of the real data set were: by published rules of thumb, not by hand.

Tropical cyclone: a minimum of sea-level pressure within 40 degrees of the equator, deep against its surroundings, with
a warm core and strong wind around it (after Knutson et al. 2007 and the TECA toolkit, Prabhat et al. 2012). Its pixels
are those around the centre that lie well below the surrounding pressure.

Atmospheric river: moist air that moves, poleward of 20 degrees: column water well above that of the 2000 km around (a
top hat, after Prabhat et al. 2012) and transport, column water x wind, of at least 250 kg/m/s (after Rutz et al. 2014),
connected over at least 1500 km and at least twice as long as wide (after Guan and Waliser 2015).

Shape legend: H latitudes, W longitudes; masks are (H, W) booleans.
"""

from collections.abc import Iterator

import numpy as np

from deepcam.synthetic.climate import Fields, Grid

CYCLONE, RIVER = 1, 2

CYCLONE_LATITUDE = 40.0
CYCLONE_DEPTH_PA = 1200.0
CYCLONE_EDGE_PA = 600.0
CYCLONE_WARMTH_K = 1.5
CYCLONE_WIND = 17.0
CYCLONE_REACH_KM = 500.0
CYCLONE_REACH_CELLS = 5.0
"""A cyclone ends at 500 km, or at five pixels where those are more: synthetic storms grow with the pixels."""

RIVER_LATITUDE = 20.0
RIVER_EXCESS = 6.0
RIVER_SURROUNDINGS_KM = 2000.0
RIVER_SURROUNDINGS_CELLS = 13.0
"""The surroundings of a pixel reach over 2000 km, or over thirteen pixels where those are more."""
RIVER_TRANSPORT = 250.0
RIVER_LENGTH_KM = 1500.0
RIVER_SLENDERNESS = 2.0


def labels(grid: Grid, fields: Fields) -> np.ndarray:
    """(H, W) uint8: 0 background, 1 tropical cyclone, 2 atmospheric river; where both would be, a cyclone."""
    cyclones, rivers = cyclone_mask(grid, fields), river_mask(grid, fields)
    return np.where(cyclones, CYCLONE, np.where(rivers, RIVER, 0)).astype(np.uint8)


def cyclone_mask(grid: Grid, fields: Fields) -> np.ndarray:
    mask = np.zeros((grid.height, grid.width), dtype=bool)
    reach_km = max(CYCLONE_REACH_KM, CYCLONE_REACH_CELLS * grid.row_km)
    for row, column in _pressure_minima(grid, fields["PSL"]):
        east, north = grid.offset_km(float(grid.latitude[row, 0]), float(grid.longitude[0, column]))
        distance = np.hypot(east, north)
        inside, around = distance <= reach_km, (distance > reach_km) & (distance <= 2 * reach_km)
        depth = fields["PSL"][around].mean() - fields["PSL"]
        if _is_cyclone(fields, (row, column), inside, around, depth):
            mask |= _region(inside & (depth >= CYCLONE_EDGE_PA), (row, column))
    return mask


def _pressure_minima(grid: Grid, pressure: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pixels of the tropics and subtropics that lie below their eight neighbours, and well below their latitude."""
    lowest = np.full_like(pressure, np.inf)
    padded = np.pad(np.pad(pressure, ((0, 0), (1, 1)), mode="wrap"), ((1, 1), (0, 0)), mode="edge")
    for down in range(3):
        for right in range(3):
            if (down, right) != (1, 1):
                lowest = np.minimum(lowest, padded[down : down + grid.height, right : right + grid.width])
    deep = pressure < np.median(pressure, axis=1, keepdims=True) - CYCLONE_EDGE_PA
    for row, column in np.argwhere((pressure < lowest) & deep & (np.abs(grid.latitude) <= CYCLONE_LATITUDE)):
        yield int(row), int(column)


def _is_cyclone(
    fields: Fields, centre: tuple[int, int], inside: np.ndarray, around: np.ndarray, depth: np.ndarray
) -> bool:
    """Deep, windy and warm at 200 and 500 hPa against what lies around."""
    wind = np.hypot(fields["U850"], fields["V850"])
    warmth = [fields[name][centre] - fields[name][around].mean() for name in ("T200", "T500")]
    return bool(
        depth[centre] >= CYCLONE_DEPTH_PA and wind[inside].max() >= CYCLONE_WIND and min(warmth) >= CYCLONE_WARMTH_K
    )


def river_mask(grid: Grid, fields: Fields) -> np.ndarray:
    water = fields["TMQ"]
    excess = water - _surroundings(grid, water)
    transport = water * np.hypot(fields["U850"], fields["V850"])
    candidates = (excess >= RIVER_EXCESS) & (transport >= RIVER_TRANSPORT) & (np.abs(grid.latitude) >= RIVER_LATITUDE)
    mask = np.zeros_like(candidates)
    for region in _regions(candidates):
        if _is_river(grid, region):
            mask[region] = True
    return mask


def _surroundings(grid: Grid, field: np.ndarray) -> np.ndarray:
    """(H, W) mean over the square around each pixel, by sums that run along both axes."""
    half = round(max(RIVER_SURROUNDINGS_CELLS, RIVER_SURROUNDINGS_KM / grid.row_km) / 2)
    padded = np.pad(np.pad(field, ((0, 0), (half, half)), mode="wrap"), ((half, half), (0, 0)), mode="edge")
    sums = np.pad(padded, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    size = 2 * half + 1
    return (sums[size:, size:] - sums[:-size, size:] - sums[size:, :-size] + sums[:-size, :-size]) / size**2


def _is_river(grid: Grid, region: tuple[np.ndarray, np.ndarray]) -> bool:
    length_km = _length_km(grid, region)
    area_km2 = float((grid.row_km * grid.column_km[region[0], 0]).sum())
    return length_km >= RIVER_LENGTH_KM and length_km**2 >= RIVER_SLENDERNESS * area_km2


def _length_km(grid: Grid, region: tuple[np.ndarray, np.ndarray]) -> float:
    """From one end to the other: the farthest pixel from any, and the farthest from that one, along great circles."""
    latitude, longitude = np.radians(grid.latitude[region[0], 0]), np.radians(grid.longitude[0, region[1]])
    points = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    end = points[(points @ points[0]).argmin()]
    return float(np.arccos(np.clip((points @ end).min(), -1, 1)) * 6371)


def _regions(mask: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The connected regions of a mask, each as its rows and columns."""
    left = mask.copy()
    for row, column in np.argwhere(mask):
        if left[row, column]:
            region = _flood(left, (int(row), int(column)))
            left[region] = False
            yield region


def _region(mask: np.ndarray, start: tuple[int, int]) -> np.ndarray:
    """The part of a mask that is connected with a pixel of it."""
    region = np.zeros_like(mask)
    region[_flood(mask, start)] = True
    return region


def _flood(mask: np.ndarray, start: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of the mask that touch `start` by sides or corners, across the date line too."""
    height, width = mask.shape
    seen, edge = {start}, [start]
    while edge:
        row, column = edge.pop()
        for near_row in range(max(row - 1, 0), min(row + 2, height)):
            for near in ((near_row, (column + step) % width) for step in (-1, 0, 1)):
                if near not in seen and mask[near]:
                    seen.add(near)
                    edge.append(near)
    rows, columns = np.array(sorted(seen)).T
    return rows, columns
