# SPDX-License-Identifier: Apache-2.0
"""One rank of a measurement; characterize.ranks starts it.

python -m characterize.rank MODULE:FUNCTION SETTINGS_AS_JSON OUTPUT
"""

import json
import sys
from pathlib import Path

from characterize.ranks import called, started_by_torchrun
from compliance import whole_file


def main(function: str, settings: str, output: str) -> None:
    if started_by_torchrun():
        from harness.launch import launch

        with launch() as world:
            found, rank = called(function)(world, json.loads(settings)), world.rank
    else:
        from mpi4py import MPI

        found, rank = called(function)(MPI.COMM_WORLD, json.loads(settings)), MPI.COMM_WORLD.rank
    if rank == 0:
        whole_file.write(Path(output), json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
