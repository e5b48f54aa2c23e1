# SPDX-License-Identifier: Apache-2.0
"""Parameter: a hyperparameter as the runs of an entry logged it, beside what the rules allow."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from compliance.checks.registry import EntryRules
from compliance.mllog import RunLog

SHOWN_ELSEWHERE = ("submission_", "cache_clear", "seed", "tracked_stats", "staging_", "init_", "instance_id")
MAX_VALUES = 3


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One row."""

    key: str
    value: str
    """Several, where the runs differ."""
    differs: bool
    allowed: str
    """Empty where the division sets no limit."""


def parameters(logs: Sequence[RunLog], limits: EntryRules | None) -> list[Parameter]:
    """Whatever the runs logged before the clock started, and whatever else the rules ask for; sorted by key."""
    constraints = {}
    if limits is not None:
        constraints = limits.benchmark.keys() | limits.benchmark.hyperparameters(limits.division)
    found: dict[str, dict[str, None]] = {key: {} for key in constraints}
    for log in logs:
        for key in {*_keys_before_clock(log), *constraints}:
            if key in log.by_key:
                found.setdefault(key, {})[text_of(log.value(key))] = None
    return [
        Parameter(
            key=key,
            value=_joined(list(values)),
            differs=len(values) > 1,
            allowed=constraints[key].describe() if key in constraints else "",
        )
        for key, values in sorted(found.items())
        if values and not key.startswith(SHOWN_ELSEWHERE)
    ]


def text_of(value: Any, longest: int = 160) -> str:
    """A logged value as text: strings as they are, numbers short, the rest as JSON, all cut to a line."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = " ".join(text[: 4 * longest].split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def _keys_before_clock(log: RunLog) -> Iterator[str]:
    start = log.first("run_start")
    for key, events in log.by_key.items():
        if start is not None and events[0].line < start.line and events[0].event_type == "POINT_IN_TIME":
            yield key


def _joined(values: list[str]) -> str:
    more = f" and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    return " | ".join(values[:MAX_VALUES]) + more
