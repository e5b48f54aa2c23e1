# SPDX-License-Identifier: Apache-2.0
"""Table of devices: names in system descriptions, devices of one's own, and messages for wrong files."""

import pytest

from characterize.devices.device_table import find_device_named, known_devices, match_device
from characterize.results.result import CharacterizeError
from compliance.files.errors import UserError


@pytest.mark.parametrize(
    ("description", "name"),
    [
        ("NVIDIA A100-SXM4-40GB (400W)", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("FUJITSU Processor A64FX", "A64FX"),
        ("NVIDIA Quadro RTX 5000", "RTX 5000"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA H200", "H200"),
        ("Intel(R) Xeon Phi(TM) CPU 7250", "Xeon Phi 7250"),
    ],
)
def test_names_of_system_descriptions_are_recognized(description, name):
    assert match_device(description, known_devices()).name == name


def test_an_unknown_name_matches_no_device():
    assert match_device("Own Chip 7", known_devices()) is None


def test_every_device_states_its_source_and_plausible_rates():
    for device in known_devices():
        assert device.source
        assert 5 < device.training_tflops < 5000
        assert 100 < device.memory_gb_per_s < 20_000


def test_a_device_of_ones_own_is_added_and_may_replace_a_shipped_one(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[Ours]\nbf16_tflops = 500\nmemory_gb_per_s = 2000\n[a100]\nfp32_tflops = 1\nmemory_gb_per_s = 1\n")
    devices = known_devices(path)
    assert find_device_named("ours", devices).training_tflops == 500
    assert find_device_named("A100", devices).training_tflops == 1
    assert match_device("our OURS v2", devices).name == "Ours"


def test_an_unknown_accelerator_is_refused_with_what_to_give():
    with pytest.raises(CharacterizeError, match=r"found 'H10'.*did you mean H100\?.*--devices FILE"):
        find_device_named("H10", known_devices())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ours = 3", "expected a table"),
        ("[Ours]\nbf16_tflops = 5", "expected memory_gb_per_s and at least one of fp32_tflops"),
        ("[Ours]\nmemory_gb_per_s = 5", "at least one of"),
        ("[Ours]\nbf16_tflops = -1\nmemory_gb_per_s = 5", "Ours.bf16_tflops: found -1, expected a number above 0"),
        ("[Ours]\nbf16_tflops = true\nmemory_gb_per_s = 5", "found True"),
        ("[Ours]\nbf16_tflop = 1\nmemory_gb_per_s = 5", "Ours.bf16_tflop: unknown key"),
        ("[Ours]\nbf16_tflops = 1\nmemory_gb_per_s = 5\nmatches = 7", "Ours.matches: found 7"),
        ("[Ours", "not TOML"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, text, said):
    path = tmp_path / "own.toml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"own\.toml") as caught:
        known_devices(path)
    assert said in str(caught.value)
