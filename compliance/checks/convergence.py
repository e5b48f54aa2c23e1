# SPDX-License-Identifier: Apache-2.0
"""C rules: epochs to converge against the reference convergence points of the rule set (Closed division)."""

from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.scoring.convergence_comparison import Comparison, compare
from compliance.submissions.reader import Entry


@rule("C101")
def not_faster_than_reference(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The entry does not converge in significantly fewer epochs than the reference.

    Why: fewer epochs than chance can explain mean that something else was trained, or evaluated, than the reference.
    Example: mean 21.4 epochs at batch 512; the reference needs 22.8, and less than 22.2 is significantly faster.
    Fix: find what differs from the reference (data order, evaluation, hyperparameters), or run the reference anew.
    """
    comparison = compare(entry, limits)
    if comparison is not None and comparison.is_significantly_faster and comparison.reference.kind != "smallest":
        yield Fault(
            entry.folder,
            f"significantly fewer {comparison.unit} to converge than the reference: {comparison.describe()}",
            expected=f"a mean of at least {comparison.least_epochs:.6g} {comparison.unit}",
            found=f"{comparison.mean_epochs:.6g}",
        )


@rule("C102", severity="manual")
def reference_covers_batch(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The reference has been run at a batch size that the entry can be compared with.

    Why: above the largest point, or below the smallest and faster than it, only a new run of the reference tells.
    Example: batch 4096 where the largest point is 2048.
    Fix: submit the reference's runs at this batch size: twice as many as the entry needs.
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

    Why: a smaller batch needs fewer epochs, so that being slower than the smallest point shows no more than that.
    Example: batch 64 where the smallest point is 128.
    Fix: nothing, where the entry is the slower one; a reference at this batch size makes the comparison exact.
    """
    comparison = compare(entry, limits)
    if comparison is None or comparison.reference is None or comparison.reference.kind != "smallest":
        return
    if not _beats_smallest(comparison):
        yield Fault(entry.folder, comparison.describe(), found=f"global_batch_size {comparison.reference.batch:g}")


@rule("C104")
def epochs_are_comparable(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The entry's logs say at which batch size and after how many epochs they converged.

    Why: without them the convergence cannot be compared with the reference's.
    Example: eval_accuracy without epoch_num in its metadata; runs at batch 256 and 512 in one entry.
    Fix: log epoch_num with every evaluation, and one global_batch_size in all runs of an entry.
    """
    comparison = compare(entry, limits)
    if comparison is None:
        return
    if comparison.reference is None:
        batches = sorted({shown(log.value("global_batch_size")) for log in entry.runs})
        message = "the runs do not share one global_batch_size to compare with the reference"
        yield Fault(entry.folder, message, expected="one batch size", found=", ".join(batches[:5]))
    for log in comparison.uncounted:
        message = "the last evaluation does not say after which epoch it was made"
        yield Fault(log.path, message, expected="epoch_num, a number above 0, in its metadata")


@rule("C105", severity="warning")
def scaled_where_faster(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A time to train reached in fewer epochs than the reference's mean is scaled up to that mean.

    Why: the fewer epochs are within chance, but luck shall not rank.
    Example: mean 32.33 epochs, reference 32.88: the score is multiplied by 1.0168.
    Fix: nothing; the score says both the minutes and the scaled minutes.
    """
    comparison = compare(entry, limits)
    if comparison is not None and comparison.scale_factor > 1 and entry.scaling == "strong":
        yield Fault(
            entry.folder,
            f"the time to train is multiplied by {comparison.scale_factor:.6f}: {comparison.describe()}",
            expected=f"the reference's mean of {comparison.reference.point.mean:.6g} {comparison.unit}",
            found=f"{comparison.mean_epochs:.6g}",
        )


def _beats_smallest(comparison: Comparison) -> bool:
    return comparison.reference.kind == "smallest" and comparison.is_significantly_faster
