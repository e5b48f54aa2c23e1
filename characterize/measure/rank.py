# SPDX-License-Identifier: Apache-2.0
"""One rank of a measurement, started by characterize.measure.ranks.

python -m characterize.measure.rank MODULE:FUNCTION SETTINGS_AS_JSON OUTPUT
"""

import json
import sys
from pathlib import Path

from characterize.measure.ranks import called, started_by_torchrun
from compliance.files import atomic_write


def main(function: str, settings: str, output: str) -> None:
    if started_by_torchrun():
        from harness.distributed.world import launch

        with launch() as world:
            data, rank = called(function)(world, json.loads(settings)), world.rank
    else:
        from mpi4py import MPI

        data, rank = called(function)(MPI.COMM_WORLD, json.loads(settings)), MPI.COMM_WORLD.rank
    if rank == 0:
        atomic_write.write(Path(output), json.dumps(data))


if __name__ == "__main__":
    main(*sys.argv[1:])
