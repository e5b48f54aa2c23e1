# SPDX-License-Identifier: Apache-2.0
"""The HPC AI roofline: what a workload can attain under a system's ceilings, and what bounds it there.

    system = System(name="...", compute=(Ceiling("GEMM fp32", 230e12),), communication=(Ceiling("Ethernet", 1.2e9),))
    workload = Workload(name="EWA", flops_per_step=16 * 691e9, communication_bytes_per_step=2 * 164e6)
    bound = attained_bound(workload, system)          # bound.flops_per_s, bound.limit == "communication"

HPC AI500 V2.0, section 7: equations 3 and 5 with the peaks, 4 and 6 with the ceilings that the system really reaches;
single node and distributed system have the same form and differ in what their bandwidth is of. The classic memory
roofline (Williams et al., 2009) has that form too, with bytes of memory in place of bytes of communication. Pure.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Ceiling:
    """A rate that the system does not exceed: operations, or bytes, per second of the whole system."""

    name: str
    per_s: float
    origin: str = "declared"
    """measured, declared or peak: where the number is from."""


@dataclass(frozen=True, kw_only=True)
class System:
    """Ceilings of a system as a whole: all ranks together."""

    name: str
    compute: tuple[Ceiling, ...]
    """Of floating-point operations per second; at least one."""
    communication: tuple[Ceiling, ...] = ()
    """Of bytes between ranks (single node) or between nodes (distributed) per second; none for one rank."""
    memory: tuple[Ceiling, ...] = ()
    """Of bytes between processors and their memory per second."""
    num_ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One training step of all ranks together."""

    name: str
    flops_per_step: float
    communication_bytes_per_step: float
    """0 for one rank, which is never bound by communication."""
    memory_bytes_per_step: float = 0.0
    """0 where nobody counted it."""
    attained_flops_per_s: float | None = None
    """Measured; None where it was not."""

    @property
    def communication_intensity(self) -> float:
        """COI, operations per byte of communication: equation 3's FLOPs / CT."""
        return intensity(self.flops_per_step, self.communication_bytes_per_step)

    @property
    def memory_intensity(self) -> float:
        """OI, operations per byte of memory."""
        return intensity(self.flops_per_step, self.memory_bytes_per_step)

    def with_compression(self, factor: float = 2.0) -> "Workload":
        """The same step with gradients sent in fewer bytes: fp16 in place of fp32 doubles the COI (section 8.5.2)."""
        return replace(
            self,
            name=f"{self.name}, compressed",
            communication_bytes_per_step=self.communication_bytes_per_step / factor,
            attained_flops_per_s=None,
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """The most that a workload can attain."""

    flops_per_s: float
    limit: str
    """compute, communication or memory."""
    ceiling: str
    """Name of the ceiling that it meets."""

    def share(self, attained_flops_per_s: float) -> float:
        """How much of the bound was attained."""
        return attained_flops_per_s / self.flops_per_s


def intensity(flops: float, num_bytes: float) -> float:
    """Operations per byte; infinite where no bytes move."""
    return flops / num_bytes if num_bytes else math.inf


def attained(flops_ceiling: float, bandwidth_ceiling: float, operation_intensity: float) -> float:
    """Equations 3 to 6: min(FLOPS, bandwidth x intensity)."""
    return min(flops_ceiling, bandwidth_ceiling * operation_intensity)


def ridge(flops_ceiling: float, bandwidth_ceiling: float) -> float:
    """The intensity from which on computation is the limit."""
    return flops_ceiling / bandwidth_ceiling


def attained_bound(
    workload: Workload, system: System, *, compute: str | None = None, communication: str | None = None
) -> Bound:
    """The bound under the named ceilings, by default the highest of compute and the lowest bandwidth of each kind.

    Overlap is perfect, as in every roofline: the slowest resource alone decides.
    """
    ceiling = _named(system.compute, compute) if compute else max(system.compute, key=lambda one: one.per_s)
    bounds = [Bound(flops_per_s=ceiling.per_s, limit="compute", ceiling=ceiling.name)]
    kinds = {
        "communication": (system.communication, workload.communication_intensity, communication),
        "memory": (system.memory, workload.memory_intensity, None),
    }
    for limit, (ceilings, operation_intensity, name) in kinds.items():
        if ceilings and math.isfinite(operation_intensity):
            slope = _named(ceilings, name) if name else min(ceilings, key=lambda one: one.per_s)
            bounds.append(Bound(flops_per_s=slope.per_s * operation_intensity, limit=limit, ceiling=slope.name))
    return min(bounds, key=lambda bound: bound.flops_per_s)


def _named(ceilings: tuple[Ceiling, ...], name: str) -> Ceiling:
    return next(one for one in ceilings if one.name == name)
