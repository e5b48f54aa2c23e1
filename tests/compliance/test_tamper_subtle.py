# SPDX-License-Identifier: Apache-2.0
"""Tampering that leaves every single line plausible: times, a log's witnesses, edited copies, ambiguous text.

Each row names the rules of which one has to speak; most of these faults are warnings, since no log proves them. The
harmless edits at the end say nothing.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compliance.tampering import (
    BOX,
    DEEPCAM,
    INSTANCES,
    TIMED,
    Tamper,
    copied,
    description,
    drop_epoch,
    log,
    logs,
    moved,
    shorten,
    tree,
)
from tests.compliance.test_tamper import TAMPERINGS

HOUR_S, DAY_S = 3600, 86_400
LATENCIES = ("training_epoch_latency", "eval_epoch_latency")
CYRILLIC_A, CYRILLIC_O, ARABIC_THREE = "\u0430", "\u043e", "\u0663"


def text(change: Callable[[str], str], name: str = "result_3.txt", folder: str = TIMED) -> Tamper:
    """Change the text of one log, in ways that no JSON writer would."""

    def tamper(root: Path, _: Callable) -> None:
        path = root / folder / name
        before = path.read_text(encoding="utf-8")
        after = change(before)
        assert after != before
        path.write_text(after, encoding="utf-8")

    return tamper


def twice(key: str, more: str, nth: int = 0) -> Tamper:
    """Give a name of the nth event of a key a second time, in front of the true one."""

    def change(content: str) -> str:
        lines = content.split("\n")
        index = [number for number, line in enumerate(lines) if f'"key": "{key}"' in line][nth]
        lines[index] = lines[index].replace(":::MLLOG {", f":::MLLOG {{{more}, ", 1)
        return "\n".join(lines)

    return text(change)


def times(run, factor: float, start: int = 0, stop: int | None = None) -> None:
    """Scale the time from one line to another; what follows keeps its distance."""
    part = run.lines[start:stop]
    first_ms, last_ms = part[0]["time_ms"], part[-1]["time_ms"]
    for line in part:
        line["time_ms"] = round(first_ms + (line["time_ms"] - first_ms) * factor)
    if stop is not None:
        run.shift(round((last_ms - first_ms) * (factor - 1)), stop)


def faster_epoch(run, factor: float, nth: int) -> None:
    times(run, factor, run.index("epoch_start", nth), run.index("eval_start", nth) + 1)


def without_latencies(run) -> None:
    for index in run.indices("epoch_stop"):
        for name in LATENCIES:
            run.lines[index]["metadata"].pop(name, None)


def scale_clock(run, factor: float) -> None:
    times(run, factor, run.index("run_start"))


def unwitnessed_scale(run, factor: float) -> None:
    without_latencies(run)
    scale_clock(run, factor)


def in_seconds(run) -> None:
    for line in run.lines:
        line["time_ms"] /= 1000


def in_microseconds(run) -> None:
    for line in run.lines:
        line["time_ms"] *= 1000


def throughput(run, factor: float, epochs: slice = slice(None)) -> None:
    for index in run.indices("tracked_stats")[epochs]:
        run.lines[index]["value"]["throughput"] *= factor


def set_batch(run, batch: int) -> None:
    run.set("global_batch_size", batch)


def renumbered_without_epoch(run) -> None:
    """Epoch 9 cut out, and the others renumbered; steps and losses stay what they were."""
    drop_epoch(run, 8)
    for line in run.lines:
        if line["metadata"].get("epoch_num", 0) > 9:
            line["metadata"]["epoch_num"] -= 1


def qualities(run, change: Callable[[float], float], nth: slice = slice(None), key: str = "eval_error") -> None:
    for index in run.indices(key)[nth]:
        run.lines[index]["value"] = change(run.lines[index]["value"])


def losses(run, change: Callable[[float], float]) -> None:
    for index in run.indices("train_loss"):
        run.lines[index]["value"] = change(run.lines[index]["value"])


def edited_copy(change: Callable, source: str = f"{TIMED}/result_0.txt", target: str = f"{TIMED}/result_3.txt"):
    """A log replaced by a copy of another, with a seed, a start, losses and times of its own, and then edited."""

    def tamper(root: Path, edit: Callable) -> None:
        def disguise(run) -> None:
            run.set("seed", 987_654)
            run.shift(3 * HOUR_S * 1000)
            losses(run, lambda loss: loss * 1.0173)
            moved(run, "eval_stop", 0.017, 2)
            change(run)

        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / source, root / target)
        edit(root / target, disguise)

    return tamper


def second_half_of_another(root: Path, edit: Callable) -> None:
    other = [json.loads(line[9:]) for line in (root / TIMED / "result_0.txt").read_text().splitlines()]
    values = [line["value"] for line in other if line["key"] == "eval_error"]

    def take(run) -> None:
        for index, value in list(zip(run.indices("eval_error"), values, strict=True))[12:]:
            run.lines[index]["value"] = value

    edit(root / TIMED / "result_3.txt", take)


def shown_on_another_system(change: Callable, org: str = "acme") -> Tamper:
    """All runs of the box shown on a larger system, in other times."""

    def tamper(root: Path, edit: Callable) -> None:
        target = root / org / "results/large/strong/cosmoflow"
        shutil.copytree(root / TIMED, target)
        for path in target.iterdir():
            edit(path, change)

    return tamper


def renamed(source: str, target: str) -> Tamper:
    return tree(lambda root: (root / source).rename(root / target))


def repeated_key(root: Path) -> None:
    file = root / BOX
    file.write_text(file.read_text().replace("{", '{"number_of_nodes": "32",', 1))


def linked_description(root: Path) -> None:
    (root / BOX).rename(root / "box.json")
    (root / BOX).symlink_to(root / "box.json")


def evaluated_first(run) -> None:
    """The target is met before any training."""
    position = run.index("epoch_start")
    start_ms = run.lines[position - 1]["time_ms"]
    first, last = run.index("eval_start", 23), run.index("eval_stop", 23)
    evaluation = [line | {"metadata": {"epoch_num": 0}} for line in run.lines[first : last + 1]]
    run.shift(5000, position)
    run.lines[position:position] = [
        line | {"time_ms": start_ms + 900 * number} for number, line in enumerate(evaluation)
    ]


def flat(run, nth: slice = slice(0, 23)) -> None:
    qualities(run, lambda _: 0.3, nth)


def log_digests(run, place: str = "run_stop") -> None:
    """A digest that no program computed."""
    run.copy(place, key="log_digest", value="0" * 64, event_type="POINT_IN_TIME", metadata={})


def other_sources(run) -> None:
    half = len(run.lines) // 2
    for number, line in enumerate(run.lines):
        line["metadata"]["file"] = f"/opt/{'a' if number < half else 'b'}/train.py"


TIME = {
    "one log in seconds": ("T116", log(in_seconds)),
    "all logs in seconds": ("T116", logs(in_seconds)),
    "one log in microseconds": ("L102", log(in_microseconds)),
    "all logs in microseconds": ("L102", logs(in_microseconds, folder=DEEPCAM)),
    "run of 2011": ("T116", log(lambda run: run.shift(-11 * 366 * DAY_S * 1000))),
    "run of the future": ("T116", log(lambda run: run.shift(30 * 366 * DAY_S * 1000))),
    "one event of the future": ("T106 T116", log(lambda run: run.event("eval_stop", 3).update(time_ms=9e12))),
    "one run half a year later": ("T117", log(lambda run: run.shift(183 * DAY_S * 1000))),
    "an hour in an epoch": ("T118", log(lambda run: moved(run, "train_loss", HOUR_S, 7))),
    "an hour between epochs": ("T118", log(lambda run: moved(run, "epoch_start", HOUR_S, 7))),
    "an hour in an evaluation": ("T118", log(lambda run: moved(run, "eval_stop", HOUR_S, 7))),
    "an hour before run_stop": ("T118", log(lambda run: moved(run, "run_stop", HOUR_S))),
    "an hour after run_start": ("T118", log(lambda run: moved(run, "epoch_start", HOUR_S))),
    "second half in another time zone": ("T118", log(lambda run: moved(run, "epoch_start", 9 * HOUR_S, 12))),
    "second half on a clock that is behind": ("T101", log(lambda run: moved(run, "epoch_start", -9 * HOUR_S, 12))),
    "evaluation of no time": (
        "T119",
        log(lambda run: (without_latencies(run), moved(run, "eval_error", -0.9, 4))),
    ),
    "epoch of no time": ("T111 T119", log(lambda run: moved(run, "train_loss", -10.2, 4))),
    "run of no time": ("T119", log(lambda run: times(run, 0, run.index("run_start")))),
    "all times equal": ("T119", log(lambda run: times(run, 0))),
    "target met before training": ("Q112", log(evaluated_first)),
}
WITNESSES = {
    "an epoch scaled by 0.97": ("T120 T123", log(lambda run: faster_epoch(run, 0.97, 6))),
    "an epoch scaled by 0.97, without latencies": (
        "T120",
        log(lambda run: (without_latencies(run), faster_epoch(run, 0.97, 6))),
    ),
    "an epoch scaled by 0.5": ("T120", log(lambda run: faster_epoch(run, 0.5, 6))),
    "a log scaled by 0.97": ("T121 T122 T123", log(lambda run: scale_clock(run, 0.97))),
    "a log scaled by 0.97, without latencies": ("T121 T122", log(lambda run: unwitnessed_scale(run, 0.97))),
    "a log scaled by 0.1": ("T121 T122 T123", log(lambda run: scale_clock(run, 0.1))),
    "all logs scaled by 0.97": ("T121", logs(lambda run: unwitnessed_scale(run, 0.97))),
    "all logs scaled by 0.1": ("T121", logs(lambda run: unwitnessed_scale(run, 0.1), folder=DEEPCAM)),
    "the second half scaled by 0.9": ("T120 T123", log(lambda run: times(run, 0.9, run.index("epoch_start", 14)))),
    "throughput doubled in one log": ("T121 T122", log(lambda run: throughput(run, 2))),
    "throughput doubled in all logs": ("T121", logs(lambda run: throughput(run, 2))),
    "throughput doubled in one epoch": ("T120", log(lambda run: throughput(run, 2, slice(5, 6)))),
    "throughput of 3 % more": ("T121 T122", log(lambda run: throughput(run, 1.03))),
    "batch twice what the steps say": ("H109", logs(lambda run: set_batch(run, 1024))),
    "batch half of what the steps say": ("H109", logs(lambda run: set_batch(run, 256), folder=DEEPCAM)),
    "accumulation that does not divide": (
        "H106",
        logs(lambda run: run.set("gradient_accumulation_frequency", 3), folder=DEEPCAM),
    ),
    "latency of training changed": (
        "T123",
        log(lambda run: run.event("epoch_stop", 4)["metadata"].update(training_epoch_latency=9000)),
    ),
    "latency of evaluation changed": (
        "T123",
        log(lambda run: run.event("epoch_stop", 4)["metadata"].update(eval_epoch_latency=400)),
    ),
    "epoch cut out and the others renumbered": ("H110", log(renumbered_without_epoch)),
    "ten epochs cut out of one run": ("H110 C101", log(shorten)),
    "steps that jump": ("H110", log(lambda run: run.event("epoch_stop", 9)["metadata"].update(step_num=99_999))),
}
COPIES = {
    "copy with other last digits": ("R137", edited_copy(lambda run: qualities(run, lambda value: value * (1 + 3e-9)))),
    "copy rounded to four decimals": ("R137", edited_copy(lambda run: qualities(run, lambda value: round(value, 4)))),
    "copy rounded to five decimals": ("R137", edited_copy(lambda run: qualities(run, lambda value: round(value, 5)))),
    "copy with one quality changed": (
        "R135 R137",
        edited_copy(lambda run: qualities(run, lambda value: value - 0.0013, slice(4, 5))),
    ),
    "copy with new times": ("R135 R138", edited_copy(lambda run: scale_clock(run, 1.013))),
    "copy with new times and rounded": (
        "R137",
        edited_copy(lambda run: (scale_clock(run, 0.991), qualities(run, lambda value: round(value, 4)))),
    ),
    "the second half of another run": ("R135", second_half_of_another),
    "the losses of another run": ("R135", lambda root, edit: take_losses(root, edit)),
    "copy as an instance": (
        "R135 R137",
        edited_copy(lambda run: scale_clock(run, 1.01), target=f"{INSTANCES}/result_3.txt"),
    ),
    "copy under another organization": (
        "R135 R138",
        edited_copy(
            lambda run: (scale_clock(run, 1.01), run.set("submission_org", "beta")),
            target="beta/results/rack/strong/cosmoflow/result_0.txt",
        ),
    ),
    "runs on a second system in half the time": ("R138", shown_on_another_system(lambda run: scale_clock(run, 0.5))),
    "runs on a second system in twice the time": ("R138", shown_on_another_system(lambda run: scale_clock(run, 2))),
    "runs on another organization's system": (
        "R138",
        shown_on_another_system(lambda run: (scale_clock(run, 0.9), run.set("submission_org", "beta")), org="beta"),
    ),
}
TEXT = {
    "value of an evaluation twice": ("L102", twice("eval_error", '"value": 0.2', 23)),
    "value of an evaluation in the middle twice": ("L102", twice("eval_error", '"value": 0.5', 7)),
    "time of run_stop twice": ("L102", twice("run_stop", '"time_ms": 1662905434000')),
    "time of run_start twice": ("L102", twice("run_start", '"time_ms": 1662905434000')),
    "batch twice in one line": ("L102", twice("global_batch_size", '"value": 1024')),
    "key twice in one line": ("L102", twice("seed", '"key": "comment"')),
    "status twice in one line": (
        "L102",
        text(lambda content: content.replace('"status": "success"', '"status": "aborted", "status": "success"')),
    ),
    "number of nodes twice in a description": ("S115", tree(repeated_key)),
    "key with a Cyrillic letter": ("L120", log(lambda run: run.copy("dropout", key=f"dr{CYRILLIC_O}pout"))),
    "key with digits of another script": ("L120", log(lambda run: run.copy("dropout", key=f"v{ARABIC_THREE}"))),
    "organization with a Cyrillic letter": (
        "L120",
        logs(lambda run: run.set("submission_org", f"{CYRILLIC_A}cme")),
    ),
    "benchmark with a Cyrillic letter": (
        "L107 L120",
        log(lambda run: run.set("submission_benchmark", f"c{CYRILLIC_O}smoflow")),
    ),
    "benchmark's folder with a Cyrillic letter": ("R108", renamed(TIMED, TIMED.replace("flow", f"fl{CYRILLIC_O}w"))),
    "organization's folder with a Cyrillic letter": ("S110", renamed("acme", f"{CYRILLIC_A}cme")),
    "file with digits of another script": (
        "R121",
        renamed(f"{TIMED}/result_3.txt", f"{TIMED}/result_{ARABIC_THREE}.txt"),
    ),
    "hidden run": ("R121", renamed(f"{TIMED}/result_3.txt", f"{TIMED}/.result_3.txt")),
    "hidden run beside all others": ("R121", copied(f"{TIMED}/result_3.txt", f"{TIMED}/.result_10.txt")),
    "run of another ending": ("R121", copied(f"{TIMED}/result_3.txt", f"{TIMED}/result_3.txt.old")),
    "linked system description": ("R122", tree(linked_description)),
}
CROSS_CHECKS = {
    "fewer ranks than accelerators": ("H107", logs(lambda run: run.set("number_of_ranks", 256))),
    "description of another submitter": ("S114", description(lambda values: values.update(submitter="zeta"))),
    "description of another system": ("S114", description(lambda values: values.update(system_name="Frontier"))),
    "another platform in one run": ("H112", log(lambda run: run.set("submission_platform", "64 other nodes"))),
    "caches not cleared": ("T115", log(lambda run: run.set("cache_clear", False))),
    "another target": ("Q114", log(lambda run: run.copy("dropout", key="target_error", value=0.13))),
    "checkpoint loaded": ("T113", log(lambda run: run.copy("dropout", key="checkpoint", value="epoch_8.pt"))),
    "resumed": ("T113", log(lambda run: run.copy("epoch_start", 3, key="restart", event_type="POINT_IN_TIME"))),
    "sources that change inside a log": ("L123", log(other_sources)),
    "qualities that never change": ("Q113", log(flat)),
    "seed missing in one run": ("R114", log(lambda run: run.drop("seed"))),
    "rules of another round in the log": ("L124", logs(lambda run: run.copy("seed", key="rule_set", value="demo"))),
    "digests in one run alone": ("L121 L125", log(log_digests)),
    "digest that does not fit": ("L121", logs(log_digests)),
    "a pruned instance that missed the target": (
        "R112",
        log(
            lambda run: (
                qualities(run, lambda value: value + 0.01),
                run.event("run_stop")["metadata"].update(status="aborted"),
            ),
            "result_10.txt",
            f"{INSTANCES}/pruned_results",
        ),
    ),
    "decay factor above one": ("H102", logs(lambda run: run.set("opt_learning_rate_decay_factor", [2.0, 3.0]))),
    "fewer factors than boundaries": ("H111", logs(lambda run: run.set("opt_learning_rate_decay_factor", [0.5]))),
    "one sample fewer": ("H101", logs(lambda run: run.set("train_samples", 524_287))),
    "scaling factor of another checker": (
        "C106",
        tree(lambda root: (root / TIMED / "scaling.json").write_text('{"scaling_factor": 1.5}')),
    ),
    "waiver inside the submission": (
        "P951",
        tree(lambda root: (root / "acme/waivers.toml").write_text("[[waiver]]\nrule = 'all'\n")),
    ),
}
SUBTLE = {**TIME, **WITNESSES, **COPIES, **TEXT, **CROSS_CHECKS}


def take_losses(root: Path, edit: Callable) -> None:
    other = [json.loads(line[9:]) for line in (root / TIMED / "result_0.txt").read_text().splitlines()]
    values = iter([line["value"] for line in other if line["key"] == "train_loss"])
    edit(root / TIMED / "result_3.txt", lambda run: losses(run, lambda _: next(values)))


@pytest.mark.parametrize("name", SUBTLE)
def test_tampering_is_caught(name, valid_round, findings, edit_log):
    rules, tamper = SUBTLE[name]
    tamper(valid_round, edit_log)
    assert set(rules.split()) & {finding.rule for finding in findings(valid_round)}


def test_there_are_at_least_150_ways_and_no_name_twice():
    assert len(TAMPERINGS | SUBTLE) == len(TAMPERINGS) + len(SUBTLE) >= 150


def _each_line(change: Callable[[dict], dict | str]) -> Callable[[str], str]:
    def edit(content: str) -> str:
        lines = (change(json.loads(line[9:])) for line in content.splitlines())
        return "".join((line if isinstance(line, str) else f":::MLLOG {json.dumps(line)}") + "\n" for line in lines)

    return edit


def _from_zero(event: dict) -> dict:
    if "epoch_num" in event["metadata"]:
        event["metadata"]["epoch_num"] -= 1
    return event


def _float_epochs(event: dict) -> dict:
    if "epoch_num" in event["metadata"]:
        event["metadata"]["epoch_num"] = float(event["metadata"]["epoch_num"])
    return event


HARMLESS = {
    "order of the names": _each_line(lambda event: dict(reversed(event.items()))),
    "more metadata": _each_line(lambda event: event | {"metadata": event["metadata"] | {"lineno": 7, "rank": 0}}),
    "fractional times": _each_line(lambda event: event | {"time_ms": event["time_ms"] + 0.25}),
    "ends of lines of another system": lambda content: content.replace("\n", "\r\n"),
    "other output between the events": lambda content: re.sub("\n", "\nstep 1: loss 0.3\n\n", content),
    "a prefix before the marker": lambda content: re.sub("(?m)^:::", "12: [node7] :::", content),
    "epochs numbered from 0": _each_line(_from_zero),
    "epochs as floats": _each_line(_float_epochs),
    "an unknown key": lambda content: re.sub(
        '(?m)^(.*)"key": "seed"(.*)$', r'\1"key": "seed"\2' + "\n" + r'\1"key": "our_own_key"\2', content
    ),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_harmless_edits_say_nothing(name, valid_round, findings):
    for path in sorted(valid_round.rglob("result_*.txt")):
        before = path.read_text(encoding="utf-8")
        after = HARMLESS[name](before)
        assert after != before
        path.write_bytes(after.encode())
    assert findings(valid_round) == []
