# SPDX-License-Identifier: Apache-2.0
"""Figures 3 and 5: entries of one organization and device at several sizes.

Figure 3 shows time to solution and epochs over the units, Figure 5 the training throughput beside ideal scaling.
"""

import math
from collections.abc import Sequence

from matplotlib.figure import Figure

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.spread import Spread
from compliance.reports.pictures import style

Family = list[EntryFigures]


def families(entries: Sequence[EntryFigures]) -> list[Family]:
    """Entries that differ in scale, the smallest first; only families of several sizes."""
    found: dict[tuple, Family] = {}
    for entry in entries:
        if entry.units and entry.runs and entry.minutes and entry.epochs:
            found.setdefault((*entry.family, entry.scaling), []).append(entry)
    several = (family for family in found.values() if len({entry.units for entry in family}) > 1)
    return [sorted(family, key=lambda entry: entry.units or 0) for family in several]


def draw_time_and_epochs(entries: Sequence[EntryFigures]) -> Figure | None:
    """Figure 3; None without a family of several sizes."""
    found = families(entries)
    if not found:
        return None
    figure, (times, epochs) = style.new_figure(1, 2, width=10.0, height=4.2 + 0.2 * math.ceil(len(found) / 2))
    for color, family in zip(_colors(found), found, strict=False):
        units = [entry.units or 0 for entry in family]
        _with_errors(times, units, [entry.minutes for entry in family], color, _name(family))
        _with_errors(epochs, units, [entry.epochs for entry in family], color, "")
    for panel in (times, epochs):
        style.log_axes(panel, x=2, y=10)
        panel.set_xlabel("accelerators or processors")
    times.set(title="time to solution", ylabel="minutes")
    epochs.set(title="epochs to the target", yscale="linear")
    epochs.set_ylim(bottom=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def draw_weak_scaling(entries: Sequence[EntryFigures]) -> Figure | None:
    """Figure 5; None without a family of several sizes."""
    found = [family for family in families(entries) if all(entry.training_rate_per_unit for entry in family)]
    if not found:
        return None
    figure, (panel,) = style.new_figure(width=7.5, height=4.6 + 0.2 * len(found))
    for color, family in zip(_colors(found), found, strict=False):
        units = [entry.units or 0 for entry in family]
        rates = [
            entry.training_rate_per_unit.mean * (entry.units or 0) for entry in family if entry.training_rate_per_unit
        ]
        panel.plot(units, rates, "o-", color=color, label=f"{_name(family)}: {_scaling_words(family, rates)}")
        panel.plot(units, [rates[0] * unit / units[0] for unit in units], ":", color=color, linewidth=1)
    style.log_axes(panel, x=2, y=10)
    panel.set(xlabel="accelerators or processors", ylabel="training samples per second")
    panel.set_title("dotted: the smallest entry's rate per unit", fontsize=9, weight="normal")
    figure.legend(loc="outside lower center", ncols=1)
    return figure


def _scaling_words(family: Family, rates: Sequence[float]) -> str:
    """How the rate per unit changes from the smallest entry to the largest, and whether the batch per unit does too."""
    first, last = family[0], family[-1]
    ratio = rates[-1] / rates[0] * (first.units or 1) / (last.units or 1)
    batches = [f"{entry.batch_size / entry.units:g}" for entry in (first, last) if entry.batch_size and entry.units]
    words = " → ".join(dict.fromkeys(batches))
    return f"rate per unit x {ratio:.2f}, batch per unit {words}"


def _with_errors(panel, units: Sequence[float], spreads: Sequence[Spread | None], color: str, label: str) -> None:
    known = [(unit, spread) for unit, spread in zip(units, spreads, strict=True) if spread is not None]
    errors = [spread.deviation for _, spread in known]
    means = [spread.mean for _, spread in known]
    panel.errorbar([unit for unit, _ in known], means, errors, fmt="o-", color=color, capsize=3, label=label or None)


def _colors(found: Sequence[Family]) -> list[str]:
    return [style.COLORS[index % len(style.COLORS)] for index in range(len(found))]


def _name(family: Family) -> str:
    first = family[0]
    device = first.hardware.accelerator or first.hardware.processor
    return style.words(f"{first.benchmark}, {first.org}, {device}{', throughput' if first.scaling == 'weak' else ''}")
