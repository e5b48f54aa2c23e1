# SPDX-License-Identifier: Apache-2.0
"""R: the places of files in a submission's tree, and files that were not read."""

from collections.abc import Iterable, Iterator
from itertools import chain

from compliance.checks.registry import Fault, rule
from compliance.files.errors import nearest
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import RESULT_NAME, SCALINGS, Entry, Oddity, Organization, Submission


@rule("R108")
def benchmark_is_known(entry: Entry, ruleset: RuleSet) -> Iterator[Fault]:
    """The rule set has the benchmark.

    Why: a benchmark that the round does not have has no target.
    Example: results/<system>/strong/cosmoflw/, or openfold in a v2.0 round.
    Fix: name the folder as the rules do, or submit to a round that has the benchmark.
    """
    known = ruleset.values["benchmarks"]
    if entry.benchmark not in known and any(log.events for log in entry.logs):  # without events L101 reports the logs
        message = f"no benchmark {entry.benchmark!r:.60} in {ruleset.name}; {nearest(entry.benchmark, known)}"
        yield Fault(entry.folder, message, 0, "one of " + ", ".join(sorted(known)), f"{entry.benchmark!r:.60}")


@rule("R109")
def metric_is_scored(entry: Entry, ruleset: RuleSet) -> Iterator[Fault]:
    """Throughput ("weak") entries appear only in rounds that score throughput.

    Why: MLPerf HPC v0.7 has no throughput metric.
    Example: results/<system>/weak/ checked by mlperf_hpc_0.7.
    Fix: name the rule set of the round, or submit time-to-train results.
    """
    if entry.scaling == "weak" and "throughput" not in ruleset.values["metrics"]:
        yield Fault(entry.folder, f"{ruleset.name} scores no throughput", 0, "results in strong/")


ODDITIES = {
    "unreadable": ("the file cannot be read", "a readable result file"),
    "unlisted_folder": ("the folder cannot be listed", "a folder that can be read"),
    "not_a_file": ("has the name of a result file but is not a file", "a regular file"),
    "empty_folder": ("contains no result_<i>.txt", "result files"),
    "link": ("a link, which is not followed", "a file or folder of the submission itself"),
    "unknown_file": ("belongs to no entry", "result_<i>.txt"),
    "unknown_folder": ("belongs to no entry", "pruned_results or power"),
}


def _oddities(oddities: Iterable[Oddity], *kinds: str) -> Iterator[Fault]:
    for oddity in oddities:
        if oddity.kind in kinds:
            message, expected = ODDITIES[oddity.kind]
            yield Fault(oddity.path, message, expected=expected)


@rule("R120")
def result_files_can_be_read(submission: Submission) -> Iterator[Fault]:
    """Every result_<i>.txt is a readable file, and every benchmark's folder contains at least one.

    Why: an unreadable log cannot be counted, and an empty folder is a lost result.
    Example: a folder named result_3.txt; a file without read permission.
    Fix: submit the file itself.
    """
    logs = (log for entry in submission.entries for log in entry.logs)
    unreadable = (Oddity(log.path, "unreadable") for log in logs if log.error)
    kinds = ("unreadable", "unlisted_folder", "not_a_file", "empty_folder")
    yield from _oddities(chain(submission.oddities, unreadable), *kinds)


@rule("R121", severity="warning")
def results_hold_only_results(submission: Submission) -> Iterator[Fault]:
    """Result folders contain result_<i>.txt, pruned_results and power, and nothing else.

    Why: a file with another name is neither checked nor scored, and its author may not know that.
    Example: result_3.log, Result_4.txt, old_runs/.
    Fix: rename the file or folder, or remove it.
    """
    yield from _oddities(submission.oddities, "unknown_file", "unknown_folder")


@rule("R122", severity="warning")
def links_are_not_followed(submission: Submission) -> Iterator[Fault]:
    """A submission contains no links.

    Why: a link may lead out of the submission or to itself, so links are not followed.
    Example: result_5.txt -> ../../other_system/strong/cosmoflow/result_5.txt.
    Fix: replace the link by the file.
    """
    yield from _oddities(submission.oddities, "link")


@rule("R123")
def results_are_in_their_folders(organization: Organization) -> Iterator[Fault]:
    """Every result_<i>.txt is in a benchmark's folder, not above it.

    Why: a log outside the benchmarks' folders is neither checked nor scored.
    Example: results/<system>/strong/result_0.txt.
    Fix: move it to results/<system>/strong/<benchmark>/.
    """
    if organization.result_systems:
        folders = {parent for entry in organization.entries for parent in entry.folder.parents}
        for folder in sorted(folder for folder in folders if folder.is_relative_to(organization.folder)):
            for file in sorted(folder.glob("result_*.txt")):
                if RESULT_NAME.fullmatch(file.name):
                    yield Fault(file, "a result outside of any benchmark's folder", 0, "in a benchmark's folder")


@rule("R124", severity="warning")
def layout_is_the_rounds(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """Results are in strong/ and weak/ since v1.0; v0.7 has neither.

    Why: the folder selects the metric.
    Example: results/<system>/deepcam/ checked by mlperf_hpc_2.0.
    Fix: move the results, or name the rule set of the round.
    """
    wanted = ruleset.values["layout"]["scaling_folders"]
    for entry in organization.entries if organization.result_systems else ():
        if (entry.folder.parent.name in SCALINGS) != wanted:
            expected = "in strong/ or weak/" if wanted else "without strong/ and weak/"
            yield Fault(entry.folder, f"not the place of results in {ruleset.name}", 0, expected)
