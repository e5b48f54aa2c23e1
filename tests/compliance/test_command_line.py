# SPDX-License-Identifier: Apache-2.0
"""The style of all command lines: no abbreviations, the nearest option or value, one line and exit code 2."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from compliance import command_line

ROOT = Path(__file__).parents[2]


@pytest.fixture
def parser():
    parser = command_line.command("toy.train", "Trains toys.")
    parser.add_argument("--output", required=True)
    parser.add_argument("--format", choices=("text", "json"))
    return parser


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--outptu", "x"], "unknown option --outptu; did you mean '--output'?"),
        (["--out", "x"], "unknown option --out; did you mean '--output'?"),
        (["--outptu=x"], "unknown option --outptu; did you mean '--output'?"),
        (["--output", "x", "--format", "jsn"], "argument --format: found jsn; did you mean 'json'?"),
        (["--output", "x", "--format", "pdf"], "argument --format: found pdf; known: json, text"),
        (["--output", "x", "more"], "unexpected argument more"),
        (["--format", "json"], "the following arguments are required: --output"),
        (["--output"], "argument --output: expected one argument"),
    ],
)
def test_a_mistake_is_one_line_that_helps(parser, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(arguments)
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {message} (see python -m toy.train --help)\n"


def test_a_value_may_look_like_an_option(parser):
    assert parser.parse_args(["--output=--outptu"]).output == "--outptu"


def test_a_wrong_option_of_a_verb_is_explained_by_the_verb(capsys):
    parser = command_line.command("toy", None)
    parser.add_subparsers(dest="verb").add_parser("check").add_argument("--rules")
    with pytest.raises(SystemExit):
        parser.parse_args(["check", "--rule", "x"])
    assert (
        capsys.readouterr().err
        == "error: unknown option --rule; did you mean '--rules'? (see python -m toy check --help)\n"
    )


def test_a_console_script_has_its_own_name_in_messages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/hpc-toy"])
    with pytest.raises(SystemExit):
        command_line.command("toy", None).parse_args(["--help"])
    assert capsys.readouterr().out.startswith("usage: hpc-toy ")


def test_every_command_knows_its_version(parser, capsys):
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("hpc-ai-bench ")


@pytest.mark.parametrize(
    ("line", "completion"),
    [
        ("hpc-compliance ch", "check"),
        ("hpc-compliance check --ru", "--rules"),
        ("hpc-compliance check --format js", "json"),
    ],
)
def test_the_shell_completes_commands_options_and_values(tmp_path, line, completion):
    """As bash asks after register-python-argcomplete."""
    pytest.importorskip("argcomplete")
    shell = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    answer = tmp_path / "answer"
    environment = {**os.environ, **shell, "_ARGCOMPLETE_STDOUT_FILENAME": str(answer)}
    subprocess.run([sys.executable, "-m", "compliance"], env=environment, cwd=ROOT, check=True)
    assert completion in [word.strip() for word in answer.read_text().split("\n")]


def test_a_command_without_its_extra_names_it(monkeypatch, capsys):
    monkeypatch.setitem(command_line.LIBRARIES, "train", ("json", "no_such_library"))
    command_line.require()
    with pytest.raises(SystemExit) as stop:
        command_line.require("train")
    assert stop.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: not installed: no_such_library; install the extra [train]: ")
    assert "pip install 'hpc-ai-bench[train]'" in printed
    assert printed.count("\n") == 1
