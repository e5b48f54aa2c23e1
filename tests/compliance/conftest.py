# SPDX-License-Identifier: Apache-2.0
"""Run logs and submissions to change: `run_log` makes a valid log, `valid_round` a valid round of two organizations."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compliance.checks import check
from compliance.checks.registry import Finding
from compliance.rulesets import ruleset
from compliance.submissions import reader

START_MS = 1_662_904_434_000
MARKER = ":::MLLOG "
HYPERPARAMETERS = {
    "cosmoflow": {
        "dropout": 0.5,
        "opt_weight_decay": 0.0,
        "opt_name": "sgd",
        "opt_base_learning_rate": 0.008,
        "opt_learning_rate_warmup_epochs": 4,
        "opt_learning_rate_warmup_factor": 1.0,
        "opt_learning_rate_decay_boundary_epochs": [32, 64],
        "opt_learning_rate_decay_factor": [0.25, 0.125],
        "global_batch_size": 512,
        "train_samples": 524288,
        "eval_samples": 65536,
    },
    "deepcam": {
        "gradient_accumulation_frequency": 1,
        "batchnorm_group_size": 1,
        "opt_name": "LAMB",
        "opt_lr": 0.004,
        "opt_betas": [0.9, 0.999],
        "opt_eps": 1e-6,
        "opt_weight_decay": 0.01,
        "opt_bias_correction": True,
        "opt_grad_averaging": True,
        "opt_max_grad_norm": 1.0,
        "scheduler_type": "multistep",
        "scheduler_milestones": [2048, 4096],
        "scheduler_decay_rate": 0.1,
        "scheduler_lr_warmup_steps": 100,
        "scheduler_lr_warmup_factor": 1.0,
        "global_batch_size": 512,
        "train_samples": 121266,
        "eval_samples": 15158,
    },
}
QUALITY = {"cosmoflow": ("eval_error", 0.1239), "deepcam": ("eval_accuracy", 0.8201)}
SCALE = {"number_of_nodes": 64, "number_of_ranks": 512, "accelerators_per_node": 8}


class RunText:
    """A run log's lines: events as dictionaries, anything else as text."""

    def __init__(self, lines: list[dict | str] | None = None) -> None:
        self.lines: list[dict | str] = lines or []
        self.clock_ms = START_MS

    def log(
        self, key: str, value: Any = None, *, after_ms: int = 0, mark: str = "POINT_IN_TIME", **metadata: Any
    ) -> None:
        self.clock_ms += after_ms
        event = {"time_ms": self.clock_ms, "event_type": mark, "key": key, "value": value}
        self.lines.append({**event, "metadata": metadata})

    def start(self, name: str, after_ms: int = 0, **metadata: Any) -> None:
        self.log(f"{name}_start", after_ms=after_ms, mark="INTERVAL_START", **metadata)

    def stop(self, name: str, after_ms: int = 0, **metadata: Any) -> None:
        self.log(f"{name}_stop", after_ms=after_ms, mark="INTERVAL_END", **metadata)

    def indices(self, key: str) -> list[int]:
        return [index for index, line in enumerate(self.lines) if isinstance(line, dict) and line["key"] == key]

    def index(self, key: str, nth: int = 0) -> int:
        return self.indices(key)[nth]

    def event(self, key: str, nth: int = 0) -> dict:
        return self.lines[self.index(key, nth)]

    def set(self, key: str, value: Any, nth: int = 0) -> None:
        self.event(key, nth)["value"] = value

    def drop(self, key: str) -> None:
        self.lines = [line for line in self.lines if not (isinstance(line, dict) and line["key"] == key)]

    def copy(self, key: str, nth: int = 0, /, **changes: Any) -> None:
        """The event once more, right behind itself."""
        index = self.index(key, nth)
        self.lines.insert(index + 1, {**self.lines[index], **changes})

    def move(self, key: str, before: str, nth: int = 0) -> None:
        """The event before the first event of another key; times stay."""
        line = self.lines.pop(self.index(key, nth))
        self.lines.insert(self.index(before), line)

    def shift(self, added_ms: int, start: int = 0) -> None:
        """Later times from line index `start` on."""
        for line in self.lines[start:]:
            if isinstance(line, dict):
                line["time_ms"] += added_ms

    def text(self) -> str:
        return "".join((line if isinstance(line, str) else MARKER + json.dumps(line)) + "\n" for line in self.lines)

    def write(self, path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(), encoding="utf-8")
        return path


def edit(path: Path, change: Callable[[RunText], object]) -> None:
    """Change a log that `RunText.write` wrote."""
    marked = (line.removeprefix(MARKER) for line in path.read_text(encoding="utf-8").splitlines())
    run = RunText([json.loads(line) for line in marked])
    change(run)
    run.write(path)


def build_run(
    benchmark: str = "cosmoflow",
    *,
    org: str = "acme",
    seed: int = 1,
    num_epochs: int = 4,
    start_ms: int = START_MS,
    **values: Any,
) -> RunText:
    """A valid log; `values` replace logged ones. Qualities differ from seed to seed."""
    run = RunText()
    run.clock_ms = start_ms
    head = {"benchmark": benchmark, "org": org, "division": "closed", "status": "onprem", "platform": "64 nodes"}
    for key, value in head.items():
        run.log(f"submission_{key}", values.pop(f"submission_{key}", value))
    run.log("cache_clear")
    run.start("init", 10)
    for key, value in ({"seed": seed} | SCALE | HYPERPARAMETERS[benchmark] | values).items():
        run.log(key, value)
    run.stop("init", 20_000)
    run.start("run")
    run.start("staging")
    run.stop("staging", 40_000, staging_duration=40.0)
    _epochs(run, benchmark, seed, num_epochs, HYPERPARAMETERS[benchmark] | values)
    run.stop("run", status="success")
    return run


def _epochs(run: RunText, benchmark: str, seed: int, num_epochs: int, values: dict[str, Any]) -> None:
    """Epochs with what public logs say of them twice: throughput, steps and latencies beside the times."""
    quality_key, target = QUALITY[benchmark]
    direction = 1 if quality_key == "eval_error" else -1
    samples = values["train_samples"]
    steps = max(1, samples // values["global_batch_size"])
    for epoch in range(1, num_epochs + 1):
        run.start("epoch", epoch_num=epoch, step_num=(epoch - 1) * steps)
        training_ms = 10_000 + (seed * 37 + epoch * 11) % 100
        run.log("train_loss", (0.7 + target) / epoch + seed % 1000 * 1.1e-7, after_ms=training_ms, epoch_num=epoch)
        run.log("tracked_stats", {"throughput": 1000 * samples / training_ms}, epoch_num=epoch, step=epoch * steps)
        run.start("eval", epoch_num=epoch)
        left = num_epochs - epoch
        run.log(
            quality_key, target + direction * left * (0.01 + seed % 1000 * 1.0000003e-5), after_ms=900, epoch_num=epoch
        )
        run.stop("eval", epoch_num=epoch)
        latencies = {"training_epoch_latency": training_ms, "eval_epoch_latency": 900}
        run.stop("epoch", epoch_num=epoch, step_num=epoch * steps, **latencies)


def build_organization(root: Path, org: str, entries: list[tuple[str, str, str, int, int]]) -> Path:
    """An organization's tree from (system, scaling, benchmark, runs, epochs) each."""
    folder = root / org
    for number, (system, scaling, benchmark, num_runs, num_epochs) in enumerate(entries):
        _describe(folder, org, system, num_nodes=64 * (num_runs + 1) if scaling == "weak" else 64)
        _add_code(folder, benchmark, system)
        results = folder / "results" / system / scaling / benchmark
        for index in range(num_runs):
            apart_ms = 0 if scaling == "weak" else index * 3_600_000
            seed = 100 * number + index + (1 if org == "acme" else 50_000)
            start_ms = START_MS + number * 10**9 + apart_ms
            run = build_run(benchmark, org=org, seed=seed, num_epochs=num_epochs, start_ms=start_ms)
            run.write(results / f"result_{index}.txt")
        if scaling == "weak":
            run = build_run(benchmark, org=org, seed=100 * number + 1, num_epochs=num_epochs + 1, start_ms=start_ms)
            run.write(results / "pruned_results" / f"result_{num_runs}.txt")
    return folder


def _describe(folder: Path, org: str, system: str, num_nodes: int) -> None:
    keys = ruleset.load("mlperf_hpc_2.0").values["system_description"]["keys"]
    words = {"submitter": org, "division": "closed", "status": "onprem", "number_of_nodes": str(num_nodes)}
    values = dict.fromkeys(keys, "some") | words | {"accelerators_per_node": "8", "system_name": system}
    _write(folder / "systems" / f"{system}.json", json.dumps(values, indent=1))


def _add_code(folder: Path, benchmark: str, system: str) -> None:
    place = folder / "benchmarks" / benchmark
    for name in ("README.md", "setup.sh", "init_datasets.sh", "run_and_time.sh"):
        _write(place / system / name, f"# {name}\n")
    _write(place / system / f"{system}_pytorch.json", "{}")
    _write(place / "implementations" / "pytorch" / "train.py", "print()\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def findings_of(path: Path, rules: str = "mlperf_hpc_2.0") -> list[Finding]:
    """Findings but for what no log can prove."""
    found = check(reader.read(path), ruleset.load(rules))
    return [finding for finding in found if finding.severity != "manual"]


@pytest.fixture
def run_log() -> Callable[..., RunText]:
    return build_run


@pytest.fixture
def edit_log() -> Callable[[Path, Callable[[RunText], object]], None]:
    return edit


@pytest.fixture
def findings() -> Callable[..., list[Finding]]:
    return findings_of


@pytest.fixture
def valid_round(tmp_path: Path, pristine_round: Path) -> Path:
    """A copy to change: acme has cosmoflow timed and in throughput, beta has deepcam timed."""
    return shutil.copytree(pristine_round, tmp_path / "round")


@pytest.fixture(scope="session")
def pristine_round(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine") / "round"
    build_organization(root, "acme", [("box", "strong", "cosmoflow", 10, 24), ("cluster", "weak", "cosmoflow", 10, 24)])
    build_organization(root, "beta", [("rack", "strong", "deepcam", 5, 12)])
    return root


@pytest.fixture
def acme_cosmoflow(valid_round: Path) -> Path:
    """The result folder of acme's time-to-train entry."""
    return valid_round / "acme" / "results" / "box" / "strong" / "cosmoflow"
