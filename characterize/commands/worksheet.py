# SPDX-License-Identifier: Apache-2.0
"""Worksheet of a system: a TOML file with one figure per benchmark and column, and where each comes from.

worksheet = load(Path("proposed.toml"))

system = "Example, 512 accelerators"
[benchmarks.cosmoflow.baseline]        # each figure has one source: minutes, vflops, logs, public or prediction
logs = "results/us/example"            # scored by the checker: folder of the logs, relative to this file
[benchmarks.cosmoflow.optimized]
prediction = "predict_cosmoflow_H100.json"      # result of `characterize predict`: its fastest choice, projected
[benchmarks.deepcam.baseline]
public = "v2.0 NVIDIA/dgxa100_n64_pytorch"      # entry of a public round, from the shipped facts
[benchmarks.openfold.baseline]
minutes = 12.5                         # time to train; or vflops = 1e15 for the benchmarks of HPC AI500
kind = "projected"                     # or "measured"
method = "measured on 8 nodes, scaled to 64 by the efficiency of our allreduce model"
accelerators = 512
instances = 1                          # trainings at the same time, each of so many minutes
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from characterize.models.figure_of_merit import (
    BASELINE,
    COLUMNS,
    MEASURED,
    PROJECTED,
    TRAININGS_PER_HOUR,
    VFLOPS,
    FigureOfMerit,
    trainings_per_hour,
)
from characterize.results.result import CharacterizeError
from characterize.results.result import load as load_result
from characterize.rounds import facts
from characterize.rounds.from_logs import num_ranks
from compliance.checks import rules_for
from compliance.files import toml
from compliance.scoring.score import Score, score_entry
from compliance.submissions import reader, rules_choice

Positive = Annotated[float, msgspec.Meta(gt=0)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
SOURCES = ("minutes", "vflops", "logs", "public", "prediction")
STATED = ("kind", "method", "accelerators")
"""Keys that only a figure in minutes or VFLOPS has, and must have; other sources give them."""


class Source(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """One figure as the worksheet states it."""

    minutes: Positive | None = None
    vflops: Positive | None = None
    logs: Text | None = None
    public: Text | None = None
    prediction: Text | None = None
    kind: Literal["measured", "projected"] | None = None
    method: Text | None = None
    accelerators: Count | None = None
    instances: Count = 1


class _File(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    system: Text
    benchmarks: dict[str, dict[Literal["baseline", "optimized"], Source]]


@dataclass(frozen=True, kw_only=True)
class Worksheet:
    """A system with its figures."""

    system: str
    figures: dict[str, dict[str, FigureOfMerit]]
    """By benchmark and column."""


def load(path: Path) -> Worksheet:
    """Read a worksheet and its sources; CharacterizeError names the file and the key that is wrong."""
    try:
        content = msgspec.convert(toml.load(path), _File)
    except msgspec.ValidationError as error:
        raise CharacterizeError(f"{path}: {error}; the form is in characterize/commands/worksheet.py") from error
    if not content.benchmarks:
        raise CharacterizeError(f"{path}: benchmarks: found none, expected at least one")
    figures: dict[str, dict[str, FigureOfMerit]] = {}
    for benchmark, columns in content.benchmarks.items():
        if BASELINE not in columns:
            raise CharacterizeError(f"{path}: benchmarks.{benchmark}: baseline: missing, expected a figure")
        figures[benchmark] = {
            column: _figure(columns[column], benchmark, path, f"{path}: benchmarks.{benchmark}.{column}")
            for column in COLUMNS
            if column in columns
        }
    return Worksheet(system=content.system, figures=figures)


def template(benchmarks: list[str]) -> str:
    """A worksheet to fill, with the benchmarks of a reference system."""
    head = 'system = ""        # name and size of the system\n'
    stated = 'minutes = 0        # time to train\nkind = "projected" # or "measured"\nmethod = ""        # required\n'
    return head + "".join(
        f"\n[benchmarks.{toml.key(name)}.{column}]\n{stated}accelerators = 0\n"
        for name in benchmarks
        for column in COLUMNS
    )


def _figure(source: Source, benchmark: str, path: Path, where: str) -> FigureOfMerit:
    given = [name for name in SOURCES if getattr(source, name) is not None]
    if len(given) != 1:
        raise CharacterizeError(f"{where}: found {', '.join(given) or 'none'}, expected one of {', '.join(SOURCES)}")
    is_stated = given[0] in ("minutes", "vflops")
    for key in STATED:
        if (getattr(source, key) is not None) != is_stated:
            problem = f"missing, {given[0]} needs it" if is_stated else f"unexpected, {given[0]} gives it"
            raise CharacterizeError(f"{where}: {key}: {problem}")
    makers: dict[str, Callable[[Source, str, Path, str], FigureOfMerit]] = {
        "logs": _from_logs,
        "public": _from_public_round,
        "prediction": _from_prediction,
    }
    return makers.get(given[0], _as_stated)(source, benchmark, path, where)


def _as_stated(source: Source, benchmark: str, path: Path, where: str) -> FigureOfMerit:
    value = source.vflops or trainings_per_hour(source.minutes or 0, source.instances)
    unit = VFLOPS if source.vflops else TRAININGS_PER_HOUR
    method, kind = str(source.method), str(source.kind)
    return FigureOfMerit(value=value, unit=unit, kind=kind, method=method, accelerators=source.accelerators)


def _from_public_round(source: Source, benchmark: str, path: Path, where: str) -> FigureOfMerit:
    label = f"{source.public} {benchmark}"
    found = next((entry for entry in facts.shipped() if entry.label == label), None)
    if found is None:
        raise CharacterizeError(
            f"{where}: public: found {source.public!r}, expected an entry of {benchmark} in "
            "characterize/rounds/entries.csv, such as 'v2.0 NVIDIA/dgxa100_n64_pytorch'"
        )
    # The score of many instances at once is the time in which all of them train.
    instances = found.num_runs if found.metric == "throughput" else source.instances
    return FigureOfMerit(
        value=trainings_per_hour(found.minutes, instances),
        unit=TRAININGS_PER_HOUR,
        kind=MEASURED,
        method=f"public entry {found.label}, {found.num_runs} runs",
        accelerators=found.num_ranks,
    )


def _from_logs(source: Source, benchmark: str, path: Path, where: str) -> FigureOfMerit:
    folder = path.parent / str(source.logs)
    submission = reader.read(folder)
    rules = rules_choice.choose(submission).ruleset
    entries = [entry for entry in submission.entries if entry.benchmark == benchmark]
    if len(entries) != 1:
        raise CharacterizeError(
            f"{where}: logs: {folder}: found {len(entries)} entries of {benchmark}, expected one; name its own folder"
        )
    limits = rules_for(entries[0], rules)
    score = None if limits is None else score_entry(entries[0], limits)
    if score is None or score.result is None:
        raise CharacterizeError(f"{where}: logs: {folder}: no score; run python -m compliance check on it")
    return FigureOfMerit(
        **_value(score, source.instances),
        kind=MEASURED,
        method=f"{score.runs} runs of {entries[0].label}, scored under {rules.name}",
        accelerators=num_ranks(entries[0]) or None,
    )


def _value(score: Score, instances: int) -> dict:
    assert score.result is not None
    if score.vflops is not None:
        return {"value": score.result, "unit": VFLOPS}
    minutes = 1 / score.result if score.metric == "throughput" else score.result
    return {"value": trainings_per_hour(minutes, instances), "unit": TRAININGS_PER_HOUR}


def _from_prediction(source: Source, benchmark: str, path: Path, where: str) -> FigureOfMerit:
    result = load_result(path.parent / str(source.prediction), "predict")
    choices = result.data.get("choices", [])
    if result.settings.get("benchmark") != benchmark or not choices:
        found = result.settings.get("benchmark", "no benchmark")
        raise CharacterizeError(f"{where}: prediction: found one of {found}, expected {benchmark}")
    best = next(choice for choice in choices if choice["is_fastest"])
    low, high = (trainings_per_hour(best[end], source.instances) for end in ("high", "low"))
    device = result.settings["accelerator"]
    return FigureOfMerit(
        value=trainings_per_hour(best["minutes"], source.instances),
        unit=TRAININGS_PER_HOUR,
        kind=PROJECTED,
        method=f"characterize predict: {device}, batch {best['global_batch_size']}, 90 % interval",
        accelerators=best["num_ranks"],
        interval=(low, high),
    )
