# SPDX-License-Identifier: Apache-2.0
"""One training run in a process of its own, which keeps its output and can close its event log when it is ended.

process = TrainingProcess(package="cosmoflow", arguments=("--config", "..."), seed=1, folder=work, name="result_0")
failure = process.run(look=lambda: ...)               # "" if the log is complete
failures = run_together([process, another], look)     # several at the same time
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
from harness import children

NUM_LINES_OF_FAILURE = 20
SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_TO_CLOSE = 30


@dataclass(frozen=True, kw_only=True)
class TrainingProcess:
    """An attempt at one run: `python -m <package>.train`."""

    package: str
    arguments: tuple[str, ...]
    """Arguments of the train command without seed and output."""
    seed: int
    folder: Path
    """Folder for the event log and the printed output."""
    name: str
    """First part of the names of both files."""
    launcher: tuple[str, ...] = ()
    """Command that starts the processes of the run, such as srun with its options; empty for one process."""

    @cached_property
    def log(self) -> Path:
        """The event log, under the number of a new attempt; files of earlier attempts are kept."""
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
        """Run to the end and call `look` meanwhile; returns "", or the failure with the end of the printed output."""
        return run_together([self], look)[0]

    @contextmanager
    def started(self) -> Iterator[subprocess.Popen]:
        """Yield the running process, and end it when the block is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (
            self.printed.open("wb") as printed,
            subprocess.Popen(
                self.command, stdout=printed, stderr=subprocess.STDOUT, preexec_fn=children.end_with_parent
            ) as process,
        ):
            try:
                yield process
            finally:
                _end(process)

    def failure(self, exit_code: int) -> str:
        """The reason if the run is not complete, else an empty text."""
        if exit_code == 0 and is_complete(self.log):
            return ""
        reason = f"exit code {exit_code}" if exit_code else "no run_stop in its log"
        tail = self.printed.read_text(errors="replace").splitlines()[-NUM_LINES_OF_FAILURE:]
        return "\n".join([f"{self.name}: {reason}: {shlex.join(self.command)}", *tail, f"full output: {self.printed}"])


def run_together(attempts: Sequence[TrainingProcess], look: Callable[[], None]) -> list[str]:
    """Run all at the same time to their ends and call `look` meanwhile; returns "" or the failure of each."""
    with ExitStack() as stack:
        processes = [stack.enter_context(attempt.started()) for attempt in attempts]
        try:
            for process in processes:
                _watch(process, look)
        except BaseException:
            for process in processes:  # all of them, before waiting for each
                process.terminate()
            raise
    return [attempt.failure(process.returncode) for attempt, process in zip(attempts, processes, strict=True)]


def is_complete(log: Path) -> bool:
    """True if the log of a run ends with run_stop."""
    return log.is_file() and mllog.read(log).first("run_stop") is not None


def _watch(process: subprocess.Popen, look: Callable[[], None]) -> None:
    while process.poll() is None:
        look()
        try:
            process.wait(SECONDS_BETWEEN_LOOKS)
        except subprocess.TimeoutExpired:
            continue


def _end(process: subprocess.Popen) -> None:
    """Ask a process that still runs to close its log, and kill it if it does not."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SECONDS_TO_CLOSE)
        except subprocess.TimeoutExpired:
            process.kill()
