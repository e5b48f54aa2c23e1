# SPDX-License-Identifier: Apache-2.0
"""The files that describe a data set, manifest and index, which one rank reads for all.

    listings = read_for_all(folder, world)                  # a collective call of all ranks
    listed = listings.parsed(folder)                        # the Manifest, or None if the data set has none

With 589,824 files a manifest has 106 MB. If each of 100,000 ranks read it, they would read 11 TB.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.data import manifest
from harness.data.checks import DataError
from harness.data.manifest import INDEX_NAME, Manifest
from harness.distributed.node_group import Group
from harness.distributed.world import World

Stamps = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True, kw_only=True)
class Listings:
    """The content of both files."""

    manifest: bytes | None
    """Content of manifest.json; None if the data set has no manifest."""
    index: bytes | None
    """Content of archives.json; None if the data set is not packed."""

    def parsed(self, folder: Path) -> Manifest | None:
        """The manifest of the data set in `folder`. Raises ManifestError."""
        return None if self.manifest is None else Manifest.parse(folder, self.manifest)


def read(folder: Path) -> Listings:
    """Read both files of the data set in `folder`. Raises ManifestError."""
    contents = (
        manifest.read(folder, name) if (folder / name).exists() else None for name in (manifest.FILE_NAME, INDEX_NAME)
    )
    return Listings(**dict(zip(("manifest", "index"), contents, strict=True)))


def read_for_all(folder: Path, world: World) -> Listings:
    """As read(), but rank 0 reads for all ranks if all have the same files; otherwise a rank of each node for its node.

    A collective call of all ranks. Raises DataError on all ranks that would have read the faulty file.
    """
    is_shared = len(set(world.all_gather(_stamps(folder)))) == 1
    ranks = tuple(range(world.num_ranks)) if is_shared else world.ranks_by_node[world.node_index]
    with Group(world, ranks, error=DataError) as group:
        return group.from_first(lambda: read(folder))


def _stamps(folder: Path) -> Stamps:
    """Numbers by which nodes find out whether they have the same files, without opening them."""
    return tuple(_stamp(folder / name) for name in (manifest.FILE_NAME, INDEX_NAME))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
