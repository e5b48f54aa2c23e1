# SPDX-License-Identifier: Apache-2.0
"""Relations between the values of a learning-rate schedule, which constraints on single keys cannot state.

list(schedule_faults({"opt_learning_rate_decay_boundary_epochs": [64, 32]}))     # one fault: the boundaries decrease
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, TypeGuard

BOUNDARIES = {
    "opt_learning_rate_decay_boundary_epochs": "opt_learning_rate_decay_factor",
    "opt_learning_rate_decay_boundary_steps": None,
    "scheduler_milestones": None,
}
"""Keys of boundaries, each with the key of its factors; None if one factor applies at every boundary."""


def schedule_faults(values: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(key, found, expected) of each fault; values of another type than the constraints allow are not looked at."""
    for key, factor_key in BOUNDARIES.items():
        boundaries, factors = values.get(key), values.get(factor_key) if factor_key else None
        if not _is_numbers(boundaries):
            continue
        if any(later < earlier for earlier, later in pairwise(boundaries)):
            yield key, boundaries, "increasing boundaries"
        if factor_key and _is_numbers(factors) and len(factors) != len(boundaries):
            yield factor_key, factors, f"{len(boundaries)} factors, one for each boundary"


def _is_numbers(value: Any) -> TypeGuard[Sequence[float]]:
    return isinstance(value, list | tuple) and all(type(item) in (int, float) for item in value)
