# SPDX-License-Identifier: Apache-2.0
"""The table of the verify command, and its JSON."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

from harness.verify.findings import Finding
from harness.verify.trial import Device

MOST_ROWS = 32
"""Devices up to which the table has a row for each; above, it has those with findings."""


def text(devices: Sequence[Device], findings: Sequence[Finding]) -> str:
    """The table, a line on each kind of device, and a line on each finding."""
    by_rank = defaultdict(list)
    for finding in findings:
        by_rank[finding.rank].append(finding)
    shown = [device for device in devices if len(devices) <= MOST_ROWS or device.rank in by_rank]
    names = sorted({name for device in devices for name in device.figures})
    rows = [["rank", "node", "device", *names, "result"]]
    rows += [[*_cells(device, names), _result(by_rank[device.rank])] for device in shown]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*(lines if shown else ()), *_kinds(devices, names), *_explained(devices, findings)])


def as_json(devices: Sequence[Device], findings: Sequence[Finding]) -> str:
    """All devices and findings."""
    record = {"devices": [asdict(device) for device in devices], "findings": [asdict(finding) for finding in findings]}
    return json.dumps(record, indent=2)


def _cells(device: Device, names: Sequence[str]) -> list[str]:
    figures = [f"{device.figures[name]:.3g}" if name in device.figures else "-" for name in names]
    return [str(device.rank), device.node, str(device.number), *figures]


def _result(findings: Sequence[Finding]) -> str:
    return ", ".join(dict.fromkeys(finding.what for finding in findings)) or "good"


def _kinds(devices: Sequence[Device], names: Sequence[str]) -> list[str]:
    kinds = defaultdict(list)
    for device in devices:
        kinds[device.kind].append(device)
    lines = []
    for kind, group in kinds.items():
        values = {name: [device.figures[name] for device in group if name in device.figures] for name in names}
        medians = [f"{name} {median(column):.3g}" for name, column in values.items() if column]
        num_nodes = len({device.node for device in group})
        lines.append(f"{len(group)} of {kind} on {num_nodes} nodes; medians: {', '.join(medians) or 'none'}")
    return lines


def _explained(devices: Sequence[Device], findings: Sequence[Finding]) -> list[str]:
    by_rank = {device.rank: device for device in devices}
    lines = []
    for finding in findings:
        device = by_rank[finding.rank]
        lines.append(f"{finding.what}: node {device.node}, device {device.number} (rank {device.rank}): {finding.text}")
    return lines or ["All devices compute right and alike, and none is slow."]
