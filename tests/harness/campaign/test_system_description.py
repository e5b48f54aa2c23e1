# SPDX-License-Identifier: Apache-2.0
"""The system description holds all that the machine tells, and unknown keys are named."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import torch

from compliance.rulesets import ruleset
from harness.campaign import system_description
from harness.campaign.system_description import describe, unknown_keys

KEYS = ruleset.load("base").values["system_description"]["keys"]


def test_every_key_of_the_published_descriptions_in_their_order():
    description = describe(KEYS, submitter="Lab")
    assert list(description) == KEYS
    assert description["submitter"] == "Lab"


def test_what_the_machine_can_tell():
    description = describe(KEYS)
    gib = int(description["host_memory_capacity"].removesuffix(" GiB"))
    assert gib == pytest.approx(psutil.virtual_memory().total / 2**30, abs=0.5)
    sockets = int(description["host_processors_per_node"] or 1)
    assert int(description["host_processor_vcpu_count"]) * sockets >= len(os.sched_getaffinity(0))
    assert torch.__version__ in description["framework"]
    assert description["other_software_stack"]["python"] == platform.python_version()


def test_values_are_text_but_for_the_software_stack():
    description = describe(KEYS)
    stack = description.pop("other_software_stack")
    assert all(isinstance(value, str) for value in [*description.values(), *stack.values()])


def test_what_is_not_known_is_named():
    description = dict.fromkeys(KEYS, "known")
    assert unknown_keys(KEYS, description) == []
    assert unknown_keys(KEYS, {**description, "cooling": "", "hw_notes": "", "sw_notes": ""}) == ["cooling"]
    del description["host_networking"]
    assert unknown_keys(KEYS, description) == ["host_networking"]


def test_accelerators_are_only_asked_for_where_there_are_some():
    description = dict.fromkeys(KEYS, "known") | {"accelerator_interconnect": ""}
    assert unknown_keys(KEYS, description | {"accelerators_per_node": "0"}) == []
    assert unknown_keys(KEYS, description | {"accelerators_per_node": "4"}) == ["accelerator_interconnect"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without accelerators")
def test_no_accelerators_is_an_answer():
    description = describe(KEYS)
    assert (description["accelerators_per_node"], description["accelerator_model_name"]) == ("0", "N/A")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an accelerator")
def test_accelerators():
    description = describe(KEYS)
    assert int(description["accelerators_per_node"]) == torch.cuda.device_count()
    assert description["accelerator_model_name"] == torch.cuda.get_device_name(0)
    assert description["accelerator_memory_capacity"].endswith(" GiB")


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def test_disks_by_kind_without_virtual_ones(tmp_path):
    write(tmp_path, nvme0n1__size="3750748848", nvme1n1__size="3750748848", sda__size="1953125000", loop0__size="8")
    write(tmp_path, sda__queue__rotational="1", zram0__size="16", sr0__size="0")
    assert system_description._storage(tmp_path) == {
        "host_storage_type": "NVMe SSD, HDD",
        "host_storage_capacity": "nvme0n1 1920 GB, nvme1n1 1920 GB, sda 1000 GB",
    }


def test_network_ports_with_their_rates(tmp_path):
    write(tmp_path, net__eth0__speed="100000", net__eth0__device__vendor="0x15b3", net__lo__speed="0")
    write(tmp_path, net__virtio0__speed="-1", net__virtio0__device__vendor="0x1af4")
    write(tmp_path, infiniband__mlx5_0__ports__1__rate="200 Gb/sec (4X HDR)")
    assert system_description._networks(tmp_path) == {
        "host_networking": "mlx5_0 port 1: 200 Gb/sec (4X HDR), eth0: 100 Gb/s, virtio0"
    }


def test_nested_lscpu_is_read_as_the_flat_one():
    nested = [{"field": "Vendor ID:", "data": "X", "children": [{"field": "Model name:", "data": "Y", "children": []}]}]
    assert dict(system_description._fields(nested)) == {"Vendor ID": "X", "Model name": "Y"}


def test_machine_without_lscpu(monkeypatch):
    monkeypatch.setenv("PATH", "")
    description = describe(KEYS)
    assert int(description["host_processor_vcpu_count"]) == psutil.cpu_count()


def test_command_prints_the_description():
    line = [sys.executable, "-m", "harness.campaign.system_description"]
    printed = subprocess.run(line, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout
    assert list(json.loads(printed)) == KEYS
