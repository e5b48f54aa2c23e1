# SPDX-License-Identifier: Apache-2.0
"""C rules: epochs to converge against the reference convergence points of the rule set (Closed division)."""

from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.files import json_file
from compliance.files.errors import UserError
from compliance.files.regular_file import is_regular
from compliance.rulesets.constraint import Constraint
from compliance.scoring.convergence_comparison import Comparison, compare
from compliance.submissions.reader import SCALING_FILE, Entry

MAX_SCALING_BYTES = 4096


def _kind(comparison: Comparison) -> str:
    """How the reference covers the entry's batch size; empty if the runs have no common batch size."""
    return "" if comparison.reference is None else comparison.reference.kind


@rule("C101")
def not_faster_than_reference(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A time-to-train entry does not converge in significantly fewer epochs than the reference.

    Why: fewer epochs than chance can explain mean that the training or the evaluation differs from the reference.
    Example: mean 21.4 epochs at batch 512; the reference needs 22.8, and less than 22.2 is significantly faster.
    Fix: find the difference from the reference (data order, evaluation, hyperparameters), or run the reference again.
    """
    comparison = compare(entry, limits) if entry.scaling == "strong" else None
    if comparison is not None and comparison.is_significantly_faster and _kind(comparison) != "smallest":
        yield Fault(
            entry.folder,
            f"significantly fewer {comparison.unit} to converge than the reference: {comparison.describe()}",
            expected=f"a mean of at least {comparison.least_epochs:.6g} {comparison.unit}",
            found=f"{comparison.mean_epochs:.6g}",
        )


@rule("C102", severity="manual")
def reference_covers_batch(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The reference was run at a batch size that the entry can be compared with.

    Why: above the largest point, or below the smallest and faster than it, only a new run of the reference can tell.
    Example: batch 4096 with the largest point at 2048.
    Fix: submit reference runs at this batch size, twice as many as the entry needs.
    """
    comparison = compare(entry, limits)
    if comparison is None or comparison.reference is None:
        return
    if comparison.reference.point is None or _beats_smallest(comparison):
        yield Fault(
            entry.folder,
            f"no reference convergence point to compare with: {comparison.describe()}",
            expected="the reference run at this batch size",
            found=f"global_batch_size {comparison.reference.batch:g}",
        )


@rule("C103", severity="warning")
def batch_not_below_reference(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A batch below the smallest reference convergence point is compared with that point.

    Why: a smaller batch needs fewer epochs, so an entry that is slower than the smallest point proves little.
    Example: batch 64 with the smallest point at 128.
    Fix: none is required; reference runs at this batch size make the comparison exact.
    """
    comparison = compare(entry, limits)
    if comparison is None or comparison.reference is None or _kind(comparison) != "smallest":
        return
    if not _beats_smallest(comparison):
        yield Fault(entry.folder, comparison.describe(), found=f"global_batch_size {comparison.reference.batch:g}")


@rule("C104")
def epochs_are_comparable(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The logs of an entry give the batch size and the number of epochs to converge.

    Why: without them the convergence cannot be compared with the reference's.
    Example: eval_accuracy without epoch_num in its metadata; runs at batch 256 and 512 in one entry.
    Fix: log epoch_num with every evaluation, and the same global_batch_size in all runs of an entry.
    """
    comparison = compare(entry, limits)
    if comparison is None:
        return
    if comparison.reference is None:
        batches = sorted({shown(log.value("global_batch_size")) for log in entry.runs})
        message = "the runs have no common global_batch_size to compare with the reference"
        yield Fault(entry.folder, message, expected="one batch size", found=", ".join(batches[:5]))
    for log in comparison.uncounted:
        message = "the last evaluation does not name its epoch"
        yield Fault(log.path, message, expected="epoch_num, a number above 0, in its metadata")


@rule("C105", severity="warning")
def scaled_if_faster(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A time to train that was reached in fewer epochs than the reference's mean is scaled up to that mean.

    Why: chance can explain the fewer epochs, but luck must not improve the rank.
    Example: mean 32.33 epochs, reference 32.88: the score is multiplied by 1.0168.
    Fix: none is required; the score lists both the minutes and the scaled minutes.
    """
    comparison = compare(entry, limits) if entry.scaling == "strong" else None
    if comparison is not None and comparison.scale_factor > 1 and comparison.point is not None:
        yield Fault(
            entry.folder,
            f"the time to train is multiplied by {comparison.scale_factor:.6f}: {comparison.describe()}",
            expected=f"the reference's mean of {comparison.point.mean:.6g} {comparison.unit}",
            found=f"{comparison.mean_epochs:.6g}",
        )


@rule("C106", severity="warning")
def scaling_file_has_our_factor(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The factor in scaling.json, if there is such a file, is the factor of this checker.

    Why: the checker of mlperf-logging writes the file beside the results, and its score uses the factor.
    Example: {"scaling_factor": 1.05} beside runs that converged as slowly as the reference.
    Fix: remove the file; `python -m compliance score` computes the factor from the logs.
    """
    path = entry.folder / SCALING_FILE
    if not is_regular(path):
        return
    comparison = compare(entry, limits) if entry.scaling == "strong" else None
    expected = comparison.scale_factor if comparison is not None else 1.0
    try:
        factor = json_file.load(path, MAX_SCALING_BYTES).get("scaling_factor")
    except UserError as error:
        yield Fault(path, str(error).removeprefix(f"{path}: ")[:200], expected="a JSON object with scaling_factor")
        return
    if not Constraint(equals=expected).accepts(factor):
        yield Fault(path, f"scaling_factor is {shown(factor)}", expected=f"{expected:.6f}", found=shown(factor))


def _beats_smallest(comparison: Comparison) -> bool:
    return _kind(comparison) == "smallest" and comparison.is_significantly_faster
