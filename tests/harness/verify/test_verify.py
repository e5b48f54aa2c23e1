# SPDX-License-Identifier: Apache-2.0
"""The verify command: good devices pass, and a faulty or slow rank is named, whatever the processor."""

import json
from pathlib import Path

import pytest

from tests import commands

FAULTY_RANKS = Path(__file__).parent / "faulty_ranks.py"
OPTIONS = ("--precision", "fp32", "--repeats", "2", "--format", "json")
LENIENT = ("--slower", "1000")
"""The test's processor may be busy with other work."""


def verify(fault: str, rank: int, *options: str, num_ranks: int) -> tuple[int, dict[int, set[str]]]:
    """Exit code, and the findings of each rank."""
    run = commands.run(FAULTY_RANKS, fault, rank, *OPTIONS, *options, num_ranks=num_ranks)
    findings = json.loads(run.stdout)["findings"]
    by_rank = {finding["rank"]: set() for finding in findings}
    for finding in findings:
        by_rank[finding["rank"]].add(finding["what"])
    return run.returncode, by_rank


def test_one_device_passes_and_has_its_figures():
    run = commands.run("-m", "harness.verify", *OPTIONS)
    record = json.loads(run.stdout)
    assert (run.returncode, record["findings"]) == (0, [])
    (device,) = record["devices"]
    assert device["figures"].keys() == {"step (ms)", "memory (GB/s)"}
    assert len(device["digests"]["fp32"]) == 2


@pytest.mark.slow
def test_ranks_with_equal_bits_pass_and_measure_their_link():
    run = commands.run("-m", "harness.verify", *OPTIONS, *LENIENT, num_ranks=2)
    record = json.loads(run.stdout)
    assert (run.returncode, record["findings"]) == (0, [])
    assert all(device["figures"]["link (GB/s)"] > 0 for device in record["devices"])


def test_a_rank_whose_bits_differ_is_named():
    code, findings = verify("bit", 1, *LENIENT, num_ranks=3)
    assert code != 0
    assert findings == {1: {"differs"}}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["operator", "raises"])
def test_a_rank_that_computes_wrongly_or_fails_is_named(fault):
    code, findings = verify(fault, 1, *LENIENT, num_ranks=2)
    assert code != 0
    assert findings == {1: {"wrong"}}


@pytest.mark.slow
def test_a_slow_rank_is_named():
    code, findings = verify("slow", 2, "--slower", "100", num_ranks=3)
    assert code != 0
    assert findings[2] == {"slow"}


def test_a_precision_that_a_cpu_cannot_offer_is_one_line():
    run = commands.run("-m", "harness.verify", "--precision", "fp16")
    assert run.returncode == 2
    assert run.stderr == "error: --precision fp16: found a CPU; it needs an accelerator\n"
