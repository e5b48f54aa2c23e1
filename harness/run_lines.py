# SPDX-License-Identifier: Apache-2.0
"""RunLines: what a run prints on standard output, for the output file of a batch job and for a terminal.

cosmoflow, closed, mlperf_hpc_3.0: 16 ranks on 2 nodes (cuda), bf16, seed 7, data /scratch/cosmoflow, log r.txt
epoch 1, step 120 of 600: loss 0.0123, 410.2 samples/s, 1.0 minutes         (harness/progress.py; once a minute)
epoch 1: eval_error 0.2312, target at most 0.124, 412.7 samples/s, 5.2 minutes
target met in epoch 12 after 61.3 minutes: eval_error 0.1234; log: r.txt
"""

import time
from pathlib import Path
from typing import Any

from harness.config import Config
from harness.distributed.world import World
from harness.progress import print_line


class RunLines:
    """The lines of one attempt at a run, printed by rank 0."""

    def __init__(self, config: Config, world: World, log: Path) -> None:
        self._config, self._benchmark, self._world, self._log = config, config.benchmark, world, log
        self._qualities: list[tuple[int, float]] = []
        self._start_s: float | None = None

    def started(self, *, precision: Any, seed: int, data: Path | None) -> None:
        """Print the line at the start of the clock."""
        self._start_s = time.perf_counter()
        world, config = self._world, self._config
        ranks = f"{world.num_ranks} rank{'s' * (world.num_ranks > 1)}"
        nodes = f" on {world.num_nodes} nodes" * (world.num_nodes > 1)
        words = [f"{ranks}{nodes} ({world.device.type})", *([str(precision)] if precision else []), f"seed {seed}"]
        words += [f"data {data}"] * bool(data)
        head = f"{config.benchmark.name}, {config.division}, {config.rules.name}"
        self._print(f"{head}: {', '.join(words)}, log {self._log}")

    def evaluated(self, epoch: int, value: float, *, samples_per_s: float | None) -> None:
        """Print the line after an evaluation; `samples_per_s`: rate of training over all ranks in this epoch."""
        self._qualities.append((epoch, value))
        words = [f"{self._benchmark.quality_key} {value:.4g}"]
        words += [f"target {self._benchmark.target.describe()}"] * (self._benchmark.num_epochs is None)
        words += [f"{samples_per_s:,.1f} samples/s"] if samples_per_s else []
        self._print(f"epoch {epoch}: {', '.join(words)}, {self._minutes:.1f} minutes")

    def closed(self, *, succeeded: bool, error: BaseException | None, num_epochs: int) -> None:
        """Print the last line, if the clock has run; `num_epochs`: epochs that began."""
        if self._start_s is not None:
            self._print(f"{self._outcome(succeeded, error, num_epochs)}; log: {self._log}")

    def _outcome(self, succeeded: bool, error: BaseException | None, num_epochs: int) -> str:
        benchmark, after = self._benchmark, f"after {self._minutes:.1f} minutes"
        last = f": {benchmark.quality_key} {self._qualities[-1][1]:.4g}" if self._qualities else ""
        if error is not None:
            return f"aborted in epoch {num_epochs} {after}: {type(error).__name__}"
        if succeeded and benchmark.num_epochs is not None:
            return f"all {benchmark.num_epochs} epochs done {after}{last}"
        if succeeded:
            met = (epoch for epoch, value in self._qualities if benchmark.target.accepts(value))
            return f"target met in epoch {next(met, num_epochs)} {after}{last}"
        return f"target not met in {num_epochs} epochs {after}{last}, target {benchmark.target.describe()}"

    @property
    def _minutes(self) -> float:
        return 0.0 if self._start_s is None else (time.perf_counter() - self._start_s) / 60

    def _print(self, line: str) -> None:
        if self._world.rank == 0:
            print_line(line)
