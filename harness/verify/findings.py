# SPDX-License-Identifier: Apache-2.0
"""Devices that are wrong, differ from the others of their kind, or are slow.

findings = [*wrong(devices), *slow(devices, percent=10)]
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from harness.verify.trial import STEP, Device

SMALLER_IS_BETTER = {STEP}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Faults of one device."""

    rank: int
    what: Literal["wrong", "unstable", "differs", "slow"]
    text: str


def wrong(devices: Sequence[Device]) -> Iterator[Finding]:
    """Operators that are wrong, steps that change from one time to the next, and bits that differ from others'."""
    for device in devices:
        for fault in device.faults:
            yield Finding(rank=device.rank, what="wrong", text=fault)
        for precision, digests in device.digests.items():
            if len(set(digests)) > 1:
                text = f"{precision}: {len(set(digests))} different results of {len(digests)} replays of one step"
                yield Finding(rank=device.rank, what="unstable", text=text)
    for group in _by_kind(devices):
        for precision in sorted({name for device in group for name in device.digests}):
            yield from _different([device for device in group if precision in device.digests], precision)


def _different(group: Sequence[Device], precision: str) -> Iterator[Finding]:
    """The devices whose bits are not those of the majority; all of them if there is none."""
    counts = Counter(device.digests[precision][0] for device in group)
    common, num_common = counts.most_common(1)[0]
    has_majority = 2 * num_common > len(group)
    for device in group if len(counts) > 1 else ():
        if not has_majority:
            text = f"{precision}: {len(counts)} different results on {len(group)} devices, and no majority"
            yield Finding(rank=device.rank, what="differs", text=text)
        elif device.digests[precision][0] != common:
            text = (
                f"{precision}: the bits of the training step differ from those of {num_common} of {len(group)} devices"
            )
            yield Finding(rank=device.rank, what="differs", text=text)


def slow(devices: Sequence[Device], *, percent: float) -> Iterator[Finding]:
    """Devices that are slower than the median of their kind by more than `percent`."""
    for group in _by_kind(devices):
        for name in sorted({name for device in group for name in device.figures}):
            measured = {device.rank: device.figures[name] for device in group if name in device.figures}
            middle = median(measured.values())
            for rank, value in measured.items():
                if (behind := _percent_behind(name, value, middle)) > percent:
                    text = (
                        f"{name}: {value:.3g}, {behind:.0f} % behind the median {middle:.3g} of {len(measured)} devices"
                    )
                    yield Finding(rank=rank, what="slow", text=text)


def _percent_behind(name: str, value: float, middle: float) -> float:
    """How much slower than the median, in percent of the device's own speed."""
    one, other = (value, middle) if name in SMALLER_IS_BETTER else (middle, value)
    return 100 * (one / other - 1) if other else float("inf")


def _by_kind(devices: Iterable[Device]) -> list[list[Device]]:
    groups = defaultdict(list)
    for device in devices:
        groups[device.kind].append(device)
    return list(groups.values())
