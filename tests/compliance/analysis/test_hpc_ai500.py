# SPDX-License-Identifier: Apache-2.0
"""The tables of HPC AI500's section 8 from logs of several sizes, with and without gradient compression."""

import json

import pytest

from compliance.analysis import hpc_ai500
from compliance.commands import _analysis

FLOPS_PER_IMAGE, NUM_EPOCHS, START_MS = 24e9, 90, 1_600_000_000_000


def write_runs(root, system, *, ranks, speed, compression="none", joules=None):
    """Ten runs of 90 epochs, each epoch a minute; `speed` is images/s per rank."""
    folder = root / "acme/results" / system / "strong/imagenet_resnet"
    folder.mkdir(parents=True)
    for number in range(10):
        (folder / f"result_{number}.txt").write_text(log(number, ranks, speed, compression, joules))


def log(number, ranks, speed, compression, joules):
    now_ms = START_MS + number * 10**8
    lines = []

    def add(key, value=None, after_ms=0, **metadata):
        nonlocal now_ms
        now_ms += after_ms
        lines.append(":::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": now_ms, "metadata": metadata}))

    head = {"submission_benchmark": "imagenet_resnet", "submission_division": "system", "number_of_ranks": ranks}
    head |= {"precision": "fp32", "gradient_compression": compression, "flops_per_image": FLOPS_PER_IMAGE}
    for key, value in head.items():
        add(key, value)
    add("images_per_second_per_rank", speed)
    add("run_start")
    for epoch in range(1, NUM_EPOCHS + 1):
        add("epoch_start", epoch_num=epoch)
        add("eval_start", after_ms=54_000, epoch_num=epoch)
        add("eval_accuracy", 0.763 + number * 1e-6, epoch_num=epoch)
        add("eval_stop", after_ms=6000, epoch_num=epoch)
        add("epoch_stop", epoch_num=epoch)
    if joules:
        add("energy_joules", joules)
    add("run_stop", status="success")
    return "\n".join(lines) + "\n"


@pytest.fixture
def made(tmp_path):
    write_runs(tmp_path, "one", ranks=8, speed=100.0, joules=5400.0 * 2000)
    write_runs(tmp_path, "two", ranks=16, speed=90.0)
    write_runs(tmp_path, "two_compressed", ranks=16, speed=99.0, compression="fp16")
    _, entries = _analysis.read(tmp_path, "hpc_ai500_2.0")
    return {table.name: {row["system"]: row for row in table.rows} for table in hpc_ai500.tables(entries, 15e12)}


def test_performance(made):
    one = made["hpc_ai500_performance"]["one"]
    assert one["images_per_second"] == pytest.approx(800)
    assert one["tflops"] == pytest.approx(800 * 0.024)
    assert one["vtflops"] == pytest.approx(one["tflops"], rel=1e-4)
    assert one["peak_share"] == pytest.approx(19.2 / (8 * 15))
    assert one["gflops_per_watt"] == pytest.approx(19200 / 2000)
    assert made["hpc_ai500_performance"]["two"]["gflops_per_watt"] is None
    assert list(made["hpc_ai500_performance"]) == ["two_compressed", "two", "one"]


def test_parallel_efficiency_is_against_the_smallest_of_the_same_kind(made):
    rows = made["hpc_ai500_scaling"]
    assert set(rows) == {"one", "two"}
    assert rows["two"]["efficiency"] == pytest.approx(0.9)
    assert rows["two"]["speedup"] == pytest.approx(1.8)
    assert rows["one"]["efficiency"] == 1


def test_speed_up_by_compression(made):
    (row,) = made["hpc_ai500_compression"].values()
    assert (row["system"], row["compression"]) == ("two_compressed", "fp16")
    assert row["speedup"] == pytest.approx(1.1)


def test_without_a_peak_there_is_no_share(tmp_path):
    write_runs(tmp_path, "one", ranks=8, speed=100.0)
    _, entries = _analysis.read(tmp_path, "hpc_ai500_2.0")
    (table,) = hpc_ai500.tables(entries, None)
    assert "of peak" not in table.cells()[0]
