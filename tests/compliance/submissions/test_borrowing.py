# SPDX-License-Identifier: Apache-2.0
"""Borrowing: the group that is taken, the batch that is kept, and what check finds where either was changed."""

import hashlib
import shutil
import tomllib
from pathlib import Path

import pytest

from compliance.__main__ import main
from compliance.files.errors import UserError
from compliance.review import review
from compliance.rulesets.constraint import Constraint
from compliance.submissions import borrowing

MINE = """\
rules = "mlperf_hpc_2.0"
division = "closed"
[hyperparameters]
opt_name = "sgd"
opt_base_learning_rate = 0.5
[batch]
global_batch_size = 1024
"""
RULES = {"H951", "H952", "H953", "H954"}


@pytest.fixture
def mine(tmp_path) -> Path:
    path = tmp_path / "hyperparameters.toml"
    path.write_text(MINE)
    return path


@pytest.fixture
def borrowing_round(valid_round, run_log, mine, acme_cosmoflow) -> Path:
    """beta has run cosmoflow with what it borrowed from acme, at a batch of its own."""
    beta = valid_round / "beta"
    for index in range(10):
        run = run_log(
            org="beta",
            seed=70_000 + index,
            num_epochs=24,
            global_batch_size=1024,
            start_ms=1_663_904_434_000 + index * 10**8,
        )
        run.write(beta / "results" / "rack" / "strong" / "cosmoflow" / f"result_{index}.txt")
    shutil.copytree(valid_round / "acme" / "benchmarks" / "cosmoflow", beta / "benchmarks" / "cosmoflow")
    place = (beta / "benchmarks" / "cosmoflow" / "box").rename(beta / "benchmarks" / "cosmoflow" / "rack")
    (place / "box_pytorch.json").rename(place / "rack_pytorch.json")
    assert main(["borrow", str(acme_cosmoflow), str(mine), "--output", str(place / "hyperparameters.toml")]) == 0
    return valid_round


def borrowed_file(folder: Path) -> Path:
    return folder / "beta" / "benchmarks" / "cosmoflow" / "rack" / "hyperparameters.toml"


def found(folder: Path) -> dict[str, list[str]]:
    """Messages of the borrowing rules, by rule."""
    messages = {}
    for finding in review(folder, "mlperf_hpc_2.0").findings:
        if finding.rule in RULES:
            messages.setdefault(finding.rule, []).append(str(finding))
    return messages


def test_all_hyperparameters_are_the_lenders_and_the_batch_is_ones_own(acme_cosmoflow, mine, capsys):
    assert main(["borrow", str(acme_cosmoflow), str(mine)]) == 0
    output = mine.with_name("hyperparameters.borrowed.toml")
    assert capsys.readouterr().out == f"{output}\n"
    tables = tomllib.loads(output.read_text())
    assert (tables["rules"], tables["division"]) == ("mlperf_hpc_2.0", "closed")
    assert tables["batch"] == {"global_batch_size": 1024}
    assert tables["hyperparameters"] == {
        "dropout": 0.5,
        "opt_weight_decay": 0.0,
        "opt_name": "sgd",
        "opt_base_learning_rate": 0.008,
        "opt_learning_rate_warmup_epochs": 4,
        "opt_learning_rate_warmup_factor": 1.0,
        "opt_learning_rate_decay_boundary_epochs": [32, 64],
        "opt_learning_rate_decay_factor": [0.25, 0.125],
    }
    log = acme_cosmoflow / "result_0.txt"
    assert tables["borrowed"] == {
        "lender": "acme",
        "path": "acme/results/box/strong/cosmoflow/result_0.txt",
        "sha256": hashlib.sha256(log.read_bytes()).hexdigest(),
    }
    assert mine.read_text() == MINE


def test_a_borrowed_file_passes_config(acme_cosmoflow, mine, capsys):
    main(["borrow", str(acme_cosmoflow), str(mine)])
    output = mine.with_name("hyperparameters.borrowed.toml")
    assert main(["config", str(output), "--benchmark", "cosmoflow"]) == 0


def test_borrowing_from_a_file(tmp_path, mine):
    lender = tmp_path / "acme" / "benchmarks" / "cosmoflow" / "box" / "hyperparameters.toml"
    lender.parent.mkdir(parents=True)
    lender.write_text(MINE.replace("0.5", "0.25").replace("1024", "64"))
    tables = tomllib.loads(borrowing.borrow(lender, mine, "cosmoflow").text)
    assert tables["hyperparameters"] == {"opt_name": "sgd", "opt_base_learning_rate": 0.25}
    assert tables["batch"] == {"global_batch_size": 1024}
    assert tables["borrowed"]["lender"] == "acme"
    assert tables["borrowed"]["path"] == "acme/benchmarks/cosmoflow/box/hyperparameters.toml"


def test_a_count_that_was_logged_as_a_float_becomes_a_count():
    assert repr(borrowing.typed(4.0, Constraint(type="integer"))) == "4"
    assert repr(borrowing.typed(4.0, Constraint(type="number"))) == "4.0"


def test_what_the_lender_does_not_have_is_left_out_and_named(acme_cosmoflow, mine, edit_log, capsys):
    mine.write_text(MINE.replace("[batch]", "dropout = 0.1\n[batch]"))
    for log in acme_cosmoflow.glob("result_*.txt"):
        edit_log(log, lambda run: run.drop("dropout"))
    assert main(["borrow", str(acme_cosmoflow), str(mine)]) == 0
    assert "left out: dropout" in capsys.readouterr().err
    assert "dropout" not in mine.with_name("hyperparameters.borrowed.toml").read_text()


def test_runs_of_a_lender_that_differ_cannot_be_borrowed(acme_cosmoflow, mine, edit_log):
    edit_log(acme_cosmoflow / "result_4.txt", lambda run: run.set("dropout", 0.4))
    with pytest.raises(UserError, match=r"result_4.txt: dropout is 0.4, not 0.5"):
        borrowing.borrow(acme_cosmoflow, mine)


def test_another_benchmark_cannot_be_borrowed(valid_round, mine):
    with pytest.raises(UserError, match="an entry of deepcam, expected one of cosmoflow"):
        borrowing.borrow(valid_round / "beta" / "results" / "rack" / "strong" / "deepcam", mine, "cosmoflow")


def test_several_entries_have_to_be_told_apart(valid_round, mine):
    with pytest.raises(UserError, match="holds 2 entries, expected one"):
        borrowing.borrow(valid_round / "acme", mine)


def test_what_ones_own_rules_forbid_cannot_be_borrowed(acme_cosmoflow, mine, edit_log):
    for log in acme_cosmoflow.glob("result_*.txt"):
        edit_log(log, lambda run: run.set("opt_name", "lion"))
    with pytest.raises(UserError, match="opt_name: found 'lion'"):
        borrowing.borrow(acme_cosmoflow, mine)


def test_ones_own_file_is_not_overwritten(acme_cosmoflow, mine, capsys):
    assert main(["borrow", str(acme_cosmoflow), str(mine), "--output", str(mine)]) == 2
    assert "would be overwritten" in capsys.readouterr().err
    assert mine.read_text() == MINE


def test_check_finds_nothing_in_an_honest_borrowing(borrowing_round):
    assert found(borrowing_round) == {}


def test_check_finds_a_run_with_another_value(borrowing_round, edit_log):
    log = borrowing_round / "beta" / "results" / "rack" / "strong" / "cosmoflow" / "result_3.txt"
    edit_log(log, lambda run: run.set("opt_base_learning_rate", 0.0081))
    (message,) = found(borrowing_round)["H952"]
    assert message.startswith(f"{log}:")
    assert "opt_base_learning_rate is 0.0081, expected 0.008, as in hyperparameters.toml" in message


def test_check_finds_a_value_that_is_not_the_lenders(borrowing_round):
    path = borrowed_file(borrowing_round)
    path.write_text(path.read_text().replace("dropout = 0.5", "dropout = 0.4"))
    messages = found(borrowing_round)
    assert "dropout is 0.4, expected 0.5" in messages["H953"][0]
    assert len(messages["H952"]) == 10, "none of the ten runs had it either"


def test_check_finds_a_value_that_was_not_taken(borrowing_round):
    path = borrowed_file(borrowing_round)
    path.write_text(path.read_text().replace("dropout = 0.5\n", ""))
    assert list(found(borrowing_round)) == ["H953"]
    assert "dropout was not borrowed, expected 0.5" in found(borrowing_round)["H953"][0]


def test_check_finds_that_the_lenders_log_was_changed(borrowing_round, acme_cosmoflow, edit_log):
    edit_log(acme_cosmoflow / "result_0.txt", lambda run: run.set("submission_platform", "other"))
    assert "is another file, expected that sha256" in found(borrowing_round)["H953"][0]


@pytest.mark.parametrize("key", ["lender", "path", "sha256"])
def test_check_finds_an_incomplete_file(borrowing_round, key):
    path = borrowed_file(borrowing_round)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(key)]
    path.write_text("\n".join(lines))
    assert found(borrowing_round) == {"H951": [f"{path}: H951 error: [borrowed] is missing keys: {key}"]}


@pytest.mark.parametrize("path", ["acme/results/box/strong/deepcam/result_0.txt", "../../etc/passwd", "x", "a/b/c/d/e"])
def test_check_says_where_it_cannot_see_the_lender(borrowing_round, path):
    file = borrowed_file(borrowing_round)
    file.write_text(file.read_text().replace("acme/results/box/strong/cosmoflow/result_0.txt", path))
    messages = found(borrowing_round)
    assert list(messages) == ["H954"]
    assert "manual: not compared with the lender's logs" in messages["H954"][0]


def test_check_of_the_borrower_alone_says_that_the_lender_is_missing(borrowing_round):
    assert list(found(borrowing_round / "beta")) == ["H954"]


def test_a_system_has_a_bounded_number_of_borrowed_files(borrowing_round):
    file = borrowed_file(borrowing_round)
    for number in range(30):
        (file.parent / f"more_{number}.toml").write_text(file.read_text())
    (finding,) = found(borrowing_round)["H951"]
    assert finding.endswith("one of more than 16 borrowed files, which are not compared")
