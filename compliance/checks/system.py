# SPDX-License-Identifier: Apache-2.0
"""S: systems/<system>.json, by itself and against the logs of its entries."""

import re
from collections.abc import Iterator

from compliance.checks.registry import EntryRules, Fault, rule
from compliance.checks.values import shown
from compliance.files.errors import nearest
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.ruleset import RuleSet
from compliance.run_log import RunLog
from compliance.scoring.run_metrics import count, whole
from compliance.submissions.reader import Entry, Organization, SystemDescription

CONSTRAINED = ("status", "number_of_nodes", "accelerators_per_node")
MAX_COMPARED = 100  # names that a misspelled one is compared with: the time grows with their number
WORD = re.compile(r"[a-z0-9]{3,}")


@rule("S101")
def systems_are_described(organization: Organization) -> Iterator[Fault]:
    """Every system with results has its description in systems/<system>.json.

    Why: without its description a result cannot be compared.
    Example: results/dgx_n64/ without systems/dgx_n64.json.
    Fix: write the description, with the name of the results' folder.
    """
    for system in organization.result_systems:
        if system not in organization.descriptions:
            few = 0 < len(organization.descriptions) <= MAX_COMPARED
            near = f"; {nearest(system, organization.descriptions)}" if few else ""
            message = f"no description of {system!r}{near}"
            yield Fault(organization.folder / "results" / system, message, 0, f"systems/{system}.json")


@rule("S102")
def descriptions_can_be_read(organization: Organization) -> Iterator[Fault]:
    """A system description is a JSON object.

    Why: an unreadable description describes nothing.
    Example: a trailing comma after the last key.
    Fix: correct the file; `python -m json.tool FILE` names the line.
    """
    for description in organization.descriptions.values():
        if description.error is not None:
            yield Fault(description.path, f"cannot be read: {description.error}", expected="a JSON object")


def _missing(description: SystemDescription, ruleset: RuleSet, *, optional: bool) -> Iterator[Fault]:
    words = ruleset.values["system_description"]
    absent = [key for key in words["keys"] if key not in description.values and (key in words["optional"]) is optional]
    if absent and description.error is None:
        expected = f"all keys of the rules ({ruleset.origin('system_description', 'keys')})"
        yield Fault(description.path, f"missing keys: {', '.join(absent)}", expected=expected)


@rule("S103", severity="warning")
def descriptions_have_optional_keys(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """A system description has system_type, which the rules list and most published descriptions do not have.

    Why: a reader compares systems key by key.
    Example: no system_type, as in most descriptions of the public rounds.
    Fix: add the key; an empty text means that it does not apply.
    """
    for description in organization.descriptions.values():
        yield from _missing(description, ruleset, optional=True)


@rule("S104", severity="warning")
def descriptions_are_filled_in(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """The keys that identify a system are not empty.

    Why: results are compared by nodes, processors, memory, network and framework.
    Example: "host_networking": "".
    Fix: fill in the key.
    """
    for description in organization.descriptions.values():
        values = description.values
        wanted = [*ruleset.values["system_description"]["filled_in"]]
        if whole(values.get("accelerators_per_node")):
            wanted.append("accelerator_model_name")
        empty = [key for key in wanted if key in values and values[key] in ("", None)]
        if empty:
            yield Fault(description.path, f"empty: {', '.join(empty)}", expected="filled in")


@rule("S105")
def descriptions_hold_allowed_values(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """Division, status and counts of a system description are of the kind that the rules name.

    Why: the division selects the rules, and the counts give the scale.
    Example: "division": "close"; "number_of_nodes": "sixty-four".
    Fix: use the words of the rules, and numbers for counts (as a number or as text).
    """
    words = ruleset.values["system_description"]
    constraints = {key: Constraint.from_toml(words[key]) for key in CONSTRAINED}
    constraints["division"] = Constraint(one_of=tuple(ruleset.values["divisions"]))
    for description in organization.descriptions.values():
        for key, constraint in constraints.items():
            value = description.values.get(key)
            if isinstance(value, str):
                value = value.strip().lower() if constraint.type is None else whole(value)
            if description.values.get(key) not in ("", None) and not constraint.accepts(value):
                found = shown(description.values[key])
                expected = f"{constraint.describe()} ({ruleset.origin('system_description', key)})"
                yield Fault(description.path, f"{key} is {found}", 0, expected, found)


@rule("S106")
def division_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """The logs name the same division as the system description.

    Why: the division selects the rules; an entry has one.
    Example: "division": "open" in the description, submission_division closed in the logs.
    Fix: correct the wrong one.
    """
    yield from _disagreement(entry, "division", "submission_division")


@rule("S107", severity="warning")
def status_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """The logs name the same status (cloud, onprem, ...) as the system description.

    Why: a reader who filters by status should find the entry in one place.
    Example: "status": "available" in the description, submission_status cloud in the logs.
    Fix: correct the wrong one.
    """
    yield from _disagreement(entry, "status", "submission_status")


def _disagreement(entry: Entry, key: str, logged_key: str) -> Iterator[Fault]:
    """The first log whose value is not the description's."""
    described = entry.description.values.get(key) if entry.description is not None else None
    if entry.description is None or not isinstance(described, str):
        return
    odd = [log for log in entry.logs if _other_word(log, logged_key, described)]
    if odd:
        message = f"{logged_key} is {shown(odd[0].value(logged_key))} in {len(odd)} of {len(entry.logs)} logs"
        expected = f"{described!r:.60}, as in {entry.description.path.name}"
        yield Fault(odd[0].path, message, odd[0].line_of(logged_key), expected)


def _other_word(log: RunLog, key: str, word: str) -> bool:
    value = log.value(key)
    return isinstance(value, str) and value.strip().lower() != word.strip().lower()


def _other_scale(entry: Entry) -> Iterator[tuple[Fault, bool]]:
    """(fault, True if nodes x accelerators agree all the same) of each count that is not the description's."""
    if entry.description is None:
        return
    for key in ("number_of_nodes", "accelerators_per_node"):
        described = whole(entry.description.values.get(key))
        part = key == "number_of_nodes" and entry.scaling == "weak"
        odd = [log for log in entry.logs if _differs(log.value(key), described, may_be_less=part)]
        if odd:
            found = shown(odd[0].value(key))
            expected = f"{'at most ' if part else ''}{described}, as in {entry.description.path.name}"
            message = f"{key} is {found} in {len(odd)} of {len(entry.logs)} logs"
            fault = Fault(odd[0].path, message, odd[0].line_of(key), expected, found)
            yield fault, all(_same_product(log, entry) for log in odd)


def _differs(logged: object, described: int | None, *, may_be_less: bool) -> bool:
    number = whole(logged)
    if number is None or described is None:
        return False
    return number > described if may_be_less else number != described


def _same_product(log: RunLog, entry: Entry) -> bool:
    """True if the log counts the described accelerators in another way: as nodes, or as nodes of another size."""
    values = entry.description.values if entry.description is not None else {}
    nodes, accelerators = whole(values.get("number_of_nodes")), whole(values.get("accelerators_per_node"))
    logged_nodes, logged_accelerators = count(log, "number_of_nodes"), count(log, "accelerators_per_node") or 1
    if not nodes or accelerators is None or not logged_nodes:
        return False
    total = nodes * (accelerators or 1)
    products = (logged_nodes, logged_nodes * logged_accelerators)
    return total in products if entry.scaling == "strong" else any(product <= total for product in products)


@rule("S108")
def scale_is_the_descriptions(entry: Entry) -> Iterator[Fault]:
    """The logs ran on the described nodes and accelerators per node; instances on no more nodes than described.

    Why: the scale is half of the result.
    Example: number_of_nodes 64 in the description, 128 in the logs.
    Fix: describe the part of the system that ran, in a description of its own.
    """
    yield from (fault for fault, agrees in _other_scale(entry) if not agrees)


@rule("S109", severity="warning")
def described_systems_have_results(organization: Organization) -> Iterator[Fault]:
    """Every described system has results.

    Why: a description without results is a remnant, or its results are lost.
    Example: systems/dgx_n128.json without results/dgx_n128/.
    Fix: add the results or remove the description.
    """
    for system, description in organization.descriptions.items():
        if system not in organization.result_systems:
            yield Fault(description.path, f"no results of {system!r}", expected=f"results/{system}/")


@rule("S110", severity="warning")
def organization_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """submission_org is the organization of the results' folder.

    Why: another name means a copied configuration, or one that was not filled in.
    Example: submission_org "LBNL" in TACC's folder.
    Fix: set the organization in the submission's configuration before running.
    """
    folder = _letters(entry.org)
    odd = [log for log in entry.logs if folder and not _same_organization(log.value("submission_org"), folder)]
    if odd:
        found = shown(odd[0].value("submission_org"))
        message = f"submission_org is {found} in {len(odd)} of {len(entry.logs)} logs"
        yield Fault(odd[0].path, message, odd[0].line_of("submission_org"), entry.org, found)


def _same_organization(name: object, folder: str) -> bool:
    """True if one name contains the other ('Fujitsu' in 'Fujitsu+RIKEN'); L106 reports values that are not text."""
    letters = _letters(name) if isinstance(name, str) else ""
    return not letters or letters in folder or folder in letters


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


@rule("S111", severity="warning")
def concurrent_instances_fit_the_system(entry: Entry) -> Iterator[Fault]:
    """Instances that run at the same time have no more ranks than the described system has accelerators.

    Why: an instance without accelerators of its own shared them, or ran on another system.
    Example: 128 instances of 32 ranks at once, on a system of 64 nodes with 8 accelerators each.
    Fix: describe the whole system that the instances ran on.
    """
    if entry.description is None or entry.scaling != "weak":
        return
    values = entry.description.values
    nodes, accelerators = whole(values.get("number_of_nodes")), whole(values.get("accelerators_per_node"))
    ranks = _most_ranks_at_once(entry)
    if nodes and accelerators and ranks > nodes * accelerators:
        message = f"instances of {ranks} ranks together run at the same time"
        yield Fault(entry.folder, message, 0, f"at most {nodes * accelerators}, as in {entry.description.path.name}")


def _most_ranks_at_once(entry: Entry) -> int:
    changes: list[tuple[float, int]] = []
    for log in entry.logs:
        start, stop, ranks = log.first("run_start"), log.last("run_stop"), count(log, "number_of_ranks")
        if start is not None and stop is not None and ranks:
            changes += [(start.time_ms, ranks), (stop.time_ms, -ranks)]
    busy = most = 0
    for _, ranks in sorted(changes):  # at one time, stops come before starts
        busy += ranks
        most = max(most, busy)
    return most


@rule("S112")
def descriptions_are_complete(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """A system description has all keys that the rules require.

    Why: a reader compares systems key by key, and the result tables are made from these keys.
    Example: no framework; no host_networking.
    Fix: add the key; an empty text means that it does not apply.
    """
    for description in organization.descriptions.values():
        yield from _missing(description, ruleset, optional=False)


@rule("S113", severity="warning")
def scale_is_counted_alike(entry: Entry) -> Iterator[Fault]:
    """The logs count nodes as the description does, not ranks, instances or nodes of another size.

    Why: nodes x accelerators agree, so the scale is right, but a reader finds two numbers of nodes.
    Example: 16 nodes with 8 accelerators in the description, 128 nodes with 1 in the logs.
    Fix: log number_of_nodes and accelerators_per_node of the described system.
    """
    yield from (fault for fault, agrees in _other_scale(entry) if agrees)


@rule("S114", severity="warning")
def descriptions_name_their_place(organization: Organization) -> Iterator[Fault]:
    """The submitter and the system_name of a description fit the organization's folder and the file's name.

    Why: another name means that the description was copied and is that of another system.
    Example: "submitter": "zeta" in acme's folder; "system_name": "Frontier" in perlmutter_n64.json.
    Fix: write the names of this system and its submitter.
    """
    folder = _letters(organization.name)
    for name, description in organization.descriptions.items():
        submitter, system = description.values.get("submitter"), description.values.get("system_name")
        if folder and not _same_organization(submitter, folder):
            yield Fault(description.path, f"submitter is {shown(submitter)}", 0, organization.name, shown(submitter))
        if isinstance(system, str) and system.strip() and not _shares_word(system, name):
            yield Fault(description.path, f"system_name is {shown(system)}", 0, f"a name like {name!r}", shown(system))


def _shares_word(system: str, name: str) -> bool:
    """True if the names have a word in common, or one contains the other's letters."""
    ours, theirs = _letters(system), _letters(name)
    return ours in theirs or theirs in ours or any(word in theirs for word in WORD.findall(system.lower()))


@rule("S115")
def descriptions_give_a_key_once(organization: Organization) -> Iterator[Fault]:
    """A system description gives every key once.

    Why: a reader sees the first of two values, a program takes the last one.
    Example: "number_of_nodes": "64" and, 20 lines below, "number_of_nodes": "32".
    Fix: remove the wrong one.
    """
    for description in organization.descriptions.values():
        for key in description.repeated:
            yield Fault(description.path, f"{key!r:.60} appears more than once", expected="each key once")


@rule("S901", severity="manual")
def system_is_as_described(entry: Entry, limits: EntryRules) -> Iterator[Fault]:
    """The runs used the described system, with the described software.

    Why: no log shows clock frequencies, memory, cooling or driver versions.
    Example: results measured on a preproduction system and described as available.
    Fix: compare the description with what is known of the system; ask for access to an available system.
    """
    if entry.description is not None:
        yield Fault(entry.folder, f"check by hand that the runs used the system of {entry.description.path.name}")
