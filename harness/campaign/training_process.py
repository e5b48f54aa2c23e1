# SPDX-License-Identifier: Apache-2.0
"""One training run in a process of its own: watched, its output kept, ended so that it can close its event log.

process = TrainingProcess(package="cosmoflow", arguments=("--config", "..."), seed=1, folder=work, name="result_0")
failure = process.run(look=lambda: ...)               # "" where the log is complete
failures = run_together([process, another], look)     # several at once
"""

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path

from compliance import mllog

NUM_LINES_OF_FAILURE = 20
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_CLOSE = 30


@dataclass(frozen=True, kw_only=True)
class TrainingProcess:
    """`python -m <package>.train`, an attempt at one run."""

    package: str
    arguments: tuple[str, ...]
    """Of the train command, but for seed and output."""
    seed: int
    folder: Path
    """Where the event log and what the run prints go."""
    name: str
    """First part of both files' names."""
    launcher: tuple[str, ...] = ()
    """What starts the run's processes, such as srun with its options; nothing: it is one process."""

    @cached_property
    def log(self) -> Path:
        """The event log of an attempt that nobody has made before: what former ones left is kept."""
        stems = (self.folder / f"{self.name}.attempt_{attempt}" for attempt in count(1))
        return next(Path(f"{stem}.txt") for stem in stems if not any(self.folder.glob(f"{stem.name}.*")))

    @property
    def printed(self) -> Path:
        """Standard output and error."""
        return self.log.with_suffix(".printed")

    @property
    def command(self) -> list[str]:
        run = ["--output", str(self.log), "--seed", str(self.seed)]
        return [*self.launcher, sys.executable, "-m", f"{self.package}.train", *self.arguments, *run]

    def run(self, look: Callable[[], None]) -> str:
        """Run to the end, calling `look` now and then; '' or why it failed, with the end of what it printed."""
        return run_together([self], look)[0]

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen]:
        """The running process, which has ended when the block is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            self.printed.open("wb") as printed,
            subprocess.Popen(self.command, stdout=printed, stderr=subprocess.STDOUT) as process,
        ):
            try:
                yield process
            finally:
                _end(process)

    def failure(self, exit_code: int) -> str:
        """'' where the run that ended so is complete."""
        if exit_code == 0 and is_complete(self.log):
            return ""
        how = f"exit code {exit_code}" if exit_code else "no run_stop in its log"
        tail = self.printed.read_text(errors="replace").splitlines()[-NUM_LINES_OF_FAILURE:]
        return "\n".join([f"{self.name}: {how}: {shlex.join(self.command)}", *tail, f"all of it: {self.printed}"])


def run_together(attempts: Sequence[TrainingProcess], look: Callable[[], None]) -> list[str]:
    """Run all at once to their ends, calling `look` now and then; for each '' or why it failed."""
    with ExitStack() as stack:
        processes = [stack.enter_context(attempt.started()) for attempt in attempts]
        try:
            for process in processes:
                _watch(process, look)
        except BaseException:
            for process in processes:  # all at once, before each is waited for
                process.terminate()
            raise
    return [attempt.failure(process.returncode) for attempt, process in zip(attempts, processes, strict=True)]


def is_complete(log: Path) -> bool:
    """Whether a run's log has come to its run_stop."""
    return log.is_file() and mllog.read(log).first("run_stop") is not None


def _watch(process: subprocess.Popen, look: Callable[[], None]) -> None:
    while process.poll() is None:
        look()
        try:
            process.wait(SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            continue


def _end(process: subprocess.Popen) -> None:
    """Where the campaign is interrupted: let the run close its log, and end one that does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            process.kill()
