# SPDX-License-Identifier: Apache-2.0
"""Bars for work that takes long, on stderr, silent when that is no terminal.

with bars.counted("verifying", len(files)) as advance: ...
for picture in bars.tracked(pictures, "drawing"): ...
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Item = TypeVar("Item")


@contextmanager
def counted(description: str, total: int, *, done: int = 0) -> Iterator[Callable[[], None]]:
    """Yields what advances the bar by one; `done` were there before."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(description, total=total, completed=done)
        yield lambda: progress.advance(task)


def tracked(items: Iterable[Item], description: str, *, total: int | None = None) -> Iterator[Item]:
    """The items, one by one; `total` where they have no length."""
    with counted(description, len(items) if total is None else total) as advance:
        for item in items:
            yield item
            advance()
