# SPDX-License-Identifier: Apache-2.0
"""Data, tables and picture of `predict --validate`: the errors of the prediction on public entries."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from matplotlib.figure import Figure

from characterize.models.validation import COVERAGE, QUESTIONS, SPLITS, Trial, summarize
from characterize.pictures.predictions import draw_validation
from characterize.results.result import Result
from characterize.results.tables import MISSING, Table, percent, three_digits

HELD_OUT = {
    "entry": "the entry alone",
    "organization": "its organization",
    "round": "its round",
    "device": "its device",
}


def data(trials: Sequence[Trial]) -> dict:
    """Every trial as a record, and the summaries of all splits and questions."""
    summary = []
    for question in QUESTIONS:
        for split in SPLITS:
            errors = summarize([trial for trial in trials if (trial.question, trial.split) == (question, split)])
            if errors is not None:
                summary.append({"question": question, "split": split, **asdict(errors)})
    return {"validation": [_record(trial) for trial in trials], "summary": summary}


def _record(trial: Trial) -> dict:
    entry, prediction = trial.entry, trial.prediction
    record = {
        "entry": entry.label,
        "benchmark": entry.benchmark,
        "device": entry.device,
        "num_ranks": entry.num_ranks,
        "global_batch_size": entry.global_batch_size,
        "split": trial.split,
        "question": trial.question,
        "published_minutes": entry.minutes,
        "baseline_minutes": trial.baseline_minutes,
        "predicted_minutes": None,
    }
    if prediction is None or trial.interval is None:
        return record
    return record | {
        "predicted_minutes": prediction.minutes.median,
        "low": trial.interval[0],
        "high": trial.interval[1],
        "is_covered": trial.is_covered,
        "epochs": [entry.epochs, prediction.epochs.median],
        "throughput": [entry.samples_per_s, prediction.throughput.median],
        "staging_minutes": [entry.staging_minutes, prediction.staging_minutes],
    }


def tables(result: Result) -> Iterator[Table]:
    yield Table(
        title=f"Public entries of v{', v'.join(result.settings['rounds'])} predicted from others",
        columns=("known", "held out", "entries", "error", "90th pct.", "worst", "baseline", "bias", "covered"),
        rows=[_summary_row(row) for row in result.data["summary"]],
        num_left=2,
        note="Error: median factor between predicted and published minutes, 50 % is 1.5 times too long or too short. "
        "Baseline: nearest entry of the benchmark and device, scaled by the ranks. Bias: predicted / published. "
        f"Covered: published time inside the interval, which aims at {COVERAGE:.0%}.",
    )
    for question in QUESTIONS[:2]:
        yield entry_table(result, question)


def entry_table(result: Result, question: str, split: str = "entry") -> Table:
    """Every entry under one question and split."""
    rows = [row for row in result.data["validation"] if (row["question"], row["split"]) == (question, split)]
    return Table(
        title=f"{question[0].upper()}{question[1:]}, {HELD_OUT[split]} held out: minutes to train",
        columns=(
            "entry",
            "device",
            "ranks",
            "batch",
            "published",
            "predicted",
            "interval",
            "epochs, own / predicted",
            "samples/s, own / predicted",
        ),
        rows=[_entry_row(row) for row in rows],
        num_left=2,
        note="x: outside the interval.",
    )


def _entry_row(row: dict) -> list[str]:
    head = [row["entry"], row["device"], str(row["num_ranks"]), str(row["global_batch_size"])]
    published = three_digits(row["published_minutes"])
    if row["predicted_minutes"] is None:
        return [*head, published, *[MISSING] * 4]
    mark = "" if row["is_covered"] else " x"
    interval = f"{three_digits(row['low'])} to {three_digits(row['high'])}{mark}"
    epochs = " / ".join(f"{value:.1f}" for value in row["epochs"])
    rates = " / ".join(f"{value:.0f}" for value in row["throughput"])
    return [*head, published, three_digits(row["predicted_minutes"]), interval, epochs, rates]


def _summary_row(row: dict) -> list[str]:
    number = str(row["num_trials"])
    if row["num_without_prediction"]:
        number += f" of {row['num_trials'] + row['num_without_prediction']}"
    errors = [percent(row[f"{name}_error"]) for name in ("median", "ninth_decile", "worst", "baseline")]
    return [
        row["question"],
        HELD_OUT[row["split"]],
        number,
        *errors,
        f"{row['bias']:.2f}",
        percent(row["coverage"]),
    ]


def figures(result: Result) -> dict[str, Figure]:
    return {result.name: draw_validation(result)}
