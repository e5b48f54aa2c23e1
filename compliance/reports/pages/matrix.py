# SPDX-License-Identifier: Apache-2.0
"""Matrix: the results of a round at a glance, systems against benchmarks."""

from collections.abc import Sequence
from dataclasses import dataclass

from compliance.reports.pages.entries import METRICS, EntryView
from compliance.reports.pages.rankings import BenchmarkView, Place

Column = tuple[str, str]
"""(benchmark, metric)"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One system of one organization."""

    org: str
    system: str
    accelerator: str
    """Model name; empty if there is none."""
    words: str
    """The text that the page's filter looks through."""
    cells: Sequence[Sequence[Place]]
    """For each column the system's results: of several divisions there are several."""


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """Only of use for several systems and several columns."""

    columns: Sequence[Column]
    rows: Sequence[Row]

    @property
    def is_useful(self) -> bool:
        return len(self.columns) > 1 and len(self.rows) > 1

    @property
    def benchmarks(self) -> list[tuple[str, int]]:
        """Benchmarks with their numbers of columns."""
        names = [name for name, _ in self.columns]
        return [(name, names.count(name)) for name in dict.fromkeys(names)]

    @property
    def metrics(self) -> list[tuple[str, str]]:
        """(key, words) of each column's metric."""
        return [(metric, METRICS.get(metric, metric)) for _, metric in self.columns]


def matrix(benchmarks: Sequence[BenchmarkView]) -> Matrix:
    """The places of all rankings, by system and column."""
    places: dict[tuple[str, str], dict[Column, list[Place]]] = {}
    columns: dict[Column, None] = {}
    for view in benchmarks:
        for ranking in view.rankings:
            column = (view.benchmark.name, ranking.metric)
            columns[column] = None
            for place in ranking.places:
                system = (place.view.entry.org, place.view.entry.system)
                places.setdefault(system, {}).setdefault(column, []).append(place)
    return Matrix(columns=list(columns), rows=[_row(*item, columns) for item in sorted(places.items())])


def _row(system: tuple[str, str], cells: dict[Column, list[Place]], columns: dict[Column, None]) -> Row:
    views: list[EntryView] = [place.view for places in cells.values() for place in places]
    words = " ".join(dict.fromkeys(view.words for view in views))
    return Row(
        org=system[0],
        system=system[1],
        accelerator=views[0].hardware.accelerator,
        words=words,
        cells=[cells.get(column, ()) for column in columns],
    )
