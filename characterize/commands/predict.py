# SPDX-License-Identifier: Apache-2.0
"""Time to train at a scale that one does not own: from public logs or own runs, with an interval, and validated.

    python -m characterize predict --benchmark cosmoflow --accelerator A100 --ranks 64 128 256 --batches 128 256 512
    python -m characterize predict --benchmark deepcam --throughput 512:512=8800 512:1024=9000
    python -m characterize predict --validate                    # each public entry predicted from all others

time = staging + epochs(batch) x samples / throughput(ranks, batch). Epochs are those of the reference convergence
points and of public runs; throughput that of public runs, or one's own by --throughput RANKS:BATCH=SAMPLES_PER_SECOND,
which a measurement of minutes gives. Ranks are accelerators, or nodes where there are none.
"""

import argparse
import re
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from matplotlib.figure import Figure

from characterize.models.public_rounds import Observation, observations, results_folder
from characterize.models.throughput import Setting
from characterize.models.time_to_train import Prediction, fastest
from characterize.models.validation import COVERAGE, QUESTIONS, Trial, calibration, leave_one_out, predict, summarise
from characterize.pictures.predictions import draw_choice, draw_validation
from characterize.results.result import CharacterizeError, Result
from characterize.results.tables import MISSING, Table, three_digits

SAMPLES = {"cosmoflow": 524288, "deepcam": 121266, "oc20": 2000000}
RANKS = (64, 128, 256, 512)
BATCHES = (64, 128, 256, 512, 1024)
ERA = "2.0"
"""The software whose throughput is asked for: that of the last public round."""
OWN_THROUGHPUT = re.compile(r"([1-9]\d*):([1-9]\d*)=(\d+\.?\d*)")


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--results", type=Path, metavar="DIR", help="public rounds (default: HPC_RESULTS, else ../shared/results)")
    add("--benchmark", default="cosmoflow", choices=SAMPLES, help="%(default)s")
    add("--accelerator", default="A100", metavar="NAME", help="such as A100, V100, A64FX (%(default)s)")
    add("--ranks", type=int, nargs="+", default=RANKS, metavar="N", help="numbers of ranks to compare")
    add("--batches", type=int, nargs="+", default=BATCHES, metavar="N", help="global batch sizes to compare")
    add(
        "--throughput", nargs="+", default=[], metavar="RANKS:BATCH=RATE", help="own measurements, samples/s: only they"
    )
    add("--samples", type=int, metavar="N", help="training samples an epoch (default: the benchmark's own)")
    add("--validate", action="store_true", help="the public entries only, each predicted from all others")


def measure(options: argparse.Namespace) -> Result:
    known = observations(results_folder(options.results))
    trials = leave_one_out(known)
    data = {"validation": [_trial_record(trial) for trial in trials], "summary": _summary(trials), "choices": []}
    settings = {"num_entries": len(known), "validate": options.validate}
    if not options.validate:
        data["choices"] = _choices(options, known, trials)
        names = ("benchmark", "accelerator", "ranks", "batches", "throughput")
        settings |= {name: value if isinstance(value := getattr(options, name), str) else list(value) for name in names}
    return Result(name="predict", verb="predict", settings=settings, data=data)


def _choices(options: argparse.Namespace, known: list[Observation], trials: list[Trial]) -> list[dict]:
    if min(*options.ranks, *options.batches) < 1:
        raise CharacterizeError("--ranks, --batches: expected whole numbers above 0")
    own = own_throughput(options.throughput)
    question = "throughput known" if own else "blind"
    width = calibration(trial for trial in trials if trial.question == question)
    # Fewer samples than ranks need model parallelism, whose throughput the public entries do not tell.
    pairs = list(own) or [(ranks, batch) for ranks in options.ranks for batch in options.batches if ranks <= batch]
    found = {pair: predict(known, _wanted(options, *pair, own.get(pair)), question) for pair in pairs}
    predictions = {pair: prediction for pair, prediction in found.items() if prediction is not None}
    if not pairs:
        raise CharacterizeError(
            "--batches: every batch is smaller than the ranks; name one of at least a sample a rank"
        )
    if not predictions:
        raise CharacterizeError(f"--benchmark {options.benchmark}: no public run tells its epochs on so many samples")
    best = fastest(predictions)
    devices = {one.setting.device for one in known}
    return [
        _choice_record(
            key, prediction, width, is_fastest=key == best, is_known=bool(own) or options.accelerator in devices
        )
        for key, prediction in sorted(predictions.items())
    ]


def own_throughput(texts: list[str]) -> dict[tuple[int, int], float]:
    """Rates by (ranks, batch), of texts such as `512:1024=9000`."""
    own = {}
    for text in texts:
        match = OWN_THROUGHPUT.fullmatch(text)
        if match is None or not float(match[3]) > 0:
            raise CharacterizeError(
                f"--throughput {text}: expected RANKS:BATCH=SAMPLES_PER_SECOND, such as 512:1024=9000"
            )
        own[int(match[1]), int(match[2])] = float(match[3])
    return own


def _wanted(options: argparse.Namespace, num_ranks: int, batch: int, throughput: float | None) -> Observation:
    """What is asked, in the form of an entry; what nobody knows of it is never looked at."""
    setting = Setting(
        benchmark=options.benchmark,
        device=options.accelerator,
        era=ERA,
        num_ranks=num_ranks,
        global_batch_size=batch,
    )
    return Observation(
        round=ERA,
        org="",
        system="",
        division="closed",
        setting=setting,
        train_samples=options.samples or SAMPLES[options.benchmark],
        epochs=0.0,
        throughput=throughput or 0.0,
        staging_minutes=0.0,
        minutes=0.0,
    )


def _choice_record(
    key: tuple[int, int], prediction: Prediction, width: float, *, is_fastest: bool, is_known: bool
) -> dict:
    low, high = prediction.minutes.interval(width)
    return {
        "num_ranks": key[0],
        "global_batch_size": key[1],
        "minutes": prediction.minutes.median,
        "low": low,
        "high": high,
        "epochs": prediction.epochs.median,
        "throughput": prediction.throughput.median,
        "staging_minutes": prediction.staging_minutes,
        "is_fastest": is_fastest,
        "device_is_known": is_known,
    }


def _trial_record(trial: Trial) -> dict:
    observation, prediction = trial.observation, trial.prediction
    record = {
        "entry": observation.label,
        "round": observation.round,
        "setting": asdict(observation.setting),
        "question": trial.question,
        "published_minutes": observation.minutes,
        "device_is_new": trial.device_is_new,
        "predicted_minutes": None,
    }
    if prediction is None:
        return record
    return record | {
        "predicted_minutes": prediction.minutes.median,
        "low": trial.interval[0],
        "high": trial.interval[1],
        "within": trial.within,
        "log_ratio": trial.log_ratio,
        "epochs": [observation.epochs, prediction.epochs.median],
        "throughput": [observation.throughput, prediction.throughput.median],
    }


def _summary(trials: list[Trial]) -> list[dict]:
    """By question: all entries, and those of each round."""
    rows = []
    for question in QUESTIONS:
        asked = [trial for trial in trials if trial.question == question]
        rounds = sorted({trial.observation.round for trial in asked})
        groups = {"all": asked} | {
            f"v{one}": [trial for trial in asked if trial.observation.round == one] for one in rounds
        }
        for group, chosen in groups.items():
            summary = summarise(chosen)
            if summary is not None:
                rows.append({"question": question, "entries": group, **asdict(summary)})
    return rows


def tables(result: Result) -> Iterator[Table]:
    if result.data["choices"]:
        yield _choice_table(result)
    else:
        yield validation_table(result)
    yield Table(
        title="Each public entry predicted from all others",
        columns=(
            "known of the entry",
            "entries",
            "number",
            "typical error",
            "worst",
            "predicted / published",
            "in interval",
        ),
        rows=[_summary_row(row) for row in result.data["summary"]],
        num_left=2,
        note=f"Typical error: median factor between predicted and published minutes; intervals aim at {COVERAGE:.0%}.",
    )


def _choice_table(result: Result) -> Table:
    settings = result.settings
    unknown = not all(choice["device_is_known"] for choice in result.data["choices"])
    warning = f" No public entry ran on {settings['accelerator']}: its speed is a guess." if unknown else ""
    return Table(
        title=f"Time to train {settings['benchmark']} on {settings['accelerator']}",
        columns=("ranks", "batch", "minutes", "interval", "epochs", "samples/s", ""),
        rows=[_choice_row(choice) for choice in result.data["choices"]],
        num_left=0,
        note=f"Intervals held {COVERAGE:.0%} of the public entries; samples/s hold the evaluation.{warning}",
    )


def validation_table(result: Result, question: str = "throughput known") -> Table:
    """Every entry under one question."""
    rows = [row for row in result.data["validation"] if row["question"] == question]
    return Table(
        title=f"Public entries, {question}",
        columns=("entry", "device", "ranks", "batch", "published", "predicted", "interval", "held"),
        rows=[_validation_row(row) for row in rows],
        num_left=2,
        note="Minutes to train.",
    )


def figures(result: Result) -> dict[str, Figure]:
    found = {"predict_validation": draw_validation(result)}
    return found | ({"predict": draw_choice(result)} if result.data["choices"] else {})


def _choice_row(choice: dict) -> list[str]:
    interval = f"{three_digits(choice['low'])} to {three_digits(choice['high'])}"
    head = [str(choice["num_ranks"]), str(choice["global_batch_size"]), three_digits(choice["minutes"]), interval]
    mark = "fastest" if choice["is_fastest"] else ""
    return [*head, three_digits(choice["epochs"]), three_digits(choice["throughput"]), mark]


def _validation_row(row: dict) -> list[str]:
    setting = row["setting"]
    head = [row["entry"], setting["device"], str(setting["num_ranks"]), str(setting["global_batch_size"])]
    published = three_digits(row["published_minutes"])
    if row["predicted_minutes"] is None:
        return [*head, published, MISSING, "no epochs known", ""]
    interval = f"{three_digits(row['low'])} to {three_digits(row['high'])}"
    return [*head, published, three_digits(row["predicted_minutes"]), interval, "yes" if row["within"] else "no"]


def _summary_row(row: dict) -> list[str]:
    return [
        row["question"],
        row["entries"],
        str(row["num_trials"]),
        f"{row['median_error']:.0%}",
        f"{row['worst_error']:.0%}",
        f"{row['bias']:.2f}",
        f"{row['coverage']:.0%}",
    ]
