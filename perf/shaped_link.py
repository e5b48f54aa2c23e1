# SPDX-License-Identifier: Apache-2.0
"""Two network namespaces of this machine, joined by a link of a given rate: two nodes on a slow network.

    with shaped_link(rate="1gbit") as link:
        link.run([[python, "-m", ...], [python, "-m", ...]])       # a process at each end; returns their output

Needs root and iproute2 (ip, tc); missing() names missing components.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

PORT = 29500


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link between two nodes; each tuple has an entry for each end."""

    namespaces: tuple[str, str]
    """Names of the network namespaces."""
    addresses: tuple[str, str]
    """IPv4 addresses."""
    interfaces: tuple[str, str]
    """Names of the interfaces."""

    def run(self, commands: Sequence[Sequence[str]], timeout_s: float = 1200) -> list[str]:
        """Run a command at each end, as ranks 0 and 1 of two nodes; RuntimeError if one fails."""
        processes = [self._start(rank, command) for rank, command in enumerate(commands)]
        try:
            printed = [process.communicate(timeout=timeout_s) for process in processes]
        finally:
            for process in processes:
                process.kill()
        for process, (_, errors) in zip(processes, printed, strict=True):
            if process.returncode:
                raise RuntimeError(f"{process.args}: exit code {process.returncode}\n{errors}")
        return [output for output, _ in printed]

    def _start(self, rank: int, command: Sequence[str]) -> subprocess.Popen:
        rendezvous = {"MASTER_ADDR": self.addresses[0], "MASTER_PORT": PORT, "RANK": rank, "WORLD_SIZE": 2}
        place = {"LOCAL_RANK": 0, "LOCAL_WORLD_SIZE": 1, "GROUP_RANK": rank, "GROUP_WORLD_SIZE": 2}
        variables = rendezvous | place | {"GLOO_SOCKET_IFNAME": self.interfaces[rank], "OMP_NUM_THREADS": 1}
        return subprocess.Popen(
            ["ip", "netns", "exec", self.namespaces[rank], *command],
            env=os.environ | {name: str(value) for name, value in variables.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def missing() -> str:
    """The reason why this machine cannot have such a link, or ''."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    tools = [tool for tool in ("ip", "tc") if shutil.which(tool) is None]
    if tools:
        return f"{' and '.join(tools)} (iproute2) not found"
    name = f"bench-{os.getpid()}-probe"
    probe = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if probe.returncode:
        return f"no network namespace can be made: {probe.stderr.strip()}"
    ip("netns", "delete", name)
    return ""


@contextmanager
def shaped_link(*, rate: str) -> Iterator[Link]:
    """Make the link for a block; `rate` is in tc's notation, such as "1gbit", and holds in each direction."""
    number = os.getpid()
    namespaces, interfaces = (f"bench-{number}-a", f"bench-{number}-b"), (f"bn{number}a", f"bn{number}b")
    link = Link(namespaces=namespaces, addresses=("10.77.0.1", "10.77.0.2"), interfaces=interfaces)
    with made(namespaces):
        ends = [(interface, "netns", namespace) for interface, namespace in zip(interfaces, namespaces, strict=True)]
        ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
        for end in zip(namespaces, interfaces, link.addresses, strict=True):
            set_up(*end, rate=rate)
        yield link


@contextmanager
def made(namespaces: Sequence[str]) -> Iterator[None]:
    """Make network namespaces for a block."""
    existing = []
    try:
        for namespace in namespaces:
            ip("netns", "add", namespace)
            existing.append(namespace)
        yield
    finally:
        for namespace in existing:
            ip("netns", "delete", namespace)  # deletes its interfaces too


def set_up(namespace: str, interface: str, address: str, *, rate: str) -> None:
    """Give the interface its address and limit its rate."""
    ip("-n", namespace, "address", "add", f"{address}/24", "dev", interface)
    ip("-n", namespace, "link", "set", "lo", "up")
    ip("-n", namespace, "link", "set", interface, "up")
    shape = ["root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms"]
    subprocess.run(["tc", "-n", namespace, "qdisc", "add", "dev", interface, *shape], check=True)


def ip(*arguments: str) -> str:
    """Run `ip`; returns its output."""
    return subprocess.run(["ip", *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout
