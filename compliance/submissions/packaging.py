# SPDX-License-Identifier: Apache-2.0
"""A submission made from run logs: results in the order of their starts, the code that ran, and a list of what is left.

    packaged = package([Path("runs")], Path("submission"), Options())
    packaged.entries, packaged.skipped, packaged.to_write

The tree is made beside the output and renamed at the end; a folder that holds anything is never written to.
"""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compliance.files import atomic_write, json_file, lock
from compliance.files.errors import UserError
from compliance.mllog import RunLog
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions import entry_files, log_digests, rules_choice, run_files, source_code, template
from compliance.submissions.entry_files import EntryFiles
from compliance.submissions.layout import EntryTree, folder_name
from compliance.submissions.reader import MAX_JSON_BYTES, Entry, Organization, Submission
from compliance.submissions.rules_choice import RuleSetChoice
from compliance.submissions.run_files import Skipped
from compliance.submissions.source_code import Source

FROM_LOGS = {
    "submitter": "submission_org",
    "division": "submission_division",
    "status": "submission_status",
    "system_name": "submission_platform",
    "number_of_nodes": "number_of_nodes",
    "accelerators_per_node": "accelerators_per_node",
}
"""Key of a system description -> key of a log that tells it."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Facts that the logs do not hold."""

    rules: str | None = None
    """Rule set; None: implied by the logs."""
    system: str | None = None
    """Name of the system; None: made from the logs' submission_platform."""
    description: Path | None = None
    """System description, JSON."""
    scaling: str = "strong"
    """strong (time to train) or weak (throughput)."""
    implementation: str = "pytorch"
    """Name of the folder of the code."""
    commit: str | None = None
    """Commit of this repository that ran; None: the logs' code_commit, else HEAD."""


@dataclass(frozen=True, kw_only=True)
class Packaged:
    """A submission that was made."""

    choice: RuleSetChoice
    """Rule set and the reason for it."""
    entries: tuple[str, ...]
    """A line for each entry."""
    skipped: tuple[Skipped, ...]
    """Files that are not logs of complete runs."""
    to_write: tuple[str, ...]
    """A line for each thing that is left to the submitter."""
    digests: tuple[Path, ...] = ()
    """The files of log digests, to be signed."""


def package(runs: Iterable[Path], output: Path, options: Options) -> Packaged:
    """Lay out the runs' logs as a submission. UserError if they are not one organization's on one system."""
    with lock.held(output), atomic_write.unfinished_folder(output) as root:
        files = run_files.find(runs)
        benchmarks = _by_benchmark(files.logs)
        chosen = _choose(benchmarks, options)
        entries, to_write = [], []
        for name, logs in benchmarks.items():
            line, left = _package(logs, _tree(root, name, files.logs, options), options, chosen.ruleset)
            entries.append(line)
            to_write += left
        to_write += _unfilled(root, chosen.ruleset)
        digests = [_write_digests(organization) for organization in _organizations(root)]
    return Packaged(
        choice=chosen,
        entries=tuple(line.replace(str(root), str(output)) for line in entries),
        skipped=files.skipped,
        to_write=tuple(line.replace(str(root), str(output)) for line in to_write),
        digests=tuple(output / path.relative_to(root) for path in digests),
    )


def _by_benchmark(logs: Iterable[RunLog]) -> dict[str, list[RunLog]]:
    """The logs by the folder name of their benchmark."""
    runs: dict[str, list[RunLog]] = {}
    for log in logs:
        runs.setdefault(folder_name(_text(log, "submission_benchmark")), []).append(log)
    return dict(sorted(runs.items()))


def _text(log: RunLog, key: str) -> str:
    value = log.value(key)
    if not isinstance(value, str) or not value.strip():
        raise UserError(f"{log.path}: {key} is {value!r}, expected a text")
    return value


def _same(logs: Iterable[RunLog], key: str, remedy: str) -> str:
    """The logs' one value. UserError if they differ."""
    values = {_text(log, key): log.path for log in logs}
    if len(values) > 1:
        each = ", ".join(f"{value!r} in {path}" for value, path in values.items())
        raise UserError(f"{key} differs: {each}; {remedy}")
    return next(iter(values))


def _choose(benchmarks: Mapping[str, list[RunLog]], options: Options) -> RuleSetChoice:
    """The rule set that `check` would choose for the finished tree."""
    entries = [
        Entry(org="", system="", benchmark=name, scaling=options.scaling, folder=Path(), runs=tuple(logs))
        for name, logs in benchmarks.items()
    ]
    organization = Organization(name="", folder=Path(), entries=entries)
    return rules_choice.choose(Submission(root=Path(), kind="folder", organizations=[organization]), options.rules)


def _tree(root: Path, benchmark: str, logs: Iterable[RunLog], options: Options) -> EntryTree:
    platform = options.system or _same(logs, "submission_platform", "name the system with --system")
    return EntryTree(
        root=root,
        org=folder_name(_same(logs, "submission_org", "package one organization's runs at a time")),
        system=folder_name(platform),
        benchmark=benchmark,
        implementation=folder_name(options.implementation),
        scaling=options.scaling,
    )


def _package(logs: list[RunLog], tree: EntryTree, options: Options, rules: RuleSet) -> tuple[str, list[str]]:
    """Write one benchmark's entry; a line about it, and lines about what is left."""
    source, doubts = _source(tree, logs, options)
    entry_files.write(
        EntryFiles(
            tree=tree,
            rules=rules,
            division=_text(logs[0], "submission_division"),
            description=_description(logs[0], options, rules),
            source=source,
            layers=_layers(rules),
        )
    )
    tree.results.mkdir(parents=True)
    for index, log in enumerate(logs):
        shutil.copyfile(log.path, tree.result(index))
    code = f"commit {source.commit[:12]}" if source and source.commit else "no commit"
    return f"{tree.results}: {len(logs)} logs, code of {code}", [*_run_count_doubts(logs, tree, rules), *doubts]


def _layers(rules: RuleSet) -> dict[str, str]:
    """HPC AI500's layers of the system, to be filled in; empty in the other suite."""
    layers = rules.values.get("layers", {})
    return {name: f"{template.PLACEHOLDER}: {layer['holds']}" for name, layer in layers.items()}


def _description(log: RunLog, options: Options, rules: RuleSet) -> dict[str, Any]:
    """The given description, else an empty one with what the logs tell."""
    if options.description is not None:
        return json_file.load(options.description, MAX_JSON_BYTES)
    logged = {key: log.value(name) for key, name in FROM_LOGS.items()}
    known = {key: str(value) for key, value in logged.items() if value is not None}
    return {key: known.get(key, "") for key in rules.values["system_description"]["keys"]}


def _source(tree: EntryTree, logs: list[RunLog], options: Options) -> tuple[Source | None, list[str]]:
    """The code that ran, as far as this repository has it, and what the submitter has to add or confirm."""
    if not source_code.exists(tree.benchmark):
        return None, [f"{tree.implementation_folder}: the code that ran; this repository has no {tree.benchmark}"]
    commit = options.commit or _logged_commit(logs)
    source = source_code.at_commit(tree.benchmark, commit or "HEAD")
    doubts = [] if commit else [f"{tree.implementation_folder}: {doubt}" for doubt in _doubts(source)]
    return source, doubts


def _logged_commit(logs: list[RunLog]) -> str | None:
    """The commit that the logs name. UserError if they name several."""
    return _same(logs, "code_commit", "give --commit") if any("code_commit" in log.by_key for log in logs) else None


def _doubts(source: Source) -> Iterator[str]:
    """Reasons why the code that was copied may not be the code that ran."""
    yield f"no log names the commit that ran; {source.commit[:12] or 'the installed code'} was taken, see --commit"
    if source.changed:
        yield f"the working tree differs from it in {len(source.changed)} files, such as {source.changed[0]}"


def _run_count_doubts(logs: list[RunLog], tree: EntryTree, rules: RuleSet) -> Iterator[str]:
    """A line if the rules ask for another number of runs."""
    benchmark = rules.values["benchmarks"].get(tree.benchmark)
    if benchmark is None or len(logs) == benchmark["num_runs"]:
        return
    if len(logs) < benchmark["num_runs"]:
        yield f"{tree.results}: {len(logs)} runs, the rules ask for {benchmark['num_runs']} ({rules.file_name})"
    elif tree.scaling == "strong":
        yield f"{tree.results}: keep one window of {benchmark['num_runs']} consecutive runs ({rules.file_name})"


def _unfilled(root: Path, rules: RuleSet) -> Iterator[str]:
    """Empty keys of the system descriptions, and the places of the template that are to be filled in."""
    for organization in _organizations(root):
        for description in sorted(organization.glob("systems/*.json")):
            values = json_file.load(description, MAX_JSON_BYTES)
            empty = [key for key in rules.values["system_description"]["keys"] if values.get(key, "") == ""]
            if empty:
                yield f"{description}: {', '.join(empty)}"
        yield from (f"{place.path}:{place.line}: {place.text}" for place in template.unfilled(organization))


def _organizations(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _write_digests(organization: Path) -> Path:
    """Write the digests of an organization's logs; the path of the file."""
    path = organization / log_digests.FILE_NAME
    atomic_write.write(path, log_digests.text_of(organization, organization.glob("results/**/result_*.txt")))
    return path
