# SPDX-License-Identifier: Apache-2.0
"""`check --diff`: hyperparameters side by side."""

import json

import pytest

from compliance.__main__ import main


@pytest.fixture
def other(acme_cosmoflow, valid_round, edit_log):
    """acme's throughput entry with another learning rate, and without dropout."""
    folder = valid_round / "acme" / "results" / "cluster" / "weak" / "cosmoflow"
    for log in folder.rglob("result_*.txt"):
        edit_log(log, lambda run: (run.set("opt_base_learning_rate", 0.016), run.drop("dropout")))
    return folder


def rows(text):
    """(star, key) of the table's lines."""
    lines = text[text.index("cosmoflow  ") :].splitlines()[2:]
    table = lines[: lines.index("")]
    return {line[3:].split()[0]: line[0] for line in table}


def test_what_differs_has_a_star(acme_cosmoflow, other, capsys):
    assert main(["check", str(acme_cosmoflow), "--diff", str(other)]) == 0
    marks = rows(capsys.readouterr().out)
    assert {key for key, mark in marks.items() if mark == "*"} == {"opt_base_learning_rate", "dropout"}
    assert {"global_batch_size", "opt_name", "train_samples"} < set(marks)


def test_json_holds_the_same(acme_cosmoflow, other, capsys):
    main(["check", str(acme_cosmoflow), "--diff", str(other), "--format", "json"])
    found = {row["key"]: row for row in json.loads(capsys.readouterr().out)["differences"]}
    rate = {"benchmark": "cosmoflow", "key": "opt_base_learning_rate", "here": "0.008", "there": "0.016"}
    assert found["opt_base_learning_rate"] == rate | {"differs": True}
    assert (found["dropout"]["here"], found["dropout"]["there"]) == ("0.5", "")
    assert found["opt_name"]["differs"] is False


def test_an_entry_does_not_differ_from_itself(acme_cosmoflow, capsys):
    main(["check", str(acme_cosmoflow), "--diff", str(acme_cosmoflow), "--format", "json"])
    assert not any(row["differs"] for row in json.loads(capsys.readouterr().out)["differences"])


def test_values_that_differ_between_the_runs_are_all_shown(acme_cosmoflow, other, edit_log, capsys):
    edit_log(acme_cosmoflow / "result_4.txt", lambda run: run.set("dropout", 0.25))
    assert main(["check", str(acme_cosmoflow), "--diff", str(other), "--format", "json"]) == 1
    found = {row["key"]: row for row in json.loads(capsys.readouterr().out)["differences"]}
    assert found["dropout"]["here"] == "0.5 | 0.25"


@pytest.mark.parametrize(
    ("there", "form", "said"),
    [
        ("beta", "text", "no benchmark in common"),
        ("acme", "text", "2 entries of cosmoflow, expected one; name it:"),
        ("acme/results/box/strong/cosmoflow", "csv", "--diff: found --format csv, expected text or json"),
    ],
)
def test_entries_that_cannot_be_compared(acme_cosmoflow, valid_round, capsys, there, form, said):
    assert main(["check", str(acme_cosmoflow), "--diff", str(valid_round / there), "--format", form]) == 2
    assert said in capsys.readouterr().err
