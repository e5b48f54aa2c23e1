# SPDX-License-Identifier: Apache-2.0
"""TOML from others: read as it is, refused where reading it would take memory or time."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compliance.__main__ import main
from compliance.files import toml


def test_a_file_is_read(tmp_path):
    (tmp_path / "a.toml").write_text('rules = "x"\n[batch]\nvalues = [0.5, 0.25]\n')
    assert toml.load(tmp_path / "a.toml") == {"rules": "x", "batch": {"values": [0.5, 0.25]}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b".".join([b"a"] * 500_000) + b" = 1", "more than 256 dots"),
        (b"#" * (2 << 20), "larger than 1 MiB"),
        (b"a = 1\n\xff", "invalid start byte"),
        (b"a = ", "Invalid value"),
    ],
)
@pytest.mark.parametrize("name", ["submission.toml", "acme/waivers.toml", "acme/submission.toml"])
def test_a_file_to_choke_on_is_refused_at_once(valid_round, capsys, content, said, name):
    (valid_round / name).write_bytes(content)
    request = name.endswith("waivers.toml")  # a request for waivers is no part of the submission
    assert main(["check", str(valid_round)]) in ((0,) if request else (1, 2))
    printed = capsys.readouterr()
    assert said in printed.out + printed.err


def test_the_last_size_that_is_read(tmp_path):
    path = tmp_path / "a.toml"
    path.write_bytes(b"#" * (1 << 20))
    assert toml.load(path) == {}
    path.write_bytes(b"a = " + b"'" + b"." * 256 + b"'")
    assert len(toml.load(path)["a"]) == 256


def test_a_declaration_behind_a_link_is_not_read(valid_round, tmp_path, capsys):
    (tmp_path / "elsewhere.toml").write_text('rules = "mlperf_hpc_demo"\n')
    (valid_round / "submission.toml").symlink_to(tmp_path / "elsewhere.toml")
    assert main(["check", str(valid_round)]) == 2
    assert "submission.toml: is not a regular file" in capsys.readouterr().err


TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
VALUES = st.recursive(
    TEXTS | st.booleans() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(path=st.lists(TEXTS, min_size=1, max_size=3), value=VALUES)
def test_round_trip(path, value):
    document = tomllib.loads(f"{toml.key(*path)} = {toml.value(value)}")
    for part in path:
        document = document[part]
    assert document == value


def test_plain_keys_stay_bare():
    assert toml.key("benchmarks", "cosmoflow", "num_runs") == "benchmarks.cosmoflow.num_runs"
