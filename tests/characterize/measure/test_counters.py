# SPDX-License-Identifier: Apache-2.0
"""Counters of the platform: perf's output is parsed, Darshan logs are read, and missing counters are stated."""

from pathlib import Path

import pytest

from characterize.measure import darshan_log, memory_counters
from characterize.measure.memory_counters import MemoryCounter, counted_bytes
from characterize.results.result import CharacterizeError


def test_counts_of_perf_are_summed():
    text = "100.5,MiB,uncore_imc/cas_count_read/,1000,100.00,,\n50.0,MiB,uncore_imc/cas_count_write/,1000,100.00,,\n"
    assert counted_bytes(text) == 150.5 * 2**20
    assert counted_bytes("10,,uncore_imc/cas_count_read/,1000,100.00,,\n") == 10 * 64


@pytest.mark.parametrize("text", ["", "<not supported>,MiB,uncore_imc/cas_count_read/,0,100.00,,", "perf: error"])
def test_what_perf_does_not_count_is_none(text):
    assert counted_bytes(text) is None


def test_a_machine_without_counters_is_stated(monkeypatch, tmp_path):
    monkeypatch.setattr(memory_counters, "DEVICES", tmp_path)
    with MemoryCounter() as counter:
        pass
    assert counter.num_bytes is None
    assert counter.missing in (
        "perf is not installed",
        "this machine has no counters of memory controllers (uncore_imc)",
    )


def test_a_darshan_log_is_read():
    darshan = pytest.importorskip("darshan", reason="pydarshan is not installed")
    log = Path(darshan.__file__).parent / "tests" / "input" / "sample.darshan"
    io = darshan_log.read(log)
    assert io.num_processes == 2048
    assert io.bytes_written > 2e12
    assert io.read_bandwidth is None or io.read_bandwidth > 0


def test_a_file_that_is_no_darshan_log_is_refused(tmp_path):
    (tmp_path / "log").write_text("not a log")
    with pytest.raises(CharacterizeError, match="--darshan"):
        darshan_log.read(tmp_path / "log")
