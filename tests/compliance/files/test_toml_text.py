# SPDX-License-Identifier: Apache-2.0
"""Values written as TOML are read back as they were."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from compliance.files import toml_text

TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
NUMBERS = st.integers(-(2**62), 2**62) | st.floats(allow_nan=False)
VALUES = st.recursive(
    TEXTS | st.booleans() | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


@given(path=st.lists(TEXTS, min_size=1, max_size=3), value=VALUES)
def test_round_trip(path, value):
    document = tomllib.loads(f"{toml_text.key(*path)} = {toml_text.value(value)}")
    for part in path:
        document = document[part]
    assert document == value


def test_plain_keys_stay_bare():
    assert toml_text.key("benchmarks", "cosmoflow", "num_runs") == "benchmarks.cosmoflow.num_runs"
