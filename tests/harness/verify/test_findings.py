# SPDX-License-Identifier: Apache-2.0
"""The judgement of what the devices showed: wrong, unstable, different from the majority of its kind, slow."""

import json

import pytest

from harness.verify import report
from harness.verify.findings import slow, wrong
from harness.verify.trial import LINK, MEMORY, STEP, Device


def device(rank, *, digest="a", kind="K", step_ms=100.0, gb_per_s=50.0, **facts):
    facts = {"digests": {"fp32": (digest, digest)}, "figures": {STEP: step_ms, MEMORY: gb_per_s}} | facts
    return Device(rank=rank, node=f"node{rank // 2}", number=rank % 2, kind=kind, **facts)


def found(findings):
    return [(finding.rank, finding.what) for finding in findings]


def test_devices_that_agree_have_no_findings():
    devices = [device(rank) for rank in range(4)]
    assert found(wrong(devices)) == []
    assert found(slow(devices, percent=0)) == []
    assert "All devices compute right" in report.text(devices, [])


def test_the_device_outside_the_majority_is_named():
    devices = [device(0), device(1), device(2, digest="b"), device(3)]
    findings = list(wrong(devices))
    assert found(findings) == [(2, "differs")]
    assert "differs: node node1, device 0 (rank 2): fp32" in report.text(devices, findings)


def test_two_devices_that_disagree_are_both_named():
    assert found(wrong([device(0), device(1, digest="b")])) == [(0, "differs"), (1, "differs")]


def test_bits_are_compared_within_a_kind_only():
    assert found(wrong([device(0), device(1, digest="b", kind="other")])) == []


def test_a_step_that_changes_over_time_is_unstable():
    assert found(wrong([device(0, digests={"fp32": ("a", "b")}), device(1)])) == [(0, "unstable")]


def test_a_fault_is_wrong_and_needs_no_digest():
    devices = [device(0, faults=("conv",), digests={}, figures={}), device(1)]
    assert found(wrong(devices)) == [(0, "wrong")]
    assert found(slow(devices, percent=10)) == []


@pytest.mark.parametrize(("step_ms", "is_slow"), [(109.9, False), (110.1, True), (50.0, False)])
def test_a_step_is_slow_beyond_the_limit(step_ms, is_slow):
    devices = [device(rank) for rank in range(4)] + [device(4, step_ms=step_ms)]
    assert found(slow(devices, percent=10)) == [(4, "slow")] * is_slow


@pytest.mark.parametrize(("gb_per_s", "is_slow"), [(46.0, False), (45.0, True), (0.0, True), (90.0, False)])
def test_a_bandwidth_is_slow_beyond_the_limit(gb_per_s, is_slow):
    devices = [device(rank) for rank in range(4)] + [device(4, gb_per_s=gb_per_s)]
    assert found(slow(devices, percent=10)) == [(4, "slow")] * is_slow


def test_of_many_devices_only_those_with_findings_have_a_row():
    devices = [device(rank, digest="b" if rank == 77 else "a") for rank in range(100)]
    text = report.text(devices, list(wrong(devices)))
    assert [line.split()[0] for line in text.splitlines()[:3]] == ["rank", "77", "100"]


def test_json_holds_devices_and_findings():
    devices = [device(0, figures={LINK: 1.5}), device(1, digest="b")]
    record = json.loads(report.as_json(devices, list(wrong(devices))))
    assert record["devices"][0]["figures"] == {LINK: 1.5}
    assert [finding["what"] for finding in record["findings"]] == ["differs", "differs"]
