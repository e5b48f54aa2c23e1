# SPDX-License-Identifier: Apache-2.0
"""Run: the only writer of the event log of a run; it enforces the legal order of events, the target and the status.

    with launch() as world, Run(settings, output, world=world, seed=arguments.seed, data=folder) as run:
        run.log_data(train_set, validation_set)         # numbers of samples, and whether they are synthetic
        model, optimizer, loaders = ...                 # initialization: run.seed is the same on all ranks
        run.start()                                     # init_stop, run_start: the clock runs
        with run.staging(): ...                         # if there is something to stage
        for epoch in run.epochs(limit):                 # 1, 2, ...
            with run.progress(epoch, len(loader)) as bar:
                ... bar.update(num_samples=len(target), loss=loss)
            with run.evaluation(epoch) as result:
                result.value = evaluate(...)            # the same on all ranks: sums and counts are reduced
            if run.reached(result):
                break

All ranks call every method; only rank 0 writes. A call in an illegal order raises RunError, so that a training loop
cannot write a log that the checker rejects. However the block ends, open intervals are closed and run_stop is logged.
Its status is `success` only if a logged evaluation met the target, or, if the rules fix the number of epochs, if all of
them are done.

A resumed run (harness/checkpoint.py) initializes again without logging it, because its log already holds that. Its log
continues with the event `restart` at the first epoch that is still to be done.

The log holds the digests of code, configuration and data set, and after each epoch and after run_stop a digest of all
events before it (compliance/log_digest.py). If every node has a counter, it holds the energy from run_start to run_stop
(harness/monitoring/energy.py). While the run lasts, no other process can write its log (compliance/files/lock.py).
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any

from compliance.files import lock
from compliance.files.errors import UserError
from compliance.submissions import source_code
from compliance.submissions.rules_choice import RULE_SET_KEY
from harness import checkpoint, page_cache, provenance
from harness.checkpoint import Checkpoint, Checkpoints, Stateful
from harness.config import Config, logged_values
from harness.data import node_parts
from harness.data.node_parts import Samples
from harness.device import synchronize
from harness.distributed.world import World
from harness.event_log import EventLog
from harness.loss_watch import LossWatch
from harness.monitoring import energy
from harness.monitoring.energy import EnergyMeter
from harness.progress import Progress, show_progress
from harness.run_lines import RunLines
from harness.signals import Interrupts

MAX_SEED = 2**31 - 1


class RunError(RuntimeError):
    """An event out of its legal order: a bug in the training loop."""


@dataclass
class Evaluation:
    """The quality after an epoch; the loop sets `value`, a number or a one-element tensor, the same on all ranks."""

    epoch: int
    value: Any = None


class Run:
    """One training run, as a context manager; see the module's docstring."""

    def __init__(
        self,
        config: Config,
        output: Path | str,
        *,
        world: World | None = None,
        seed: int | None = None,
        data: Path | None = None,
        resume: bool = False,
    ) -> None:
        """`data`: folder whose cached pages are dropped; `seed`: None for a random one.

        `resume`: continue from the last checkpoint beside `output`, if there is one. Raises CheckpointError.
        """
        self.config = config
        self.world = world or World()
        self.output = Path(output)
        self.seed = seed or 0
        """Seed of the run, above 0, the same on all ranks. If none is given, it is chosen when the block begins."""
        self._data, self._resume = data, resume
        self._resumed: Checkpoint | None = None
        self._events = EventLog(None)
        self._digests: dict[str, str] = {}
        self._interrupts = Interrupts(Run.__exit__.__code__)
        self._resources = ExitStack()
        self._losses = LossWatch(self.world, num_allowed=_num_allowed(config.system))
        self._meter: EnergyMeter | None = None
        self._lines = RunLines(config, self.world, self.output)
        self._open: list[str] = []
        self._logged: dict[str, Any] = {}
        self._epoch = 0
        self._num_epochs_done = 0
        self._evaluation: Evaluation | None = None
        self._target_met = False
        self._throughput: float | None = None
        self._stopped = False

    def __enter__(self) -> "Run":
        try:
            self._enter()
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._resources:
            try:
                if error is None:
                    self._log_energy()
            except BaseException as failure:
                self._stop(failure)
                raise
            self._stop(error)

    def _enter(self) -> None:
        self._interrupts.install()
        self._resources.callback(self._interrupts.restore)
        self.world.on_first_rank(self._lock)
        if self.world.rank == 0:
            self._digests = provenance.digests(self.config, self._data)
        self._choose_seed()
        self._open_log()
        self.world.watchdog.before_exit(self._stop)
        self._log_head()

    def _lock(self) -> None:
        """Keep other processes from writing the log until the resources are given back."""
        self._resources.enter_context(lock.held(self.output))

    def _choose_seed(self) -> None:
        if self._resume:
            data_sha256 = self._digests.get("data_manifest_sha256")
            self._resumed = checkpoint.find(self.output, self.config, self.world, self.seed or None, data_sha256)
        seed = self._resumed.identity["seed"] if self._resumed else self.seed
        self.seed = self.world.broadcast(seed or 1 + secrets.randbelow(MAX_SEED))

    def log(self, key: str, value: Any, **metadata: Any) -> None:
        """Log a POINT_IN_TIME event of the benchmark. RunError for a second event if the rules allow only one."""
        if not self._open:
            raise RunError(f"log({key!r}): outside the run")
        if _of_interval(key) or key == self.config.benchmark.quality_key:
            raise RunError(f"log({key!r}): the key belongs to an interval or an evaluation, which Run logs itself")
        if key in self._logged and key in self.config.rules.values["events"]["exactly_once"]:
            raise RunError(f"log({key!r}): logged twice; the rules ask for it exactly once")
        self._logged[key] = list(value) if isinstance(value, tuple) else value
        self._events.point(key, self._logged[key], **metadata)

    def log_data(self, train_set: Samples, validation_set: Samples) -> None:
        """Log the numbers of samples, and that they are synthetic if the manifest says so."""
        self.log("train_samples", node_parts.num_whole(train_set, "train"))
        self.log("eval_samples", node_parts.num_whole(validation_set, "validation"))
        if train_set.manifest and train_set.manifest.synthetic:
            self.log("data_is_synthetic", True)

    def checkpoints(self, *, every_epochs: int, **parts: Stateful) -> Checkpoints:
        """The checkpoints of this run, with the states of `parts`; 0 epochs from one to the next saves none."""
        data_sha256 = self._digests.get("data_manifest_sha256")
        return Checkpoints(
            world=self.world,
            output=self.output,
            identity=checkpoint.identity(self.config, self.world, self.seed, data_sha256),
            every_epochs=every_epochs,
            uninterrupted=self._interrupts.deferred,
            **parts,
        )

    def start(self) -> None:
        """Start the clock: initialization is over on all ranks, and none of them has read the data.

        If the rules fix the number of epochs (HPC AI500), call it right before the first batch: their clock starts
        there.
        """
        self._require("start()", "init")
        missing = self._required_keys() - self._logged.keys()
        if missing:
            raise RunError(f"start(): not logged yet: {', '.join(sorted(missing))}; log each before the run starts")
        self._meter = EnergyMeter() if self.world.local_rank == 0 else None
        self.world.barrier()
        self._close("init")
        self._begin("run")
        if self._meter:
            self._meter.__enter__()
        self._lines.started(precision=self._logged.get("precision"), seed=self.seed, data=self._data)
        self.world.barrier()

    @contextmanager
    def staging(self) -> Iterator[None]:
        """Log the time of copying data to the nodes. Before start() only if the rule set does not time staging."""
        if self._open == ["init"] and self.config.rules.values["clock"]["staging"] == "timed":
            raise RunError(f"staging(): {self.config.rules.name} times it; call start() first")
        if self._open != ["init"]:
            self._require("staging()", "run")
        if self._epoch:
            raise RunError("staging(): an epoch has begun; stage before it")
        start = time.perf_counter()
        self._begin("staging")
        try:
            yield
            self.world.barrier()
        finally:
            self._close("staging", staging_duration=time.perf_counter() - start)

    def epochs(self, limit: int | None = None, checkpoints: Checkpoints | None = None) -> Iterator[int]:
        """Yield epoch numbers from 1, and log each epoch as an interval.

        They end at `limit`, or at the number of epochs that the rules fix. A resumed run restores the parts of
        `checkpoints` and continues with the epoch after its checkpoint.
        """
        limit = self.config.benchmark.num_epochs or limit
        self._begin_epochs(checkpoints)
        first = self._num_epochs_done + 1
        for epoch in count(first) if limit is None else range(first, limit + 1):
            self._require("epochs()", "run")
            self._epoch, self._evaluation = epoch, None
            self._begin("epoch", epoch_num=epoch)
            try:
                yield epoch
            finally:
                self._close_epoch()
            self._check_evaluated()
            self._num_epochs_done = epoch
            if checkpoints is not None:
                checkpoints.save(epoch)
        self.world.barrier()
        self._log_energy()
        self._stop(None)

    @contextmanager
    def progress(self, epoch: int, num_steps: int | None = None) -> Iterator[Progress]:
        """Show the progress of training in an epoch; the throughput over all ranks is logged as tracked_stats."""
        self._require("progress()", "run", "epoch")
        world, watch = self.world, self._losses
        watch.begin(epoch)
        with show_progress(
            f"epoch {epoch}", num_steps, num_ranks=world.num_ranks, visible=world.rank == 0, watch=watch.add
        ) as bar:
            yield bar
            world.watchdog.limit_collectives()
            watch.check()
            num_samples = int(world.all_reduce_sum(bar.num_samples))
            synchronize(world.device)
            self._throughput = num_samples / bar.seconds

    @contextmanager
    def evaluation(self, epoch: int) -> Iterator[Evaluation]:
        """Log the evaluation of an epoch; the value that the block sets on rank 0 is logged and used on all ranks."""
        self._require("evaluation()", "run", "epoch")
        if epoch != self._epoch or self._evaluation is not None:
            raise RunError(f"evaluation({epoch}): expected once in each epoch, and this is epoch {self._epoch}")
        result = Evaluation(epoch)
        self._begin("eval", epoch_num=epoch)
        try:
            yield result
            if result.value is None:
                raise RunError(f"evaluation({epoch}): result.value was not set")
            result.value = self.world.broadcast(float(result.value))
            self._events.point(self.config.benchmark.quality_key, result.value, epoch_num=epoch)
            self._evaluation = result
            self._target_met |= self._meets_target(result.value)
        finally:
            self._close("eval", epoch_num=epoch)
        self._lines.evaluated(epoch, result.value, samples_per_s=self._throughput)

    def reached(self, result: Evaluation) -> bool:
        """True if training may stop because the target is met; never if the rules fix the number of epochs."""
        if result is not self._evaluation:
            raise RunError("reached(): expected the result of this epoch's evaluation")
        return self.config.benchmark.num_epochs is None and self._meets_target(result.value)

    def _log_head(self) -> None:
        self._open.append("head")
        self.log("submission_benchmark", self.config.benchmark.name)
        self.log("submission_org", self.config.submission.org)
        self.log("submission_division", self.config.division)
        self.log("submission_status", self.config.submission.status)
        self.log("submission_platform", self.config.submission.platform)
        self.log(RULE_SET_KEY, self.config.rules.name)
        self._drop_caches()
        self._open.clear()
        self._begin("init")
        self.log("seed", self.seed)
        if self.world.rank == 0 and (commit := source_code.current_commit()):
            self.log("code_commit", commit)
        for key, digest in self._digests.items():
            self.log(key, digest)
        for key, value in logged_values(self.config.hyperparameters).items():
            self.log(key, value)
        self.log("number_of_nodes", self.world.num_nodes)
        self.log("number_of_ranks", self.world.num_ranks)
        self.log("accelerators_per_node", self.world.accelerators_per_node)

    def _drop_caches(self) -> None:
        """Drop the cached pages of the data set on every node, unless an interrupted run continues."""
        dropped = None
        if self.world.local_rank == 0 and self._resumed is None:
            dropped = page_cache.drop_caches(self._data, getattr(self.config.system, "drop_caches_command", None))
        nodes = [node for node in self.world.all_gather(dropped) if node is not None]
        failed = [node for node in nodes if not node[0]]
        if nodes:
            self.log("cache_clear", not failed, how=(failed or nodes)[0][1], num_nodes=len(nodes))

    def _open_log(self) -> None:
        num_bytes = self._resumed.num_log_bytes if self._resumed else 0

        def open_log() -> None:
            self._events = EventLog(self.output, num_bytes=num_bytes, uninterrupted=self._interrupts.deferred)
            self._resources.callback(self._events.close)

        self.world.on_first_rank(open_log)
        self._events.muted = self._resumed is not None

    def _log_energy(self) -> None:
        """Log the energy of all nodes since run_start, if each could measure it; a collective call of all ranks."""
        if self._stopped or "run" not in self._open:
            return
        record = None
        if self._meter:
            self._meter.__exit__(None, None, None)
            record = self._meter.record
        records = [node for node in self.world.all_gather(record) if node is not None]
        total = energy.total(records)
        if total is not None:
            about = {"source": total.source, "scope": total.scope, "coverage": total.coverage}
            self._events.point("energy_joules", total.joules, **about, num_nodes=len(records))

    def _begin_epochs(self, checkpoints: Checkpoints | None) -> None:
        """Restore a resumed run to its checkpoint; for any other run, save the state before its first epoch."""
        if self._resumed is None:
            if checkpoints is not None:
                checkpoints.save(0)
            return
        if checkpoints is None:
            raise RunError("epochs(): a resumed run needs its checkpoints")
        checkpoints.restore(self._resumed)
        self._epoch = self._num_epochs_done = self._resumed.num_epochs_done
        self._events.muted = False
        self.log("restart", True, epoch_num=self._epoch, num_discarded_events=self._events.num_discarded)
        self._resumed = None

    def _required_keys(self) -> set[str]:
        """Keys that the rules require in every log, and hyperparameters that they require in this division."""
        tunable = self.config.benchmark.hyperparameters(self.config.division)
        of_division = {key for key, words in tunable.items() if words.applies(self._logged) and not words.optional}
        of_every_log = {key for key in self.config.rules.values["events"]["exactly_once"] if not _of_interval(key)}
        return of_division | of_every_log

    def _require(self, call: str, *expected: str) -> None:
        if self._open != list(expected):
            intervals = " > ".join(self._open) or "none"
            raise RunError(f"{call}: open intervals: {intervals}, expected {' > '.join(expected)}; check the order")

    def _begin(self, interval: str, **metadata: Any) -> None:
        with self._interrupts.deferred():
            self._events.start(interval, **metadata)
            self._open.append(interval)

    def _close(self, interval: str, **metadata: Any) -> None:
        """Close the interval, unless it was already closed when the run stopped."""
        with self._interrupts.deferred():
            if self._open and self._open[-1] == interval:
                self._events.stop(interval, **metadata)
                self._open.pop()

    def _close_epoch(self) -> None:
        if self._throughput is not None and self._open == ["run", "epoch"]:
            self._events.point("tracked_stats", {"throughput": self._throughput}, epoch_num=self._epoch)
        self._throughput = None
        with self._interrupts.deferred():
            if self._open == ["run", "epoch"]:
                self._close("epoch", epoch_num=self._epoch)
                self._events.digest()

    def _meets_target(self, value: float) -> bool:
        """The checker's verdict: NaN, infinity and impossible values of the quality never meet the target."""
        return self.config.benchmark.possible.accepts(value) and self.config.benchmark.target.accepts(value)

    def _check_evaluated(self) -> None:
        if self._evaluation is None and self.config.benchmark.evaluation_every_epoch:
            raise RunError(f"epoch {self._epoch}: {self.config.rules.name} requires an evaluation in every epoch")

    def _stop(self, error: BaseException | None) -> None:
        """Close all open intervals and log run_stop; a second call does nothing."""
        with self._interrupts.deferred():
            if self._stopped:
                return
            epoch = {"epoch_num": self._epoch} if self._epoch else {}
            while self._open and self._open[-1] not in ("head", "run"):  # the head is no interval of the log
                self._close(self._open[-1], **epoch)
            self._open.clear()
            succeeded = self._succeeded() and error is None
            self._events.muted = False
            self._events.stop("run", status="success" if succeeded else "aborted", **epoch, **_reason(error))
            self._events.digest()
            self._stopped = True
            if succeeded and self.world.rank == 0:
                checkpoint.discard(self.output)
        self._lines.closed(succeeded=succeeded, error=error, num_epochs=self._epoch)

    def _succeeded(self) -> bool:
        num_epochs = self.config.benchmark.num_epochs
        return self._target_met if num_epochs is None else self._num_epochs_done == num_epochs


def _reason(error: BaseException | None) -> dict[str, str]:
    """Metadata of run_stop: the error that ended the run, and its text if it is written for the user."""
    if error is None:
        return {}
    text = {"message": str(error)} if isinstance(error, UserError) else {}
    return {"reason": type(error).__name__, **text}


def _num_allowed(system: Any) -> int:
    """Steps with a NaN or infinite loss that do not end the run: only fp16 skips them."""
    return system.nonfinite_steps_allowed if getattr(system, "precision", None) == "fp16" else 0


def _of_interval(key: str) -> bool:
    return key.endswith(("_start", "_stop"))
