# SPDX-License-Identifier: Apache-2.0
"""Speed of the checker: whole processes against mlperf_logging's package checker, on the same files in one run.

    python -m perf compliance

HPC_RESULTS may name a folder that contains hpc_results_v2.0 and hpc_results_v1.0.tar.zst; the public rounds that are
found there are measured as well, together with the time of reading and decoding their logs on all cores: no checker in
Python that looks at every event can be faster.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from perf.measurement import Measurement, NotMeasurable, Row

ROOT = Path(__file__).resolve().parent.parent
EVENTS_PER_EPOCH = 400
EPOCHS = 20
CHECK = "from compliance.__main__ import main; main(sys.argv[1:])"
DECODE = "from pathlib import Path; from perf.compliance import decode_only; decode_only(Path(sys.argv[1]))"
BUSIEST = """import resource, sys, time
{}
from compliance.processes import num_children
children = resource.getrusage(resource.RUSAGE_CHILDREN)
others_s = (children.ru_utime + children.ru_stime) / max(1, num_children())
print(max(time.process_time(), others_s), file=sys.stderr)
"""


def measure() -> Measurement:
    if find_spec("mlperf_logging") is None:  # its failing process would look like a fast peer
        raise NotMeasurable("compliance: mlperf-logging, the peer, is not installed")
    with tempfile.TemporaryDirectory(prefix="hpc_ai_bench_") as folder:
        rows = [*_split_rows(_synthetic_submission(Path(folder) / "synthetic"))]
        rows.append(_against_peer("synthetic submission", Path(folder) / "synthetic", Path(folder)))
        for version, tree in _public_rounds(Path(folder)):
            rows.append(_against_peer(f"public round v{version}", tree, Path(folder), version))
            rows.append(_against_limit(f"public round v{version}", tree, rows[-1].ours))
        rows.append(_startup())
    return Measurement(
        name="compliance",
        title="Checker: a whole submission, parsed, checked and scored",
        peer="`python -m mlperf_logging.package_checker`, once an organization, on a copy of the same files",
        method=(
            "Whole processes with warm caches, in CPU seconds of the process that takes longest: on an idle machine "
            "that is the wall time, and other jobs hardly change it. Ours is the median of 5, the peer ran once."
        ),
        rows=rows,
        versions=("mlperf-logging", "msgspec"),
    )


def _public_rounds(folder: Path) -> Iterator[tuple[str, Path]]:
    """(version, copy in `folder`) of the public rounds that this machine has."""
    results = Path(os.environ.get("HPC_RESULTS", ROOT.parent / "shared" / "results"))
    archive = results / "hpc_results_v1.0.tar.zst"
    if archive.is_file():
        _unpack(archive, folder)
        yield "1.0", folder / "hpc_results_v1.0"
    if (results / "hpc_results_v2.0").is_dir():
        yield "2.0", shutil.copytree(results / "hpc_results_v2.0", folder / "hpc_results_v2.0")


def _unpack(archive: Path, folder: Path) -> None:
    import zstandard

    with (
        archive.open("rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file) as content,
        tarfile.open(fileobj=content, mode="r|") as tar,
    ):
        tar.extractall(folder, filter="data")


def _against_peer(what: str, tree: Path, folder: Path, version: str = "2.0") -> Row:
    megabytes = sum(file.stat().st_size for file in tree.rglob("*.txt")) / 1e6
    organizations = [tree] if (tree / "results").is_dir() else sorted(path for path in tree.iterdir() if path.is_dir())
    arguments = ["check", str(tree), "--rules", f"mlperf_hpc_{version}", "--format", "json"]
    ours = _median(lambda: _busiest_s(CHECK, arguments), 5)
    # The peer writes its log into the working folder and scaling.json into the submission, so it gets a copy.
    checker = [sys.executable, "-m", "mlperf_logging.package_checker"]
    peer = sum(_cpu_s([*checker, str(path), "hpc", f"{version}.0"], folder) for path in organizations)
    peak = _peak_megabytes([sys.executable, "-m", "compliance", *arguments])
    return Row(
        what=f"check, {what} ({megabytes:.0f} MB)",
        unit="s",
        ours=ours,
        peer=peer,
        ratio=peer / ours,
        note=f"{megabytes / ours:.0f} MB/s; peak memory of a process {peak:.0f} MB",
    )


def _against_limit(what: str, tree: Path, check_s: float) -> Row:
    limit_s = _median(lambda: _busiest_s(DECODE, [str(tree)]), 5)
    return Row(
        what=f"check, {what}, against reading and decoding its logs on all cores",
        unit="s",
        ours=check_s,
        peer=limit_s,
        ratio=limit_s / check_s,
        note="the peer of this row is the limit: a process that does nothing with the decoded events",
    )


def decode_only(tree: Path) -> None:
    """Read and decode the events of all logs on all cores, without checking them."""
    from compliance.processes import forked, num_children, shares

    files = sorted(tree.rglob("result_*.txt"))
    own, *others = shares(files, [file.stat().st_size for file in files], 1 + num_children())
    with forked(_decode_share, others) as children:
        _decode_share(own)
        for child in children:
            child.result()


def _decode_share(files: Sequence[Path]) -> bytes:
    import msgspec

    from compliance.mllog import MARKER
    from compliance.run_log import Event

    decoder = msgspec.json.Decoder(Event)
    for file in files:
        texts = [line.partition(MARKER)[2] for line in file.read_bytes().split(b"\n") if MARKER in line]
        try:
            decoder.decode_lines(b"\n".join(texts))
        except msgspec.DecodeError:  # an unusual line
            for text in texts:
                with suppress(msgspec.DecodeError):
                    decoder.decode(text)
    return b""


def _startup() -> Row:
    help_text = [sys.executable, "-m", "compliance", "--help"]
    bare = [sys.executable, "-c", "pass"]
    ours, python = _median(lambda: _run(help_text), 9), _median(lambda: _run(bare), 9)
    return Row(what="start-up of --help", unit="s", ours=ours, note=f"of which {python:.3f} s is Python itself")


def _split_rows(tree: Path) -> list[Row]:
    """Time inside the process: reading, parsing (compared with the JSON parser alone), checking."""
    import msgspec

    from compliance import checks, mllog
    from compliance.rulesets import ruleset
    from compliance.submissions import reader

    files = sorted(tree.rglob("result_*.txt"))
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    contents = [file.read_bytes() for file in files]
    lines = [
        line[len(mllog.MARKER) :] for text in contents for line in text.split(b"\n") if line.startswith(mllog.MARKER)
    ]
    decode = msgspec.json.Decoder(mllog.Event).decode
    read_s = _median(lambda: _timed(lambda: [file.read_bytes() for file in files]), 3)
    json_s = _median(lambda: _timed(lambda: [decode(line) for line in lines]), 3)
    parse_s = _median(lambda: _timed(lambda: [mllog.read(file) for file in files]), 3)
    tree_read = reader.read(tree)
    for entry in tree_read.entries:
        for log in entry.logs:
            assert log.events  # reads the log
    rules = ruleset.load("mlperf_hpc_2.0")
    check_s = _median(lambda: _timed(lambda: checks.check(tree_read, rules)), 3)
    return [
        Row(what="read the bytes", unit="MB/s", ours=megabytes / read_s),
        Row(
            what="read and parse, against the JSON parser alone on the same lines",
            unit="MB/s",
            ours=megabytes / parse_s,
            peer=megabytes / json_s,
            ratio=json_s / parse_s,
            note="the peer of this row is msgspec itself",
        ),
        Row(what="check, already parsed, one process", unit="MB/s", ours=megabytes / check_s),
    ]


def _synthetic_submission(root: Path) -> Path:
    """Write about 200 MB: 10 CosmoFlow entries of ten runs with thousands of events each, like large public logs."""
    for system in range(10):
        folder = root / "results" / f"system_{system}" / "strong" / "cosmoflow"
        folder.mkdir(parents=True)
        for run in range(10):
            (folder / f"result_{run}.txt").write_text(_log(seed=1 + 10 * system + run, start_ms=1.66e12 + 4e9 * run))
        systems = root / "systems"
        systems.mkdir(exist_ok=True)
        (systems / f"system_{system}.json").write_text(json.dumps({"division": "closed", "status": "onprem"}))
    return root


def _log(seed: int, start_ms: float) -> str:
    lines: list[str] = []

    def event(kind: str, key: str, value: object = None, **metadata: object) -> None:
        metadata = {"file": "/workspace/cosmoflow/train.py", "lineno": 100, **metadata}
        record = {"namespace": "", "time_ms": int(start_ms + 50 * len(lines)), "event_type": kind, "key": key}
        lines.append(":::MLLOG " + json.dumps({**record, "value": value, "metadata": metadata}))

    for key, value in _header(seed).items():
        event("POINT_IN_TIME", key, value)
    event("INTERVAL_START", "init_start")
    event("INTERVAL_END", "init_stop")
    event("INTERVAL_START", "run_start")
    for epoch in range(1, EPOCHS + 1):
        event("INTERVAL_START", "epoch_start", epoch_num=epoch)
        for step in range(EVENTS_PER_EPOCH):
            event("POINT_IN_TIME", "tracked_stats", {"loss": 1 / (step + 1)}, epoch_num=epoch, step_num=step)
        event("INTERVAL_START", "eval_start", epoch_num=epoch)
        event("POINT_IN_TIME", "eval_error", 0.5 - 0.02 * epoch, epoch_num=epoch)
        event("INTERVAL_END", "eval_stop", epoch_num=epoch)
        event("INTERVAL_END", "epoch_stop", epoch_num=epoch)
    event("INTERVAL_END", "run_stop", status="success")
    return "\n".join(lines) + "\n"


def _header(seed: int) -> dict[str, object]:
    return {
        "submission_benchmark": "cosmoflow",
        "submission_org": "acme",
        "submission_division": "closed",
        "submission_status": "onprem",
        "submission_platform": "synthetic",
        "cache_clear": True,
        "seed": seed,
        "number_of_nodes": 1,
        "accelerators_per_node": 8,
        "global_batch_size": 64,
        "train_samples": 524288,
        "eval_samples": 65536,
        "opt_name": "sgd",
        "opt_base_learning_rate": 0.001,
        "opt_learning_rate_warmup_epochs": 4,
        "opt_learning_rate_warmup_factor": 1.0,
        "opt_learning_rate_decay_boundary_epochs": [32, 64],
        "opt_learning_rate_decay_factor": 0.25,
    }


def _busiest_s(code: str, arguments: Sequence[str]) -> float:
    """CPU seconds of the busiest of the processes of a program, start-up included."""
    command = [sys.executable, "-c", BUSIEST.format(code), *arguments]
    result = subprocess.run(command, cwd=ROOT, env=_environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    return float(result.stderr.split()[-1])


def _cpu_s(command: Sequence[str], folder: Path) -> float:
    """CPU seconds of a program of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    _run(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _environment() -> dict[str, str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # it would compile our modules on every start, but not the peer's
    return environment


def _run(command: Sequence[str], folder: Path | None = None) -> float:
    """Wall time of a whole process in seconds."""
    return _timed(
        lambda: subprocess.run(
            command,
            cwd=folder or ROOT,
            env=_environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )
    )


def _peak_megabytes(command: Sequence[str]) -> float:
    """Peak resident memory of one process, measured by a parent without other children."""
    script = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(result.stdout) * 1024 / 1e6


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def _median(seconds: Callable[[], float], repeats: int) -> float:
    return sorted(seconds() for _ in range(repeats))[repeats // 2]
