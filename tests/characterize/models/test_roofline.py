# SPDX-License-Identifier: Apache-2.0
"""Equations of the roofline, and the case study of HPC AI500 in the paper's numbers."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

import characterize.systems
from characterize.models import declared_system
from characterize.models.roofline import Ceiling, System, Workload, attained, attained_bound, ridge

SYSTEMS = Path(characterize.systems.__file__).parent
TERA = 1e12


@pytest.fixture(scope="module")
def one_node():
    return declared_system.load(SYSTEMS / "hpc_ai500_one_node.toml")


@pytest.fixture(scope="module")
def two_nodes():
    return declared_system.load(SYSTEMS / "hpc_ai500_16_gpus.toml")


def workload(case, name):
    return next(one for one, _ in case.workloads if one.name == name)


def bound(case, name):
    return next(
        attained_bound(one, case.system, compute=compute) for one, compute in case.workloads if one.name == name
    )


def test_attained_is_the_lower_of_the_two():
    assert attained(100.0, 10.0, 5.0) == 50.0
    assert attained(100.0, 10.0, 50.0) == 100.0


def test_at_the_ridge_both_limits_agree():
    assert attained(100.0, 10.0, ridge(100.0, 10.0)) == 100.0
    assert attained(100.0, 10.0, 0.99 * ridge(100.0, 10.0)) == pytest.approx(99.0)


def test_one_rank_is_never_bound_by_communication():
    alone = Workload(name="alone", flops_per_step=1e9, communication_bytes_per_step=0)
    system = System(name="s", compute=(Ceiling("flat", 5.0),), communication=(Ceiling("slow", 1e-9),))
    assert alone.communication_intensity == math.inf
    assert attained_bound(alone, system).limit == "compute"


def test_memory_bounds_where_it_is_the_slowest():
    heavy = Workload(name="heavy", flops_per_step=100, communication_bytes_per_step=1, memory_bytes_per_step=100)
    system = System(
        name="s", compute=(Ceiling("flat", 50.0),), communication=(Ceiling("net", 1.0),), memory=(Ceiling("ram", 7.0),)
    )
    found = attained_bound(heavy, system)
    assert (found.limit, found.flops_per_s, found.ceiling) == ("memory", 7.0, "ram")


def test_figure_9a_has_the_papers_ceilings(one_node):
    ceilings = {ceiling.name: ceiling.per_s / TERA for ceiling in one_node.system.compute}
    assert ceilings == {
        "Peak, mixed": 1040,
        "GEMM, mixed": 636,
        "CONV, mixed": 176,
        "GEMM, fp32": 115,
        "CONV, fp32": 112,
    }
    assert [ceiling.per_s for ceiling in one_node.system.communication] == [8 * 300e9 / 2]
    assert [ceiling.per_s for ceiling in one_node.system.memory] == [1134e9]


def test_ridge_of_the_peak(one_node):
    """1040 TFLOPS / 1.2 TB/s = 867 operations per byte."""
    assert ridge(1040e12, 1.2e12) == pytest.approx(866.7, rel=1e-4)
    below = Workload(name="w", flops_per_step=800, communication_bytes_per_step=1)
    assert attained_bound(below, one_node.system).limit == "communication"
    assert attained_bound(replace(below, flops_per_step=900), one_node.system).limit == "compute"


def test_16_gpus_are_a_quarter_of_figure_9b(two_nodes):
    ceilings = {ceiling.name: ceiling.per_s / TERA for ceiling in two_nodes.system.compute}
    whole = {"Peak, mixed": 8320, "GEMM, mixed": 5091, "CONV, mixed": 2376, "CONV, fp32": 976, "GEMM, fp32": 920}
    assert ceilings == pytest.approx({name: value / 4 for name, value in whole.items()})


def test_figure_15_ewa_is_bound_by_communication(two_nodes):
    found = bound(two_nodes, "EWA, fp32")
    assert (found.limit, found.ceiling) == ("communication", "Ethernet")
    assert found.flops_per_s > 25.99e12, "the paper measured 25.99 TFLOPS: the roof must stand above it"


def test_figure_15_image_classification_is_bound_by_computation(two_nodes):
    found = bound(two_nodes, "Image classification, fp32")
    assert (found.limit, found.flops_per_s) == ("compute", 230e12)


def test_operations_per_parameter_are_the_papers(two_nodes):
    """Section 8.3: 16.85 and 117.76 thousand operations per parameter and step; 4 bytes per gradient."""
    for name, thousands in (("EWA, fp32", 16.85), ("Image classification, fp32", 117.76)):
        one = workload(two_nodes, name)
        gradient_bytes = one.communication_bytes_per_step / 2  # two nodes' ring carries the gradients twice
        assert one.flops_per_step / 16 / (gradient_bytes / 4) / 1e3 == pytest.approx(thousands, rel=1e-3)


def test_compression_doubles_the_intensity_and_ewas_bound(two_nodes):
    plain = workload(two_nodes, "EWA, fp32")
    compressed = plain.with_compression()
    assert compressed.communication_intensity == 2 * plain.communication_intensity
    bounds = [attained_bound(one, two_nodes.system, compute="GEMM, fp32").flops_per_s for one in (plain, compressed)]
    assert bounds[1] == 2 * bounds[0] > 36.97e12
    assert bound(two_nodes, "EWA, fp32, fp16 gradients").flops_per_s == bounds[1]


def test_compression_does_not_help_image_classification(two_nodes):
    plain = workload(two_nodes, "Image classification, fp32")
    for one in (plain, plain.with_compression()):
        assert attained_bound(one, two_nodes.system, compute="GEMM, fp32").flops_per_s == 230e12


PAPERS_SERIES = [
    # GPUs, GEMM ceiling, FLOPs per image, images per GPU, MB of gradients, attained TFLOPS and its source in the paper
    (8, "fp32", 23e9, 128, 100, 58),  # table 11
    (8, "mixed", 23e9, 256, 100, 126),
    (16, "fp32", 23e9, 128, 100, 58 * 2 * 0.91),  # section 8.4.1: table 11 x GPUs x parallel efficiency
    (32, "fp32", 23e9, 128, 100, 58 * 4 * 0.85),
    (64, "fp32", 23e9, 128, 100, 345),  # section 8.4.1
    (64, "fp32", 23e9, 128, 50, 414),
    (16, "mixed", 23e9, 256, 100, 126 * 2 * 0.89),
    (32, "mixed", 23e9, 256, 100, 126 * 4 * 0.82),
    (64, "mixed", 23e9, 256, 100, 718),
    (64, "mixed", 23e9, 256, 50, 939),
    (8, "fp32", 691e9, 1, 164, 31),  # table 11
    (16, "fp32", 691e9, 1, 164, 25.99),  # section 8.5.2
    (16, "fp32", 691e9, 1, 82, 36.97),
    (32, "fp32", 691e9, 1, 164, 31 * 4 * 0.37),  # section 8.4.2
    (32, "fp32", 691e9, 1, 82, 31 * 4 * 0.37 * 1.6),
    (64, "fp32", 691e9, 1, 164, 31 * 8 * 0.36),
    (64, "fp32", 691e9, 1, 82, 109),
]


@pytest.mark.parametrize(("gpus", "precision", "flops", "images", "megabytes", "attained_tflops"), PAPERS_SERIES)
def test_the_papers_whole_series_is_below_its_bounds(gpus, precision, flops, images, megabytes, attained_tflops):
    """16, 32 and 64 GPUs, both benchmarks, fp32 and fp16: a node's Ethernet times the nodes bounds all of them."""
    gemm = {"fp32": 920, "mixed": 5091}[precision] * TERA * gpus / 64
    nodes = gpus // 8
    links = 1.2e9 * nodes if nodes > 1 else 150e9 * gpus
    system = System(name="s", compute=(Ceiling("GEMM", gemm),), communication=(Ceiling("link", links),), num_ranks=gpus)
    sent = declared_system.traffic(megabytes * 1e6, num_ranks=gpus, num_nodes=nodes)
    workload = Workload(name="w", flops_per_step=gpus * images * flops, communication_bytes_per_step=sent)
    assert 0 < attained_bound(workload, system).share(attained_tflops * TERA) < 1


@pytest.mark.parametrize("name", ["hpc_ai500_one_node", "hpc_ai500_16_gpus", "hpc_ai500_64_gpus"])
def test_measured_rates_of_the_shipped_systems_are_below_their_bounds(name):
    case = declared_system.load(SYSTEMS / f"{name}.toml")
    measured = [(workload, compute) for workload, compute in case.workloads if workload.attained_flops_per_s]
    assert measured
    for workload, compute in measured:
        bound = attained_bound(workload, case.system, compute=compute)
        assert 0 < bound.share(workload.attained_flops_per_s) < 1
