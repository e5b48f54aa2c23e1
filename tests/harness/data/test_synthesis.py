# SPDX-License-Identifier: Apache-2.0
"""What synthesize commands share: a finished data set is known by its options, counts, version and whole files."""

from dataclasses import replace
from functools import partial

import pytest

from harness.data import manifest, synthesis
from harness.data.manifest import DataFile, Manifest, Split

OPTIONS = {"seed": 1, "cell": 8.0}
COUNTS = {"train": 5, "validation": 2}


def write(folder, split: str, number: int) -> DataFile:
    path = folder / f"{split}_{number}"
    path.write_text(path.name)
    return manifest.describe(folder, path)


@pytest.fixture
def data_set(tmp_path):
    files = synthesis.made(partial(write, tmp_path), COUNTS, "writing", num_processes=2, chunksize=2)
    described = Manifest(
        benchmark="toy",
        synthetic=True,
        format="text",
        arrays={},
        splits={
            **{split: Split(num_samples=len(made), files=tuple(made)) for split, made in files.items()},
            "statistics": Split(num_samples=0, files=()),
        },
        provenance={"source": "made up", **OPTIONS},
        tool="test",
        tool_version=manifest.tool_version(),
    )
    described.save(tmp_path)
    return tmp_path


def test_samples_are_made_by_split_in_their_order(data_set):
    splits = Manifest.load(data_set).splits
    assert [file.path for file in splits["train"].files] == [f"train_{number}" for number in range(5)]
    assert [file.path for file in splits["validation"].files] == ["validation_0", "validation_1"]


def test_one_call_may_make_several_samples(tmp_path):
    files = synthesis.made(partial(write, tmp_path), COUNTS, "writing", num_processes=1, step=2)
    assert [file.path for file in files["train"]] == ["train_0", "train_2", "train_4"]
    assert [file.path for file in files["validation"]] == ["validation_0"]


def test_a_finished_data_set_is_kept(data_set):
    assert synthesis.finished(data_set, OPTIONS, COUNTS) == Manifest.load(data_set)


@pytest.mark.parametrize(
    ("options", "counts"),
    [({"seed": 2}, COUNTS), ({"width": 8}, COUNTS), (OPTIONS, {"train": 5}), (OPTIONS, {"train": 5, "validation": 3})],
)
def test_other_samples_are_not_kept(data_set, options, counts):
    assert synthesis.finished(data_set, options, counts) is None


def test_a_damaged_or_another_versions_data_set_is_not_kept(data_set):
    replace(Manifest.load(data_set), tool_version="0.0").save(data_set)
    assert synthesis.finished(data_set, OPTIONS, COUNTS) is None
    replace(Manifest.load(data_set), tool_version=manifest.tool_version()).save(data_set)
    (data_set / "train_3").unlink()
    assert synthesis.finished(data_set, OPTIONS, COUNTS) is None
