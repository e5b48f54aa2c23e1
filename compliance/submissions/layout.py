# SPDX-License-Identifier: Apache-2.0
"""EntryTree: the places of one benchmark entry's files in a submission (rules, "Submission tree").

<root>/submission.toml
<root>/<org>/systems/<system>.json
<root>/<org>/results/<system>/strong/<benchmark>/result_<i>.txt
<root>/<org>/benchmarks/<benchmark>/<system>/        scripts, README.md, <system>_<implementation>.json
<root>/<org>/benchmarks/<benchmark>/implementations/<implementation>/
"""

import re
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = ("setup.sh", "init_datasets.sh", "run_and_time.sh")
DECLARATION = "submission.toml"


@dataclass(frozen=True, kw_only=True)
class EntryTree:
    """The places of one entry."""

    root: Path
    """PATH of `python -m compliance check`."""
    org: str
    """Folder of the organization."""
    system: str
    """Folder of the system."""
    benchmark: str
    implementation: str
    """Folder of the source."""
    scaling: str = "strong"
    """strong (time to train) or weak (throughput)."""

    @property
    def root_declaration(self) -> Path:
        """Names the rule set of the whole submission."""
        return self.root / DECLARATION

    @property
    def organization(self) -> Path:
        return self.root / self.org

    @property
    def declaration(self) -> Path:
        """The organization's own declaration, of HPC AI500's layers."""
        return self.organization / DECLARATION

    @property
    def description(self) -> Path:
        return self.organization / "systems" / f"{self.system}.json"

    @property
    def results(self) -> Path:
        return self.organization / "results" / self.system / self.scaling / self.benchmark

    @property
    def benchmark_folder(self) -> Path:
        return self.organization / "benchmarks" / self.benchmark

    @property
    def system_folder(self) -> Path:
        return self.benchmark_folder / self.system

    @property
    def implementation_folder(self) -> Path:
        return self.benchmark_folder / "implementations" / self.implementation

    @property
    def summary(self) -> Path:
        """Names the implementation that ran on the system."""
        return self.system_folder / f"{self.system}_{self.implementation}.json"

    def result(self, index: int) -> Path:
        return self.results / f"result_{index}.txt"


def folder_name(text: str) -> str:
    """The text as the name of a folder: letters, digits and . _ + - only."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_.") or "unnamed"
