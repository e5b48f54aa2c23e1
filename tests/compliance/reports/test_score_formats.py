# SPDX-License-Identifier: Apache-2.0
"""Scores as tables: the same figures in every format."""

import csv
import io
import json
from pathlib import Path

import pytest

from compliance.__main__ import main
from compliance.reports import score_formats
from compliance.review import EntryReview, Review
from compliance.rulesets.ruleset import load
from compliance.scoring.score import Score
from compliance.submissions.reader import Submission
from compliance.submissions.rules_choice import RuleSetChoice

CONTRACT = [
    *("org", "system", "division", "benchmark", "metric", "runs", "unconverged", "dropped", "minutes", "scale_factor"),
    *("scaled_minutes", "scored", "verdict"),
]
CHOICE = RuleSetChoice(ruleset=load("mlperf_hpc_2.0"), reason="given by --rules")


@pytest.fixture
def printed(valid_round, capsys):
    def run(form: str) -> str:
        assert main(["score", str(valid_round), "--format", form]) == 0
        return capsys.readouterr().out

    return run


def test_json_starts_with_the_keys_of_the_contract(printed):
    document = json.loads(printed("json"))
    assert list(document) == ["schema", "rules", "entries"]
    assert [list(entry)[: len(CONTRACT)] for entry in document["entries"]] == [CONTRACT] * 3


def test_csv_and_json_agree(printed):
    rows = list(csv.DictReader(io.StringIO(printed("csv"))))
    entries = json.loads(printed("json"))["entries"]
    assert [row["system"] for row in rows] == [entry["system"] for entry in entries]
    assert [float(row["minutes"]) for row in rows] == [entry["minutes"] for entry in entries]
    assert [row["dropped"].split() for row in rows] == [entry["dropped"] for entry in entries]
    (cluster,) = [row for row in rows if row["system"] == "cluster"]
    assert cluster["throughput.num_pruned"] == "1"


def test_text_and_markdown_show_the_minutes(printed):
    entries = json.loads(printed("json"))["entries"]
    for form in ("text", "markdown"):
        text = printed(form)
        assert all(f"{entry['minutes']:.3f}" in text for entry in entries)


def test_text_says_what_was_dropped_and_what_ran_at_once(printed):
    text = printed("text")
    assert "dropped as fastest and slowest: result_" in text
    assert "10 instances of 512 on 5632 accelerators or nodes, 1 more pruned" in text


def test_an_entry_that_check_refuses_is_not_called_accepted(valid_round, printed):
    """A score that can be computed is `scored`; whether the entry is accepted is the verdict of `check`."""
    (log,) = (valid_round / "beta/results/rack/strong/deepcam").glob("result_0.txt")
    log.write_text(log.read_text().replace('"value": "LAMB"', '"value": "Adam"'))
    entries = {entry["system"]: entry for entry in json.loads(printed("json"))["entries"]}
    assert (entries["rack"]["scored"], entries["rack"]["verdict"]) == (True, "errors 1")
    assert (entries["box"]["scored"], entries["box"]["verdict"]) == (True, "accepted")
    (line,) = [line for line in printed("text").splitlines() if "acme/box/cosmoflow " in line]
    assert line.endswith("yes     accepted")
    rows = {row["system"]: row for row in csv.DictReader(io.StringIO(printed("csv")))}
    assert (rows["rack"]["scored"], rows["rack"]["verdict"]) == ("True", "errors 1")


def test_an_entry_without_a_score_has_no_minutes():
    common = {"org": "acme", "system": "box", "division": "closed", "benchmark": "cosmoflow", "metric": "time_to_train"}
    score = Score(**common, runs=9, unconverged=0)
    reviewed = reviewed_with(EntryReview(entry=None, score=score, findings=()))
    line = score_formats.text(reviewed).splitlines()[4]
    assert line.split() == ["acme/box/cosmoflow", "closed", "time_to_train", "9", "0", "1.0000", "no", "accepted"]
    assert score_formats.as_json(reviewed)["entries"][0]["minutes"] is None


def test_no_entry_at_all():
    assert "\nentry" in score_formats.text(reviewed_with())
    assert score_formats.as_csv(reviewed_with()).startswith("org,system")


def reviewed_with(*entries):
    submission = Submission(root=Path("acme"), kind="organization")
    return Review(submission=submission, choice=CHOICE, findings=[], entries=entries)
