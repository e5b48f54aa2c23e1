# SPDX-License-Identifier: Apache-2.0
"""Inputs made to exhaust the checker's memory or time: the peak memory of all its processes, and seconds by size.

    python -m perf hostile_input

Each input is made in two sizes; of a checker that takes linear time, twice the input takes about twice the time.
"""

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from perf.compliance import _log
from perf.measurement import Measurement, NotMeasurable, Row

ROOT = Path(__file__).resolve().parent.parent
LIMIT_MB = 300
MEGABYTE = 10**6
SAMPLE_S = 0.02
Build = Callable[[Path, int], list[str]]


def measure() -> Measurement:
    if not Path("/proc/self/smaps_rollup").exists():
        raise NotMeasurable("hostile_input: the memory of several processes is read from /proc")
    with tempfile.TemporaryDirectory(prefix="hpc_ai_bench_") as folder:
        rows = [_row(name, build, Path(folder) / f"{number}") for number, (name, build) in enumerate(INPUTS.items())]
    return Measurement(
        name="hostile_input",
        title="Checker: inputs made to exhaust memory or time",
        peer=f"the limit, {LIMIT_MB} MB",
        method=(
            "Peak of the proportional memory (PSS) of all processes of one `check`, sampled every 20 ms, on the larger "
            "of two sizes; the notes give the seconds for both, of which 0.2 s are the start."
        ),
        rows=rows,
        versions=("msgspec",),
    )


def _row(name: str, build: Build, folder: Path) -> Row:
    seconds, megabytes = [], 0.0
    for size in (1, 2):
        place = folder / str(size)
        place.mkdir(parents=True)
        duration, megabytes = _check(build(place, size))
        seconds.append(duration)
    note = f"{seconds[1]:.1f} s; half of it {seconds[0]:.1f} s"
    return Row(what=name, unit="MB", ours=megabytes, peer=LIMIT_MB, ratio=LIMIT_MB / megabytes, note=note)


def _check(arguments: list[str]) -> tuple[float, float]:
    """Seconds and peak megabytes of `check` and its children."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "compliance", "check", *arguments, "--rules", "mlperf_hpc_2.0", "--format", "json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    peaks: list[float] = [0.0]
    sampler = threading.Thread(target=_sample, args=(process, peaks))
    sampler.start()
    _, complaints = process.communicate()
    sampler.join()
    if process.returncode not in (0, 1, 2) or "Traceback" in complaints:
        raise RuntimeError(f"check {arguments[0]} ended with {process.returncode}: {complaints[-500:]}")
    return time.perf_counter() - start, max(peaks)


def _sample(process: subprocess.Popen, peaks: list[float]) -> None:
    while process.poll() is None:
        peaks.append(sum(map(_pss, _tree(process.pid))) / MEGABYTE)
        time.sleep(SAMPLE_S)


def _tree(pid: int) -> list[int]:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [pid, *(one for child in children for one in _tree(int(child)))]


def _pss(pid: int) -> int:
    """Proportional memory of a process in bytes; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def _event(key: str, value: object, number: int, kind: str = "POINT_IN_TIME", **metadata: object) -> str:
    record = {"key": key, "value": value, "time_ms": 1_660_000_000_000 + number, "event_type": kind}
    return f":::MLLOG {json.dumps(record | {'metadata': metadata})}\n"


def _one_log(line: Callable[[int], str]) -> Build:
    """A log of 50 MB, or 100 MB, of such lines behind a valid head."""

    def build(folder: Path, size: int) -> list[str]:
        path = folder / "result_0.txt"
        with path.open("w") as file:
            file.write(_log(seed=1, start_ms=1.66e12)[:20_000].rpartition("\n")[0] + "\n")
            number = 0
            while file.tell() < size * 50 * MEGABYTE:
                file.write("".join(line(number + index) for index in range(64)))
                number += 64
        return [str(path)]

    return build


def _entry_of_logs(line: Callable[[int], str]) -> Build:
    """An entry of many logs, 50 MB or 100 MB in all."""

    def build(folder: Path, size: int) -> list[str]:
        place = folder / "acme/results/box/strong/cosmoflow"
        place.mkdir(parents=True)
        head = _log(seed=1, start_ms=1.66e12)[:20_000].rpartition("\n")[0] + "\n"
        body = "".join(line(number) for number in range(4000))
        for number in range(size * 50 * MEGABYTE // len(body)):
            (place / f"result_{number}.txt").write_text(head + body)
        return [str(folder)]

    return build


def _organization(folder: Path) -> Path:
    place = folder / "acme/results/box/strong/cosmoflow"
    place.mkdir(parents=True)
    (place / "result_0.txt").write_text(_log(seed=1, start_ms=1.66e12))
    return folder / "acme"


def _descriptions(folder: Path, size: int) -> list[str]:
    systems = _organization(folder) / "systems"
    systems.mkdir()
    text = json.dumps({f"key_{number}": [[]] * 20 for number in range(11_000)})
    for number in range(100 * size):
        (systems / f"box_{number}.json").write_text(text[: -1 - 60 * (number % 2)] + ("" if number % 2 else "}"))
    return [str(folder)]


def _small_descriptions(folder: Path, size: int) -> list[str]:
    systems = _organization(folder) / "systems"
    systems.mkdir()
    for number in range(2000 * size):
        (systems / f"box_{number}.json").write_text('{"submitter": "acme", "number_of_nodes": "64"}')
    return [str(folder)]


def _waivers(folder: Path, size: int) -> list[str]:
    place = _organization(folder) / "results/box/strong/cosmoflow"
    for number in range(500 * size):
        (place / f"result_{number}.txt").write_text(_event("submission_benchmark", "deepcam", number))
    file = folder / "waivers.toml"
    table = "[[waiver]]\nrule = 'L107'\npath = 'acme/results/n{0}'\nreason = 'r'\napprover = 'a'\n"
    file.write_text("".join(table.format(number) for number in range(6000 * size)))
    return [str(folder), "--waivers", str(file)]


def _borrowed(folder: Path, size: int) -> list[str]:
    place = _organization(folder) / "benchmarks/cosmoflow/box"
    place.mkdir(parents=True)
    text = (
        'rules = "mlperf_hpc_2.0"\ndivision = "closed"\n[hyperparameters]\nopt_name = "sgd"\n'
        '[borrowed]\nlender = "acme"\npath = "acme/results/box/strong/cosmoflow/result_0.txt"\nsha256 = "0"\n'
    )
    for number in range(500 * size):
        (place / f"borrowed_{number}.toml").write_text(text)
    return [str(folder)]


def _many_files(folder: Path, size: int) -> list[str]:
    place = _organization(folder) / "results/box/strong/cosmoflow"
    for number in range(5000 * size):
        (place / f"note_{number}").touch()
    return [str(folder)]


def _copies(folder: Path, size: int) -> list[str]:
    """Logs whose evaluations are all equal, with times of their own."""
    for number in range(1000 * size):
        place = folder / f"acme/results/box_{number // 100}/strong/cosmoflow"
        place.mkdir(parents=True, exist_ok=True)
        lines = (
            _event("eval_error", 0.123456789012 + step, step * (number + 1), epoch_num=step) for step in range(100)
        )
        (place / f"result_{number % 100}.txt").write_text("".join(lines))
    return [str(folder)]


NESTED = json.loads("[" + "[]," * 2000 + "[]]")
INPUTS: dict[str, Build] = {
    "a log of 100 MB of nested empty lists": _one_log(lambda number: _event("tracked_stats", NESTED, number)),
    "a log of 100 MB of keys that occur once": _one_log(lambda number: _event(f"key_{number}", number, number)),
    "a log of 100 MB of epoch_start": _one_log(
        lambda number: _event("epoch_start", None, number, "INTERVAL_START", epoch_num=number)
    ),
    "a log of 100 MB of evaluations with texts of 200 characters": _one_log(
        lambda number: _event("eval_error", f"{number:0200}", number, epoch_num=number)
    ),
    "a log of 100 MB of other source files": _one_log(
        lambda number: _event("train_loss", number, number, file=f"/opt/{number}/train.py")
    ),
    "a log of 100 MB of broken lines": _one_log(lambda number: f':::MLLOG {{"key": {number}\n'),
    "a log of 100 MB in one line": _one_log(lambda number: f"{number} " * 16),
    "an entry of logs of epochs, 100 MB": _entry_of_logs(
        lambda number: _event("epoch_start", None, number, "INTERVAL_START", epoch_num=number)
    ),
    "200 system descriptions of 1 MB": _descriptions,
    "4000 small system descriptions": _small_descriptions,
    "12,000 waivers and 1000 findings": _waivers,
    "1000 borrowed files": _borrowed,
    "10,000 files that are no logs": _many_files,
    "2000 logs with equal evaluations in other times": _copies,
}
