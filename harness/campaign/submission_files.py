# SPDX-License-Identifier: Apache-2.0
"""The files around the results of a benchmark entry: rules, description, configuration, scripts and source.

    entry_files.write(tree, settings, packages, description, readme)

What a submitter may edit (description, README.md, scripts) is written once and then left alone. Configuration and
source belong to the results: once there are any, other ones are refused.
"""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from compliance.files import atomic_write, toml
from compliance.files.errors import UserError
from compliance.submissions.layout import DECLARATION, SCRIPTS, EntryTree
from harness.config import Config

NOT_SOURCE = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache"})


class EntryError(UserError):
    """A tree that cannot take the results that are to come."""


def write(tree: EntryTree, config: Config, packages: list[Path], description: dict[str, Any], readme: str) -> None:
    """Everything but the results. `packages` are folders of source, the benchmark's own first."""
    scripts = [(packages[0] / "launch" / name, tree.system_folder / name) for name in SCRIPTS]
    missing = [str(source) for source, _ in scripts if not source.is_file()]
    if missing:
        raise EntryError(f"{missing[0]}: missing; a submission needs {', '.join(SCRIPTS)}")
    _write_rules(tree.root / DECLARATION, config.rules.name)
    if config.layers:
        _write_once(tree.organization / DECLARATION, _layers(config))
    _copy_bound(tree, [*_configuration(tree, config), *_sources(tree, packages)])
    for source, target in scripts:
        _write_once(target, source.read_bytes(), executable=True)
    _write_once(tree.description, _json(description))
    _write_once(tree.summary, _json(_summary(tree, config)))
    _write_once(tree.system_folder / "README.md", readme.encode())


def read_description(tree: EntryTree) -> dict[str, Any]:
    """The system description as it stands, with what the submitter has filled in."""
    try:
        return json.loads(tree.description.read_text(encoding="utf-8"))
    except ValueError as error:
        raise EntryError(f"{tree.description}: not JSON: {error}") from None


def _summary(tree: EntryTree, config: Config) -> dict[str, str]:
    return {
        "implementation": tree.implementation,
        "benchmark": tree.benchmark,
        "system": tree.system,
        "division": config.division,
        "rules": config.rules.name,
    }


def _write_rules(path: Path, rules: str) -> None:
    if path.exists() and (found := _rules(path)) != rules:
        raise EntryError(f"{path}: rules: found {found!r}, expected {rules!r}; choose another output")
    _write_once(path, f'rules = "{rules}"\n'.encode())


def _layers(config: Config) -> bytes:
    """An organization's own declaration under HPC AI500: what each layer of its system was."""
    lines = [f"{name} = {toml.value(text)}" for name, text in config.layers.items()]
    return "\n".join([f'rules = "{config.rules.name}"', "", "[layers]", *lines, ""]).encode()


def _rules(path: Path) -> str | None:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")).get("rules")
    except ValueError as error:
        raise EntryError(f"{path}: not TOML: {error}") from None


def _configuration(tree: EntryTree, config: Config) -> list[tuple[Path, Path]]:
    return [
        (config.hyperparameters_path, tree.system_folder / "hyperparameters.toml"),
        (config.system_path, tree.system_folder / "system.toml"),
    ]


def _sources(tree: EntryTree, packages: list[Path]) -> Iterator[tuple[Path, Path]]:
    for package in packages:
        for path in sorted(package.rglob("*")):
            inside = path.relative_to(package.parent)
            if path.is_file() and NOT_SOURCE.isdisjoint(inside.parts):
                yield path, tree.implementation_folder / inside


def _copy_bound(tree: EntryTree, copies: list[tuple[Path, Path]]) -> None:
    """Copy; where there are results already, they must come from these very files."""
    contents = {target: source.read_bytes() for source, target in copies}
    changed = [target for target, content in contents.items() if not _holds(target, content)]
    if changed and any(tree.results.glob("result_*.txt")):
        raise EntryError(
            f"{changed[0]}: differs from what would run now, and {tree.results} holds results of it; "
            "choose another output, or move those results away"
        )
    for target in changed:
        _write(target, contents[target])


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
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write(path, content)
