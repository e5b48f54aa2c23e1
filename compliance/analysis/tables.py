# SPDX-License-Identifier: Apache-2.0
"""Tables 4, 5 and 6 of the MLPerf HPC paper, and the run-to-run variation, from the figures of entries.

for table in tables(entries): ...
"""

from collections.abc import Iterator, Mapping, Sequence

from compliance.analysis.entry_figures import EntryFigures
from compliance.analysis.table import Cell, Column, Table
from compliance.analysis.variability import variability

ENTRY_COLUMNS = (
    Column(key="benchmark", heading="benchmark"),
    Column(key="entry", heading="entry"),
    Column(key="kind", heading="division"),
    Column(key="org"),
    Column(key="system"),
    Column(key="division"),
    Column(key="metric"),
)


def tables(entries: Sequence[EntryFigures]) -> list[Table]:
    """All tables that have rows."""
    made = (scores(entries), staging(entries), compute(entries), variation(entries))
    return [table for table in made if table.rows]


def scores(entries: Sequence[EntryFigures]) -> Table:
    """Table 4: time to solution of every entry, with its software and the size of its system."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="software", heading="software"),
        Column(key="processors", heading="processors"),
        Column(key="accelerators", heading="accelerators"),
        Column(key="minutes", heading="minutes"),
        Column(key="scaled_minutes", heading="scaled minutes"),
        Column(key="deviation", heading="deviation", digits=1, percent=True),
    )
    return Table(
        name="table_4_scores",
        title="Table 4: scores",
        columns=columns,
        rows=[head(entry) | _score(entry) for entry in entries],
        notes=(
            "Minutes: time to train, mean without the fastest and the slowest run; for throughput the time for all "
            "instances.",
            "Deviation: sample standard deviation / mean of the runs in the mean.",
        ),
    )


def _score(entry: EntryFigures) -> dict[str, Cell]:
    system, score = entry.hardware, entry.score
    return {
        "software": system.software,
        "processors": int(system.num_processors) if system.num_processors else None,
        "accelerators": int(system.num_accelerators or 0),
        "minutes": score.minutes,
        "scaled_minutes": score.scaled_minutes if score.scale_factor != 1 else None,
        "deviation": entry.minutes.relative if entry.minutes and entry.minutes.count > 1 else None,
    }


def staging(entries: Sequence[EntryFigures]) -> Table:
    """Table 5: staging time and the ratio to an epoch's time, with the share of staging by equation 2."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="staging_minutes", heading="staging minutes"),
        Column(key="staging_ratio", heading="ratio"),
        Column(key="predicted_share", heading="predicted share", digits=1, percent=True),
        Column(key="measured_share", heading="measured share", digits=1, percent=True),
    )
    return Table(
        name="table_5_staging",
        title="Table 5: staging",
        columns=columns,
        rows=[head(entry) | _staging(entry) for entry in entries if entry.staging_minutes is not None],
        notes=(
            "Ratio: staging time / time of an epoch, which is compute throughput / staging throughput.",
            "Predicted share of staging: ratio / (ratio + epochs), equation 2 of the paper.",
        ),
    )


def _staging(entry: EntryFigures) -> dict[str, Cell]:
    return {
        "staging_minutes": entry.staging_minutes,
        "staging_ratio": entry.staging_ratio,
        "predicted_share": entry.predicted_staging_share,
        "measured_share": entry.staging_share,
    }


def compute(entries: Sequence[EntryFigures]) -> Table:
    """Table 6: batch, epochs, throughput per unit, time to solution and compute budget; evaluation beside them."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="batch_size", heading="batch", digits=0),
        Column(key="epochs", heading="epochs"),
        Column(key="units", heading="units"),
        Column(key="unit", heading="unit"),
        Column(key="training_rate", heading="training /s"),
        Column(key="evaluation_rate", heading="evaluation /s"),
        Column(key="minutes", heading="minutes"),
        Column(key="compute_budget", heading="unit hours"),
        Column(key="evaluation_share", heading="evaluating", digits=1, percent=True),
        Column(key="evaluations_per_epoch", heading="evaluations/epoch"),
    )
    return Table(
        name="table_6_compute",
        title="Table 6: epochs, throughput and compute budget",
        columns=columns,
        rows=[head(entry) | _compute(entry) for entry in entries if entry.runs],
        notes=(
            "Units: accelerators that train one model, or processors if there are none. ±: sample standard deviation.",
            "Training /s, evaluation /s: samples per second and unit, in the time of training and of evaluation.",
            "Unit hours: minutes x units / 60. Evaluating: share of the time in evaluation.",
        ),
    )


def _compute(entry: EntryFigures) -> dict[str, Cell]:
    return {
        "batch_size": entry.batch_size,
        "epochs": entry.epochs,
        "units": entry.units,
        "unit": entry.unit if entry.units else None,
        "training_rate": entry.training_rate_per_unit,
        "evaluation_rate": entry.evaluation_rate_per_unit,
        "minutes": entry.minutes,
        "compute_budget": entry.compute_budget_hours,
        "evaluation_share": entry.evaluation_share,
        "evaluations_per_epoch": entry.evaluations_per_epoch,
    }


def variation(entries: Sequence[EntryFigures]) -> Table:
    """Run-to-run variation of the compute time, and its causes."""
    columns = (
        *ENTRY_COLUMNS,
        Column(key="runs", heading="runs"),
        Column(key="deviation", heading="deviation", digits=1, percent=True),
        Column(key="epochs_share", heading="due to epochs", digits=0, percent=True),
        Column(key="throughput_share", heading="due to throughput", digits=0, percent=True),
    )
    return Table(
        name="variation",
        title="Run-to-run variation",
        columns=columns,
        rows=list(_variations(entries)),
        notes=(
            "Deviation: sample standard deviation / mean of the compute time (training and evaluation) of the runs.",
            "Due to: shares of the variance of ln(compute time) = ln(epochs) + ln(time per epoch); a share above "
            "100 % means that the two work against each other.",
        ),
    )


def _variations(entries: Sequence[EntryFigures]) -> Iterator[Mapping[str, Cell]]:
    for entry in entries:
        if found := variability(entry):
            yield head(entry) | {
                "runs": len(entry.runs),
                "deviation": found.relative_deviation,
                "epochs_share": found.epochs_share,
                "throughput_share": found.throughput_share,
            }


def head(entry: EntryFigures) -> dict[str, Cell]:
    """The values of ENTRY_COLUMNS."""
    return {
        "benchmark": entry.benchmark,
        "entry": "/".join(filter(None, (entry.org, entry.system))),
        "kind": f"{entry.division}{', throughput' if entry.scaling == 'weak' else ''}",
        "org": entry.org,
        "system": entry.system,
        "division": entry.division,
        "metric": entry.score.metric,
    }
