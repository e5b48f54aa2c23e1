# SPDX-License-Identifier: Apache-2.0
"""All commands of the repository: their help waits for no library, and like commands have like options."""

import argparse
import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from compliance.rulesets import ruleset
from tests.demos import DEMOS

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"torch", "numpy", "h5py", "matplotlib", "sklearn", "mlperf_logging"}
"""Libraries that take a noticeable time to import."""
COMMON = {
    "synthesize": {"--train", "--validation", "--seed", "--workers", "--preview"},
    "prepare": {"--workers", "--verify"},
}
INTERNAL = {
    "characterize.measure.rank",
    "perf.communication_rank",
    "perf.memory",
    "perf.process_groups_rank",
    "perf.shared_source",
    "perf.staging_rank",
}
"""Programs that a command starts on other ranks; they have no options."""


def commands() -> list[str]:
    """All modules that run as programs."""
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [Path(name) for name in listed.stdout.split() if not name.startswith("tests/")]
    found = [file for file in files if runs_as_program((ROOT / file).read_text(encoding="utf-8"))]
    modules = {".".join(file.with_suffix("").parts).removesuffix(".__main__") for file in found}
    return sorted(modules - INTERNAL)


def runs_as_program(source: str) -> bool:
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
    return any(ast.unparse(node.test) == "__name__ == '__main__'" for node in nodes)


def run(module: str, *arguments: str) -> tuple[subprocess.CompletedProcess, set[str], str]:
    """The finished command, the libraries that it imported, and what it printed as an error."""
    command = [sys.executable, "-X", "importtime", "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stderr.splitlines(keepends=True)
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return done, imported, "".join(line for line in lines if not line.startswith("import time:"))


@pytest.mark.parametrize("module", commands())
def test_help_is_answered_before_any_slow_library_is_imported(module):
    done, imported, printed = run(module, "--help")
    assert (done.returncode, imported & SLOW, printed) == (0, set(), "")
    assert done.stdout.startswith("usage: ")
    assert "--version" in done.stdout


def test_the_commands_are_found():
    assert {"compliance", "cosmoflow.train", "harness.campaign", "harness.staging", "perf"} <= set(commands())


def test_a_mistake_is_answered_as_early():
    done, imported, printed = run("cosmoflow.synthesize", "out", "--trian", "3")
    assert (done.returncode, imported & SLOW) == (2, set())
    assert printed.startswith("error: unknown option --trian; did you mean '--train'?")
    assert printed.count("\n") == 1


def options(module: str) -> dict[str, argparse.Action]:
    parser = import_module(module).options()
    return {string: action for action in parser._actions for string in action.option_strings}


@pytest.mark.parametrize("package", DEMOS)
def test_synthesize_makes_the_demo_s_data_by_default(package):
    demo = DEMOS[package]
    keys = ruleset.load(demo.rules).benchmark(package).keys()
    defaults = import_module(f"{package}.synthesize").options().parse_args(["out"])
    assert keys["train_samples"].accepts(defaults.train)
    assert keys["eval_samples"].accepts(defaults.validation)


@pytest.mark.parametrize("command", ["synthesize", "prepare"])
def test_like_commands_have_like_options(command):
    for package in DEMOS:
        assert COMMON[command] <= options(f"{package}.{command}").keys(), package
    names = [option for package in DEMOS for option in options(f"{package}.{command}")]
    assert not {"--processes", "--jobs", "--num-workers", "--threads"} & set(names)
