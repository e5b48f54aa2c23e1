# SPDX-License-Identifier: Apache-2.0
"""Progress bars on stderr, silent if that is not a terminal: for an epoch, and for other long work.

For an epoch, a line a minute on stdout takes the place of the bar, for the output file of a batch job.

with run.progress(epoch, num_steps=len(loader)) as bar:
    for volume, target in loader:
        ...
        bar.update(num_samples=len(target), loss=loss)       # samples of this rank; the loss stays on the device

with progress.counted("verifying", len(files)) as advance: ...
for picture in progress.tracked(pictures, "drawing"): ...
"""

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager, suppress
from typing import SupportsFloat, TypeVar, cast

import rich.progress
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LOSSES = 0.5  # reading a loss waits for the device
SECONDS_BETWEEN_LINES = 60.0


Loss = SupportsFloat | None


class Progress:
    """Counts samples, and shows them on the terminal of rank 0."""

    def __init__(
        self,
        bar: rich.progress.Progress,
        description: str,
        num_steps: int | None,
        *,
        num_ranks: int,
        prints: bool,
        watch: Callable[[Loss], object],
    ) -> None:
        """`prints`: True if lines take the place of the bar; `watch` is given the loss of each step."""
        self.num_samples = 0
        """Number of samples of this rank so far."""
        self._bar, self._num_ranks, self._prints, self._watch = bar, num_ranks, prints, watch
        self._description, self._num_steps, self._step = description, num_steps, 0
        self._task = bar.add_task(description, total=num_steps, speed="", loss="")
        self._start = time.perf_counter()
        self._shown = self._start

    def update(self, *, num_samples: int, loss: Loss = None) -> None:
        """Count one step. The loss is read only now and then, because reading it waits for the device."""
        self.num_samples += num_samples
        self._step += 1
        self._watch(loss)
        now = time.perf_counter()
        if not self._bar.disable:
            self._bar.advance(self._task)
        elif not self._prints:
            return
        if now - self._shown < (SECONDS_BETWEEN_LINES if self._prints else SECONDS_BETWEEN_LOSSES):
            return
        self._shown = now
        self._show("" if loss is None else f"loss {float(loss):.4g}")

    def _show(self, loss: str) -> None:
        speed = f"{self.num_samples * self._num_ranks / self.seconds:,.1f} samples/s"
        self._bar.update(self._task, speed=speed, loss=loss)
        if self._prints:
            of_all = f" of {self._num_steps}" if self._num_steps else ""
            words = [*([loss] if loss else []), speed, f"{self.seconds / 60:.1f} minutes"]
            print_line(f"{self._description}, step {self._step}{of_all}: {', '.join(words)}")

    @property
    def seconds(self) -> float:
        """Time since the bar started."""
        return time.perf_counter() - self._start


@contextmanager
def show_progress(
    description: str,
    num_steps: int | None,
    *,
    num_ranks: int = 1,
    visible: bool = True,
    watch: Callable[[Loss], object] = lambda loss: None,
) -> Iterator[Progress]:
    """A Progress, drawn if `visible` and if stderr is a terminal; otherwise printed a line a minute if `visible`."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}  {task.fields[loss]}"),
        TimeRemainingColumn(),
    )
    drawn, prints = visible and console.is_terminal, visible and not console.is_terminal
    with rich.progress.Progress(*columns, console=console, transient=True, disable=not drawn) as bar:
        yield Progress(bar, description, num_steps, num_ranks=num_ranks, prints=prints, watch=watch)


def print_line(line: str) -> None:
    """Print a line on stdout at once. A standard output that has gone away does not end the run."""
    with suppress(OSError, ValueError):
        print(line, flush=True)


Item = TypeVar("Item")


@contextmanager
def counted(description: str, total: int, *, done: int = 0) -> Iterator[Callable[[], None]]:
    """Yield a function that advances the bar by one; `done` items were finished earlier."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with rich.progress.Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(description, total=total, completed=done)
        yield lambda: bar.advance(task)


def tracked(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """Yield the items and count them; `total` is needed if they have no length."""
    with counted(description, len(cast(Sized, items)) if total is None else total) as advance:
        for item in items:
            yield item
            advance()
