# SPDX-License-Identifier: Apache-2.0
"""A trace holds so many steps of the epoch that the setting names, with the ranges of each."""

import json
from collections import Counter
from types import SimpleNamespace

from harness import ranges
from harness.distributed.world import World
from harness.system_settings import SystemSettings


def fake_run(tmp_path, profile: str) -> SimpleNamespace:
    config = SimpleNamespace(system=SystemSettings(profile=profile))
    return SimpleNamespace(config=config, world=World(), output=tmp_path / "result_0.txt")


def epochs(run) -> list[int]:
    seen = []
    for epoch in (1, 2):
        for batch in ranges.traced(ranges.each("data", range(6)), run, epoch):
            with ranges.named("forward"):
                seen.append(batch)
    return seen


def test_a_trace_of_two_steps_of_the_second_epoch(tmp_path):
    assert epochs(fake_run(tmp_path, "2:2")) == [*range(6), *range(6)]
    trace = json.loads((tmp_path / "result_0.trace.json").read_text())
    names = Counter(event.get("name") for event in trace["traceEvents"] if event.get("cat") == "user_annotation")
    assert names["forward"] == 2
    assert names["data"] == 2


def test_without_the_setting_nothing_is_written(tmp_path):
    assert epochs(fake_run(tmp_path, "")) == [*range(6), *range(6)]
    assert list(tmp_path.iterdir()) == []
