# SPDX-License-Identifier: Apache-2.0
"""Scores as tables: the same figures in every format."""

import csv
import io
import json

import pytest

from compliance.__main__ import main
from compliance.reports import score_formats
from compliance.rulesets.ruleset import load
from compliance.scoring.score import Score
from compliance.submissions.rules_choice import RuleSetChoice

CONTRACT = [
    *("org", "system", "division", "benchmark", "metric", "runs", "unconverged", "dropped", "minutes", "scale_factor"),
    *("scaled_minutes", "valid"),
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


def test_an_invalid_entry_has_no_minutes():
    common = {"org": "acme", "system": "box", "division": "closed", "benchmark": "cosmoflow", "metric": "time_to_train"}
    score = Score(**common, runs=9, unconverged=0)
    line = score_formats.text(CHOICE, [score]).splitlines()[2]
    assert line.split() == ["acme/box/cosmoflow", "closed", "time_to_train", "9", "0", "1.0000", "NO"]
    assert score_formats.as_json(CHOICE, [score])["entries"][0]["minutes"] is None


def test_no_entry_at_all():
    assert score_formats.text(CHOICE, []).startswith("entry")
    assert score_formats.as_csv(CHOICE, []).startswith("org,system")
