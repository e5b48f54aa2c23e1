# SPDX-License-Identifier: Apache-2.0
"""Faults of a data set are named before it is read, with its folder."""

from types import SimpleNamespace

import numpy as np
import pytest

from harness.data import checks
from harness.data.checks import DataError
from harness.data.manifest import Manifest
from harness.data.sampler import EpochBatches

ORDER = {"batch_size": 2, "num_ranks": 3, "rank": 1, "seed": 7, "shuffle": True}


def listed(**changed) -> Manifest:
    kept = {"benchmark": "deepcam", "format": "numpy", "synthetic": False, "arrays": {}, "splits": {}, "provenance": {}}
    return Manifest(**{**kept, **changed}, tool="test", tool_version="0")


def test_a_missing_split_is_named(tmp_path):
    (tmp_path / "train").mkdir()
    checks.check_split(tmp_path, "train")
    with pytest.raises(DataError, match=f"{tmp_path}/validation: no such folder; expected the validation split"):
        checks.check_split(tmp_path, "validation")


@pytest.mark.parametrize("changed", [{"benchmark": "cosmoflow"}, {"format": "zip"}])
def test_data_of_another_benchmark_or_form_are_refused(tmp_path, changed):
    checks.check_form(tmp_path, listed(), "deepcam", ["hdf5", "numpy"])
    other = listed(**changed)
    found = rf"manifest.json: found {other.benchmark} data in form '{other.format}'"
    with pytest.raises(DataError, match=rf"{found}, expected deepcam data in one of \['hdf5', 'numpy'\]"):
        checks.check_form(tmp_path, other, "deepcam", ["hdf5", "numpy"])


def test_a_cache_may_fill_the_free_memory_and_no_more(tmp_path, monkeypatch):
    monkeypatch.setattr(checks.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**31))
    checks.check_memory(tmp_path, 2**31)
    with pytest.raises(DataError, match=r"caching takes 3.0 GiB per node, found 2.0 GiB of free memory"):
        checks.check_memory(tmp_path, 3 * 2**30)


class Samples:
    """So many samples of no data set."""

    manifest = None

    def __init__(self, count: int):
        self.count = count

    def __len__(self) -> int:
        return self.count


def test_ranks_that_cannot_share_the_samples_are_told_the_folder(tmp_path):
    batches, expected = checks.batches(tmp_path, Samples(20), **ORDER), EpochBatches(20, **ORDER)
    assert all(map(np.array_equal, batches.indices(), expected.indices()))
    with pytest.raises(DataError, match=f"{tmp_path}: found 2 training samples, expected at least one global batch"):
        checks.batches(tmp_path, Samples(2), **ORDER)
