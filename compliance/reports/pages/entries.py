# SPDX-License-Identifier: Apache-2.0
"""EntryView: one entry as the page shows it, made of its logs, its score and the rules that apply to it."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, count
from typing import Any

from compliance.checks import rules_for
from compliance.checks.registry import EntryRules
from compliance.reports.pages.charts import Chart, Series, curves_chart
from compliance.reports.pages.curves import MAX_CURVES, spread
from compliance.reports.pages.links import Links
from compliance.reports.pages.parameters import Parameter, parameters, text_of
from compliance.reports.pages.runs import RunView, fates_of, run_views
from compliance.review import Review
from compliance.rulesets.constraint import TYPES
from compliance.scoring.phases import Phases, mean_phases
from compliance.scoring.reference_convergence import mean_without_extremes
from compliance.scoring.score import Score
from compliance.submissions.reader import Entry

METRICS = {"time_to_train": "time to train", "throughput": "throughput", "vflops": "VFLOPS"}


@dataclass(frozen=True, kw_only=True)
class EntryView:
    """One entry's section."""

    anchor: str
    entry: Entry
    limits: EntryRules | None
    """None for a benchmark that the rule set does not know."""
    score: Score | None
    runs: Sequence[RunView]
    """Scored runs, then pruned ones."""
    links: Links

    @property
    def title(self) -> str:
        return " · ".join(part for part in (self.entry.org, self.entry.system) if part) or self.entry.benchmark

    @property
    def metric(self) -> str:
        return METRICS.get(self.score.metric, self.score.metric) if self.score else "not scored"

    @cached_property
    def timed(self) -> list[RunView]:
        """Runs that ended."""
        return [run for run in self.runs if run.minutes is not None]

    @cached_property
    def drawn(self) -> list[RunView]:
        """The runs that charts show: of many, some evenly spread in rank, the fastest and the slowest among them."""
        if len(self.timed) <= MAX_CURVES:
            return self.timed
        return spread(sorted(self.timed, key=lambda run: run.minutes))

    @property
    def tabled(self) -> Sequence[RunView]:
        """All runs where they are few, else those that are drawn."""
        return self.runs if len(self.runs) <= MAX_CURVES else self.drawn

    @property
    def keys(self) -> list[tuple[str, str]]:
        """What the drawn curves stand for: CSS class and words."""
        drawn = {run.kind for run in self.drawn}
        return [(kind, words) for kind, words in fates_of(self.score).items() if kind in drawn]

    @property
    def has_seeds(self) -> bool:
        return any(run.seed for run in self.runs)

    @property
    def counted(self) -> list[RunView]:
        """Runs that the score's mean is made of."""
        return [run for run in self.runs if run.kind == "kept"]

    @cached_property
    def mean_phases(self) -> Phases | None:
        return mean_phases(run.phases for run in self.counted if run.phases)

    @cached_property
    def slowest_minutes(self) -> float:
        return max((run.phases.total_minutes for run in self.drawn if run.phases), default=1.0)

    @property
    def batch_size(self) -> float | None:
        return _number(self._logged("global_batch_size"))

    @cached_property
    def mean_epochs(self) -> float | None:
        """Without the smallest and the largest, as scores are made; a run that missed the target counts as infinite."""
        epochs = [run.epochs_to_target for run in self.runs if run.kind != "pruned"]
        return mean_without_extremes(epochs)

    @property
    def num_nodes(self) -> float | None:
        return _number(self._described("number_of_nodes")) or _number(self._logged("number_of_nodes"))

    @property
    def num_accelerators(self) -> float | None:
        """None where the system has none or does not say."""
        per_node = _number(self._described("accelerators_per_node")) or _number(self._logged("accelerators_per_node"))
        return self.num_nodes * per_node if self.num_nodes and per_node else None

    @property
    def division_word(self) -> str:
        """HPC AI500 has levels where MLPerf HPC has divisions."""
        return "level" if self.limits and self.limits.benchmark.suite == "hpc_ai500" else "division"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What a reader wants to know before the numbers."""
        found = {
            self.division_word: self.entry.division,
            "status": self._described("status") or self._logged("submission_status"),
            "nodes": self.num_nodes,
            "accelerators": self.num_accelerators,
            "accelerator": self._described("accelerator_model_name"),
            "processor": self._described("host_processor_model_name"),
            "framework": self._described("framework"),
            "global batch size": self.batch_size,
            "training samples": self._logged("train_samples"),
        }
        return [(name, text_of(value)) for name, value in found.items() if value not in (None, "")]

    @property
    def parameters(self) -> list[Parameter]:
        return parameters(self.entry.runs, self.limits)

    @property
    def description(self) -> list[tuple[str, str]]:
        """The system description, as submitted."""
        values = self.entry.description.values if self.entry.description else {}
        return [(str(name), text_of(value, 400)) for name, value in values.items() if value not in ("", None)]

    @property
    def charts(self) -> list[Chart]:
        """Quality over epochs and over minutes."""
        runs = [run for run in self.drawn if run.curve and run.curve.values]
        if self.limits is None or not runs:
            return []
        benchmark = self.limits.benchmark
        return [
            curves_chart(
                [Series(name=run.described, kind=run.kind, points=_points(run, axis)) for run in _kept_below(runs)],
                label=f"{benchmark.quality_key} of {len(runs)} runs over {axis}, target {benchmark.target.describe()}",
                x_label=axis if axis == "epochs" else "minutes since run_start",
                y_label=benchmark.quality_key,
                target=benchmark.target.threshold,
            )
            for axis in ("epochs", "minutes")
        ]

    @property
    def data(self) -> dict[str, Any]:
        """The same curves as numbers, for reading values and zooming."""
        return {
            "quality": self.limits.benchmark.quality_key,
            "target": self.limits.benchmark.target.threshold,
            "runs": [
                {
                    "name": run.name,
                    "kind": run.kind,
                    "epochs": [round(epoch, 3) for epoch in run.curve.epochs],
                    "minutes": [round(minute, 3) for minute in run.curve.minutes],
                    "quality": [float(f"{value:.6g}") for value in run.curve.values],
                }
                for run in self.drawn
                if run.curve and run.curve.values
            ],
        }

    def _logged(self, key: str) -> Any:
        return next((log.value(key) for log in self.entry.runs if log.value(key) is not None), None)

    def _described(self, key: str) -> Any:
        return self.entry.description.values.get(key) if self.entry.description else None


def entry_views(review: Review, links: Links) -> list[EntryView]:
    """Every entry with its score, in the order of the submission."""
    views, taken = [], set[str]()
    for reviewed in review.entries:
        limits = rules_for(reviewed.entry, review.ruleset)
        view = EntryView(
            anchor=_anchor(reviewed.entry, taken),
            entry=reviewed.entry,
            limits=limits,
            score=reviewed.score,
            runs=run_views(reviewed.entry, limits, reviewed.score, links),
            links=links,
        )
        views.append(view)
    return views


def _anchor(entry: Entry, taken: set[str]) -> str:
    """A readable id that no other entry has."""
    words = f"{entry.org} {entry.system} {entry.benchmark} {entry.scaling}"
    stem = "entry-" + re.sub(r"[^a-z0-9]+", "-", words.lower())[:120].strip("-")
    anchor = next(name for name in chain([stem], (f"{stem}-{i}" for i in count(2))) if name not in taken)
    taken.add(anchor)
    return anchor


def _kept_below(runs: Iterable[RunView]) -> list[RunView]:
    """Drawing order: the runs that the text names lie on top."""
    return sorted(runs, key=lambda run: run.kind != "kept")


def _points(run: RunView, axis: str) -> list[tuple[float, float]]:
    return list(zip(getattr(run.curve, axis), run.curve.values, strict=True))


def _number(value: Any) -> float | None:
    """A positive number, or one that a system description holds as text."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    return value if TYPES["number"](value) and value > 0 else None
