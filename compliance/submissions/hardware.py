# SPDX-License-Identifier: Apache-2.0
"""Hardware: the system of an entry in the words of its description and its logs."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from compliance.rulesets.constraint import TYPES
from compliance.submissions.reader import Entry

NOT_MODEL = re.compile(r"\([^)]*\)|\b(nvidia|tesla|quadro|amd|instinct|intel|fujitsu|ibm|processor|cpu)\b")
NONE_WORDS = ("", "n/a", "na", "none", "-", "0")


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """Accelerator, processor and software, with their numbers; empty if neither description nor logs tell."""

    accelerator: str
    """Model name."""
    processor: str
    """Model name."""
    software: str
    """Framework with its version."""
    num_nodes: float | None
    num_processors: float | None
    """Number over all nodes."""
    num_accelerators: float | None
    """Number over all nodes; None if the system has none or does not say."""

    @property
    def device(self) -> str:
        """The accelerator, else the processor, without the maker's name and remarks: two spellings of one are equal."""
        name = self.accelerator or self.processor
        return " ".join(NOT_MODEL.sub(" ", name.lower()).split())


def hardware(entry: Entry) -> Hardware:
    """The described values, else the logged ones."""
    described = entry.description.values if entry.description else {}
    num_nodes = _number(described.get("number_of_nodes")) or _number(logged(entry, "number_of_nodes"))
    per_node = _number(described.get("accelerators_per_node")) or _number(logged(entry, "accelerators_per_node"))
    processors = _number(described.get("host_processors_per_node"))
    return Hardware(
        accelerator=_name(described, "accelerator_model_name"),
        processor=_name(described, "host_processor_model_name"),
        software=_name(described, "framework"),
        num_nodes=num_nodes,
        num_processors=num_nodes * processors if num_nodes and processors else None,
        num_accelerators=num_nodes * per_node if num_nodes and per_node else None,
    )


def logged(entry: Entry, *keys: str) -> Any:
    """The first value that any run of the entry logged for one of the keys."""
    return next((value for log in entry.runs for value in _values(log.value(key) for key in keys)), None)


def _values(values: Iterable[Any]) -> Iterable[Any]:
    return (value for value in values if value is not None)


def _name(described: Mapping[str, Any], key: str) -> str:
    text = described.get(key)
    return " ".join(text.split()) if isinstance(text, str) and text.strip().lower() not in NONE_WORDS else ""


def _number(value: Any) -> float | None:
    """A positive number, also one that a system description holds as text."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 10:
        value = int(value)
    return value if TYPES["number"](value) and value > 0 else None
