# SPDX-License-Identifier: Apache-2.0
"""Synthetic weather: plausible fields, and boxes that lie where the storms are."""

import numpy as np
import pytest

from ewa_fasterrcnn.synthetic.weather import CLIMATE, Map, background, make_image, noise
from ewa_fasterrcnn.year_files import CHANNELS, check_boxes

SIZE = (96, 144)


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, np.ndarray]]:
    return [make_image(np.random.default_rng(seed), *SIZE) for seed in range(40)]


def boxes_of(images, kind):
    """Fields, and rows and columns of the box, of every storm of a kind that does not touch the map's edges."""
    for fields, rows in images:
        for ymin, xmin, ymax, xmax, _ in rows[rows[:, 4] == kind]:
            if xmin > 0 and xmax < SIZE[1]:
                yield fields, np.s_[int(ymin) : int(np.ceil(ymax)), int(xmin) : int(np.ceil(xmax))]


def test_fields_are_finite_and_all_kinds_of_storms_occur(images):
    for fields, rows in images:
        assert fields.shape == (len(CHANNELS), *SIZE)
        assert np.isfinite(fields).all()
        check_boxes(rows[None], SIZE, "image")
    kinds = np.concatenate([rows[:, 4] for _, rows in images])
    assert [np.sum(kinds == kind) > 10 for kind in range(4)] == [True] * 4


def test_storms_do_not_overlap_each_other(images):
    for _, rows in images:
        used = rows[rows[:, 4] >= 0]
        for number, one in enumerate(used):
            for other in used[number + 1 :]:
                apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
                assert apart


@pytest.mark.parametrize("kind", [1, 2])
def test_a_cyclones_pressure_is_lowest_in_the_middle_of_its_box(images, kind):
    pressure = CHANNELS.index("PSL")
    offsets = []
    for fields, area in boxes_of(images, kind):
        inside = fields[pressure][area]
        row, column = np.unravel_index(inside.argmin(), inside.shape)
        offsets.append((row / (inside.shape[0] - 1), column / (inside.shape[1] - 1)))
    assert np.mean(offsets, axis=0) == pytest.approx([0.5, 0.5], abs=0.05)
    assert np.std(offsets, axis=0).max() < 0.15


def test_cores_are_warm_in_the_tropics_and_cold_elsewhere(images):
    upper = CHANNELS.index("T500")

    def contrast(kind: int) -> float:
        values = [(fields[upper][area], fields[upper][area].mean()) for fields, area in boxes_of(images, kind)]
        return np.mean([inside[len(inside) // 2, inside.shape[1] // 2] - mean for inside, mean in values])

    assert contrast(1) > 1
    assert contrast(2) < -1


def test_a_river_is_moist_and_reaches_its_boxs_edges(images):
    moisture = CHANNELS.index("TMQ")
    for fields, area in boxes_of(images, 3):
        latitudes = fields[moisture].mean(axis=1, keepdims=True)
        wet = (fields[moisture] - latitudes)[area] > 12
        assert wet.any(axis=1).mean() > 0.5
        assert wet.any(axis=0).mean() > 0.5


def test_winds_turn_the_other_way_in_the_south(images):
    east, north = CHANNELS.index("U850"), CHANNELS.index("V850")
    turns = {-1: [], 1: []}
    for fields, area in boxes_of(images, 1):
        u, v = fields[east][area], fields[north][area]
        side = 1 if (area[0].start + area[0].stop) / 2 > SIZE[0] / 2 else -1
        turns[side].append((v[:, -2:].mean() - v[:, :2].mean()) + (u[:2].mean() - u[-2:].mean()))
    assert np.mean(turns[1]) > 10
    assert np.mean(turns[-1]) < -10


def test_noise_is_periodic_in_longitude_and_of_unit_variance():
    field = noise(Map(*SIZE), np.random.default_rng(0))
    assert (field.mean(), field.std()) == (pytest.approx(0, abs=1e-9), pytest.approx(1))
    across_the_edge = np.abs(field[:, 0] - field[:, -1]).mean()
    assert across_the_edge < 2 * np.abs(np.diff(field, axis=1)).mean()


def test_calm_weather_follows_the_climate():
    fields = background(Map(*SIZE), np.random.default_rng(0))
    assert set(fields) == set(CHANNELS)
    equator, pole, deviation = CLIMATE["TREFHT"]
    assert fields["TREFHT"][48].mean() == pytest.approx(equator, abs=2 * deviation)
    assert fields["TREFHT"][0].mean() == pytest.approx(pole, abs=2 * deviation)


def test_a_storm_across_the_edge_of_the_map_goes_on_at_the_other_edge():
    globe = Map(*SIZE)
    assert globe.east_of(359)[0, 0] == pytest.approx(2.25)
    assert globe.box(-10, -15, 10, 5) == pytest.approx((96 * 80 / 180, 0, 96 * 100 / 180, 2))
