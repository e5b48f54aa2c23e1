# SPDX-License-Identifier: Apache-2.0
"""Bounds of a dataclass's own fields, checked in the __post_init__ of a benchmark's Hyperparameters and System.

bounds.above(self, 0, "global_batch_size", "opt_lr")
bounds.at_least(self, 1, "evaluation_batch_size", "max_epochs")
bounds.share(self, "dropout")
bounds.rising(self, "scheduler_milestones")

The ValueError names the first field out of its bounds; config.load adds the file. A field that is None passes.
"""

from collections.abc import Iterator
from typing import Any


def above(settings: object, bound: float, *names: str) -> None:
    """Each is greater than `bound`."""
    for name, value in _present(settings, names):
        if not value > bound:
            raise ValueError(f"{name}: found {value}, expected a number above {bound}")


def at_least(settings: object, bound: float, *names: str) -> None:
    """Each is `bound` or greater."""
    for name, value in _present(settings, names):
        if not value >= bound:
            raise ValueError(f"{name}: found {value}, expected at least {bound}")


def share(settings: object, *names: str) -> None:
    """Each is a share of a whole, though never all of it."""
    for name, value in _present(settings, names):
        if not 0 <= value < 1:
            raise ValueError(f"{name}: found {value}, expected at least 0 and below 1")


def rising(settings: object, *names: str) -> None:
    """Each holds numbers that never fall."""
    for name, values in _present(settings, names):
        if list(values) != sorted(values):
            raise ValueError(f"{name}: found {list(values)}, expected them rising")


def _present(settings: object, names: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    values = ((name, getattr(settings, name)) for name in names)
    return ((name, value) for name, value in values if value is not None)
