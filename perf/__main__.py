# SPDX-License-Identifier: Apache-2.0
"""Run the measurements and write docs/performance.md.

python -m perf                      all measurements: minutes each, on an otherwise idle machine
python -m perf compliance           only this one; the other sections keep their earlier figures
"""

import json
import os
import sys
from importlib import import_module
from pathlib import Path
from subprocess import CalledProcessError

from compliance import command_line
from perf import page
from perf.measurement import NotMeasurable

ROOT = Path(__file__).resolve().parent.parent
NAMES = (
    *("compliance", "hostile_input", "cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn"),
    *("staging", "communication", "process_groups", "gpu"),
)
"""Modules of this folder, each with measure() -> Measurement; imported when they are measured."""


MISSING = (NotMeasurable, ModuleNotFoundError, FileNotFoundError, CalledProcessError)
"""Errors of a machine without a tool; the other measurements go on."""


def main(arguments: list[str] | None = None) -> int:
    parser = command_line.command("perf", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)} (default: all)")
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "perf" / "results",
        help="folder of the JSON records, a folder per machine",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; known: {', '.join(NAMES)}")
    for name in options.names or NAMES:
        load_per_core = round(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 2)
        try:
            measurement = import_module(f"perf.{name}").measure()
        except MISSING as reason:
            print(f"not measured: {explain(name, reason)}", file=sys.stderr)
            continue
        print(page.table(json.loads(measurement.write(options.output, load_per_core).read_text())), flush=True)
    page.write(options.output, ROOT / "docs" / "performance.md")
    return 0


def explain(name: str, reason: Exception) -> str:
    """A missing need of a measurement on this machine, or the command of it that failed."""
    if isinstance(reason, NotMeasurable):
        return str(reason)
    if isinstance(reason, ModuleNotFoundError):
        return f"{name}: the module {reason.name} is not installed"
    if isinstance(reason, FileNotFoundError):
        return f"{name}: {reason.filename} not found"
    return f"{name}: {reason}"


if __name__ == "__main__":
    sys.exit(main())
