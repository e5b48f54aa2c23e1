# SPDX-License-Identifier: Apache-2.0
"""The command line: exit codes, where output goes, and what it costs to start."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from compliance.__main__ import main

VERBS = ("check", "score", "report", "explain", "rules", "config", "borrow", "package")


def start(*arguments, **options):
    command = [sys.executable, "-m", "compliance", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_valid_round_passes(valid_round, capsys):
    assert main(["check", str(valid_round), "--rules", "mlperf_hpc_2.0"]) == 0
    assert "passed: 0 errors" in capsys.readouterr().out


def test_logs_of_an_earlier_round_are_found_against_it(valid_round, tmp_path, capsys):
    shutil.copytree(valid_round / "beta", tmp_path / "earlier" / "beta")
    assert main(["check", str(valid_round), "--rules", "mlperf_hpc_2.0", "--against", str(tmp_path / "earlier")]) == 0
    assert "R136 warning" in capsys.readouterr().out
    assert main(["check", str(valid_round), "--against", str(tmp_path / "nowhere")]) == 2


def test_an_error_is_exit_code_1_and_stands_on_stdout(acme_cosmoflow, capsys):
    (acme_cosmoflow / "result_9.txt").unlink()
    assert main(["check", str(acme_cosmoflow)]) == 1
    printed = capsys.readouterr().out
    assert "\ncosmoflow: R101 error: 9 runs of cosmoflow, expected at least 10" in printed
    assert "FAILED: 1 error," in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["check", "no/such/path"], "no/such/path: no such file or folder"),
        (["check", ".", "--rules", "mlperf_hpc_20"], "did you mean 'mlperf_hpc_2.0'?"),
        (["rules", "mlperf_hpc_4.0"], "no rule set 'mlperf_hpc_4.0'"),
        (["explain", "L1O1"], "no rule 'L1O1'; did you mean 'L1"),
        (["config", "missing.toml"], "missing.toml: cannot be read"),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_exit_code_2(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [[], ["chek", "."], ["check"], ["check", ".", "--format", "yaml"], ["report", "."]]
)
def test_wrong_usage_is_exit_code_2(arguments, capsys):
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    assert main([verb, "--help"]) == 0
    assert verb in capsys.readouterr().out


def test_help_imports_neither_rules_nor_parser():
    code = "import sys; from compliance.__main__ import main; main(['--help']); print(sorted(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"msgspec", "compliance.rulesets.ruleset", "jinja2", "numpy"} & set(printed.replace("'", "").split(", "))


def test_checking_imports_no_training_code(acme_cosmoflow):
    code = "import sys; from compliance.__main__ import main; main(['check', sys.argv[1]]); print(*sys.modules)"
    command = [sys.executable, "-c", code, acme_cosmoflow]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "numpy", "harness"} & set(printed.split())


def test_output_is_written_to_the_file_and_the_verdict_to_stdout(acme_cosmoflow, tmp_path, capsys):
    output = tmp_path / "findings.json"
    assert main(["check", str(acme_cosmoflow), "--format", "json", "--output", str(output)]) == 0
    assert json.loads(output.read_text())["ok"] is True
    assert f"\n{output}: passed" in capsys.readouterr().out
    assert list(tmp_path.glob(".*")) == []


def test_output_that_cannot_be_written_leaves_nothing_behind(acme_cosmoflow, tmp_path, capsys):
    output = tmp_path / "no" / "folder" / "findings.txt"
    assert main(["check", str(acme_cosmoflow), "--output", str(output)]) == 2
    assert "findings.txt" in capsys.readouterr().err
    output = tmp_path / "taken"
    output.mkdir()
    assert main(["check", str(acme_cosmoflow), "--output", str(output)]) == 2
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_report_writes_a_page_and_prints_its_path_last(acme_cosmoflow, tmp_path, capsys):
    page = tmp_path / "report.html"
    assert main(["report", str(acme_cosmoflow), "--output", str(page)]) == 0
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")
    assert capsys.readouterr().out.splitlines()[-1] == str(page)


def test_report_that_cannot_be_written(acme_cosmoflow, tmp_path, capsys):
    page = tmp_path / "no" / "report.html"
    assert main(["report", str(acme_cosmoflow), "--output", str(page)]) == 2
    assert capsys.readouterr().err == f"error: {page}: cannot be written: No such file or directory\n"


def test_the_choice_of_rules_goes_beside_machine_formats(acme_cosmoflow, capsys):
    assert main(["score", str(acme_cosmoflow), "--format", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["rules"] == "mlperf_hpc_2.0"
    assert "rules mlperf_hpc_2.0 (implied by runs that started in 2022)" in captured.err


def test_score_names_benchmarks_that_it_cannot_score(acme_cosmoflow, capsys):
    acme_cosmoflow.rename(acme_cosmoflow.with_name("cosmicflow"))
    assert main(["score", str(acme_cosmoflow.with_name("cosmicflow"))]) == 0
    assert "not scored: acme/box/strong/cosmicflow" in capsys.readouterr().err


def test_a_reader_that_leaves_early_causes_no_traceback(published_results):
    process = start("score", published_results / "hpc_results_v0.7")
    process.stdout.close()
    errors = process.stderr.read()
    process.wait()
    assert process.returncode == 128 + signal.SIGPIPE
    assert errors == ""


def test_an_interrupt_is_exit_code_130(monkeypatch, capsys):
    def interrupted(arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("compliance.commands.rules.run", interrupted)
    assert main(["rules"]) == 128 + signal.SIGINT
    assert capsys.readouterr().err == ""


def test_names_that_a_terminal_would_obey_are_escaped(acme_cosmoflow, capsys):
    odd = acme_cosmoflow / "evil\x1b[2J"
    odd.mkdir()
    main(["check", str(acme_cosmoflow), "--all"])
    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert r"evil\x1b[2J" in printed


def test_a_file_name_that_is_no_text_is_printed_escaped(valid_round):
    odd = valid_round / "acme" / "results" / os.fsdecode(b"sys\xff")
    (odd / "strong" / "cosmoflow").mkdir(parents=True)
    for form in ("text", "json", "csv", "markdown", "sarif", "junit"):
        process = start("check", valid_round, "--format", form)
        printed, errors = process.communicate()
        assert process.returncode == 1, errors
        assert "sys" in printed
