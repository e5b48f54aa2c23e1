# SPDX-License-Identifier: Apache-2.0
"""L: the chain of digests by which a run protects its log against edits (compliance/log_digest.py)."""

from collections.abc import Iterator

from compliance.checks.registry import Fault, rule
from compliance.log_digest import KEY, broken_links
from compliance.run_log import RunLog
from compliance.submissions.reader import Entry, Submission

SHOWN = 16  # hexadecimal digits


@rule("L121")
def digests_are_unbroken(log: RunLog) -> Iterator[Fault]:
    """Every log_digest is the digest of the events before it, and the last one comes after run_stop.

    Why: a run computes it while it logs; after an edit of the log it no longer fits.
    Example: an eval_error changed in epoch 7; log_digest of epochs 7 and later does not fit.
    Fix: submit the log as the run wrote it.
    """
    last, stop = log.last(KEY), log.last("run_stop")
    if last is None:
        return
    broken = _first_broken(log)
    if broken is not None:
        yield broken
    elif stop is not None and last.line < stop.line:
        yield Fault(log.path, f"no {KEY} after run_stop", last.line, f"one after line {stop.line}")


def _first_broken(log: RunLog) -> Fault | None:
    try:
        link = next(broken_links(log.path), None)
    except OSError:  # deleted since it was read
        return None
    if link is None:
        return None
    message = f"{KEY} does not fit the events before it: the log was edited"
    return Fault(log.path, message, link.line, f"{link.expected[:SHOWN]}...", f"{link.found[:SHOWN]}...")


@rule("L122", severity="manual")
def logs_have_digests(submission: Submission) -> Iterator[Fault]:
    """The logs of a submission have log_digest events.

    Why: without them nothing in a log shows that it was edited. Logs of other programs do not have them.
    Example: the logs of every public round.
    Fix: train with this repository's harness, which logs them; compare other logs with the job's output by hand.
    """
    logs = [log for entry in submission.entries for log in entry.logs if log.num_events]
    without = sum(not log.signature.has_digest for log in logs)
    if without:
        yield Fault(submission.root, f"{without} of {len(logs)} logs have no {KEY}: edits of them cannot be found")


@rule("L125", severity="warning")
def digests_are_in_all_runs(entry: Entry) -> Iterator[Fault]:
    """Either every log of an entry has log_digest events, or none has.

    Why: the program that ran logs them in every run; a log without them may have been edited.
    Example: log_digest in nine of ten logs.
    Fix: submit the log as the run wrote it.
    """
    without = [log for log in entry.logs if log.events and log.first(KEY) is None]
    if 0 < len(without) < len(entry.logs):
        message = f"no {KEY}, in {len(without)} of {len(entry.logs)} logs"
        yield Fault(without[0].path, message, expected=f"{KEY} events, as in the other logs")
