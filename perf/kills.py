# SPDX-License-Identifier: Apache-2.0
"""Kills and signals at random moments of small runs, each then resumed to its end: nothing may be wrong, ever.

    python -m perf.kills 10000 --seed 1
    python -m perf.kills 200 --folder /scratch/me        # on another file system

Each attempt trains a network of a few weights in a process of its own, with a checkpoint after each epoch, and ends it
at a random moment with SIGKILL, SIGTERM or SIGINT, or with two signals shortly after each other. It then looks at the
log and resumes the run: the weights and the logged qualities must be, bit for bit, those of a run that was never
interrupted. After a signal, the log must end with run_stop and its digest. After SIGKILL, all its whole lines must be
events in a legal order. In both cases the chain of digests must be unbroken.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from pathlib import Path

from compliance.command_line import Parser, command
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = command("perf.kills", __doc__)
    parser.add_argument("attempts", type=cli.positive, metavar="N", help="number of interrupted runs")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the moments (%(default)s)")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="folder for the runs (default: a temporary one)")
    return parser


cli.answer_early(__name__, options())

import torch
from torch import nn

from compliance import mllog
from compliance.files import atomic_write
from compliance.log_digest import broken_links
from compliance.rulesets import ruleset
from harness import progress
from harness.config import Config, Submission
from harness.run import Run

NUM_EPOCHS = 3
SEED = 3
MAX_PAUSE_S = 0.003
"""Between two signals of a pair."""
SECONDS_TO_END = 60.0
"""A process that takes longer hangs."""


@dataclass(frozen=True, kw_only=True)
class Hyperparameters:
    """Values that the rules of the demo ask for."""

    global_batch_size: int = 64
    opt_name: str = "sgd"
    opt_base_learning_rate: float = 0.1
    opt_learning_rate_warmup_epochs: int = 0
    opt_learning_rate_warmup_factor: float = 1.0
    opt_learning_rate_decay_boundary_epochs: tuple[int, ...] = (2,)
    opt_learning_rate_decay_factor: tuple[float, ...] = (0.5,)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns 1 if anything was wrong."""
    parsed = options().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(dir=parsed.folder, prefix="kills_"))
    outcomes = Counter(attempts(folder, parsed.attempts, random.Random(parsed.seed)))
    for outcome, number in sorted(outcomes.items()):
        print(f"{number:6} {outcome}")
    is_wrong = any(outcome.startswith("wrong") for outcome in outcomes)
    if not is_wrong:  # else the outcomes name what is in the folder
        shutil.rmtree(folder)
    return int(is_wrong)


def attempts(folder: Path, number: int, chance: random.Random) -> Iterator[str]:
    """The outcome of each attempt in words; one that starts with "wrong" is a fault."""
    torch.set_num_threads(1)
    warm = Attempt(folder / "warm")
    with redirect_stdout(StringIO()):
        train(warm.log, folder / "warm.json", resume=False)  # the processes need not import again what it imports late
    whole = Attempt(folder / "whole")
    begin_s = time.perf_counter()
    whole.ended(whole.started(resume=False))
    seconds, expected = time.perf_counter() - begin_s, whole.final()
    for index in progress.tracked(range(number), "interrupting runs", total=number):
        attempt = Attempt(folder / str(index))
        moments = (chance.uniform(0, 1.1 * seconds), chance.uniform(0, MAX_PAUSE_S))
        outcome = attempt.outcome(dict(zip(_signals(chance), moments, strict=False)), expected)
        yield outcome
        if not outcome.startswith("wrong"):
            shutil.rmtree(attempt.folder)


def _signals(chance: random.Random) -> list[signal.Signals]:
    """One signal, or two different ones."""
    return chance.sample([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], chance.choice([1, 2]))


class Attempt:
    """One interrupted run in a folder of its own, which may be new."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log, self._final = folder, folder / "result_0.txt", folder / "final.json"
        folder.mkdir(parents=True)

    def outcome(self, signals: Mapping[signal.Signals, float], expected: str) -> str:
        """Interrupt a run by signals after as many seconds each, resume it to its end, and describe what came of it."""
        process = self.started(resume=False)
        for number, seconds in signals.items():
            time.sleep(seconds)
            os.kill(process, number)
        names = " and ".join(number.name for number in signals)
        if self.ended(process) is None:
            return f"wrong: {names}: the process does not end: {self.folder}"
        if fault := log_fault(self.log, is_closed=signal.SIGKILL not in signals):
            return f"wrong: {names}: {fault}: {self.folder}"
        if qualities := self._qualities_of_success():
            return f"{names}: the run had ended" if qualities in expected else f"wrong: {names}: other results"
        return self._resumed(names, expected)

    def _qualities_of_success(self) -> str:
        """The qualities of a run whose log says success, as the final file has them; else an empty text."""
        log = mllog.read(self.log) if self.log.exists() else None
        stop = log.last("run_stop") if log else None
        if log is None or stop is None or getattr(stop.metadata, "status", None) != "success":
            return ""
        return json.dumps([event.value for event in log.all("eval_error")])

    def _resumed(self, names: str, expected: str) -> str:
        code = self.ended(self.started(resume=True))
        restarts = self.log.read_text().count('"key": "restart"') if self.log.exists() else 0
        if code != 0 or self.final() != expected or log_fault(self.log, is_closed=True):
            return f"wrong: {names}: resumed with exit code {code}: {self.folder}"
        return f"{names}: {'resumed' if restarts else 'begun anew'}, ended bit for bit as an uninterrupted run"

    def started(self, *, resume: bool) -> int:
        """The number of a new process that trains."""
        former = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])
        process = os.fork()
        if process:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            return process
        code = 1
        try:
            sys.stdout = sys.stderr = (self.folder / "printed").open("a")  # the parent's may be locked
            signal.pthread_sigmask(signal.SIG_SETMASK, former)  # a signal in Python's own code after a fork is lost
            code = cli.exit_code(lambda: train(self.log, self._final, resume=resume))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def ended(self, process: int) -> int | None:
        """The exit code of a process, negative for a signal; None if it had to be killed because it hangs."""
        end_s = time.monotonic() + SECONDS_TO_END
        while time.monotonic() < end_s:
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        return None

    def final(self) -> str:
        """The results of a run that came to its end, else an empty text."""
        return self._final.read_text() if self._final.exists() else ""


def log_fault(path: Path, *, is_closed: bool) -> str:
    """The first fault of a log, or an empty text; `is_closed`: it must end with run_stop, unless it has no event."""
    if not path.exists() or not path.stat().st_size:
        return ""
    log, stack = mllog.read(path), []
    if log.num_bad_lines or not path.read_bytes().endswith(b"\n"):
        return "the log has a broken line"
    for event in log.events:
        if event.event_type == "INTERVAL_START":
            stack.append(event.key.removesuffix("_start"))
        elif event.event_type != "INTERVAL_END" or (event.key == "run_stop" and not stack):
            continue  # a run that ends before its clock has a run_stop alone
        elif not stack or stack.pop() != event.key.removesuffix("_stop"):
            return "an interval ends that is not the innermost"
    if any(broken_links(path)):
        return "the chain of digests is broken"
    last = [event.key for event in log.events[-2:]]
    return "the log has no run_stop at its end" if is_closed and last != ["run_stop", "log_digest"] else ""


def train(log: Path, final: Path, *, resume: bool) -> None:
    """Train a network with dropout, and write the digest of its weights and the qualities of all epochs."""
    with Run(_config(), log, seed=SEED, resume=resume) as run:
        run.log("train_samples", 256)
        run.log("eval_samples", 256)
        torch.manual_seed(run.seed)
        network = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        checkpoints = run.checkpoints(every_epochs=1, network=network, optimizer=optimizer)
        run.start()
        for epoch in run.epochs(None, checkpoints):
            for _ in range(3):
                loss = network(torch.rand(2, 4)).square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            with run.evaluation(epoch) as result:
                result.value = 1 + loss.item()
    weights = b"".join(value.numpy().tobytes() for value in network.state_dict().values())
    qualities = [event.value for event in mllog.read(log).all("eval_error")]
    atomic_write.write(final, json.dumps([hashlib.sha256(weights).hexdigest(), qualities]))


def _config() -> Config:
    rules = ruleset.load("mlperf_hpc_demo")
    return Config(
        benchmark=replace(rules.benchmark("cosmoflow"), num_epochs=NUM_EPOCHS),
        rules=rules,
        division="closed",
        hyperparameters=Hyperparameters(),
        system=None,
        submission=Submission(org="Test", platform="one process", status="research"),
        hyperparameters_path=Path("hyperparameters.toml"),
        system_path=Path("system.toml"),
    )


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
