# SPDX-License-Identifier: Apache-2.0
"""Declared systems: values of a file, and messages for wrong files."""

import pytest

from characterize.models.declared_system import load, traffic
from compliance.files.errors import UserError

GOOD = """
name = "plan"
num_ranks = 32
num_nodes = 4
[compute]
"GEMM, fp32" = 1e12
[communication]
"InfiniBand" = 2e10
"""


def written(tmp_path, text):
    path = tmp_path / "plan.toml"
    path.write_text(text)
    return path


def test_bandwidth_is_that_of_a_node_times_the_nodes(tmp_path):
    """All nodes send at the same time; on one node all ranks do."""
    assert load(written(tmp_path, GOOD)).system.communication[0].per_s == 4 * 2e10
    assert load(written(tmp_path, GOOD.replace("num_nodes = 4\n", ""))).system.communication[0].per_s == 32 * 2e10


def test_a_file_is_a_system(tmp_path):
    plan = load(written(tmp_path, GOOD))
    assert (plan.system.name, plan.system.num_ranks, plan.num_nodes) == ("plan", 32, 4)
    assert plan.system.compute[0].per_s == 1e12
    assert plan.system.compute[0].origin == "declared"
    assert plan.workloads == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nme = 'x'\n" + GOOD, "did you mean name"),
        (GOOD.replace("1e12", "'fast'"), "GEMM, fp32: found 'fast', expected a number above 0"),
        (GOOD.replace("1e12", "-1"), "found -1"),
        ("num_ranks = 2", "compute: found no ceiling"),
        (GOOD + "[workloads.a]\nflops_per_sample = 1", "samples_per_rank: missing"),
        (
            GOOD + "[workloads.a]\nflops_per_sample=1\nsamples_per_rank=1\ngradient_bytes=1\ncompute='CONV'",
            "compute: found 'CONV'",
        ),
        ("[compute", "not TOML"),
    ],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, text, said):
    with pytest.raises(UserError, match=r"plan\.toml") as caught:
        load(written(tmp_path, text))
    assert said in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml")


def test_traffic_is_between_nodes_where_there_are_several():
    assert traffic(100.0, num_ranks=16, num_nodes=2) == 200.0  # 2 (m - 1) times the gradients
    assert traffic(100.0, num_ranks=16, num_nodes=1) == 3000.0
    assert traffic(100.0, num_ranks=1, num_nodes=1) == 0.0
