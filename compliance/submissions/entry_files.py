# SPDX-License-Identifier: Apache-2.0
"""Writes the files around the results of a benchmark entry: rule set, description, configuration, scripts and source.

    write(EntryFiles(tree=tree, rules=rules, division="closed", description={...}, source=source))

Files that a submitter may edit (description, README.md, scripts) are written once and then left alone. Configuration
and source belong to the results: once the tree holds results, other configuration or source is refused.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compliance.files import atomic_write, toml
from compliance.files.errors import UserError
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions import reader, template
from compliance.submissions.layout import SCRIPTS, EntryTree
from compliance.submissions.source_code import Source


@dataclass(frozen=True, kw_only=True)
class EntryFiles:
    """Facts of an entry besides its results."""

    tree: EntryTree
    rules: RuleSet
    division: str
    description: Mapping[str, Any]
    """System description; empty texts are left to the submitter."""
    source: Source | None
    """Code that ran; None if this repository does not hold it."""
    configuration: Mapping[str, bytes] = field(default_factory=dict)
    """Content by file name, such as system.toml."""
    layers: Mapping[str, str] = field(default_factory=dict)
    """Layers of HPC AI500's system model; empty in the other suite."""
    readme: str | None = None
    """How to repeat the runs. None: the submission template's texts, which the submitter has to fill in."""


def write(entry: EntryFiles) -> None:
    """Write the files that are missing. UserError, before anything is written, if the tree's results need others."""
    bound, once = dict(_bound(entry)), dict(_once(entry))
    _check_rules(entry)
    changed = {path: content for path, content in bound.items() if not _holds(path, content)}
    if changed and any(entry.tree.results.glob("result_*.txt")):
        raise UserError(
            f"{next(iter(changed))}: differs from what would run now, and {entry.tree.results} holds results of it; "
            "choose another output, or move those results away"
        )
    missing = {path: content for path, content in once.items() if not path.exists()}
    for path, content in {**missing, **changed}.items():
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write(path, content)
        if path.suffix == ".sh":
            path.chmod(0o755)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; choose another output") from None


def _bound(entry: EntryFiles) -> Iterator[tuple[Path, bytes]]:
    """Files that must be those of the results."""
    for name, content in entry.configuration.items():
        yield entry.tree.system_folder / name, content
    for name, content in entry.source.files.items() if entry.source else ():
        yield entry.tree.implementation_folder / name, content


def _once(entry: EntryFiles) -> Iterator[tuple[Path, bytes]]:
    """Files that the submitter may edit."""
    tree = entry.tree
    if entry.readme is None:
        yield from _template(entry)
    else:
        yield tree.system_folder / "README.md", entry.readme.encode()
    yield from _scripts(entry)
    yield tree.root_declaration, f"rules = {toml.value(entry.rules.name)}\n".encode()
    if entry.layers:
        yield tree.declaration, _declaration(entry).encode()
    yield tree.description, _json(entry.description)
    yield tree.summary, _json(_summary(entry))


def _template(entry: EntryFiles) -> Iterator[tuple[Path, bytes]]:
    """The template's texts, but for a place-holder of source that is there."""
    for path, content in template.files(entry.tree).items():
        if not (entry.source and path.is_relative_to(entry.tree.implementation_folder)):
            yield path, content


def _scripts(entry: EntryFiles) -> Iterator[tuple[Path, bytes]]:
    """The benchmark's own launch scripts, as far as its source has them."""
    source = entry.source.files if entry.source else {}
    for name in SCRIPTS:
        content = source.get(f"{entry.tree.benchmark}/launch/{name}")
        if content is not None:
            yield entry.tree.system_folder / name, content
        elif entry.readme is not None:
            raise UserError(f"{entry.tree.benchmark}/launch/{name}: missing; a submission needs {', '.join(SCRIPTS)}")


def _declaration(entry: EntryFiles) -> str:
    """An organization's own declaration under HPC AI500: the layers of its system."""
    layers = (f"{toml.key(name)} = {toml.value(text)}" for name, text in entry.layers.items())
    return "\n".join([f"rules = {toml.value(entry.rules.name)}", "", "[layers]", *layers, ""])


def _summary(entry: EntryFiles) -> dict[str, Any]:
    summary = {
        "implementation": entry.tree.implementation,
        "benchmark": entry.tree.benchmark,
        "system": entry.tree.system,
        "division": entry.division,
        "rules": entry.rules.name,
        "commit": entry.source.commit if entry.source else "",
    }
    changed = entry.source.changed if entry.source else ()
    return summary | ({"changed_since_commit": list(changed)} if changed else {})


def _check_rules(entry: EntryFiles) -> None:
    declared = reader.declaration(entry.tree.root)
    if declared.error:
        raise UserError(f"{declared.path}: {declared.error}")
    named = declared.values.get("rules", entry.rules.name)
    if named != entry.rules.name:
        raise UserError(
            f"{declared.path}: rules: found {named!r}, expected {entry.rules.name!r}; choose another output"
        )


def _json(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=4) + "\n").encode()


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content
