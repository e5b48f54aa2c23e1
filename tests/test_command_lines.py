# SPDX-License-Identifier: Apache-2.0
"""All commands of the repository: their help waits for no library, and like commands have like options."""

import argparse
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from compliance.rulesets import ruleset
from tests.demos import DEMOS

ROOT = Path(__file__).resolve().parents[1]
SLOW = {"torch", "numpy", "h5py", "matplotlib", "sklearn", "rich", "mlperf_logging"}
"""Libraries that take a noticeable time to import."""
COMMON = {
    "synthesize": {"--train", "--validation", "--seed", "--workers", "--preview"},
    "prepare": {"--workers", "--verify"},
}
DATA_COMMANDS = [f"{package}.{command}" for package in DEMOS for command in ("synthesize", "prepare")]
COMMANDS = [
    *DATA_COMMANDS,
    "ewa_fasterrcnn.preview",
    "ewa_fasterrcnn.climatology",
    "harness.hpc_train",
    "compliance",
]


def run(module: str, *arguments: str) -> tuple[subprocess.CompletedProcess, set[str], str]:
    """The finished command, the libraries that it imported, and what it printed as an error."""
    command = [sys.executable, "-X", "importtime", "-m", module, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    lines = done.stderr.splitlines(keepends=True)
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    return done, imported, "".join(line for line in lines if not line.startswith("import time:"))


@pytest.mark.parametrize("module", COMMANDS)
def test_help_is_answered_before_any_slow_library_is_imported(module):
    done, imported, printed = run(module, "--help")
    assert (done.returncode, imported & SLOW, printed) == (0, set(), "")
    assert done.stdout.startswith("usage: ")
    assert "--version" in done.stdout


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
    common = {
        "synthesize": {"--train", "--validation", "--seed", "--workers", "--preview"},
        "prepare": {"--workers", "--verify"},
    }
    for package in DEMOS:
        assert common[command] <= options(f"{package}.{command}").keys(), package
    names = [option for package in DEMOS for option in options(f"{package}.{command}")]
    assert not {"--processes", "--jobs", "--num-workers", "--threads"} & set(names)
