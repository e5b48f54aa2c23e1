# SPDX-License-Identifier: Apache-2.0
"""Comparison: the same benchmark in two rounds, and the causes of a change of its time.

Time to solution = samples per epoch x epochs / (units x rate per unit) / share of compute time. The ratio of two times
is therefore a product of five ratios: data set, epochs, units, rate per unit, and time that is neither training nor
evaluation (staging, start-up). With the same accelerator in both rounds the rate per unit is due to software (and
networks and settings); with another one, hardware and software cannot be told apart.
"""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.spread import mean_of
from compliance.analysis.table import Cell, Column, Table

SAME_SYSTEM, FASTEST = "same system", "fastest"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An entry of one round beside one of a later round."""

    basis: str
    """Why these two are compared."""
    earlier: EntryFigures
    later: EntryFigures

    @property
    def same_device(self) -> bool:
        """True if both have the same accelerator, or the same processor without accelerators."""
        return self.earlier.hardware.device == self.later.hardware.device != ""

    @property
    def speedup(self) -> float | None:
        """Time of the earlier entry / time of the later one."""
        return _ratio(_minutes(self.earlier), _minutes(self.later))

    @property
    def by_data_set(self) -> float | None:
        """Samples per epoch, earlier / later."""
        return _ratio(self.earlier.samples_per_epoch, self.later.samples_per_epoch)

    @property
    def by_epochs(self) -> float | None:
        """Epochs to the target, earlier / later."""
        return _ratio(_epochs(self.earlier), _epochs(self.later))

    @property
    def by_units(self) -> float | None:
        """Accelerators or processors, later / earlier."""
        return _ratio(self.later.units, self.earlier.units)

    @property
    def by_rate(self) -> float | None:
        """Samples per second and unit in training and evaluation together, later / earlier."""
        return _ratio(_rate_per_unit(self.later), _rate_per_unit(self.earlier))

    @property
    def by_overhead(self) -> float | None:
        """Share of the time that is training or evaluation, later / earlier."""
        return _ratio(_compute_share(self.later), _compute_share(self.earlier))

    @property
    def is_same_result(self) -> bool:
        """True if the earlier result was submitted again."""
        return self.earlier.runs == self.later.runs

    @property
    def rate_cause(self) -> str:
        """Causes of a change of the rate per unit."""
        if self.is_same_result:
            return "submitted again"
        return "software" if self.same_device else "hardware and software"

    @property
    def factors(self) -> dict[str, float | None]:
        """The causes by name; their product is the speed-up."""
        return {
            "data set": self.by_data_set,
            "epochs": self.by_epochs,
            "units": self.by_units,
            self.rate_cause: self.by_rate,
            "staging and start-up": self.by_overhead,
        }


def compare(earlier: Sequence[EntryFigures], later: Sequence[EntryFigures]) -> list[Comparison]:
    """Per benchmark, division and scaling: the fastest of both rounds, and systems that took part in both."""
    fastest = list(_fastest(earlier, later))
    named = {(id(pair.earlier), id(pair.later)) for pair in fastest}
    others = (pair for pair in _same_systems(earlier, later) if (id(pair.earlier), id(pair.later)) not in named)
    return [*fastest, *others]


def _fastest(earlier: Sequence[EntryFigures], later: Sequence[EntryFigures]) -> Iterator[Comparison]:
    before, after = _by_kind(earlier), _by_kind(later)
    for kind in sorted(before.keys() & after.keys()):
        pair = (min(entries, key=_time_of) for entries in (before[kind], after[kind]))
        yield Comparison(basis=FASTEST, earlier=next(pair), later=next(pair))


def _same_systems(earlier: Sequence[EntryFigures], later: Sequence[EntryFigures]) -> Iterator[Comparison]:
    """Each later entry with the earlier one of nearest size among those of the same organization and device."""
    before = _by_kind(earlier)
    for kind, entries in sorted(_by_kind(later).items()):
        for entry in entries:
            same = [other for other in before.get(kind, ()) if _is_same_system(other, entry)]
            if same:
                nearest = min(same, key=lambda other: _distance(entry.units, other.units))
                yield Comparison(basis=SAME_SYSTEM, earlier=nearest, later=entry)


def _is_same_system(earlier: EntryFigures, later: EntryFigures) -> bool:
    """Joint submissions are the same organization as each of their members: Fujitsu, and Fujitsu+RIKEN."""
    organizations = [set(re.split(r"[+_ ]", entry.org.lower())) for entry in (earlier, later)]
    is_same_device = earlier.hardware.device == later.hardware.device != ""
    return is_same_device and not organizations[0].isdisjoint(organizations[1])


def _by_kind(entries: Sequence[EntryFigures]) -> dict[tuple[str, str, str], list[EntryFigures]]:
    kinds: dict[tuple[str, str, str], list[EntryFigures]] = {}
    for entry in entries:
        if entry.score.scored and entry.runs and entry.score.metric == "time_to_train":
            kinds.setdefault((entry.benchmark, entry.division, entry.scaling), []).append(entry)
    return kinds


def _distance(units: int | None, other: int | None) -> float:
    return abs(math.log(units / other)) if units and other else math.inf


def _time_of(entry: EntryFigures) -> float:
    minutes = _minutes(entry)
    return math.inf if minutes is None else minutes


def _minutes(entry: EntryFigures) -> float | None:
    return mean_of(entry.minutes)


def _epochs(entry: EntryFigures) -> float | None:
    return mean_of(entry.epochs)


def _compute_share(entry: EntryFigures) -> float | None:
    """Share of training and evaluation in the time of the mean run."""
    compute, minutes = sum(run.compute_minutes for run in entry.runs), sum(run.minutes for run in entry.runs)
    return compute / minutes if minutes else None


def _rate_per_unit(entry: EntryFigures) -> float | None:
    """Chosen so that the product of all factors is the speed-up: samples x epochs / compute minutes / units."""
    compute = sum(run.compute_minutes for run in entry.runs) / len(entry.runs)
    if entry.samples_per_epoch is None or entry.epochs is None or not entry.units or not compute:
        return None
    return entry.samples_per_epoch * entry.epochs.mean / compute / entry.units


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value and base else None


def table(comparisons: Sequence[Comparison], earlier: str, later: str) -> Table:
    """All comparisons of two rounds, with the names of the rounds."""
    columns = (
        Column(key="benchmark", heading="benchmark"),
        Column(key="division", heading="division"),
        Column(key="basis", heading="compared"),
        Column(key="earlier", heading=earlier),
        Column(key="later", heading=later),
        Column(key="earlier_minutes", heading="before"),
        Column(key="later_minutes", heading="after"),
        Column(key="speedup", heading="speed-up"),
        Column(key="by_data_set", heading="data set"),
        Column(key="by_epochs", heading="epochs"),
        Column(key="by_units", heading="units"),
        Column(key="by_rate", heading="rate"),
        Column(key="rate_cause", heading="rate due to"),
        Column(key="by_overhead", heading="staging etc."),
    )
    return Table(
        name=f"comparison_{_file_name(earlier)}_{_file_name(later)}",
        title=f"{later} against {earlier}",
        columns=columns,
        rows=[_row(comparison) for comparison in comparisons],
        notes=(
            "Before, after: minutes to solution. Speed-up: before / after, the product of the factors that follow it.",
            "Rate: samples per second and accelerator (or processor), in training and evaluation together.",
            "Compared are the fastest entries of both rounds, and entries of the same organization and device.",
        ),
    )


def _file_name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text)


def _row(comparison: Comparison) -> dict[str, Cell]:
    earlier, later = comparison.earlier, comparison.later
    return {
        "benchmark": later.benchmark,
        "division": later.division,
        "basis": comparison.basis,
        "earlier": f"{earlier.org}/{earlier.system}",
        "later": f"{later.org}/{later.system}",
        "earlier_minutes": _minutes(earlier),
        "later_minutes": _minutes(later),
        "speedup": comparison.speedup,
        "by_data_set": comparison.by_data_set,
        "by_epochs": comparison.by_epochs,
        "by_units": comparison.by_units,
        "by_rate": comparison.by_rate,
        "rate_cause": comparison.rate_cause,
        "by_overhead": comparison.by_overhead,
    }
