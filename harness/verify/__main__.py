# SPDX-License-Identifier: Apache-2.0
"""Check every device before a long run: are its operators right, does it repeat a training step, is it slow?

    python -m harness.verify                               one device
    torchrun --nproc-per-node 8 -m harness.verify          all devices of a node
    srun python -m harness.verify                          all devices of all nodes, one rank each

Each device computes the convolutions and matrix products of a small network, forward and backward, and compares them
with fp32, with free memory filled with NaN. It then replays one seeded training step. Its bits must be the same every
time, and the same on all devices of one kind. The times of the step, the bandwidth of memory and that of the link to
other ranks are compared with their medians. The table names the nodes and devices that stand out.

Exit codes of rank 0: 0 good; 1 a device computes wrongly, or differs from the others; 3 devices are only slow;
2 wrong options. torchrun turns each but 0 into 1.
Runs on accelerators have not been tried yet; on processors the same code runs.
"""

import sys

from compliance import command_line
from compliance.command_line import Parser
from harness import cli

PRECISIONS = ("fp32", "tf32", "bf16", "fp16")
WRONG, SLOW = 1, 3


def parser() -> Parser:
    """The options of the command."""
    options = command_line.command("harness.verify", __doc__)
    add = options.add_argument
    add("--precision", action="append", choices=PRECISIONS, help="check this one; may be repeated (default: fp32 and, if the device has it, bf16)")  # fmt: skip  # noqa: E501
    add("--repeats", type=cli.positive, default=10, metavar="N", help="replays of the training step (%(default)s)")
    add("--slower", type=float, default=10.0, metavar="PERCENT", help="slow is more than this behind the median (%(default)s)")  # fmt: skip  # noqa: E501
    add(
        "--format", choices=("text", "json"), default="text", help="form of the report on standard output (%(default)s)"
    )
    return options


cli.answer_early(__name__, parser())

from harness.config import ConfigError
from harness.distributed.world import World, launch
from harness.precision import computes_with_bf16
from harness.system_settings import ACCELERATOR_ONLY
from harness.verify import findings, report, trial
from harness.verify.findings import Finding


def main(arguments: list[str] | None = None) -> int:
    """Run the command; rank 0 returns the exit code."""
    options = parser().parse_args(arguments)
    with launch() as world:
        device = trial.measure(world, precisions=precisions(options.precision, world), num_repeats=options.repeats)
        devices = world.all_gather(device)
        wrong, slow = list(findings.wrong(devices)), list(findings.slow(devices, percent=options.slower))
        if world.rank == 0:
            write = report.text if options.format == "text" else report.as_json
            print(write(devices, [*wrong, *slow]), flush=True)
        return exit_code(wrong, slow) if world.rank == 0 else 0  # srun would end rank 0 if another had failed before


def precisions(asked: list[str] | None, world: World) -> list[str]:
    """The precisions to check, each once. Raises ConfigError for one that a CPU cannot offer."""
    for name in asked or ():
        if world.device.type == "cpu" and name in ACCELERATOR_ONLY["precision"]:
            raise ConfigError(f"--precision {name}: found a CPU; it needs an accelerator")
    return list(dict.fromkeys(asked or ["fp32", *(["bf16"] if computes_with_bf16(world.device.type) else [])]))


def exit_code(wrong: list[Finding], slow: list[Finding]) -> int:
    """1 if a device computes wrongly, 3 if one is only slow, else 0."""
    return WRONG if wrong else SLOW if slow else 0


if __name__ == "__main__":
    sys.exit(cli.exit_code(main))
