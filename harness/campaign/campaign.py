# SPDX-License-Identifier: Apache-2.0
"""Runs one benchmark several times from distinct seeds, and lays the results out as a submission.

    python -m harness.campaign cosmoflow/configs/demo --runs 10 --output output/demo --data output/data
    python -m compliance check output/demo

    python -m harness.campaign cosmoflow/configs/closed --launcher 'srun --mpi=none' --output DIR --data FOLDER
    python -m harness.campaign cosmoflow/configs/closed --instances 16 --launcher 'srun --exact --nodes 4' ...

Each run is a process of its own, `python -m cosmoflow.train`, or as many processes as the launcher starts. The log of a
run is moved into the submission when the run is complete; until then it is in <output>.runs, beside the output that the
run printed. The same command continues an interrupted campaign: complete runs are kept, and an interrupted run starts
anew, because a timed run must not be restarted from a checkpoint (T113). A failed run ends the campaign unless
--keep-going is given. Instances are runs that train at the same time, for the throughput metric. Their results go to
weak/, and those that missed the target to its pruned_results/.
"""

import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path

from rich import progress
from rich.console import Console

from compliance import mllog
from compliance.files import json_file, lock
from compliance.rulesets.ruleset import Benchmark
from compliance.scoring import run_metrics
from compliance.submissions import entry_files, source_code
from compliance.submissions.entry_files import EntryFiles
from compliance.submissions.reader import MAX_JSON_BYTES
from harness.campaign import system_description
from harness.campaign.plan import Campaign, CampaignError, parser, plan
from harness.campaign.training_process import TrainingProcess, is_complete, run_together
from harness.signals import Interrupts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command with `arguments`; None for those of the command line."""
    campaign = plan(parser(__doc__).parse_args(arguments))
    interrupts = Interrupts()
    interrupts.install()
    try:
        with lock.held(campaign.tree.root):
            return run_instances(campaign) if campaign.concurrent else run(campaign)
    finally:
        interrupts.restore()


def run(campaign: Campaign) -> int:
    """Run the runs that are not complete; returns 0 if all are complete in the end, else 1."""
    _write_tree(campaign)
    seeds = _seeds(campaign)
    with _bar() as bar:
        task = bar.add_task("", total=len(seeds))
        for index, seed in enumerate(seeds):
            result = campaign.tree.result(index)
            if seed is None:
                print(final_line(result, campaign.config.benchmark), "(kept)", flush=True)
            elif failure := _run_once(campaign, result, seed, lambda text: bar.update(task, description=text)):
                print(failure, file=sys.stderr, flush=True)
                if not campaign.keep_going:
                    break
            else:
                print(final_line(result, campaign.config.benchmark), flush=True)
            bar.advance(task)
    return _summarise(campaign)


def run_instances(campaign: Campaign) -> int:
    """Train all instances at the same time; returns 0 if all are complete in the end, else 1."""
    tree = campaign.tree
    if any(tree.results.rglob("result_*.txt")):
        raise CampaignError(f"{tree.results}: holds instances of an earlier campaign; choose another output")
    _write_tree(campaign)
    attempts = [
        _attempt(campaign, tree.result(index), campaign.seed_base + index) for index in range(campaign.num_runs)
    ]
    with _bar() as bar:
        task = bar.add_task(f"{len(attempts)} instances", total=len(attempts))
        failures = run_together(
            attempts, lambda: bar.update(task, completed=sum(is_complete(attempt.log) for attempt in attempts))
        )
    num_entered: Counter[Path] = Counter()
    for attempt, failure in zip(attempts, failures, strict=True):
        if failure:
            print(failure, file=sys.stderr, flush=True)
            continue
        kept = run_metrics.converged(mllog.read(attempt.log), campaign.config.benchmark)
        folder = tree.results if kept else tree.results / "pruned_results"
        _enter(attempt, folder / tree.result(num_entered[folder]).name)
        num_entered[folder] += 1
    return _summarise(campaign)


def final_line(path: Path, benchmark: Benchmark) -> str:
    """One line about a complete log: seed, minutes, last quality, status."""
    log = mllog.read(path)
    words = [path.name, f"seed {log.value('seed')}", f"{run_metrics.run_minutes(log) or 0:.2f} minutes"]
    last = log.last(benchmark.quality_key)
    if last is not None:
        words.append(f"{last.key} {last.value:.4g} in epoch {run_metrics.epoch_of(last)}")
    words.append(str(run_metrics.status_of(log)))
    words += ["synthetic data"] * bool(log.value("data_is_synthetic"))
    return "  ".join(words)


def _seeds(campaign: Campaign) -> list[int | None]:
    """The seed of every run; None for a run that is already complete."""
    results = [campaign.tree.result(index) for index in range(campaign.num_runs)]
    incomplete = [path for path in results if path.exists() and not is_complete(path)]
    if incomplete:
        raise CampaignError(f"{incomplete[0]}: no run_stop, but a submission holds complete runs only; move it away")
    used = {mllog.read(path).value("seed") for path in results if path.exists()}
    fresh = (seed for seed in count(campaign.seed_base) if seed not in used)
    return [None if path.exists() else next(fresh) for path in results]


def _run_once(campaign: Campaign, result: Path, seed: int, show: Callable[[str], None]) -> str:
    """Run once; returns "" if the log is now in the tree, else the reason."""
    process = _attempt(campaign, result, seed)
    failure = process.run(lambda: show(f"{result.stem}, seed {seed}{_latest(process.log, campaign.config.benchmark)}"))
    if not failure:
        _enter(process, result)
    return failure


def _attempt(campaign: Campaign, result: Path, seed: int) -> TrainingProcess:
    return TrainingProcess(
        package=campaign.package,
        arguments=campaign.arguments,
        seed=seed,
        folder=campaign.work,
        name=result.stem,
        launcher=campaign.launcher,
    )


def _enter(process: TrainingProcess, result: Path) -> None:
    """Move a complete log into the submission."""
    result.parent.mkdir(parents=True, exist_ok=True)
    process.log.replace(result)


def _latest(log: Path, benchmark: Benchmark) -> str:
    last = mllog.read(log).last(benchmark.quality_key)
    return "" if last is None else f", epoch {run_metrics.epoch_of(last)}: {last.key} {last.value:.4g}"


def _bar() -> progress.Progress:
    console = Console(stderr=True, soft_wrap=True)
    return progress.Progress(
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}"),
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # the lines of the runs stay on stdout if it is a file
        disable=not console.is_terminal,
    )


def _write_tree(campaign: Campaign) -> None:
    submission, tree = campaign.config.submission, campaign.tree
    description = system_description.describe(
        campaign.config.rules.values["system_description"]["keys"],
        submitter=submission.org,
        division=campaign.config.division,
        status=submission.status,
        system_name=submission.platform,
        number_of_nodes=os.environ.get("SLURM_JOB_NUM_NODES", "1"),
    )
    configuration = {
        "hyperparameters.toml": campaign.config.hyperparameters_path.read_bytes(),
        "system.toml": campaign.config.system_path.read_bytes(),
    }
    entry_files.write(
        EntryFiles(
            tree=tree,
            rules=campaign.config.rules,
            division=campaign.config.division,
            description=description,
            source=source_code.as_installed(campaign.package),
            configuration=configuration,
            layers=campaign.config.layers,
            readme=_readme(campaign),
        )
    )


def _readme(campaign: Campaign) -> str:
    line = shlex.join([*campaign.launcher, "python", "-m", f"{campaign.package}.train", *campaign.arguments])
    return (
        f"# {campaign.config.benchmark.name} on {campaign.config.submission.platform}\n\n"
        f"Rules: {campaign.config.rules.name}, {campaign.config.division} division.\n\n"
        "1. `setup.sh` installs the software.\n"
        "2. `init_datasets.sh` prepares the data set.\n"
        "3. `run_and_time.sh` trains once; the configuration is in `hyperparameters.toml` and `system.toml`.\n\n"
        f"Each result was made by `{line}` with the seed in its log.\n"
    )


def _summarise(campaign: Campaign) -> int:
    tree, benchmark = campaign.tree, campaign.config.benchmark
    logs = [mllog.read(path) for path in map(tree.result, range(campaign.num_runs)) if path.exists()]
    reached = sum(run_metrics.converged(log, benchmark) for log in logs)
    pruned = len(list(tree.results.glob("pruned_results/result_*.txt")))
    print(f"{tree.root}: {len(logs) + pruned} of {campaign.num_runs} runs complete, {reached} reached the target")
    keys = campaign.config.rules.values["system_description"]["keys"]
    unknown = system_description.unknown_keys(keys, json_file.load(tree.description, MAX_JSON_BYTES))
    if unknown:
        print(f"{tree.description}: keys for the submitter to fill in: {', '.join(unknown)}")
    complete = len(logs) + pruned == campaign.num_runs
    print(_next_step(tree.root) if complete else "next: the same command runs what is missing; complete runs are kept")
    return 0 if complete else 1


def _next_step(root: Path) -> str:
    """The commands that follow a complete campaign."""
    submission, page = shlex.quote(str(root)), shlex.quote(f"{root}.html")
    return (
        f"next: python -m compliance check {submission}\n"
        f"      python -m compliance score {submission}\n"
        f"      python -m compliance report {submission} --output {page}, a page to open in a browser"
    )
