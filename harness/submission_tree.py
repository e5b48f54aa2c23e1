# SPDX-License-Identifier: Apache-2.0
"""SubmissionTree: where the files of one benchmark entry stand, and how they come there.

    <root>/submission.toml
    <root>/<org>/systems/<system>.json
    <root>/<org>/results/<system>/strong/<benchmark>/result_<i>.txt
    <root>/<org>/benchmarks/<benchmark>/<system>/        what ran: scripts, configuration, README.md
    <root>/<org>/benchmarks/<benchmark>/implementations/<implementation>/

What a submitter may edit (description, README.md, scripts) is written once and then left alone. Configuration and
source belong to the results: once there are any, other ones are refused.
"""

import json
import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.config import Config

SCRIPTS = ("setup.sh", "init_datasets.sh", "run_and_time.sh")
NOT_SOURCE = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache"})


class SubmissionTreeError(ValueError):
    """A tree that cannot take the results that are to come."""


@dataclass(frozen=True, kw_only=True)
class SubmissionTree:
    """One entry: the runs of one benchmark on one system."""

    root: Path
    """What `compliance check` is given."""
    org: str
    """Folder of the organisation."""
    system: str
    """Folder of the system."""
    benchmark: str
    implementation: str
    """Folder of the source."""

    @property
    def description(self) -> Path:
        return self.root / self.org / "systems" / f"{self.system}.json"

    @property
    def results(self) -> Path:
        return self.root / self.org / "results" / self.system / "strong" / self.benchmark

    @property
    def benchmark_folder(self) -> Path:
        return self.root / self.org / "benchmarks" / self.benchmark

    @property
    def system_folder(self) -> Path:
        return self.benchmark_folder / self.system

    @property
    def work(self) -> Path:
        """Beside the tree: logs of runs that are not complete, and what the runs printed."""
        root = self.root.absolute()
        return root.with_name(f"{root.name}.runs")

    def result(self, index: int) -> Path:
        return self.results / f"result_{index}.txt"

    def write(self, config: Config, packages: list[Path], description: dict[str, Any], readme: str) -> None:
        """Everything but the results. `packages` are folders of source, the benchmark's own first."""
        scripts = [(packages[0] / "launch" / name, self.system_folder / name) for name in SCRIPTS]
        missing = [str(source) for source, _ in scripts if not source.is_file()]
        if missing:
            raise SubmissionTreeError(f"{missing[0]}: missing; a submission needs {', '.join(SCRIPTS)}")
        self._write_rules(config.rules.name)
        self._copy_bound([*self._configuration(config), *self._sources(packages)])
        for source, target in scripts:
            _write_once(target, source.read_bytes(), executable=True)
        _write_once(self.description, _json(description))
        _write_once(self.system_folder / f"{self.system}_{self.implementation}.json", _json(self._summary(config)))
        _write_once(self.system_folder / "README.md", readme.encode())

    def read_description(self) -> dict[str, Any]:
        """The system description as it stands, with what the submitter has filled in."""
        try:
            return json.loads(self.description.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SubmissionTreeError(f"{self.description}: not JSON: {error}") from None

    def _summary(self, config: Config) -> dict[str, str]:
        return {
            "implementation": self.implementation,
            "benchmark": self.benchmark,
            "system": self.system,
            "division": config.division,
            "rules": config.rules.name,
        }

    def _write_rules(self, rules: str) -> None:
        path = self.root / "submission.toml"
        if path.exists() and (found := _rules(path)) != rules:
            raise SubmissionTreeError(f"{path}: rules: found {found!r}, expected {rules!r}; choose another output")
        _write_once(path, f'rules = "{rules}"\n'.encode())

    def _configuration(self, config: Config) -> list[tuple[Path, Path]]:
        return [
            (config.hyperparameters_path, self.system_folder / "hyperparameters.toml"),
            (config.system_path, self.system_folder / "system.toml"),
        ]

    def _sources(self, packages: list[Path]) -> Iterator[tuple[Path, Path]]:
        folder = self.benchmark_folder / "implementations" / self.implementation
        for package in packages:
            for path in sorted(package.rglob("*")):
                inside = path.relative_to(package.parent)
                if path.is_file() and NOT_SOURCE.isdisjoint(inside.parts):
                    yield path, folder / inside

    def _copy_bound(self, copies: list[tuple[Path, Path]]) -> None:
        """Copy; where there are results already, they must come from these very files."""
        contents = {target: source.read_bytes() for source, target in copies}
        changed = [target for target, content in contents.items() if not _holds(target, content)]
        if changed and any(self.results.glob("result_*.txt")):
            raise SubmissionTreeError(
                f"{changed[0]}: differs from what would run now, and {self.results} holds results of it; "
                "choose another output, or move those results away"
            )
        for target in changed:
            _write(target, contents[target])


def folder_name(text: str) -> str:
    """The text as the name of a folder: letters, digits and . _ + - only."""
    return re.sub(r"[^A-Za-z0-9._+-]+", "_", text).strip("_.") or "unnamed"


def _rules(path: Path) -> str | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("rules")
    except ValueError as error:
        raise SubmissionTreeError(f"{path}: not TOML: {error}") from None


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=4) + "\n").encode()


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _write_once(path: Path, content: bytes, *, executable: bool = False) -> None:
    if not path.exists():
        _write(path, content)
        if executable:
            path.chmod(0o755)


def _write(path: Path, content: bytes) -> None:
    """The whole file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)
