# SPDX-License-Identifier: Apache-2.0
"""S: systems/<system>.json, by itself and against the logs of its entries."""

from collections.abc import Iterator

from compliance.checks.registry import Fault, rule
from compliance.checks.values import shown
from compliance.mllog import RunLog
from compliance.rulesets.constraint import Constraint
from compliance.rulesets.ruleset import RuleSet, nearest
from compliance.submissions.reader import Entry, Organization

CONSTRAINED = ("status", "number_of_nodes", "accelerators_per_node")
MAX_COMPARED = 100  # names that a misspelt one is compared with: more would take quadratic time


@rule("S101")
def systems_are_described(organization: Organization) -> Iterator[Fault]:
    """Every system with results has its description in systems/<system>.json.

    Why: a result without its system says nothing.
    Example: results/dgx_n64/ without systems/dgx_n64.json.
    Fix: write the description, named like the folder of results.
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

    Why: what cannot be read describes nothing.
    Example: a trailing comma after the last key.
    Fix: correct the file; `python -m json.tool FILE` names the place.
    """
    for description in organization.descriptions.values():
        if description.error is not None:
            yield Fault(description.path, f"cannot be read: {description.error}", expected="a JSON object")


@rule("S103", severity="warning")
def descriptions_are_complete(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """A system description has all keys that the rules list.

    Why: a reader compares systems key by key.
    Example: no system_type, as in most descriptions of the public rounds.
    Fix: add the key; an empty text says that it does not apply.
    """
    for description in organization.descriptions.values():
        absent = [key for key in ruleset.values["system_description"]["keys"] if key not in description.values]
        if absent and description.error is None:
            yield Fault(description.path, f"lacks {', '.join(absent)}", expected="all keys of the rules")


@rule("S104", severity="warning")
def descriptions_are_filled_in(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """The keys without which a system cannot be recognised are not empty.

    Why: nodes, processors, memory, network and framework are what a result is compared by.
    Example: "host_networking": "".
    Fix: fill the key in.
    """
    for description in organization.descriptions.values():
        values = description.values
        wanted = [*ruleset.values["system_description"]["filled_in"]]
        if _number(values.get("accelerators_per_node")):
            wanted.append("accelerator_model_name")
        empty = [key for key in wanted if key in values and values[key] in ("", None)]
        if empty:
            yield Fault(description.path, f"says nothing of {', '.join(empty)}", expected="filled in")


@rule("S105")
def descriptions_hold_allowed_values(organization: Organization, ruleset: RuleSet) -> Iterator[Fault]:
    """Division, status and counts of a system description are of the kind that the rules name.

    Why: the division decides which rules hold, the counts which scale.
    Example: "division": "close"; "number_of_nodes": "sixty-four".
    Fix: use the rules' words, and numbers for counts (as a number or as text).
    """
    words = ruleset.values["system_description"]
    constraints = {key: Constraint.from_toml(words[key]) for key in CONSTRAINED}
    constraints["division"] = Constraint(one_of=tuple(ruleset.values["divisions"]))
    for description in organization.descriptions.values():
        for key, constraint in constraints.items():
            value = description.values.get(key)
            if isinstance(value, str):
                value = value.strip().lower() if constraint.type is None else _number(value)
            if description.values.get(key) not in ("", None) and not constraint.accepts(value):
                found = shown(description.values[key])
                expected = f"{constraint.describe()} ({ruleset.origin('system_description', key)})"
                yield Fault(description.path, f"{key} is {found}", 0, expected, found)


@rule("S106")
def division_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """The logs name the division that the system description names.

    Why: the division decides which rules hold; an entry has one.
    Example: "division": "open" in the description, submission_division closed in the logs.
    Fix: correct whichever is wrong.
    """
    yield from _disagreement(entry, "division", "submission_division")


@rule("S107", severity="warning")
def status_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """The logs name the status (cloud, onprem, ...) that the system description names.

    Why: a reader who filters by status should find the entry in one place.
    Example: "status": "available" in the description, submission_status cloud in the logs.
    Fix: correct whichever is wrong.
    """
    yield from _disagreement(entry, "status", "submission_status")


def _disagreement(entry: Entry, key: str, logged_key: str) -> Iterator[Fault]:
    """The first log whose value is not the description's."""
    described = entry.description.values.get(key) if entry.description is not None else None
    if not isinstance(described, str):
        return
    odd = [log for log in entry.logs if _other_word(log, logged_key, described)]
    if odd:
        event = odd[0].first(logged_key)
        message = f"{logged_key} is {shown(event.value)} in {len(odd)} of {len(entry.logs)} logs"
        yield Fault(odd[0].path, message, event.line, f"{described!r:.60}, as in {entry.description.path.name}")


def _other_word(log: RunLog, key: str, word: str) -> bool:
    value = log.value(key)
    return isinstance(value, str) and value.strip().lower() != word.strip().lower()


@rule("S108")
def scale_is_the_descriptions(entry: Entry) -> Iterator[Fault]:
    """The logs ran on as many nodes and accelerators a node as the description says; instances on no more nodes.

    Why: the scale is half of the result.
    Example: number_of_nodes 64 in the description, 128 in the logs.
    Fix: describe the part of the system that ran, in a description of its own.
    """
    if entry.description is None:
        return
    for key in ("number_of_nodes", "accelerators_per_node"):
        described = _number(entry.description.values.get(key))
        part = key == "number_of_nodes" and entry.scaling == "weak"
        odd = [log for log in entry.logs if _differs(log.value(key), described, part)]
        if odd:
            event = odd[0].first(key)
            expected = f"{'at most ' if part else ''}{described}, as in {entry.description.path.name}"
            message = f"{key} is {shown(event.value)} in {len(odd)} of {len(entry.logs)} logs"
            yield Fault(odd[0].path, message, event.line, expected, shown(event.value))


def _differs(logged: object, described: int | None, may_be_less: bool) -> bool:
    number = _number(logged)
    if number is None or described is None:
        return False
    return number > described if may_be_less else number != described


def _number(value: object) -> int | None:
    """A count, given as a number or, as most descriptions do, as text."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 16:
        return int(value)
    is_whole = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15
    return int(value) if is_whole and value == int(value) else None


@rule("S109", severity="warning")
def described_systems_have_results(organization: Organization) -> Iterator[Fault]:
    """Every described system has results.

    Why: a description without results is left over, or its results got lost.
    Example: systems/dgx_n128.json without results/dgx_n128/.
    Fix: add the results or remove the description.
    """
    for system, description in organization.descriptions.items():
        if system not in organization.result_systems:
            yield Fault(description.path, f"no results of {system!r}", expected=f"results/{system}/")


@rule("S110", severity="warning")
def organization_is_the_logs(entry: Entry) -> Iterator[Fault]:
    """submission_org is the organization whose folder the results lie in.

    Why: a result belongs to who submits it; another name is a copied or an unfilled configuration.
    Example: submission_org "LBNL" in TACC's folder.
    Fix: set the organization in the submission's configuration before running.
    """
    folder = _letters(entry.org)
    odd = [log for log in entry.logs if folder and not _same_organization(log.value("submission_org"), folder)]
    if odd:
        event = odd[0].first("submission_org")
        message = f"submission_org is {shown(event.value)} in {len(odd)} of {len(entry.logs)} logs"
        yield Fault(odd[0].path, message, event.line, entry.org, shown(event.value))


def _same_organization(logged: object, folder: str) -> bool:
    """One name holds the other ('Fujitsu' in 'Fujitsu+RIKEN'); what is no text is another rule's matter."""
    name = _letters(logged) if isinstance(logged, str) else ""
    return not name or name in folder or folder in name


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.lower()))


@rule("S111", severity="warning")
def concurrent_instances_fit_the_system(entry: Entry) -> Iterator[Fault]:
    """Instances that run at the same time have no more ranks than the described system has accelerators.

    Why: an instance that had no accelerators of its own shared them, or ran elsewhere.
    Example: 128 instances of 32 ranks at once, on a system of 64 nodes with 8 accelerators each.
    Fix: describe the whole system that the instances ran on.
    """
    values = entry.description.values if entry.description is not None else {}
    nodes, accelerators = _number(values.get("number_of_nodes")), _number(values.get("accelerators_per_node"))
    if entry.scaling != "weak" or not nodes or not accelerators:
        return
    ranks = _most_ranks_at_once(entry)
    if ranks > nodes * accelerators:
        message = f"instances of {ranks} ranks together run at the same time"
        yield Fault(entry.folder, message, 0, f"at most {nodes * accelerators}, as in {entry.description.path.name}")


def _most_ranks_at_once(entry: Entry) -> int:
    changes = []
    for log in entry.logs:
        start, stop, ranks = log.first("run_start"), log.last("run_stop"), _number(log.value("number_of_ranks"))
        if start is not None and stop is not None and ranks:
            changes += [(start.time_ms, ranks), (stop.time_ms, -ranks)]
    busy = most = 0
    for _, ranks in sorted(changes):  # at one time, stops come before starts
        busy += ranks
        most = max(most, busy)
    return most


@rule("S901", severity="manual")
def system_is_as_described(entry: Entry) -> Iterator[Fault]:
    """The system that ran is the one that is described, with the software that is described.

    Why: no log shows clock frequencies, memory, cooling or driver versions.
    Example: results measured on a preproduction system and described as available.
    Fix: a reviewer compares with what is known of the system; an available system can be asked for.
    """
    if entry.description is not None:
        yield Fault(entry.folder, f"not provable from logs: the runs' system is that of {entry.description.path.name}")
