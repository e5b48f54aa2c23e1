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
    assert [ceiling.per_s for ceiling in one_node.system.communication] == [300e9]
    assert [ceiling.per_s for ceiling in one_node.system.memory] == [1134e9]


def test_figure_9a_ridge_of_the_peak(one_node):
    """1040 TFLOPS / 300 GB/s = 3467 operations per byte, the ridge in the figure."""
    assert ridge(1040e12, 300e9) == pytest.approx(3466.7, rel=1e-4)
    below = Workload(name="w", flops_per_step=3000, communication_bytes_per_step=1)
    assert attained_bound(below, one_node.system).limit == "communication"
    assert attained_bound(replace(below, flops_per_step=4000), one_node.system).limit == "compute"


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


def test_what_was_measured_lies_under_the_roof(one_node, two_nodes):
    for case in (one_node, two_nodes):
        for one, compute in case.workloads:
            if one.attained_flops_per_s:
                assert 0 < attained_bound(one, case.system, compute=compute).share(one.attained_flops_per_s) < 1
