# SPDX-License-Identifier: Apache-2.0
"""A signal at any moment leaves a closed log, and the exit code tells which signal it was."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from compliance import mllog
from compliance.log_digest import broken_links
from harness.run import Run
from harness.signals import Interrupts, Terminated

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def interrupts() -> Iterator[Interrupts]:
    interrupts = Interrupts()
    interrupts.install()
    yield interrupts
    interrupts.restore()


@pytest.fixture
def raise_later() -> Iterator[Callable[[int, float], None]]:
    """Raise a signal in this process some seconds from now."""

    def raise_later(number: int, seconds: float) -> None:
        signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
        signal.setitimer(signal.ITIMER_REAL, seconds)

    former = signal.getsignal(signal.SIGALRM)
    yield raise_later
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, former)


def check_aborted(path: Path) -> None:
    """Check that all intervals are closed, the innermost first, and that run_stop is the last event."""
    log, stack = mllog.read(path), []
    assert log.num_bad_lines == 0
    for event in log.events:
        if event.event_type == "INTERVAL_START":
            stack.append(event.key.removesuffix("_start"))
        elif event.event_type == "INTERVAL_END":
            assert f"{stack.pop()}_stop" == event.key
    assert stack == []
    assert [event.key for event in log.events[-2:]] == ["run_stop", "log_digest"]
    assert log.last("run_stop").metadata.status == "aborted"
    assert list(broken_links(path)) == []


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_signal_raises(interrupts, number, error):
    with pytest.raises(error):
        signal.raise_signal(number)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_deferred_signal_raises_at_the_end_of_the_outermost_block(interrupts, number, error):
    steps = []

    def work() -> None:
        with interrupts.deferred():
            with interrupts.deferred():
                signal.raise_signal(number)
                steps.append("inner")
            steps.append("outer")
        steps.append("never")

    with pytest.raises(error):
        work()
    assert steps == ["inner", "outer"]


def test_handlers_are_as_before_after_a_run(make_config, tmp_path):
    before = [signal.getsignal(number) for number in SIGNALS]
    with Run(make_config(), tmp_path / "log.txt"):
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_ignored_signal_stays_ignored(interrupts):
    interrupts.restore()
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    interrupts.install()
    signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    interrupts.restore()
    signal.signal(signal.SIGINT, former)


def train(run: Run, set_alarm: Callable[[], None]) -> None:
    """Run epochs that only log, so that the signal mostly arrives while an event is written."""
    run.log("train_samples", 1024)
    run.log("eval_samples", 256)
    run.start()
    set_alarm()
    for epoch in run.epochs():
        with run.evaluation(epoch) as result:
            result.value = 0.9


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_at_any_moment_leaves_a_legal_log(make_config, tmp_path, raise_later, number):
    chance = random.Random(number)
    for attempt in range(20):
        output = tmp_path / f"{attempt}.txt"
        run = Run(make_config(), output)
        with pytest.raises(KeyboardInterrupt), run:
            train(run, lambda: raise_later(number, chance.uniform(0.01, 0.03)))
        check_aborted(output)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_command_closes_its_log_without_a_traceback(
    toy_folder, toy_environment, toy_train, number, code, tmp_path
):
    system, train_py = toy_folder / "cosmoflow/configs/demo/system.toml", toy_folder / "cosmoflow/train.py"
    system.write_text(system.read_text() + "epoch_limit = 100000000\n")
    train_py.write_text(train_py.read_text().replace("world.mean(1.0, epoch)", "0.9"))
    output = tmp_path / "result_0.txt"
    line = [*toy_train, "--output", str(output)]
    process = subprocess.Popen(line, cwd=toy_folder, env=toy_environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (output.exists() and output.stat().st_size > 20_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, number)
    _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (code, "")
    check_aborted(output)
