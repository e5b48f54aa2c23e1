# SPDX-License-Identifier: Apache-2.0
"""Two nodes and their shared storage, each in a network namespace, on one switch; the storage has a slow link.

    with shared_source(folder, source_rate="400mbit", node_rate="4gbit") as (nodes, source):
        nodes.run([source.mounted(rank, program) for rank in range(2)])       # the folder is at source.mounts[rank]
        source.bytes_sent()

The file system is sshfs without ssh: a plain SFTP server behind the slow link. Every program mounts it anew, in its own
mount namespace, so that nodes share no cached pages and nothing stays mounted. Needs root and Debian's iproute2, sshfs
and openssh-sftp-server; missing() names missing components.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perf import shaped_link
from perf.shaped_link import Link, ip

SFTP_SERVER = Path("/usr/lib/openssh/sftp-server")
ADDRESS, PORT = "10.78.0.9", 2222


@dataclass(frozen=True, kw_only=True)
class SharedSource:
    """A folder on the storage, as the nodes see it."""

    folder: Path
    """The folder on this machine."""
    namespace: str
    """Network namespace of the storage."""
    interface: str
    """Interface of the storage."""
    mounts: tuple[Path, Path]
    """Mount point of the folder on each node."""

    def mounted(self, rank: int, program: Sequence[str]) -> list[str]:
        """The command that runs a program with the folder mounted."""
        mount = self.mounts[rank]
        script = 'sshfs -o ro,directport="$1" "$2" "$3" && shift 3 && "$@"; code=$?; umount -l "$MOUNT"; exit $code'
        where = [str(PORT), f"{ADDRESS}:{self.folder.absolute()}", str(mount)]
        return ["env", f"MOUNT={mount}", "sh", "-c", script, "sh", *where, *program]

    def bytes_sent(self) -> int:
        """Bytes that the storage has sent so far, packet headers included."""
        (interface,) = json.loads(ip("-n", self.namespace, "-s", "-j", "link", "show", self.interface))
        return interface["stats64"]["tx"]["bytes"]


def missing() -> str:
    """The reason why this machine cannot have such a source, or ''."""
    if reason := shaped_link.missing():
        return reason
    if shutil.which("sshfs") is None or not SFTP_SERVER.exists():
        return "sshfs and openssh-sftp-server not found"
    return "" if Path("/dev/fuse").exists() else "/dev/fuse not found"


@contextmanager
def shared_source(folder: Path, *, source_rate: str, node_rate: str) -> Iterator[tuple[Link, SharedSource]]:
    """Make the nodes and the storage for a block; the rates are in tc's notation and hold for sending."""
    number = os.getpid()
    switch, storage, *nodes = (f"bench-{number}-{name}" for name in ("switch", "storage", "a", "b"))
    interfaces = [f"bn{number}{letter}" for letter in "sab"]
    addresses = [ADDRESS, "10.78.0.1", "10.78.0.2"]
    rates = [source_rate, node_rate, node_rate]
    link = Link(namespaces=tuple(nodes), addresses=tuple(addresses[1:]), interfaces=tuple(interfaces[1:]))
    with shaped_link.made([switch, storage, *nodes]), tempfile.TemporaryDirectory(prefix="mounts_") as name:
        ip("-n", switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch, "link", "set", "bridge", "up")
        for end in zip([storage, *nodes], interfaces, addresses, rates, strict=True):
            _plug_in(switch, *end)
        mounts = tuple(Path(name, node) for node in nodes)
        for mount in mounts:
            mount.mkdir()
        with _served(storage):
            yield link, SharedSource(folder=folder, namespace=storage, interface=interfaces[0], mounts=mounts)


def _plug_in(switch: str, namespace: str, interface: str, address: str, rate: str) -> None:
    ends = [interface, "netns", namespace], [interface, "netns", switch]
    ip("link", "add", *ends[0], "type", "veth", "peer", "name", *ends[1])
    ip("-n", switch, "link", "set", interface, "master", "bridge", "up")
    shaped_link.set_up(namespace, interface, address, rate=rate)


@contextmanager
def _served(namespace: str) -> Iterator[None]:
    line = ["ip", "netns", "exec", namespace, sys.executable, "-m", "perf.shared_source"]
    server = subprocess.Popen(line, stdout=subprocess.PIPE)
    try:
        server.stdout.readline()  # printed when it listens
        yield
    finally:
        server.terminate()
        server.wait()


def serve() -> None:
    """Start an SFTP server for each connection; it ends with the connection."""
    with socket.create_server((ADDRESS, PORT)) as listener:
        print("listening", flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                subprocess.Popen([SFTP_SERVER, "-R"], stdin=connection, stdout=connection)


if __name__ == "__main__":
    serve()
