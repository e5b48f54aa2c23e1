# SPDX-License-Identifier: Apache-2.0
"""Ways to change a valid round of two organizations (conftest.valid_round): parts of the tables of tampering."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

TIMED = "acme/results/box/strong/cosmoflow"
INSTANCES = "acme/results/cluster/weak/cosmoflow"
DEEPCAM = "beta/results/rack/strong/deepcam"
BOX = "acme/systems/box.json"
SCRIPTS = "acme/benchmarks/cosmoflow/box"
Tamper = Callable[[Path, Callable], object]


def log(change: Callable, name: str = "result_3.txt", folder: str = TIMED) -> Tamper:
    """Change one log."""
    return lambda root, edit: edit(root / folder / name, change)


def logs(change: Callable, folder: str = TIMED) -> Tamper:
    """Change all logs of a folder."""

    def tamper(root: Path, edit: Callable) -> None:
        for path in sorted((root / folder).glob("result_*.txt")):
            edit(path, change)

    return tamper


def description(change: Callable[[dict], object], file: str = BOX) -> Tamper:
    """Change a system description."""

    def tamper(root: Path, edit: Callable) -> None:
        values = json.loads((root / file).read_text())
        change(values)
        (root / file).write_text(json.dumps(values))

    return tamper


def tree(change: Callable[[Path], object]) -> Tamper:
    """Change files and folders."""
    return lambda root, edit: change(root)


def moved(run, index_from: str, seconds: float, nth: int = 0) -> None:
    run.shift(round(seconds * 1000), run.index(index_from, nth))


def drop_epoch(run, nth: int) -> None:
    """One whole epoch less, its time included, without renumbering."""
    first, last = run.index("epoch_start", nth), run.index("epoch_stop", nth)
    took_ms = run.lines[last]["time_ms"] - run.lines[first]["time_ms"]
    del run.lines[first : last + 1]
    run.shift(-took_ms, first)


def shorten(run) -> None:
    """Ten epochs less, renumbered: a run that converges sooner than the reference can."""
    for _ in range(10):
        drop_epoch(run, 0)
    for line in run.lines:
        if "epoch_num" in line["metadata"]:
            line["metadata"]["epoch_num"] -= 10


def drop_evaluation(run, nth: int) -> None:
    for key in ("eval_start", "eval_error", "eval_stop"):
        run.lines.pop(run.index(key, nth))


def miss_target(run) -> None:
    for index in run.indices("eval_error"):
        run.lines[index]["value"] += 0.01
    run.event("run_stop")["metadata"]["status"] = "aborted"


def start_late(run) -> None:
    """The clock starts after the first epoch."""
    for key in ("staging_start", "staging_stop"):
        run.drop(key)
    start = run.lines.pop(run.index("run_start"))
    position = run.index("epoch_start", 1)
    run.lines.insert(position, start | {"time_ms": run.lines[position]["time_ms"]})


def stage_early(run) -> None:
    """Staging moved before run_start."""
    staging = [run.lines.pop(run.index(key)) for key in ("staging_start", "staging_stop")]
    position = run.index("run_start")
    run.lines[position:position] = [event | {"time_ms": run.lines[position]["time_ms"]} for event in staging]
    staging[1]["metadata"].clear()


def copied(source: str, target: str) -> Tamper:
    return tree(lambda root: shutil.copy(root / source, root / target))


def copied_and_moved(source: str, target: str, seconds: float) -> Tamper:
    """A copy with all times moved, and its own seed."""

    def tamper(root: Path, edit: Callable) -> None:
        shutil.copy(root / source, root / target)
        edit(root / target, lambda run: (run.shift(round(seconds * 1000)), run.set("seed", 987_654)))

    return tamper


def jitter(root: Path, edit: Callable) -> None:
    """A copy with its own seed, and times that are not just moved."""
    shutil.copy(root / TIMED / "result_0.txt", root / TIMED / "result_3.txt")
    edit(root / TIMED / "result_3.txt", lambda run: (run.set("seed", 987_654), moved(run, "eval_error", 3, nth=7)))


def other_organization(root: Path, edit: Callable) -> None:
    """beta shows a log of acme's under its own name."""
    target = root / "beta/results/rack/strong/cosmoflow/result_0.txt"
    target.parent.mkdir(parents=True)
    shutil.copy(root / TIMED / "result_0.txt", target)
    edit(target, lambda run: run.set("submission_org", "beta"))


def linked(root: Path) -> None:
    (root / TIMED / "result_3.txt").unlink()
    (root / TIMED / "result_3.txt").symlink_to(root / TIMED / "result_4.txt")
