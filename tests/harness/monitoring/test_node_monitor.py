# SPDX-License-Identifier: Apache-2.0
"""Monitor and EnergyMeter: samples, the result if nothing can be measured, and no guessed values."""

import mmap
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import psutil
import pytest

from harness.monitoring import energy
from harness.monitoring.energy import NOTHING, Counter, Energy, EnergyMeter, find_counter
from harness.monitoring.node_monitor import Accelerators, Monitor, find_accelerators


@pytest.fixture
def no_counters(monkeypatch, tmp_path):
    """A node without energy counters."""
    monkeypatch.setattr(energy, "_nvml", lambda: None)
    monkeypatch.setattr(energy, "_amdsmi", lambda: None)
    monkeypatch.setattr(energy, "_rapl", lambda: None)
    monkeypatch.setattr(energy, "_slurm", lambda: None)


def counter(readings, **others):
    values = iter(readings)
    return Counter(source="rapl", scope="processor packages", coverage="1 of 1", read=lambda: next(values), **others)


def test_even_a_short_block_has_a_sample():
    with Monitor(interval_s=60) as monitor:
        pass
    assert len(monitor.samples) == 1
    assert monitor.error is None


def test_samples_follow_time():
    with Monitor(interval_s=0.02) as monitor:
        time.sleep(0.2)
    times = [sample.time_s for sample in monitor.samples]
    assert len(times) >= 3
    assert times == sorted(times)
    assert all(sample.memory_bytes > 0 and sample.process_bytes > 0 for sample in monitor.samples)


def test_the_first_sample_already_sees_the_processors_work():
    """The first percentage that a thread gets from psutil is 0."""
    with Monitor(interval_s=0.3) as monitor:
        until = time.perf_counter() + 0.4
        while time.perf_counter() < until:
            sum(range(1000))
    assert monitor.samples[0].cpu_percent > 0


def test_memory_that_is_taken_is_seen():
    with Monitor(interval_s=0.02) as monitor:
        deadline = time.monotonic() + 20  # a busy machine may delay the sampling thread
        while not monitor.samples and time.monotonic() < deadline:
            time.sleep(0.02)
        before = monitor.samples[0].process_bytes
        taken = mmap.mmap(-1, 64 << 20)  # new pages; malloc may return pages that the process already has
        taken.write(bytes(64 << 20))
        while monitor.samples[-1].process_bytes - before < 32 << 20 and time.monotonic() < deadline:
            time.sleep(0.02)
    taken.close()
    assert monitor.samples[-1].process_bytes - before >= 32 << 20


def test_a_system_without_disk_counters_gives_none(monkeypatch):
    monkeypatch.setattr(psutil, "disk_io_counters", lambda: None)
    with Monitor(interval_s=60) as monitor:
        pass
    assert monitor.samples[0].read_bytes_per_s is None
    assert monitor.mean("read_bytes_per_s") is None


def test_rates_are_differences_over_time(monkeypatch):
    totals = iter([1000, 3000])
    monkeypatch.setattr(psutil, "net_io_counters", lambda: SimpleNamespace(bytes_recv=next(totals), bytes_sent=0))
    with Monitor(interval_s=60) as monitor:
        time.sleep(0.05)
    sample = monitor.samples[0]
    assert sample.received_bytes_per_s == pytest.approx(2000 / sample.time_s, rel=0.05)


def test_accelerators_are_sampled_where_they_are():
    with Monitor(interval_s=60, accelerators=Accelerators(read=lambda: (87.0, 5, 300.0))) as monitor:
        pass
    sample = monitor.samples[0]
    assert (sample.accelerator_percent, sample.accelerator_memory_bytes, sample.accelerator_watts) == (87.0, 5, 300.0)


def test_a_failing_counter_costs_samples_and_not_the_run():
    def fail():
        raise OSError("the counter went away")

    with Monitor(interval_s=0.01, accelerators=Accelerators(read=fail)) as monitor:
        time.sleep(0.05)
    assert monitor.samples == []
    assert monitor.error == "OSError: the counter went away"


def test_an_interval_of_nothing_is_refused():
    with pytest.raises(ValueError, match="interval_s: found 0"):
        Monitor(interval_s=0)


def test_no_source_gives_no_joules(no_counters):
    with EnergyMeter() as meter:
        pass
    assert meter.record == NOTHING
    assert meter.record.joules is None
    assert meter.record.source == "none"


def test_joules_are_the_counters_difference():
    with EnergyMeter(counter=counter([100.0, 142.5]), declared_watts=1e9) as meter:
        pass
    assert meter.record.joules == 42.5
    assert (meter.record.source, meter.record.is_estimated) == ("rapl", False)


def test_a_counter_that_fails_gives_no_figure_and_no_error():
    def read():
        raise OSError("the counter went away")

    with EnergyMeter(counter=Counter(source="rapl", scope="", coverage="", read=read)) as meter:
        pass
    assert meter.record == NOTHING


def test_a_counter_that_starts_again_is_read_in_time():
    reads = []
    counting = Counter(source="rapl", scope="", coverage="", read=lambda: reads.append(1) or 0.0)
    with EnergyMeter(counter=replace(counting, seconds_between_reads=0.01)):
        deadline = time.monotonic() + 20
        while len(reads) < 4 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(reads) >= 4


def test_declared_watts_are_marked_as_an_estimate(no_counters):
    with EnergyMeter(declared_watts=500) as meter:
        time.sleep(0.02)
    assert meter.record.is_estimated
    assert 10 <= meter.record.joules < 500
    assert "500 W" in meter.record.coverage


def test_sources_are_tried_in_order(monkeypatch):
    asked = []
    for name in ("_nvml", "_amdsmi", "_rapl", "_slurm"):
        monkeypatch.setattr(energy, name, lambda name=name: asked.append(name))
    assert find_counter() is None
    assert asked == ["_nvml", "_amdsmi", "_rapl", "_slurm"]
    monkeypatch.setattr(energy, "_amdsmi", lambda: counter([0.0]))
    asked.clear()
    assert find_counter().source == "rapl"
    assert asked == ["_nvml"]


@pytest.fixture
def rapl(tmp_path):
    """A tree of counters; sets the microjoules of the two packages, and leaves a part of a package at 1."""

    def set_counters(*microjoules):
        for name, value in zip(("intel-rapl:0", "intel-rapl:1", "intel-rapl:0:0"), (*microjoules, 1), strict=True):
            (tmp_path / name).mkdir(exist_ok=True)
            (tmp_path / name / "energy_uj").write_text(str(value))
            (tmp_path / name / "max_energy_range_uj").write_text("262143328850")

    return set_counters


def test_rapl_continues_a_package_that_starts_again_from_0(rapl, tmp_path):
    rapl(262_143_000_000, 1_000_000)
    with EnergyMeter(counter=energy._rapl(tmp_path)) as meter:
        rapl(671_150, 200_001_000_000)  # the other package used more than the first one lost
    assert meter.record.joules == pytest.approx(1.0 + 200_000)


def test_the_energy_of_nodes_adds_up_if_it_is_of_one_kind():
    node = Energy(joules=5.0, source="nvml", scope="accelerators", coverage="4 of 4 accelerators", interval=None)
    assert energy.total([node, replace(node, joules=6.5)]).joules == 11.5
    assert energy.total([node, replace(node, source="rapl", scope="processor packages")]) is None
    assert energy.total([node, NOTHING]) is None


def test_rapl_sums_packages_and_leaves_parts_out(rapl, tmp_path):
    rapl(5_000_000, 7_000_000)
    found = energy._rapl(tmp_path)
    assert found.read() == pytest.approx(12)
    assert found.coverage == "2 of 2 packages"
    assert energy._rapl(tmp_path / "nowhere") is None


def test_nvml_counts_millijoules_of_accelerators_that_say_them(monkeypatch):
    class NVMLError(Exception):
        pass

    def total_energy(handle):
        if handle == 2:
            raise NVMLError
        return 1500

    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetTotalEnergyConsumption=total_energy,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    found = energy._nvml()
    assert found.read() == pytest.approx(3.0)
    assert found.coverage == "2 of 3 accelerators"


def test_nvml_without_a_driver_is_no_source(monkeypatch):
    class NVMLError(Exception):
        pass

    def no_driver():
        raise NVMLError

    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(NVMLError=NVMLError, nvmlInit=no_driver))
    assert energy._nvml() is None
    assert find_accelerators() is None


def test_nvml_sums_accelerators_and_what_one_does_not_say_is_none(monkeypatch):
    class NVMLError(Exception):
        pass

    def no_power(handle):
        raise NVMLError

    library = SimpleNamespace(
        NVMLError=NVMLError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: 2,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=60 + 20 * handle),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=1000),
        nvmlDeviceGetPowerUsage=no_power,
    )
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert find_accelerators().read() == (70.0, 2000, None)
    library.nvmlDeviceGetCount = lambda: 0
    assert find_accelerators() is None


def test_slurm_without_a_meter_is_no_source(monkeypatch, tmp_path):
    scontrol = tmp_path / "scontrol"
    scontrol.write_text("#!/bin/sh\necho NodeName=$3 CurrentWatts=0 ConsumedJoules=$JOULES\n")
    scontrol.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    monkeypatch.setenv("JOULES", "0")
    assert energy._slurm() is None
    monkeypatch.setenv("JOULES", "1234")
    assert energy._slurm().read() == 1234
    monkeypatch.delenv("SLURMD_NODENAME")
    assert energy._slurm() is None
