# SPDX-License-Identifier: Apache-2.0
"""Result: what one verb found, with the machine, the versions and the settings it was found with, as one JSON file.

Result(name="allreduce", verb="allreduce", settings={...}, data={...}).write(folder)
result = load(folder / "allreduce.json", verb="allreduce")
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from characterize.results.machine import Machine, describe_machine, versions
from compliance.files import atomic_write
from compliance.files.errors import UserError

SCHEMA = 1


class CharacterizeError(UserError):
    """What the user can fix: a device that is not there, a library that is absent, a file of another version."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement or prediction."""

    name: str
    """File name without its ending: the verb, for `breakdown` with the benchmark's name."""
    verb: str
    settings: dict[str, Any]
    """The options that it was measured with."""
    data: dict[str, Any]
    """What was found; its form is the verb's own."""
    machine: Machine = field(default_factory=describe_machine)
    versions: dict[str, str] = field(default_factory=versions)
    written_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        atomic_write.write(path, json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")
        return path


def load(path: Path, verb: str | None = None) -> Result:
    """A written result; CharacterizeError where it is none, of another schema, or of another verb than wanted."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CharacterizeError(f"{path}: no readable result: {error}; measure it again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        found = record.get("schema") if isinstance(record, dict) else None
        raise CharacterizeError(
            f"{path}: schema: found {found!r}, expected {SCHEMA}; measure it again with this version"
        )
    if verb is not None and record.get("verb") != verb:
        raise CharacterizeError(f"{path}: verb: found {record.get('verb')!r}, expected {verb!r}")
    try:
        machine = Machine(**record.pop("machine"))
        return Result(machine=machine, **record)
    except (KeyError, TypeError) as error:
        raise CharacterizeError(f"{path}: not a complete result ({error}); measure it again") from error


def load_all(folder: Path) -> list[Result]:
    """Every result of a folder, by name."""
    return [load(path) for path in sorted(folder.glob("*.json"))]
