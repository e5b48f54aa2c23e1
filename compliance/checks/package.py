# SPDX-License-Identifier: Apache-2.0
"""P: files beside the results that others need to repeat the runs: code, scripts, and optional power logs."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.files import json_file
from compliance.files.errors import UserError
from compliance.rulesets.ruleset import RuleSet
from compliance.submissions.reader import MAX_JSON_BYTES, Entry, Organization

NODE_NAME = re.compile(r"node_[0-9]{1,9}\.txt")
MAX_NAMED = 5
MAX_FOLDERS = 200  # of implementations/, in which scripts are looked for


def _places(organization: Organization) -> Iterator[tuple[Entry, Path]]:
    """Every entry with its benchmarks/<benchmark>/<system>/, once, if there is a folder benchmarks/ at all."""
    if not _is_folder(organization.folder / "benchmarks"):
        return
    places: dict[Path, Entry] = {}
    for entry in organization.entries:
        places.setdefault(organization.folder / "benchmarks" / entry.benchmark / entry.system, entry)
    for place, entry in places.items():
        yield entry, place


@rule("P101", severity="warning")
def code_is_submitted(organization: Organization) -> Iterator[Fault]:
    """The organization submits its code in benchmarks/.

    Why: a result that nobody else can repeat cannot be reviewed. Archives of results alone have none.
    Example: a submission of systems/ and results/ only.
    Fix: `python -m compliance package` copies the code that ran.
    """
    if organization.result_systems and not _is_folder(organization.folder / "benchmarks"):
        yield Fault(
            organization.folder, "no benchmarks/", expected="benchmarks/<benchmark>/{<system>,implementations}/"
        )


@rule("P102", severity="warning")
def systems_have_their_scripts(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """Each system has the README and the scripts that prepare and run the benchmark on it.

    Why: a reviewer repeats the run from them. They belong to benchmarks/<benchmark>/<system>/; files under
    implementations/ that several systems share count as well.
    Example: no init_datasets.sh for dgx_n64, neither in benchmarks/cosmoflow/dgx_n64/ nor in an implementation.
    Fix: add the file. A step that needs nothing has a script that says so.
    """
    names = ruleset.values["package"]["files"]
    absent = [
        f"{entry.benchmark}/{entry.system}: {', '.join(missing)}"
        for entry, place in _places(organization)
        if (missing := [name for name in names if not _is_somewhere(name, place)])
    ]
    if absent:
        yield Fault(
            organization.folder / "benchmarks",
            f"missing or empty for {_few(absent)}",
            expected=f"{', '.join(names)} in <benchmark>/<system>/ or in <benchmark>/implementations/",
        )


@rule("P103", severity="warning")
def systems_name_their_implementation(organization: Organization) -> Iterator[Fault]:
    """benchmarks/<benchmark>/<system>/ has <system>_<implementation>.json, and that implementation's code exists.

    Why: the file tells which code ran on which system.
    Example: dgx_n64_pytorch.json without benchmarks/cosmoflow/implementations/pytorch/.
    Fix: name the file after the system and the folder of the code.
    """
    unnamed, without_code = [], []
    for entry, place in _places(organization):
        described = [path for path in _files(place) if path.suffix == ".json" and _is_of(path, entry.system)]
        if not described:
            unnamed.append(f"{entry.benchmark}/{entry.system}/{entry.system}_<implementation>.json")
        without_code += [f"{entry.benchmark}/{entry.system}/{path.name}" for path in described if not _has_code(path)]
    folder = organization.folder / "benchmarks"
    if unnamed:
        yield Fault(folder, f"no implementation is named: {_few(unnamed)}", expected="one such file for each system")
    if without_code:
        expected = "a folder of code in <benchmark>/implementations/"
        yield Fault(folder, f"the named implementation has no code: {_few(without_code)}", expected=expected)


def _is_of(path: Path, system: str) -> bool:
    return path.name.startswith(f"{system}_")


def _has_code(path: Path) -> bool:
    folder = path.parent.parent / "implementations" / path.stem.removeprefix(f"{path.parent.name}_")
    return any(_files(folder)) or any(map(_is_folder, _children(folder)))


def _few(texts: list[str]) -> str:
    more = f" and {len(texts) - MAX_NAMED} more" if len(texts) > MAX_NAMED else ""
    return "; ".join(texts[:MAX_NAMED]) + more


def _is_somewhere(name: str, place: Path) -> bool:
    """True for a file in the system's folder, or in or one level below an implementation."""
    if _is_filled(place / name):
        return True
    folders = _children(place.parent / "implementations")[:MAX_FOLDERS]
    inner = [child for folder in folders for child in _children(folder)[:MAX_FOLDERS] if _is_folder(child)]
    return any(_is_filled(folder / name) for folder in (place.parent / "implementations", *folders, *inner))


@rule("P104")
def implementations_can_be_read(organization: Organization) -> Iterator[Fault]:
    """<system>_<implementation>.json is a JSON object.

    Why: an unreadable file tells nothing.
    Example: a file that was truncated.
    Fix: correct the file; `python -m json.tool FILE` names the line.
    """
    for _, place in _places(organization):
        for path in _files(place):
            if path.suffix == ".json" and (reason := _fault(path)):
                yield Fault(path, reason, expected="a JSON object")


def _fault(path: Path) -> str | None:
    try:
        json_file.load(path, MAX_JSON_BYTES)
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")[:200]
    return None


@rule("P105", severity="warning")
def power_belongs_to_runs(entry: Entry) -> Iterator[Fault]:
    """Power logs, if there are any, are those of the entry's runs: power/result_<i>/node_<j>.txt.

    Why: energy is that of one run, from its run_start to its run_stop.
    Example: power/result_7/ in an entry with result_0 to result_4.
    Fix: name the folder after the run whose power was measured.
    """
    runs = {log.path.stem for log in entry.runs}
    for child in _children(entry.folder / "power"):
        if child.name not in runs or not _is_folder(child):
            yield Fault(child, "power of no run of the entry", expected="result_<i>/ of a result_<i>.txt")


@rule("P106", severity="warning")
def power_covers_the_nodes(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """A run has a power log for each of its nodes.

    Why: a node that was not measured used power, too.
    Example: number_of_nodes 16, node_0.txt to node_7.txt.
    Fix: sample the power of every node, or submit no power logs; they are optional.
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

    Why: a change of the mathematics belongs to Open, and no log shows what was computed.
    Example: augmentation, another activation function, an evaluation on part of the data set.
    Fix: compare the code with the reference.
    """
    strictest = next(iter(limits.ruleset.values["divisions"]))
    if limits.division == strictest:
        yield Fault(entry.folder, "check by hand that the code matches the reference")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _is_filled(path: Path) -> bool:
    try:
        return path.is_file() and not path.is_symlink() and path.stat().st_size > 0
    except OSError:
        return False


def _children(folder: Path) -> list[Path]:
    """Sorted children of a real folder that can be listed, without hidden ones."""
    try:
        return sorted(child for child in folder.iterdir() if child.name[0] != ".") if _is_folder(folder) else []
    except OSError:
        return []


def _files(folder: Path) -> Iterable[Path]:
    return [child for child in _children(folder) if child.is_file() and not child.is_symlink()]
