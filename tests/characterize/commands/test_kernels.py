# SPDX-License-Identifier: Apache-2.0
"""Kernels: operations compared with torch's counter, result rows, and the model fitted to them."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from characterize.commands import kernels
from characterize.measure import deepbench, kernel_work
from characterize.measure.device import choose_precisions, find_device, native_precisions
from characterize.measure.kernel_shapes import attention, convolution, gemm, of_benchmark, recurrent
from characterize.measure.timing import spread_of, time_repeatedly
from characterize.models.kernel_time import held_out_error
from characterize.results.result import CharacterizeError
from characterize.results.tables import MISSING, percent

CPU = torch.device("cpu")
TINY = (
    gemm(24, 8, 16),
    convolution(2, 4, 6, (9, 8), (3, 3), stride=2),
    convolution(1, 2, 4, (6, 6, 6), (3, 3, 3)),
    recurrent("lstm", 2, 3, 8),
    recurrent("gru", 2, 3, 8),
    recurrent("rnn", 2, 3, 8),
    attention(1, 6, 16, 2),
)


@pytest.mark.parametrize("kernel", TINY[:3], ids=lambda kernel: kernel.family)
@pytest.mark.parametrize("direction", kernel_work.DIRECTIONS)
def test_operations_are_those_that_torch_counts(kernel, direction):
    work = kernel_work.build(kernel, direction=direction, precision="fp32", device=CPU)
    with FlopCounterMode(display=False) as counter:
        work()
    assert kernel_work.flops(kernel, direction) == counter.get_total_flops()


def test_operations_of_recurrent_and_attention_kernels():
    assert recurrent("lstm", 2, 3, 8).flops == 2 * 3 * (2 * 4 * 8 * (8 + 8))
    assert recurrent("rnn", 2, 3, 8).flops * 3 == recurrent("gru", 2, 3, 8).flops
    assert attention(1, 6, 16, 2).flops == 2 * (2 * 6 * 6 * 16)  # queries by keys, weights by values


def test_bytes_are_inputs_and_outputs_once():
    assert gemm(2, 3, 5).num_bytes("fp32") == 4 * (10 + 15 + 6)
    assert gemm(2, 3, 5).num_bytes("bf16") == 2 * (10 + 15 + 6)
    assert convolution(1, 2, 4, (8, 8), (3, 3), groups=2).num_elements == 2 * 64 + 4 * 9 + 4 * 64


@pytest.mark.parametrize("kernel", TINY, ids=lambda kernel: kernel.family)
def test_a_row_is_a_rate(kernel):
    row = kernels.time_kernel(kernel, "backward", "fp32", device=CPU)
    assert row["flops_per_s"] == pytest.approx(row["flops"] / row["seconds"])
    assert row["intensity"] == row["flops"] / row["bytes"]
    assert row["shape"] == kernel.describe()


def test_deepbench_shapes_are_its_whole_training_set():
    """225 distinct shapes: 83 GEMM, 90 convolutions, 52 recurrent layers."""
    shapes = deepbench.training_shapes()
    families = [kernel.family for kernel in shapes]
    assert len(set(shapes)) == len(shapes) == 225
    assert (families.count("gemm"), families.count("conv2d")) == (83, 90)
    assert {name: families.count(name) for name in ("rnn", "lstm", "gru")} == {"rnn": 12, "lstm": 22, "gru": 18}
    assert gemm(35, 8457, 2560, "DeepBench") in shapes
    speech = convolution(32, 1, 32, (161, 700), (5, 20), 2, padding=(0, 0), source="DeepBench")
    assert speech in shapes
    assert speech.output_size == (79, 341)
    assert set(shapes) <= set(deepbench.shapes(full=True))


def test_what_is_ours_is_not_labeled_as_deepbench():
    training = {(kernel.family, kernel.sizes) for kernel in deepbench.training_shapes()}
    quick = deepbench.shapes()
    assert len(quick) == len(deepbench.QUICK) + 1, "every quick shape is in the training set"
    for kernel in quick + deepbench.shapes(full=True):
        assert kernel.source.startswith("DeepBench") == ((kernel.family, kernel.sizes) in training)
        assert (kernel.source == "DeepBench, own rules") == (kernel.family in ("rnn", "lstm", "gru"))


def test_a_padded_strided_kernel_runs_and_is_counted():
    """DeepBench pads a 1 x 1 kernel by 3."""
    kernel = convolution(1, 4, 2, (7, 7), (1, 1), 2, padding=(3, 3))
    work = kernel_work.build(kernel, direction="forward", precision="fp32", device=CPU)
    assert tuple(work().shape[2:]) == kernel.output_size == (7, 7)


def test_shapes_of_a_benchmark_are_its_layers(toy):
    found = of_benchmark(toy)
    assert [kernel.family for kernel in found] == ["conv2d", "conv2d", "gemm"]
    assert found[0].flops == 2 * 2 * 4 * 9 * 64
    assert found[1]["groups"] == 4
    assert (found[2]["M"], found[2]["N"], found[2]["K"]) == (1, 3, 64)


def test_int8_is_for_matrix_products_forward():
    assert kernel_work.is_defined(gemm(32, 8, 8), "forward", "int8")
    assert not kernel_work.is_defined(gemm(32, 8, 8), "backward", "int8")
    assert not kernel_work.is_defined(TINY[1], "forward", "int8")


def test_a_device_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert find_device("auto") == CPU
    with pytest.raises(CharacterizeError, match="found no CUDA device"):
        find_device("cuda")


def test_an_emulated_precision_is_refused():
    assert native_precisions(CPU)[0] == "fp32"
    with pytest.raises(CharacterizeError, match="--precision tf32"):
        choose_precisions(["tf32"], CPU)


def test_a_whole_result(monkeypatch, capsys):
    monkeypatch.setattr(kernels, "_kernels", lambda options, device: list(TINY))
    result = kernels.measure(Namespace(device="cpu", precision=["fp32"], family=["gemm", "rnn"], full=False))
    assert {row["family"] for row in result.data["kernels"]} == {"gemm", "rnn"}
    assert "expected at least" in result.data["model"]["missing"]
    assert [len(table.rows) for table in kernels.tables(result)] == [4, 1]
    assert list(kernels.figures(result)) == ["kernels"]


def test_no_kernel_left_is_told(monkeypatch):
    monkeypatch.setattr(kernels, "_kernels", lambda options, device: list(TINY))
    with pytest.raises(CharacterizeError, match="none of the chosen kernels"):
        kernels.measure(Namespace(device="cpu", precision=["fp32"], family=["conv1d"], full=False))


def lawful_rows():
    """Rows of GEMMs whose rate is a smooth function of their size."""
    random = np.random.default_rng(0)
    rows = []
    for m in (32, 64, 128, 256, 512, 1024):
        for n in (16, 64, 256, 1024):
            kernel = gemm(m, n, 256)
            intensity = kernel.flops / kernel.num_bytes("fp32")
            row = {"family": "gemm", "sizes": dict(kernel.sizes), "shape": kernel.describe(), "direction": "forward"}
            row |= {
                "precision": "fp32",
                "flops": kernel.flops,
                "bytes": kernel.num_bytes("fp32"),
                "intensity": intensity,
            }
            rows.append(row | {"flops_per_s": 1e9 * min(intensity, 30) * np.exp(random.normal(0, 0.02))})
    return rows


def test_the_kernel_model_beats_the_median_rate():
    pytest.importorskip("sklearn")
    quality = held_out_error(lawful_rows())
    assert quality.num_shapes == 24
    assert quality.typical_error < 0.15 < quality.naive_error


def test_the_kernel_model_wants_shapes():
    pytest.importorskip("sklearn")
    with pytest.raises(CharacterizeError, match="found 4 shapes"):
        held_out_error(lawful_rows()[:4])


def test_timing_repeats_and_spreads():
    calls = []
    timing = time_repeatedly(lambda: calls.append(1), warm_up=2, repeats=4, cold=False)
    assert (len(calls), timing.repeats) == (6, 4)
    assert timing.seconds >= timing.fastest_seconds >= 0
    assert time_repeatedly(lambda: None, repeats=9, max_seconds=0, cold=False).repeats == 1


def test_spread_is_the_quartiles_distance_over_the_median():
    assert spread_of([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert spread_of([1.0]) is None  # shown as a dash, not as 0 %
    assert percent(spread_of([1.0])) == MISSING
