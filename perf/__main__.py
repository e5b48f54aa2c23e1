# SPDX-License-Identifier: Apache-2.0
"""Run the measurements and write docs/performance.md.

python -m perf                      all measurements: minutes each, on an otherwise idle machine
python -m perf compliance           only this one; the other sections keep their earlier figures
"""

import json
import sys
from importlib import import_module
from pathlib import Path

from compliance import command_line
from compliance.files import atomic_write
from perf.measurement import NotMeasurable, as_markdown

ROOT = Path(__file__).resolve().parent.parent
HEAD = """# Performance

Written by `make bench`: every figure is measured against a named peer or the machine's own limit, in one run. A ratio
above 1 means that this project is faster.
"""


NAMES = ("compliance", "cosmoflow", "deepcam", "imagenet_resnet", "ewa_fasterrcnn", "staging", "communication")
"""Modules of this folder, each with measure() -> Measurement; imported when they are measured."""


def main(arguments: list[str] | None = None) -> int:
    parser = command_line.command("perf", __doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"what to measure: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--output", type=Path, default=ROOT / "perf" / "results", help="folder of the JSON records")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(NAMES))
    if unknown:
        parser.error(f"no measurement {', '.join(unknown)}; known: {', '.join(NAMES)}")
    for name in options.names or NAMES:
        try:
            measurement = import_module(f"perf.{name}").measure()
        except NotMeasurable as reason:
            print(f"not measured: {reason}", file=sys.stderr)
            continue
        measurement.write(options.output)
        print(as_markdown(json.loads((options.output / f"{measurement.name}.json").read_text())), flush=True)
    write_page(options.output, ROOT / "docs" / "performance.md")
    return 0


def write_page(records: Path, page: Path) -> None:
    """Write docs/performance.md from all records."""
    sections = [as_markdown(json.loads(path.read_text())) for path in sorted(records.glob("*.json"))]
    atomic_write.write(page, "\n".join([HEAD, *sections]))


if __name__ == "__main__":
    sys.exit(main())
