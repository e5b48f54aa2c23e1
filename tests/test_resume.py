# SPDX-License-Identifier: Apache-2.0
"""Exact resume of every benchmark: a run killed in a step and resumed ends bit for bit like an uninterrupted one."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.demos import COSMOFLOW, DEEPCAM, EWA, IMAGENET, ROOT

DEMOS = {
    "cosmoflow": replace(COSMOFLOW, system={"max_epochs": 3}, hyperparameters={"dropout": 0.5}),
    "deepcam": replace(DEEPCAM, system={"max_epochs": 2}),
    "imagenet_resnet": IMAGENET,
    "ewa_fasterrcnn": replace(EWA, system={"trained_weights": None, "epochs_between_evaluations": 1}),
}
NUM_STEPS = {"cosmoflow": 12, "deepcam": 4, "imagenet_resnet": 16, "ewa_fasterrcnn": 6}
"""Number of steps of a whole run."""
MEASURED = ("tracked_stats", "images_per_second_per_rank", "log_digest")
"""Events whose value is a measured speed, or the digest of lines with times and speeds."""

pytestmark = pytest.mark.slow


@pytest.fixture(params=DEMOS)
def package(request) -> str:
    return request.param


@pytest.fixture
def train(package, tmp_path):
    """Train the demo to its end, and return the state of all parts; or let it kill itself after a step."""
    data = DEMOS[package].synthesize(tmp_path / "data")

    def train(log: Path, *options: str, killed_after: int = 0, **system: int) -> dict[str, Any] | None:
        config, state = DEMOS[package].configure(tmp_path / "config", **system), log.with_suffix(".pt")
        command = [sys.executable, "tests/train_to_step.py", package, str(killed_after), str(state)]
        command += ["--config", str(config), "--data", str(data), "--output", str(log), "--seed", "3", *options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)
        assert done.returncode == (-signal.SIGKILL if killed_after else 0), done.stderr
        return None if killed_after else torch.load(state)

    return train


def test_a_run_killed_in_a_step_ends_as_one_that_never_stopped(package, train, tmp_path):
    whole, parts = tmp_path / "whole.txt", tmp_path / "parts.txt"
    last_step = random.Random(package).randint(1, NUM_STEPS[package])
    expected = train(whole)
    train(parts, killed_after=last_step, checkpoint_every_epochs=1)
    found = train(parts, "--resume", checkpoint_every_epochs=1)
    assert_same(found, expected)
    assert [event for event in events(parts) if event[0] != "restart"] == events(whole)
    assert [event[0] for event in events(parts)].count("restart") == 1
    assert DEMOS[package].faults(parts) == DEMOS[package].faults(whole) | {"T113"}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Check that all numbers of two states are equal to the last bit."""
    found, expected = dict(leaves(found)), dict(leaves(expected))
    assert found.keys() == expected.keys()
    assert any(torch.is_tensor(value) for value in expected.values())
    for path, value in expected.items():
        same = torch.equal(found[path], value) if torch.is_tensor(value) else found[path] == value
        assert same, path


def leaves(state: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    if not isinstance(state, dict | list | tuple):
        yield path, state
        return
    for key, value in state.items() if isinstance(state, dict) else enumerate(state):
        yield from leaves(value, (*path, key))


def events(log: Path) -> list[tuple]:
    """Events of a log from run_start on, without those that differ between two equal runs."""
    logged = [json.loads(line.removeprefix(":::MLLOG ")) for line in log.read_text().splitlines()]
    said = [(event["key"], event["value"], event["metadata"].get("epoch_num")) for event in logged]
    start = [key for key, *_ in said].index("run_start")
    return [event for event in said[start:] if event[0] not in MEASURED]
