# SPDX-License-Identifier: Apache-2.0
"""Result: one verb's data with the machine, versions and settings of its measurement, as one JSON file.

Result(name="allreduce", verb="allreduce", settings={...}, data={...}).write(folder)
result = load(folder / "allreduce.json", verb="allreduce")
"""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

from characterize.results.machine import Machine, describe_machine, versions
from compliance.files import atomic_write
from compliance.files.errors import UserError

SCHEMA = 1
MODELS = ("predict", "fom")
"""Verbs that measure nothing."""


class CharacterizeError(UserError):
    """A mistake that the user can fix: a device or library is missing, or a file has the wrong version."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """One measurement or prediction."""

    name: str
    """File name without suffix: the verb, followed by the benchmark for verbs that measure one benchmark."""
    verb: str
    settings: dict[str, Any]
    """Options of the measurement."""
    data: dict[str, Any]
    """Measured or predicted values; each verb has its own form."""
    machine: Machine = field(default_factory=describe_machine)
    versions: dict[str, str] = field(default_factory=versions)
    written_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    schema: int = SCHEMA

    @property
    def depends_on_load(self) -> bool:
        """True if the figures were measured on this machine, so that other jobs affect them."""
        return self.verb not in MODELS and "system" not in self.settings

    def write(self, folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        atomic_write.write(path, json.dumps(asdict(self), indent=2, allow_nan=False) + "\n")
        return path


def unused_name(folder: Path, name: str, settings: dict[str, Any]) -> str:
    """`name`, with a number if the folder has a result of that name with other settings, which must not be lost."""
    for number in count(1):
        candidate = name if number == 1 else f"{name}_{number}"
        path = folder / f"{candidate}.json"
        if not path.exists() or load(path).settings == json.loads(json.dumps(settings)):
            return candidate
    raise AssertionError("count() never ends")


def load(path: Path, verb: str | None = None) -> Result:
    """Read a result. Raises CharacterizeError if it is unreadable or has another schema or verb than expected."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CharacterizeError(f"{path}: not a readable result: {error}; measure it again") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        schema = record.get("schema") if isinstance(record, dict) else None
        raise CharacterizeError(
            f"{path}: schema: found {schema!r}, expected {SCHEMA}; measure it again with this version"
        )
    if verb is not None and record.get("verb") != verb:
        raise CharacterizeError(f"{path}: verb: found {record.get('verb')!r}, expected {verb!r}")
    try:
        machine = Machine(**record.pop("machine"))
        return Result(machine=machine, **record)
    except (KeyError, TypeError) as error:
        raise CharacterizeError(f"{path}: incomplete result ({error}); measure it again") from error


def load_all(folder: Path) -> list[Result]:
    """All results of a folder, sorted by name."""
    return [load(path) for path in sorted(folder.glob("*.json"))]
