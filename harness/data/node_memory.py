# SPDX-License-Identifier: Apache-2.0
"""Memory that all ranks of a node share, so that a cached data set is held once a node and not once a rank.

    with NodeGroup(world, error=DataError) as node:
        volume_NCDHW = node_memory.array(node, (num_samples, 4, 128, 128, 128), np.int16)     # a collective call
        volume_NCDHW[node.index :: node.count] = ...     # each rank fills its part
        node.agree(None)                                 # now all parts are filled

Several ranks share a file in /dev/shm without a name, which is freed with the last process that uses it.
"""

import mmap
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from harness.data.checks import DataError
from harness.distributed.node_group import NodeGroup

SHARED = Path("/dev/shm")
"""File system in memory, through which processes of a node share memory."""


def array(node: NodeGroup, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray[Any, Any]:
    """An array of zeros that all ranks of the node share. DataError on all of them if it does not fit."""
    num_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = mmap.mmap(-1, max(1, num_bytes)) if node.count == 1 else _shared(node, num_bytes)
    return np.frombuffer(memory, dtype=dtype, count=int(np.prod(shape))).reshape(shape)


def _shared(node: NodeGroup, num_bytes: int) -> mmap.mmap:
    path = node.from_first(lambda: _create(num_bytes))
    try:
        with node.agreed():
            memory = _mapped(path, num_bytes)
    finally:
        if node.leads:
            path.unlink()
    return memory


def _create(num_bytes: int) -> Path:
    """A new file whose memory is reserved, so that no later access can fail."""
    try:
        descriptor, name = tempfile.mkstemp(prefix="hpc_ai_bench_", dir=SHARED)
    except OSError as error:
        raise DataError(f"{SHARED}: {error.strerror}; set cache = false") from None
    try:
        os.posix_fallocate(descriptor, 0, max(1, num_bytes))
    except OSError as error:
        Path(name).unlink()
        free = os.statvfs(SHARED).f_bavail * os.statvfs(SHARED).f_frsize
        raise DataError(
            f"{SHARED}: {error.strerror}: caching takes {num_bytes / 2**30:.1f} GiB per node, found {free / 2**30:.1f} "
            "GiB; enlarge it (a container's --shm-size), stage node parts on more nodes, or set cache = false"
        ) from None
    finally:
        os.close(descriptor)
    return Path(name)


def _mapped(path: Path, num_bytes: int) -> mmap.mmap:
    try:
        with path.open("r+b") as file:
            return mmap.mmap(file.fileno(), max(1, num_bytes))
    except OSError as error:
        raise DataError(
            f"{path}: {error.strerror}: the ranks of a node must share {SHARED}; set cache = false"
        ) from None
