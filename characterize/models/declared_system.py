# SPDX-License-Identifier: Apache-2.0
"""A system declared in a TOML file instead of measured: a planned machine, or a paper's case study.

declared = load(Path("characterize/systems/hpc_ai500_16_gpus.toml"))

name = "..."  num_ranks = 16  num_nodes = 2          # as in characterize/systems/*.toml
[compute]        "GEMM, fp32" = 230e12               # operations per second of the whole system; at least one
[communication]  "Ethernet" = 1.2e9                  # bytes per second that one node sends; with one node: one rank
[memory]         "HBM" = 1134e9                      # optional
[workloads."EWA, fp32"]                              # optional; default: the benchmarks' own counts
compute = "GEMM, fp32"  flops_per_sample = 691e9  samples_per_rank = 1  gradient_bytes = 164e6
attained_flops_per_s = 25.99e12                      # optional
"""

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from characterize.models.bandwidth import all_reduce_bytes_between_nodes
from characterize.models.roofline import Ceiling, System, Workload
from characterize.results.result import CharacterizeError
from compliance.files import toml

KEYS = ("name", "source", "num_ranks", "num_nodes", "compute", "communication", "memory", "workloads")
WORKLOAD_KEYS = ("compute", "flops_per_sample", "samples_per_rank", "gradient_bytes", "attained_flops_per_s")
REQUIRED_OF_WORKLOAD = WORKLOAD_KEYS[1:4]


@dataclass(frozen=True, kw_only=True)
class DeclaredSystem:
    """A declared system with the workloads that its file places on it."""

    system: System
    num_nodes: int
    source: str
    workloads: tuple[tuple[Workload, str | None], ...]
    """Each workload with the name of the compute ceiling that bounds it; None: the highest ceiling."""


def load(path: Path) -> DeclaredSystem:
    """Read a system description; CharacterizeError names the file and the key that is wrong."""
    values = toml.load(path)
    _check_keys(path, values, KEYS)
    num_ranks, num_nodes = (_positive(path, values, key, 1) for key in ("num_ranks", "num_nodes"))
    compute = _ceilings(path, values, "compute")
    if not compute:
        raise CharacterizeError(
            f"{path}: compute: found no ceiling, expected at least one, such as 'GEMM, fp32' = 1e12"
        )
    system = System(
        name=str(values.get("name", path.stem)),
        compute=compute,
        communication=_ceilings(path, values, "communication", num_links=num_nodes if num_nodes > 1 else num_ranks),
        memory=_ceilings(path, values, "memory"),
        num_ranks=int(num_ranks),
    )
    workloads = tuple(
        _workload(path, name, table, system, int(num_nodes)) for name, table in values.get("workloads", {}).items()
    )
    source = str(values.get("source", path.name))
    return DeclaredSystem(system=system, num_nodes=int(num_nodes), source=source, workloads=workloads)


def traffic(gradient_bytes: float, *, num_ranks: int, num_nodes: int) -> float:
    """Bytes that all nodes together send in one step's all-reduce; with one node, all ranks together.

    The ranks of a node first reduce locally, so each node sends the gradients once (HPC AI500, section 7.3). All nodes
    send at the same time, so the bandwidth to compare with is that of one node times the nodes.
    """
    return all_reduce_bytes_between_nodes(gradient_bytes, num_nodes if num_nodes > 1 else num_ranks)


def _workload(path: Path, name: str, table: dict[str, Any], system: System, num_nodes: int):
    _check_keys(path, table, WORKLOAD_KEYS)
    for key in REQUIRED_OF_WORKLOAD:
        if key not in table:
            raise CharacterizeError(f"{path}: workloads.{name}: {key}: missing, expected a number")
    compute = table.get("compute")
    if compute is not None and compute not in [ceiling.name for ceiling in system.compute]:
        raise CharacterizeError(f"{path}: workloads.{name}: compute: found {compute!r}, expected a name from [compute]")
    per_rank = _positive(path, table, "flops_per_sample") * _positive(path, table, "samples_per_rank")
    gradient_bytes = _positive(path, table, "gradient_bytes")
    workload = Workload(
        name=name,
        flops_per_step=per_rank * system.num_ranks,
        communication_bytes_per_step=traffic(gradient_bytes, num_ranks=system.num_ranks, num_nodes=num_nodes),
        attained_flops_per_s=table.get("attained_flops_per_s"),
    )
    return workload, compute


def _ceilings(path: Path, values: dict[str, Any], key: str, num_links: float = 1) -> tuple[Ceiling, ...]:
    """Ceilings of the whole system from the file's rates, each of one of `num_links` links."""
    table = values.get(key, {})
    if not isinstance(table, dict):
        raise CharacterizeError(f"{path}: {key}: found {table!r}, expected a table of names and rates")
    return tuple(Ceiling(name, num_links * _positive(path, table, name)) for name in table)


def _positive(path: Path, values: dict[str, Any], key: str, default: float | None = None) -> float:
    value = values.get(key, default)
    if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
        raise CharacterizeError(f"{path}: {key}: found {value!r}, expected a number above 0")
    return float(value)


def _check_keys(path: Path, values: dict[str, Any], known: tuple[str, ...]) -> None:
    for key in values:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; expected one of {', '.join(known)}"
            raise CharacterizeError(f"{path}: {key}: unknown key{hint}")
