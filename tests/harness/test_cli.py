# SPDX-License-Identifier: Apache-2.0
"""Exit codes and options that commands share."""

from pathlib import Path

import pytest

from compliance.command_line import command
from compliance.files.errors import UserError
from harness import cli
from harness.config import ConfigError
from harness.signals import Terminated


def fail(error: BaseException):
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("main", "code"),
    [
        (lambda: None, 0),
        (lambda: 1, 1),
        (fail(KeyboardInterrupt()), 130),
        (fail(Terminated()), 143),
        (fail(ConfigError("system.toml: org: missing")), 2),
    ],
)
def test_exit_code(main, code):
    assert cli.exit_code(main) == code


def test_error_for_the_user_is_one_line_on_stderr(capsys):
    cli.exit_code(fail(ConfigError("system.toml: org: missing")))
    assert capsys.readouterr() == ("", "error: system.toml: org: missing\n")


@pytest.mark.parametrize("error", [ValueError("a fault of ours"), RuntimeError("likewise")])
def test_fault_of_the_program_keeps_its_traceback(error):
    with pytest.raises(type(error), match=str(error)):
        cli.exit_code(fail(error))


def test_options():
    arguments = cli.parser("toy.train", "trains").parse_args(["--config", "folder", "--seed", "3", "--data", "d"])
    assert (arguments.config, arguments.seed, arguments.data) == (Path("folder"), 3, Path("d"))
    assert (arguments.output, arguments.hyperparameters, arguments.system) == (Path("result_0.txt"), None, None)


@pytest.mark.parametrize("options", [["--config", "x", "--seed", "0"], [], ["--config", "x", "--dropout", "0.1"]])
def test_wrong_usage_exits_with_2(options, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parser("toy.train", "trains").parse_args(options)
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_report_prints_what_the_work_says(capsys):
    assert cli.report("prepare", lambda: "64 samples") == 0
    assert capsys.readouterr() == ("64 samples\n", "")


@pytest.mark.parametrize(
    ("error", "resumes", "code", "line"),
    [
        (ConfigError("raw: missing"), False, 2, "prepare: raw: missing\n"),
        (FileNotFoundError("raw: no such file"), True, 2, "prepare: raw: no such file\n"),
        (KeyboardInterrupt(), False, 130, "prepare: interrupted\n"),
        (KeyboardInterrupt(), True, 130, "prepare: interrupted; the same command continues from here\n"),
    ],
)
def test_report_ends_in_one_line_on_stderr(error, resumes, code, line, capsys):
    assert cli.report("prepare", fail(error), resumes=resumes) == code
    assert capsys.readouterr() == ("", line)


def test_report_keeps_the_traceback_of_a_fault_of_the_program():
    with pytest.raises(RuntimeError, match="ours"):
        cli.report("prepare", fail(RuntimeError("ours")))


def test_a_data_folder_may_be_each_nodes_own(monkeypatch):
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    arguments = ["--config", "folder", "--data", "/nvme/$SLURMD_NODENAME/data"]
    options = cli.parser("toy.train", "trains").parse_args(arguments)
    assert options.data == Path("/nvme/n1/data")


def test_help_keeps_the_lines_of_the_description(capsys):
    parser = command("toy.prepare", "Makes toys.\n\n    python -m toy.prepare RAW OUT")
    with pytest.raises(SystemExit):
        parser.parse_args(["--help"])
    expected = "usage: python -m toy.prepare [-h] [--version]\n\nMakes toys.\n\n    python -m toy.prepare RAW OUT\n"
    assert capsys.readouterr().out.startswith(expected)


@pytest.mark.parametrize(("rank", "printed"), [("0", "error: 4 samples\n"), ("2", "")])
def test_an_error_that_all_ranks_have_is_printed_by_the_first(rank, printed, capsys, monkeypatch):
    world = {"WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "3", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
    for name, value in {"RANK": rank, "LOCAL_RANK": rank, **world}.items():
        monkeypatch.setenv(name, value)
    assert cli.exit_code(fail(ConfigError("4 samples"))) == 2
    assert capsys.readouterr().err == printed
    assert cli.exit_code(fail(UserError("a disk of this rank"))) == 2
    assert capsys.readouterr().err == "error: a disk of this rank\n"
