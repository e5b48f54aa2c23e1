# SPDX-License-Identifier: Apache-2.0
"""RunView: one run as the page shows it, and its part in the score."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from compliance.checks.registry import EntryRules
from compliance.mllog import RunLog
from compliance.reports.pages.curves import Curve, curve
from compliance.reports.pages.links import Links
from compliance.reports.pages.parameters import text_of
from compliance.scoring.phases import Phases, run_phases
from compliance.scoring.run_metrics import converged, run_minutes
from compliance.scoring.score import Score
from compliance.submissions.reader import Entry

VFLOPS_FATES = {"fastest": "dropped: highest VFLOPS", "slowest": "dropped: lowest VFLOPS"}
FATES = {
    "kept": "kept",
    "fastest": "dropped: fastest",
    "slowest": "dropped: slowest",
    "unconverged": "missed the target",
    "pruned": "pruned",
}


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One row of an entry's runs and one line of its charts."""

    name: str
    """File name."""
    href: str
    kind: str
    """A key of FATES; also the CSS class of the run's curve."""
    fate: str
    minutes: float | None
    curve: Curve | None
    """None if the rule set does not know the benchmark."""
    phases: Phases | None
    status: str
    """Status of run_stop."""
    seed: str
    reached_target: bool

    @property
    def epochs_to_target(self) -> float:
        """Epochs at the last evaluation; infinite if the target was missed."""
        epoch = self.curve.last_epoch if self.reached_target and self.curve else None
        return math.inf if epoch is None else epoch

    @property
    def described(self) -> str:
        """Shown when the run's curve is pointed at."""
        minutes = "no run_stop" if self.minutes is None else f"{self.minutes:.2f} min"
        return f"{self.name}: {minutes}, {self.fate}"


def fates_of(score: Score | None) -> dict[str, str]:
    """The fates of runs in the words of the score's metric."""
    return FATES | VFLOPS_FATES if score and score.metric == "vflops" else FATES


def run_views(entry: Entry, limits: EntryRules | None, score: Score | None, links: Links) -> list[RunView]:
    """Scored runs in the order of their files, then the pruned ones."""
    scored = [_run_view(log, kind, fate, limits, links) for log, kind, fate in _fates(entry, limits, score)]
    return scored + [_run_view(log, "pruned", FATES["pruned"], limits, links) for log in entry.pruned]


def _fates(entry: Entry, limits: EntryRules | None, score: Score | None) -> Iterator[tuple[RunLog, str, str]]:
    dropped = dict(zip(score.dropped, ("fastest", "slowest"), strict=False)) if score else {}
    fates = fates_of(score)
    for log in entry.runs:
        kind = dropped.get(log.path.name, "kept")
        fate = fates[kind]
        if limits is not None and not converged(log, limits.benchmark):
            fate = f"{FATES['unconverged']}; {fate}" if kind != "kept" else FATES["unconverged"]
            kind = "unconverged"
        yield log, kind, fate


def _run_view(log: RunLog, kind: str, fate: str, limits: EntryRules | None, links: Links) -> RunView:
    stop = log.last("run_stop")
    status = stop.metadata.status if stop and stop.metadata else None
    return RunView(
        name=log.path.name,
        href=links.href(log.path),
        kind=kind,
        fate=fate,
        minutes=run_minutes(log),
        curve=curve(log, limits.benchmark) if limits else None,
        phases=run_phases(log),
        status=_cell(status),
        seed=_cell(log.value("seed")),
        reached_target=limits is not None and converged(log, limits.benchmark),
    )


def _cell(value: Any) -> str:
    return "" if value is None else text_of(value, 24)
