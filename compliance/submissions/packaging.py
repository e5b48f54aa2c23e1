# SPDX-License-Identifier: Apache-2.0
"""A submission from run logs: results in the order of their starts, the code that ran, and what is still to be written.

    packaged = package([Path("runs")], Path("submission"), Options())
    packaged.entries, packaged.to_write

Everything is made beside the output and put in its place at the end; a folder that holds anything is never written to.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from compliance import mllog
from compliance.files import toml
from compliance.files.errors import UserError
from compliance.mllog import RunLog
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions import rules_choice, source_code, template
from compliance.submissions.layout import DECLARATION, SCRIPTS, EntryTree, folder_name
from compliance.submissions.reader import Entry, Organization, Submission
from compliance.submissions.rules_choice import RuleSetChoice
from compliance.submissions.source_code import Source

LOG_NAMES = ("*.txt", "*.log", "*.out")
# What a log can tell of a system description.
FROM_LOGS = {
    "submitter": "submission_org",
    "division": "submission_division",
    "status": "submission_status",
    "system_name": "submission_platform",
    "number_of_nodes": "number_of_nodes",
    "accelerators_per_node": "accelerators_per_node",
}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the logs do not tell."""

    rules: str | None = None
    """Rule set; implied by the logs where it is None."""
    system: str | None = None
    """Name of the system; made from the logs' submission_platform where it is None."""
    description: Path | None = None
    """System description, JSON."""
    scaling: str = "strong"
    """strong (time to train) or weak (throughput)."""
    implementation: str = "pytorch"
    """Name of the folder of the code."""
    commit: str | None = None
    """Commit of this repository that ran; the logs' code_commit, else HEAD, where it is None."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """What was made."""

    choice: RuleSetChoice
    """Rule set, and why."""
    entries: tuple[str, ...]
    """A line each."""
    to_write: tuple[str, ...]
    """What is left to the submitter, a line each."""


def package(runs: Iterable[Path], output: Path, options: Options) -> Packaged:
    """Lay out the runs' logs as a submission. UserError where they are not one organization's on one system."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"{output}: exists already; nothing is overwritten, name another --output")
    logs = sorted(_logs(runs), key=lambda log: log.first("run_start").time_ms)
    benchmarks = sorted({_text(log, "submission_benchmark") for log in logs})
    chosen = _choose(logs, benchmarks, options)
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        packaged = [_package(logs, _tree(unfinished, name, logs, options), options, chosen) for name in benchmarks]
        unfinished.joinpath(DECLARATION).write_text(f"rules = {toml.value(chosen.ruleset.name)}\n", encoding="utf-8")
        to_write = [line for _, lines in packaged for line in lines]
        to_write += _unfilled(unfinished, chosen.ruleset)
        unfinished.replace(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    moved = [line.replace(str(unfinished), str(output)) for line in (*(entry for entry, _ in packaged), *to_write)]
    return Packaged(choice=chosen, entries=tuple(moved[: len(packaged)]), to_write=tuple(moved[len(packaged) :]))


def _logs(runs: Iterable[Path]) -> list[RunLog]:
    """Logs of complete runs among the files. UserError where there is none, or where two are the same file."""
    found: dict[str, RunLog] = {}
    for path in runs:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        for file in _files(path):
            log = mllog.read(file)
            if log.first("run_start") is None or log.first("submission_benchmark") is None:
                continue
            if (other := found.setdefault(log.digest, log)) is not log:
                raise UserError(f"{file}: is the same as {other.path}; name each run once")
    if not found:
        raise UserError(f"{', '.join(map(str, runs))}: no log with submission_benchmark and run_start")
    return list(found.values())


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = (file for pattern in LOG_NAMES for file in path.rglob(pattern))
    return sorted(file for file in files if file.is_file() and not file.is_symlink())


def _text(log: RunLog, key: str) -> str:
    value = log.value(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{log.path}: {key} is {value!r}, expected a text")
    return value


def _same(logs: Iterable[RunLog], key: str, remedy: str) -> str:
    """The logs' one value. UserError where they differ."""
    values = {_text(log, key): log.path for log in logs}
    if len(values) > 1:
        each = ", ".join(f"{value!r} in {path}" for value, path in values.items())
        raise UserError(f"{key} differs: {each}; {remedy}")
    return next(iter(values))


def _choose(logs: list[RunLog], benchmarks: list[str], options: Options) -> RuleSetChoice:
    """The rule set that the finished tree would be given."""
    entries = [
        Entry(org="", system="", benchmark=name, scaling=options.scaling, folder=Path(), runs=tuple(logs))
        for name in benchmarks
    ]
    organization = Organization(name="", folder=Path(), entries=entries)
    return rules_choice.choose(Submission(root=Path(), kind="folder", organizations=[organization]), options.rules)


def _tree(root: Path, benchmark: str, logs: list[RunLog], options: Options) -> EntryTree:
    platform = options.system or _same(logs, "submission_platform", "name the system with --system")
    return EntryTree(
        root=root,
        org=folder_name(_same(logs, "submission_org", "package one organization's runs at a time")),
        system=folder_name(platform),
        benchmark=folder_name(benchmark),
        implementation=folder_name(options.implementation),
        scaling=options.scaling,
    )


def _package(logs: list[RunLog], tree: EntryTree, options: Options, chosen: RuleSetChoice) -> tuple[str, list[str]]:
    """Write one benchmark; what was written, and what is left to write."""
    of_benchmark = [log for log in logs if folder_name(log.value("submission_benchmark")) == tree.benchmark]
    tree.results.mkdir(parents=True)
    for index, log in enumerate(of_benchmark):
        shutil.copyfile(log.path, tree.result(index))
    filled = replace(tree, root=tree.root / ".template")
    template.instantiate(filled)
    _merge(filled.organization, tree.organization)
    shutil.rmtree(filled.root)
    _write_json(tree.description, _description(of_benchmark[0], options, chosen.ruleset))
    if layers := chosen.ruleset.values.get("layers"):
        tree.declaration.write_text(_layers(layers), encoding="utf-8")
    commit, to_write = _add_source(tree, of_benchmark, options)
    _write_json(tree.summary, _summary(tree, chosen.ruleset, commit))
    entry = f"{tree.results}: {len(of_benchmark)} logs, code of {f'commit {commit[:12]}' if commit else 'no commit'}"
    return entry, to_write


def _layers(layers: Mapping[str, Any]) -> str:
    """HPC AI500's table of what each layer of the system under test was, to be filled in."""
    asked = {name: f"{template.PLACEHOLDER}: {layer['holds']}" for name, layer in layers.items()}
    lines = (f"{name} = {toml.value(text)}" for name, text in asked.items())
    return "\n".join(["[layers]", *lines]) + "\n"


def _merge(source: Path, target: Path) -> None:
    """Move what is not there yet: the second benchmark shares the organization's files with the first."""
    for file in (path for path in source.rglob("*") if path.is_file()):
        place = target / file.relative_to(source)
        if not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            file.replace(place)


def _description(log: RunLog, options: Options, rules: RuleSet) -> dict[str, Any]:
    """The given description, else an empty one with what the logs tell."""
    if options.description is not None:
        try:
            given = json.loads(options.description.read_bytes())
        except (ValueError, RecursionError) as error:
            raise UserError(f"{options.description}: not JSON: {error}") from None
        if not isinstance(given, dict):
            raise UserError(f"{options.description}: expected a JSON object")
        return given
    logged = {key: log.value(name) for key, name in FROM_LOGS.items()}
    known = {key: str(value) for key, value in logged.items() if value is not None}
    return {key: known.get(key, "") for key in rules.values["system_description"]["keys"]}


def _add_source(tree: EntryTree, logs: list[RunLog], options: Options) -> tuple[str, list[str]]:
    """Copy code and scripts of a benchmark that is this repository's; commit and what is left to do."""
    if not source_code.exists(tree.benchmark):
        return "", [f"{tree.implementation_folder}: the code that ran; this repository has no {tree.benchmark}"]
    commit = options.commit or _logged_commit(logs)
    shutil.rmtree(tree.implementation_folder)
    tree.implementation_folder.mkdir()
    source = source_code.copy(tree.benchmark, commit or "HEAD", tree.implementation_folder)
    for name in SCRIPTS:
        script = tree.implementation_folder / tree.benchmark / "launch" / name
        if script.is_file():
            shutil.copy2(script, tree.system_folder / name)
    return source.commit, [f"{tree.implementation_folder}: {doubt}" for doubt in _doubts(source, commit)]


def _logged_commit(logs: list[RunLog]) -> str | None:
    """The commit that the logs name. UserError where they name several."""
    return _same(logs, "code_commit", "give --commit") if any("code_commit" in log.by_key for log in logs) else None


def _doubts(source: Source, commit: str | None) -> Iterator[str]:
    """Why the code that was copied may not be what ran."""
    if commit is None:
        yield f"no log names the commit that ran; {source.commit[:12] or 'the installed code'} was taken, see --commit"
        if source.differs:
            yield f"the working tree differs from it in {len(source.differs)} files, such as {source.differs[0]}"


def _summary(tree: EntryTree, rules: RuleSet, commit: str) -> dict[str, str]:
    return {
        "implementation": tree.implementation,
        "benchmark": tree.benchmark,
        "system": tree.system,
        "rules": rules.name,
        "commit": commit,
    }


def _write_json(path: Path, values: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=4) + "\n", encoding="utf-8")


def _unfilled(root: Path, rules: RuleSet) -> Iterator[str]:
    """Empty keys of the system descriptions, and what the template asks for."""
    for organization in sorted(root.iterdir()):
        for description in sorted(organization.glob("systems/*.json")):
            values = json.loads(description.read_bytes())
            empty = [key for key in rules.values["system_description"]["keys"] if values.get(key, "") == ""]
            if empty:
                yield f"{description}: {', '.join(empty)}"
        if organization.is_dir():
            yield from (f"{place.path}:{place.line}: {place.text}" for place in template.unfilled(organization))
