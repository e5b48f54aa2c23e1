# SPDX-License-Identifier: Apache-2.0
"""Entries checked by several processes: the same findings and scores as by one, whatever becomes of a process."""

import os
import signal

import pytest

from compliance import checks, entry_results
from compliance.reports import findings_formats
from compliance.review import review
from compliance.rulesets import ruleset
from compliance.scoring.score import score
from compliance.submissions import reader

RULES = "mlperf_hpc_2.0"


@pytest.fixture
def three_processes(monkeypatch):
    """However small the submission, and whatever other threads the test's process has."""
    monkeypatch.setattr(entry_results, "MIN_BYTES_TO_SHARE", 0)
    monkeypatch.setattr(entry_results, "num_children", lambda: 2)


@pytest.fixture
def faulty_round(valid_round, edit_log):
    """Findings in every entry, odd values that no message format holds, a copy across entries, an unreadable file."""
    cosmoflow = valid_round / "acme/results/box/strong/cosmoflow"
    edit_log(cosmoflow / "result_0.txt", lambda run: run.set("seed", 10**400))
    copy = (cosmoflow / "result_1.txt").read_bytes()
    (valid_round / "beta/results/rack/strong/deepcam/result_1.txt").write_bytes(copy)
    weak = valid_round / "acme/results/cluster/weak/cosmoflow"
    edit_log(weak / "result_3.txt", lambda run: run.set("opt_name", "\ud800"))
    (weak / "result_4.txt").write_bytes(b"")
    return valid_round


def test_three_processes_find_what_one_finds(faulty_round, three_processes):
    rules, tree = ruleset.load(RULES), reader.read(faulty_round)
    outcome = review(faulty_round, RULES)
    assert outcome.findings == checks.check(tree, rules)
    assert {finding.rule for finding in outcome.findings} >= {"L101", "L107", "R134"}
    assert [entry.score for entry in outcome.entries] == score(tree, rules)
    assert findings_formats.render(outcome, "json") == findings_formats.render(outcome, "json")


def test_what_another_process_has_read_can_be_asked_for_more(valid_round, three_processes):
    tree = reader.read(valid_round)
    entry_results.entry_results(tree.entries, ruleset.load(RULES))
    for entry in tree.entries:
        for log in entry.logs:
            assert log.num_events == len(log.events) > 0
            assert log.error is None
            assert log.last("run_stop").line == log.num_lines


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: 1 / 0])
def test_a_process_that_fails_is_done_without(faulty_round, three_processes, monkeypatch, end):
    parent, result_of = os.getpid(), entry_results._result

    def result_or_end(*arguments):
        return result_of(*arguments) if os.getpid() == parent else end()

    monkeypatch.setattr(entry_results, "_result", result_or_end)
    outcome = review(faulty_round, RULES)
    monkeypatch.undo()
    assert outcome.findings == review(faulty_round, RULES).findings
    assert len(outcome.scored) == 3
    with pytest.raises(ChildProcessError):  # none is left
        os.waitpid(-1, os.WNOHANG)


def test_a_fault_in_the_own_share_leaves_no_process(valid_round, three_processes, monkeypatch):
    parent, result_of = os.getpid(), entry_results._result

    def fail(*arguments):
        if os.getpid() == parent:
            raise OSError("the disk has gone")
        return result_of(*arguments)

    monkeypatch.setattr(entry_results, "_result", fail)
    with pytest.raises(OSError, match="the disk has gone"):
        review(valid_round, RULES)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
