# SPDX-License-Identifier: Apache-2.0
"""Tables as text for people and as numbers for programs."""

import pytest

from compliance.analysis.spread import Spread
from compliance.analysis.table import Column, Table, shown

TABLE = Table(
    name="t",
    title="T",
    columns=(
        Column(key="system", heading="system"),
        Column(key="org"),
        Column(key="minutes", heading="minutes"),
        Column(key="share", heading="share", digits=1, percent=True),
        Column(key="empty", heading="empty"),
    ),
    rows=[
        {"system": "a", "org": "acme", "minutes": Spread(mean=16.494, deviation=0.605, count=8), "share": 0.1234},
        {"system": "b", "org": "beta", "minutes": None, "share": None},
    ],
)


def test_text_leaves_out_columns_without_values_or_headings():
    assert TABLE.cells() == [("system", "minutes", "share"), ("a", "16.49 ± 0.60", "12.3 %"), ("b", "", "")]
    assert TABLE.numeric_columns() == [False, True, True]


def test_records_keep_all_columns_and_full_numbers():
    first, second = TABLE.records()
    assert first == {
        "system": "a",
        "org": "acme",
        "minutes": 16.494,
        "minutes_deviation": 0.605,
        "share": 0.1234,
        "empty": None,
    }
    assert second["minutes"] is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Spread(mean=0.763, deviation=0.0036, count=8), "0.76 ± 0.004"),
        (Spread(mean=14.15, deviation=6e-6, count=8), "14.15 ± 0.0000"),
        (Spread(mean=24.0, deviation=0.0, count=3), "24.00 ± 0.00"),
        (512, "512"),
        ("x", "x"),
        (None, ""),
    ],
)
def test_cells(value, text):
    assert shown(value, Column(key="k", heading="k")) == text
