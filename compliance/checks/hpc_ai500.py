# SPDX-License-Identifier: Apache-2.0
"""Rules of HPC AI500 V2.0 only: fixed epochs, the clock, FLOPS, levels and the nine layers. Their ids end in 5xx."""

from collections.abc import Iterator, Mapping
from typing import Any

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.files.errors import nearest
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.scoring.run_metrics import MS_PER_SECOND, training_seconds
from compliance.scoring.vflops import final_evaluation, images_per_second_per_rank, quality_factor, trial
from compliance.submissions.reader import Entry, Organization

LOG_RESOLUTION_S = 0.001  # logged times are whole milliseconds, so a duration may appear this much shorter
CLOCK_KEYS = ("run_start", "epoch_start", "epoch_stop", "run_stop")


@rule("T501", severity="warning")
def clock_encloses_training_only(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The clock starts with the first batch of training data and stops with the last epoch.

    Why: section 6.3.2; with staging or saving on the clock, run times of two systems cannot be compared.
    Example: run_start, ten minutes of staging, then the first epoch_start.
    Fix: call start() immediately before the first batch, and end the run with its last epoch.
    """
    start, stop = (log.first("run_start"), log.first("epoch_start")), (log.last("epoch_stop"), log.last("run_stop"))
    if limits.benchmark.num_epochs is None:
        return
    slack_s = limits.ruleset.values["clock"]["slack_seconds"]
    for before, after in (start, stop):
        if before is None or after is None:
            return
        seconds = (after.time_ms - before.time_ms) / MS_PER_SECOND
        if seconds > slack_s:
            message = f"{seconds:.1f} s between {before.key} and {after.key}"
            expected = f"at most {slack_s} s ({limits.ruleset.origin('clock', 'slack_seconds')})"
            yield Fault(log.path, message, after.line, expected, f"{seconds:.1f} s")


@rule("T502")
def throughput_agrees_with_clock(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The logged images per second are not more than the times of the epochs allow.

    Why: FLOPS is this rate times constants, and the epochs' times are the only evidence for it in the log.
    Example: 400 images/s/rank on 64 ranks, but the epochs' times give 350.
    Fix: log images of all epochs / seconds spent training / ranks, including slow steps.
    """
    speed, ranks = images_per_second_per_rank(log), log.value("number_of_ranks")
    images = log.value("train_samples")
    if limits.benchmark.num_epochs is None or speed is None or not (_is_count(ranks) and _is_count(images)):
        return
    epochs = training_seconds(log)
    seconds = sum(duration for _, duration in epochs)
    least_seconds = max(seconds - len(epochs) * LOG_RESOLUTION_S, seconds / 2)
    possible = images * len(epochs) / least_seconds if seconds > 0 else 0.0
    if speed * ranks > possible * limits.ruleset.values["clock"]["throughput_tolerance"]:
        yield Fault(
            log.path,
            f"{speed:.6g} images/s/rank on {ranks} ranks; {len(epochs)} epochs of {images} images took {seconds:.6g} s",
            log.line_of("images_per_second_per_rank"),
            expected=f"about {possible / ranks:.6g} images/s/rank, from the epochs' times",
            found=f"{speed:.6g}",
        )


@rule("Q501")
def trains_fixed_epochs(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """A run trains exactly the benchmark's number of epochs.

    Why: section 6.1.1 fixes the epochs: all systems compute the same, and stopping early computes less.
    Example: 84 epochs of ImageNet because the target was met; the rules fix 90.
    Fix: train all epochs; a quality above the target raises VFLOPS.
    """
    fixed, trained = limits.benchmark.num_epochs, len(log.all("epoch_stop"))
    if fixed is not None and trained != fixed:
        origin = limits.ruleset.origin("benchmarks", limits.benchmark.name, "num_epochs")
        yield Fault(log.path, f"{trained} epochs trained", expected=f"exactly {fixed} ({origin})", found=str(trained))


@rule("Q502", needs=("Q501",))
def last_epoch_is_evaluated(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The last epoch is evaluated; its quality is the achieved quality.

    Why: taking the best of several evaluations would be a choice made on the evaluation data.
    Example: an evaluation after epoch 88 and none after epoch 90.
    Fix: always evaluate after the last epoch.
    """
    if limits.benchmark.num_epochs is not None and final_evaluation(log, limits.benchmark) is None:
        message = f"no {limits.benchmark.quality_key} of the last epoch"
        yield Fault(log.path, message, expected=f"one with the epoch_num of epoch {limits.benchmark.num_epochs}")


@rule("Q503", severity="warning", needs=("Q501", "Q502"))
def achieves_target(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
    """The last epoch's quality meets the target; below it VFLOPS is penalized.

    Why: section 5.4.1: VFLOPS = FLOPS x (achieved / target)^n.
    Example: 0.7496 with a target of 0.763: VFLOPS is 0.92 FLOPS.
    Fix: none is required; a learning-rate policy for this batch size may recover the quality.
    """
    final = final_evaluation(log, limits.benchmark) if limits.benchmark.num_epochs is not None else None
    target = limits.benchmark.target
    if final is not None and not target.accepts(final.value):
        factor = quality_factor(final.value, target.threshold, limits.benchmark.values["vflops_exponent"])
        message = f"{final.key} of the last epoch is {final.value:.6g}: VFLOPS is {factor:.4f} x FLOPS"
        yield Fault(log.path, message, final.line, expected=target.describe(), found=f"{final.value:.6g}")


@rule("H501", severity="manual")
def equivalence_is_reviewed(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The layers that are not under test are equivalent to the reference's.

    Why: section 4.1 makes this the committee's duty; a log cannot prove that two implementations compute the same.
    Example: model parallelism that is not mathematically equivalent, or updates that are not synchronous.
    Fix: show the reviewer the code of layers 6 to 9; at free level list the changes.
    """
    if limits.benchmark.num_epochs is None:
        return
    under_test = limits.ruleset.values["divisions"][limits.division]["layers_under_test"]
    layers = limits.ruleset.values["layers"].items()
    fixed = ", ".join(name for name, layer in layers if layer["number"] not in under_test)
    message = f"{limits.division} level: compare these layers with the reference by hand: {fixed}"
    yield Fault(entry.folder, message)


@rule("R501")
def enough_complete_runs(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The required number of runs is complete: timed, with the last epoch evaluated and FLOPS logged.

    Why: sections 4.3 and 6.3.2 require a minimum number of valid runs for a meaningful variation.
    Example: ten logs, of which one stopped after 40 epochs.
    Fix: repeat the incomplete runs.
    """
    if limits.benchmark.num_epochs is None or entry.is_single_log or len(entry.runs) < limits.benchmark.num_runs:
        return  # R101 reports too few logs
    incomplete = [log.path.name for log in entry.runs if trial(log, limits.benchmark) is None]
    complete = len(entry.runs) - len(incomplete)
    if complete < limits.benchmark.num_runs:
        message = f"{complete} complete runs; incomplete: {', '.join(incomplete[:5])}"
        yield Fault(entry.folder, message, expected=f"at least {limits.benchmark.num_runs}", found=str(complete))


@rule("R502", severity="warning")
def energy_in_all_runs(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Either every run of an entry logs its energy, or none does.

    Why: a figure per watt over some of the runs does not describe the entry, and is not reported.
    Example: energy_joules in 7 of 10 logs.
    Fix: measure all runs from run_start to run_stop.
    """
    with_energy = sum(log.first("energy_joules") is not None for log in entry.runs)
    if limits.benchmark.num_epochs is not None and 0 < with_energy < len(entry.runs):
        message = f"energy_joules in {with_energy} of {len(entry.runs)} logs: no figures per watt"
        yield Fault(entry.folder, message, expected="in all of them or in none")


@rule("S501")
def layers_are_declared(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """submission.toml declares each of the nine layers of the system under test.

    Why: section 4.1: a level puts some layers under test and keeps the others unchanged; a reader must see which.
    Example: [layers] without communication_libraries.
    Fix: add a line for every layer to [layers] in submission.toml, such as ai_framework = "PyTorch 2.13".
    """
    known = ruleset.values.get("layers", {})
    file, declared = organization.folder / "submission.toml", _layers(organization)
    if not known or not _is_tree(organization):
        return
    for name in known:
        if not (isinstance(declared.get(name), str) and declared[name].strip()):
            expected = f"a line on its {known[name]['holds']}"
            yield Fault(file, f"[layers] {name} is not declared (layer {known[name]['number']})", expected=expected)
    for name in declared.keys() - known.keys():
        yield Fault(file, f"[layers] {name:.40} is not one of the nine layers; {nearest(name, known)}")


@rule("S502")
def hardware_level_keeps_framework(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """At hardware level the framework is the reference implementation's.

    Why: the same model reaches another accuracy in another framework; section 6.2 allows that at system level only.
    Example: submission_division "hardware" and ai_framework = "TensorFlow 2.15".
    Fix: submit at system level, or train with the reference's framework.
    """
    reference, framework = ruleset.values.get("reference_framework"), _layers(organization).get("ai_framework")
    if reference is None or not isinstance(framework, str) or reference.casefold() in framework.casefold():
        return
    for entry in organization.entries:
        if entry.division == "hardware":
            file = organization.folder / "submission.toml"
            message = f"{entry.system} {entry.benchmark} is at hardware level, with ai_framework {framework!r:.60}"
            yield Fault(file, message, expected=reference, found=f"{framework!r:.60}")


def _is_tree(organization: Organization) -> bool:
    """True for a whole submission; a log or a folder of results has no submission.toml."""
    return (organization.folder / "results").is_dir()


def _layers(organization: Organization) -> Mapping[str, Any]:
    """[layers] of submission.toml; empty if it is missing or cannot be read."""
    layers = organization.declaration.values.get("layers")
    return layers if isinstance(layers, dict) else {}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**15
