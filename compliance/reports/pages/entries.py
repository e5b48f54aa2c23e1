# SPDX-License-Identifier: Apache-2.0
"""EntryView: one entry as the page shows it, made of its logs, its score and the rules that apply to it.

A view holds plain values: once it is made, the events of the entry's logs are freed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from typing import Any

from compliance.checks import rules_for
from compliance.checks.registry import EntryRules
from compliance.entry_results import forget
from compliance.reports.pages.charts import Chart, Series, curves_chart
from compliance.reports.pages.curves import MAX_CURVES, Curve, spread
from compliance.reports.pages.links import Links
from compliance.reports.pages.parameters import Parameter, parameters, text_of
from compliance.reports.pages.runs import RunView, fates_of, run_views
from compliance.review import EntryReview, Review
from compliance.rulesets.ruleset import Benchmark
from compliance.scoring.phases import Phases, mean_phases
from compliance.scoring.reference_convergence import mean_without_extremes
from compliance.scoring.score import Score
from compliance.submissions.hardware import Hardware, hardware, logged
from compliance.submissions.reader import Entry

METRICS = {"time_to_train": "time to train", "throughput": "throughput", "vflops": "VFLOPS"}


@dataclass(frozen=True, kw_only=True)
class EntryView:
    """One entry's section."""

    anchor: str
    entry: Entry
    benchmark: Benchmark | None
    """None for a benchmark that the rule set does not know."""
    score: Score | None
    verdict: str
    """accepted, or the number of errors."""
    num_errors: int
    hardware: Hardware
    batch_size: float | None
    """Global batch size."""
    facts: Sequence[tuple[str, str]]
    """Name and value of what a reader should know before the numbers."""
    runs: Sequence[RunView]
    """Scored runs, then pruned ones."""
    parameters: Sequence[Parameter]
    links: Links

    @property
    def is_accepted(self) -> bool:
        return not self.num_errors

    @property
    def title(self) -> str:
        return " · ".join(part for part in (self.entry.org, self.entry.system) if part) or self.entry.benchmark

    @property
    def metric(self) -> str:
        return METRICS.get(self.score.metric, self.score.metric) if self.score else "not scored"

    @property
    def result_text(self) -> str:
        """The result that the entry is ranked by, with its unit."""
        if self.score is None or (result := self.score.result) is None:
            return "no score"
        formats = {"time_to_train": f"{result:.3f} min", "throughput": f"{result:.3f} models/min"}
        return formats.get(self.score.metric, f"{result:.3e} VFLOPS")

    @property
    def division_word(self) -> str:
        """HPC AI500 has levels; MLPerf HPC has divisions."""
        return "level" if self.benchmark and self.benchmark.suite == "hpc_ai500" else "division"

    @cached_property
    def timed(self) -> list[RunView]:
        """Runs that ended."""
        return [run for run in self.runs if run.minutes is not None]

    @cached_property
    def drawn(self) -> list[RunView]:
        """The runs in the charts: of many, some evenly spread in rank, with the fastest and the slowest."""
        if len(self.timed) <= MAX_CURVES:
            return self.timed
        return spread(sorted(self.timed, key=lambda run: run.minutes or 0.0))

    @property
    def tabled(self) -> Sequence[RunView]:
        """All runs if they are few, else those that are drawn."""
        return self.runs if len(self.runs) <= MAX_CURVES else self.drawn

    @property
    def keys(self) -> list[tuple[str, str]]:
        """The legend of the curves: CSS class and words."""
        drawn = {run.kind for run in self.drawn}
        return [(kind, words) for kind, words in fates_of(self.score).items() if kind in drawn]

    @property
    def has_seeds(self) -> bool:
        return any(run.seed for run in self.runs)

    @property
    def counted(self) -> list[RunView]:
        """Runs in the mean of the score."""
        return [run for run in self.runs if run.kind == "kept"]

    @cached_property
    def mean_phases(self) -> Phases | None:
        return mean_phases(run.phases for run in self.counted if run.phases)

    @cached_property
    def slowest_minutes(self) -> float:
        return max((run.phases.total_minutes for run in self.drawn if run.phases), default=1.0)

    @cached_property
    def mean_epochs(self) -> float | None:
        """Without the smallest and the largest, as in scores; a run that missed the target counts as infinite."""
        return mean_without_extremes([run.epochs_to_target for run in self.runs if run.kind != "pruned"])

    @property
    def words(self) -> str:
        """The text that the page's filter looks through."""
        parts = (self.title, self.entry.benchmark, self.metric, self.entry.division, self.verdict)
        system = (self.hardware.accelerator, self.hardware.processor, self.hardware.software)
        return " ".join((*parts, *system)).lower()

    @property
    def description(self) -> list[tuple[str, str]]:
        """The system description, as submitted."""
        values = self.entry.description.values if self.entry.description else {}
        return [(str(name), text_of(value, 400)) for name, value in values.items() if value not in ("", None)]

    @cached_property
    def _curves(self) -> list[tuple[RunView, Curve]]:
        return [(run, run.curve) for run in self.drawn if run.curve and run.curve.values]

    @property
    def charts(self) -> list[Chart]:
        """Quality over epochs and over minutes."""
        if self.benchmark is None or not self._curves:
            return []
        # The last ones drawn are on top: runs that the text names.
        ordered = sorted(self._curves, key=lambda pair: pair[0].kind != "kept")
        key, target = self.benchmark.quality_key, self.benchmark.target
        return [
            curves_chart(
                [Series(name=run.described, kind=run.kind, points=_points(curve, axis)) for run, curve in ordered],
                label=f"{key} of {len(ordered)} runs over {axis}, target {target.describe()}",
                x_label=axis if axis == "epochs" else "minutes since run_start",
                y_label=key,
                target=target.threshold,
            )
            for axis in ("epochs", "minutes")
        ]

    @property
    def data(self) -> dict[str, Any]:
        """The same curves as numbers, for reading values and zooming."""
        assert self.benchmark is not None
        return {
            "quality": self.benchmark.quality_key,
            "target": self.benchmark.target.threshold,
            "runs": [
                {
                    "name": run.name,
                    "kind": run.kind,
                    "epochs": [round(epoch, 3) for epoch in curve.epochs],
                    "minutes": [round(minute, 3) for minute in curve.minutes],
                    "quality": [float(f"{value:.6g}") for value in curve.values],
                }
                for run, curve in self._curves
            ],
        }


def entry_views(review: Review, links: Links) -> list[EntryView]:
    """Every entry with its score, in the order of the submission."""
    views, taken = [], set[str]()
    for reviewed in review.entries:
        views.append(_view(reviewed, rules_for(reviewed.entry, review.ruleset), links, taken))
        for log in reviewed.entry.logs:
            forget(log)
    return views


def _view(reviewed: EntryReview, rules: EntryRules | None, links: Links, taken: set[str]) -> EntryView:
    entry = reviewed.entry
    system, batch_size = hardware(entry), logged(entry, "global_batch_size")
    return EntryView(
        anchor=_anchor(entry, taken),
        entry=entry,
        benchmark=rules.benchmark if rules else None,
        score=reviewed.score,
        verdict=reviewed.verdict,
        num_errors=reviewed.num_errors,
        hardware=system,
        batch_size=batch_size if isinstance(batch_size, int | float) and 1 <= batch_size < 1e12 else None,
        facts=_facts(entry, system, rules),
        runs=run_views(entry, rules, reviewed.score, links),
        parameters=parameters(entry.runs, rules),
        links=links,
    )


def _facts(entry: Entry, system: Hardware, rules: EntryRules | None) -> list[tuple[str, str]]:
    described = entry.description.values if entry.description else {}
    facts = {
        "level" if rules and rules.benchmark.suite == "hpc_ai500" else "division": entry.division,
        "status": described.get("status") or logged(entry, "submission_status"),
        "nodes": system.num_nodes,
        "accelerators": system.num_accelerators,
        "accelerator": system.accelerator,
        "processor": system.processor,
        "software": system.software,
        "global batch size": logged(entry, "global_batch_size"),
        "training samples": logged(entry, "train_samples"),
    }
    return [(name, text_of(value)) for name, value in facts.items() if value not in (None, "")]


def _anchor(entry: Entry, taken: set[str]) -> str:
    """A readable id that no other entry has."""
    words = f"{entry.org} {entry.system} {entry.benchmark} {entry.scaling}"
    stem = "entry-" + re.sub(r"[^a-z0-9]+", "-", words.lower())[:120].strip("-")
    anchor = next(name for name in chain([stem], (f"{stem}-{i}" for i in count(2))) if name not in taken)
    taken.add(anchor)
    return anchor


def _points(curve: Curve, axis: str) -> list[tuple[float, float]]:
    return list(zip(getattr(curve, axis), curve.values, strict=True))
