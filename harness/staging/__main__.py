# SPDX-License-Identifier: Apache-2.0
"""Copy a prepared data set from the parallel file system to every node's own storage, reading each file once in all.

    python -m harness.staging /project/cosmoflow /nvme/cosmoflow                       # one node
    srun --ntasks-per-node 1 python -m harness.staging /project/cosmoflow '/nvme/$USER/cosmoflow'
    srun --ntasks-per-node 1 python -m harness.staging --node-part /project/cosmoflow '/nvme/$USER/cosmoflow'

With --node-part a node gets only its part of the samples, see harness/data/node_parts.py. After an interrupted staging,
files already copied are hashed on the node, and only what is missing or differs is read again. The target gets its name
when every file has been checked against the manifest; on a fault, no node's target does, and all ranks end. Each node
expands environment variables in TARGET by itself.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from compliance import command_line
from harness import cli


def parser() -> command_line.Parser:
    """Options of the command."""
    options = command_line.command("harness.staging", __doc__)
    options.add_argument("source", type=Path, metavar="SOURCE", help="prepared data set, or its archives")
    options.add_argument("target", type=Path, metavar="TARGET", help="folder on the node's own storage")
    options.add_argument(
        "--node-part", "--shard", action="store_true", help="to each node only its part of the samples"
    )
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; `arguments` replaces the command line's."""
    options = parser()
    command_line.complete(options)
    given = options.parse_args(arguments)
    command_line.require("train")
    from harness.distributed.world import launch  # PyTorch takes seconds, and --help does not wait for it
    from harness.staging.stage import Form, stage

    form: Form = "node_part" if given.node_part else "replica"
    with launch() as world:
        folder = stage(given.source, given.target, world=world, form=form)
        if world.rank == 0:
            print(f"{folder}: staged on {world.num_nodes} nodes, on each a {form.replace('_', ' ')}")


def console() -> None:
    """Run as a program of its own: hpc-stage, or python -m harness.staging."""
    sys.exit(cli.exit_code(main))


if __name__ == "__main__":
    console()
