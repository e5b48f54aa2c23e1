# SPDX-License-Identifier: Apache-2.0
"""Run a pipeline of NVIDIA DALI for one epoch; the benchmarks' dali.py build the pipelines.

dali.require()                                             # DataError if the extra [dali] is not installed
for volumes, targets in dali.outputs(build, len(batches)): ...
"""

import gc
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

from harness.data.checks import DataError


def is_installed() -> bool:
    """True if DALI can be imported."""
    return find_spec("nvidia") is not None and find_spec("nvidia.dali") is not None


def require() -> None:
    """Raise DataError if DALI is not installed."""
    if not is_installed():
        raise DataError("loader kind: found no nvidia.dali to import; install the extra [dali] or use 'plain'")


def outputs(build: Callable[[], Any], num_runs: int) -> Iterator[tuple[Any, ...]]:
    """Yield the outputs of each of `num_runs` runs. They are valid until the next one, since DALI reuses its buffers.

    The pipeline ends with the iteration, even if that is given up half-way. Otherwise reference cycles keep it alive,
    with its threads, until some later garbage collection. In a process that was forked meanwhile, that collection
    would wait forever for threads that the process does not have.
    """
    pipeline = build()
    try:
        for _ in range(num_runs):
            yield pipeline.run()
    finally:
        del pipeline
        gc.collect()
