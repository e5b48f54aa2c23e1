# SPDX-License-Identifier: Apache-2.0
"""P: what lies beside the results, so that others can run them: code, scripts, and optional power logs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import MAX_JSON_BYTES, Entry, Organization

NODE_NAME = re.compile(r"node_\d{1,9}\.txt")


def _places(organization: Organization) -> Iterator[tuple[Entry, Path]]:
    """Every entry with its benchmarks/<benchmark>/<system>/, once, where there is a benchmarks/ at all."""
    if not _is_folder(organization.folder / "benchmarks"):
        return
    places = {}
    for entry in organization.entries:
        places.setdefault(organization.folder / "benchmarks" / entry.benchmark / entry.system, entry)
    for place, entry in places.items():
        yield entry, place


@rule("P101", severity="warning")
def code_is_submitted(organization: Organization) -> Iterator[Fault]:
    """The organization submits its code in benchmarks/.

    Why: a result that nobody else can run cannot be reviewed. Archives of results alone have none.
    Example: a submission of systems/ and results/ only.
    Fix: `python -m compliance package` copies the code that ran.
    """
    if organization.result_systems and not _is_folder(organization.folder / "benchmarks"):
        yield Fault(
            organization.folder, "no benchmarks/", expected="benchmarks/<benchmark>/{<system>,implementations}/"
        )


@rule("P102")
def systems_have_their_scripts(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """benchmarks/<benchmark>/<system>/ holds the README and the scripts that prepare and run the benchmark there.

    Why: a reviewer repeats the run from them.
    Example: benchmarks/cosmoflow/dgx_n64/ without init_datasets.sh.
    Fix: add the file. A step that needs nothing has a script that says so.
    """
    names = ruleset.values["package"]["files"]
    for entry, place in _places(organization):
        absent = [name for name in names if not _is_filled(place / name)]
        if absent:
            message = f"missing or empty for {entry.benchmark}: {', '.join(absent)}"
            yield Fault(place, message, 0, ", ".join(names))


@rule("P103")
def systems_name_their_implementation(organization: Organization) -> Iterator[Fault]:
    """benchmarks/<benchmark>/<system>/ holds <system>_<implementation>.json, and that implementation's code is there.

    Why: it says which code ran on which system.
    Example: dgx_n64_pytorch.json without benchmarks/cosmoflow/implementations/pytorch/.
    Fix: name the file after the system and the folder of the code.
    """
    for entry, place in _places(organization):
        described = [
            path for path in _files(place) if path.match("*_*.json") and path.name.startswith(f"{entry.system}_")
        ]
        if not described:
            yield Fault(place, "no implementation is named", expected=f"{entry.system}_<implementation>.json")
        for path in described:
            folder = place.parent / "implementations" / path.stem.removeprefix(f"{entry.system}_")
            if not any(_files(folder)) and not any(map(_is_folder, _children(folder))):
                yield Fault(path, f"names an implementation without code: {folder}", expected="a folder of code")


@rule("P104")
def implementations_can_be_read(organization: Organization) -> Iterator[Fault]:
    """<system>_<implementation>.json is a JSON object.

    Why: what cannot be read says nothing.
    Example: a file cut off in the middle.
    Fix: correct the file; `python -m json.tool FILE` names the place.
    """
    for _, place in _places(organization):
        for path in _files(place):
            if path.suffix == ".json" and (reason := _not_an_object(path)):
                yield Fault(path, reason, expected="a JSON object")


def _not_an_object(path: Path) -> str | None:
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            return f"larger than {MAX_JSON_BYTES >> 20} MiB"
        return None if isinstance(json.loads(path.read_bytes()), dict) else "holds no JSON object"
    except (OSError, ValueError, RecursionError) as error:
        return f"cannot be read: {str(error)[:200]}"


@rule("P105", severity="warning")
def power_belongs_to_runs(entry: Entry) -> Iterator[Fault]:
    """Power logs, where there are any, are those of runs that are there: power/result_<i>/node_<j>.txt.

    Why: energy is that of one run, from its run_start to its run_stop.
    Example: power/result_7/ where the entry has result_0 to result_4.
    Fix: name the folder after the run whose power it holds.
    """
    runs = {log.path.stem for log in entry.runs}
    for child in _children(entry.folder / "power"):
        if child.name not in runs or not _is_folder(child):
            yield Fault(child, "power of no run of the entry", expected="result_<i>/ of a result_<i>.txt")


@rule("P106", severity="warning")
def power_covers_the_nodes(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A run's power logs are one a node, of all nodes that the run logs.

    Why: a node that was not measured used power too.
    Example: number_of_nodes 16, node_0.txt to node_7.txt.
    Fix: sample power on every node, or submit none; power is optional.
    """
    for log in entry.runs if _is_folder(entry.folder / "power") else ():
        folder, nodes = entry.folder / "power" / log.path.stem, log.value("number_of_nodes")
        if _is_folder(folder) and isinstance(nodes, int):
            found = sum(1 for path in _files(folder) if NODE_NAME.fullmatch(path.name) and _is_filled(path))
            if found != nodes:
                yield Fault(folder, f"power of {found} nodes", 0, f"of {nodes}, as {log.path.name} logs", str(found))


@rule("P955")
def declaration_can_be_read(organization: Organization) -> Iterator[Fault]:
    """An organization's submission.toml is readable TOML.

    Why: it names the rule set, and under HPC AI500 the layers of the system.
    Example: a file cut off in the middle, or a link.
    Fix: correct the file; the message names the line.
    """
    declaration = organization.declaration
    if declaration.error:
        yield Fault(declaration.path, declaration.error, expected="a TOML file")


@rule("P901", severity="manual")
def code_is_equivalent(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """Closed code computes what the reference computes: model, loss, metric, optimizer and order of the data.

    Why: what changes the mathematics belongs into Open. No log shows what was computed.
    Example: augmentation, another activation function, an evaluation on part of the data set.
    Fix: a reviewer compares the code with the reference.
    """
    strictest = next(iter(limits.ruleset.values["divisions"]))
    if limits.division == strictest:
        yield Fault(entry.folder, "not provable from logs: the code computes what the reference computes")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_filled(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size > 0
    except OSError:
        return False


def _children(folder: Path) -> list[Path]:
    """Sorted children of a real folder that can be listed; hidden ones left out."""
    try:
        return sorted(child for child in folder.iterdir() if child.name[0] != ".") if _is_folder(folder) else []
    except OSError:
        return []


def _files(folder: Path) -> list[Path]:
    return [child for child in _children(folder) if child.is_file() and not child.is_symlink()]
