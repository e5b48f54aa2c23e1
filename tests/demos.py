# SPDX-License-Identifier: Apache-2.0
"""The demo of each benchmark, reduced to seconds: a few samples, and as few epochs as its rules allow.

data = DEMOS["deepcam"].synthesize(folder / "data")
config = DEMOS["deepcam"].configure(folder / "config", max_epochs=2)
"""

import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A benchmark's demo with little data."""

    package: str
    rules: str
    sizes: str
    """Options of the synthesize command of the package."""
    system: dict[str, Any] = field(default_factory=dict)
    """Keys to set in its system.toml; None removes a key."""
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    """Keys to set in its hyperparameters.toml, within the rules."""

    def synthesize(self, folder: Path) -> Path:
        line = [sys.executable, "-m", f"{self.package}.synthesize", str(folder), *self.sizes.split()]
        subprocess.run(line, cwd=ROOT, check=True, capture_output=True)
        return folder

    def configure(self, folder: Path, **system: Any) -> Path:
        """Write a configuration folder; `system`: further keys to set in its system.toml."""
        folder.mkdir(parents=True, exist_ok=True)
        for table, keys in (("system", self.system | system), ("hyperparameters", self.hyperparameters)):
            text = (ROOT / self.package / "configs/demo" / f"{table}.toml").read_text()
            (folder / f"{table}.toml").write_text(with_keys(text, table, keys))
        return folder

    def faults(self, log: Path) -> set[str]:
        """Rules of the demo that a log breaks, from the checker."""
        line = [sys.executable, "-m", "compliance", "check", str(log), "--rules", self.rules, "--format", "json"]
        report = json.loads(subprocess.run(line, cwd=ROOT, capture_output=True).stdout)
        return {finding["rule"] for finding in report["findings"] if finding["severity"] != "manual"}


def with_keys(text: str, table: str, keys: dict[str, Any]) -> str:
    """The text of a TOML file with these keys of a table replaced."""
    for key in keys:
        text = re.sub(rf"(?m)^{key} = .*\n", "", text)
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if value is not None)
    return text.replace(f"[{table}]\n", f"[{table}]\n{lines}")


COSMOFLOW = Demo(
    package="cosmoflow",
    rules="mlperf_hpc_demo",
    sizes="--train 16 --validation 4",
    system={"max_epochs": 1},
)
DEEPCAM = Demo(
    package="deepcam",
    rules="mlperf_hpc_demo",
    sizes="--train 8 --validation 2 --height 64 --width 96",
    system={"max_epochs": 1},
)
IMAGENET = Demo(
    package="imagenet_resnet",
    rules="hpc_ai500_demo",  # these rules fix the number of epochs
    sizes="--train 64 --validation 8",
)
EWA = Demo(
    package="ewa_fasterrcnn",
    rules="hpc_ai500_demo",
    sizes="--train 8 --validation 4",
    system={"trained_weights": None},
)
DEMOS = {demo.package: demo for demo in (COSMOFLOW, DEEPCAM, IMAGENET, EWA)}
