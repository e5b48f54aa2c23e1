# SPDX-License-Identifier: Apache-2.0
"""HPC AI roofline: the rate that a workload can attain under a system's ceilings, and the resource that bounds it.

    system = System(name="...", compute=(Ceiling("GEMM fp32", 230e12),), communication=(Ceiling("Ethernet", 1.2e9),))
    workload = Workload(name="EWA", flops_per_step=16 * 691e9, communication_bytes_per_step=2 * 164e6)
    bound = attained_bound(workload, system)          # bound.flops_per_s, bound.limit == "communication"

HPC AI500 V2.0, section 7: equations 3 and 5 use theoretical peaks, equations 4 and 6 measured ceilings. The equations
of a single node and of a distributed system have the same form; their bandwidths belong to different links. The
memory roofline (Williams et al., 2009) has that form too, with bytes of memory traffic. Pure functions.
"""

import math
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Ceiling:
    """Upper limit of a rate of the whole system, in operations or bytes per second."""

    name: str
    per_s: float
    origin: str = "declared"
    """Source of the number: measured, declared or peak."""


@dataclass(frozen=True, kw_only=True)
class System:
    """Ceilings of a whole system, all ranks together."""

    name: str
    compute: tuple[Ceiling, ...]
    """Floating-point operations per second; at least one ceiling."""
    communication: tuple[Ceiling, ...] = ()
    """Bytes per second between ranks (single node) or between nodes (distributed); none for one rank."""
    memory: tuple[Ceiling, ...] = ()
    """Bytes per second between processors and their memory."""
    num_ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One training step of all ranks together."""

    name: str
    flops_per_step: float
    communication_bytes_per_step: float
    """0 for one rank, which is never bound by communication."""
    memory_bytes_per_step: float = 0.0
    """0 if unknown."""
    attained_flops_per_s: float | None = None
    """Measured rate; None if it was not measured."""

    @property
    def communication_intensity(self) -> float:
        """COI, operations per byte of communication (FLOPs / CT in equation 3)."""
        return intensity(self.flops_per_step, self.communication_bytes_per_step)

    @property
    def memory_intensity(self) -> float:
        """OI, operations per byte of memory."""
        return intensity(self.flops_per_step, self.memory_bytes_per_step)

    def with_compression(self, factor: float = 2.0) -> "Workload":
        """The same step with smaller gradients: fp16 instead of fp32 doubles the COI (section 8.5.2)."""
        return replace(
            self,
            name=f"{self.name}, compressed",
            communication_bytes_per_step=self.communication_bytes_per_step / factor,
            attained_flops_per_s=None,
        )


@dataclass(frozen=True, kw_only=True)
class Bound:
    """Highest rate that a workload can attain."""

    flops_per_s: float
    limit: str
    """Resource that bounds it: compute, communication or memory."""
    ceiling: str
    """Name of that resource's ceiling."""

    def share(self, attained_flops_per_s: float) -> float:
        """Attained rate as a share of the bound."""
        return attained_flops_per_s / self.flops_per_s


def intensity(flops: float, num_bytes: float) -> float:
    """Operations per byte; infinite if no bytes move."""
    return flops / num_bytes if num_bytes else math.inf


def attained(flops_ceiling: float, bandwidth_ceiling: float, operation_intensity: float) -> float:
    """Equations 3 to 6: min(FLOPS, bandwidth x intensity)."""
    return min(flops_ceiling, bandwidth_ceiling * operation_intensity)


def ridge(flops_ceiling: float, bandwidth_ceiling: float) -> float:
    """Intensity above which computation is the limit."""
    return flops_ceiling / bandwidth_ceiling


def attained_bound(
    workload: Workload, system: System, *, compute: str | None = None, communication: str | None = None
) -> Bound:
    """Bound under the named ceilings; defaults: the highest compute ceiling and the lowest bandwidth of each kind.

    A roofline assumes perfect overlap: the slowest resource alone determines the rate.
    """
    ceiling = _named(system.compute, compute) if compute else max(system.compute, key=lambda ceiling: ceiling.per_s)
    bounds = [Bound(flops_per_s=ceiling.per_s, limit="compute", ceiling=ceiling.name)]
    kinds = {
        "communication": (system.communication, workload.communication_intensity, communication),
        "memory": (system.memory, workload.memory_intensity, None),
    }
    for limit, (ceilings, operation_intensity, name) in kinds.items():
        if ceilings and math.isfinite(operation_intensity):
            slope = _named(ceilings, name) if name else min(ceilings, key=lambda ceiling: ceiling.per_s)
            bounds.append(Bound(flops_per_s=slope.per_s * operation_intensity, limit=limit, ceiling=slope.name))
    return min(bounds, key=lambda bound: bound.flops_per_s)


def _named(ceilings: tuple[Ceiling, ...], name: str) -> Ceiling:
    return next(ceiling for ceiling in ceilings if ceiling.name == name)
