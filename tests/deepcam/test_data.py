# SPDX-License-Identifier: Apache-2.0
"""Loaders give every sample once, whatever the form and the loader; bad data is refused by name."""

from pathlib import Path

import numpy as np
import pytest
import torch

from deepcam import sample_files
from deepcam.data import Dataset, open_split
from deepcam.loader import loader
from deepcam.sample_files import FORMATS, SampleError
from harness.data import manifest
from harness.data.checks import DataError
from harness.data.manifest import Manifest
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import World


def epoch_of(data: Dataset, epoch: int = 0, **options) -> tuple[torch.Tensor, torch.Tensor]:
    batches = loader(data, **{"batch_size": 2, "seed": 3, "shuffle": True, **options})
    batches.set_epoch(epoch)
    fields, labels = zip(*batches, strict=True)
    return torch.cat(fields), torch.cat(labels)


@pytest.mark.parametrize("form", FORMATS)
def test_all_forms_give_the_same_batches(make_data, form):
    expected = epoch_of(open_split(make_data("hdf5", folder="plain"), "train"))
    found = epoch_of(open_split(make_data(form), "train"))
    assert found[0].dtype == torch.float32
    assert found[1].dtype == torch.uint8
    assert found[0].shape == (4, 16, 32, 16)  # the fifth sample fills no batch
    assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_ranks_share_the_whole_global_batches_of_an_epoch(make_data, num_workers):
    data = open_split(make_data(train=7), "train")
    seen = [epoch_of(data, rank=rank, num_ranks=3, num_workers=num_workers)[0] for rank in range(3)]
    assert [len(own) for own in seen] == [2, 2, 2]
    first_pixels = set(torch.cat(seen)[:, 1, 1, 1].tolist())
    assert len(first_pixels) == 6
    assert first_pixels < {float(data[index][0][1, 1, 1]) for index in range(7)}


def test_epochs_differ_and_seeds_repeat(make_data):
    data = open_split(make_data(), "train")
    assert torch.equal(epoch_of(data, epoch=1)[0], epoch_of(data, epoch=1)[0])
    assert not torch.equal(epoch_of(data, epoch=0)[0], epoch_of(data, epoch=1)[0])
    assert not torch.equal(epoch_of(data, seed=3)[0], epoch_of(data, seed=4)[0])


def test_evaluation_runs_through_the_files_in_order(make_data):
    data = open_split(make_data(), "validation")
    fields, _ = epoch_of(data, shuffle=False)
    assert np.array_equal(fields.numpy(), np.stack([data[index][0] for index in range(3)]))


def test_the_cache_gives_the_same_batches(make_data):
    data = open_split(make_data(), "train")
    expected = epoch_of(data)
    data.fill_cache(NodeGroup(World(), error=DataError))
    assert all(map(torch.equal, epoch_of(data), expected))


def break_sample(folder: Path) -> str:
    """Put a NaN into the fourth training sample; what the error must say."""
    path = folder / "train" / "data-2000-01-04-00-0.npy"
    fields = np.load(path)
    fields[5, 6, 7] = np.nan
    np.save(path, fields)
    return (
        f"{path}: PSL: found nan at row 5, column 6, expected finite numbers below 1e+15; "
        "netCDF marks missing values with 1e20 or 9.97e36"
    )


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_broken_sample_is_named_in_one_line(make_data, num_workers):
    folder = make_data("numpy")
    data = open_split(folder, "train")
    message = break_sample(folder)
    with pytest.raises(SampleError) as error:
        epoch_of(data, num_workers=num_workers)
    assert str(error.value) == message


def test_dali_refuses_hdf5_or_its_own_absence_by_name(make_data):
    with pytest.raises(DataError, match=r"install the extra \[dali\]|reads the forms numpy and fused, found hdf5"):
        loader(open_split(make_data(), "train"), batch_size=1, shuffle=True, kind="dali")


def test_an_unknown_loader_is_refused(make_data):
    with pytest.raises(DataError, match="found 'fast', expected 'plain' or 'dali'"):
        loader(open_split(make_data(), "train"), batch_size=1, shuffle=True, kind="fast")


def test_samples_that_fill_no_global_batch_are_refused(make_data):
    with pytest.raises(DataError, match="found 5 training samples, expected at least one global batch of 6"):
        loader(open_split(make_data(), "train"), batch_size=1, num_ranks=6, shuffle=True)


def test_a_missing_split_is_refused(make_data):
    with pytest.raises(DataError, match="elsewhere/train: no such folder"):
        open_split(make_data().parent / "elsewhere", "train")


def test_mixed_forms_are_refused(make_data):
    folder = make_data()
    sample_files.write(FORMATS["numpy"], folder / "train", "x", *open_split(folder, "train")[0])
    with pytest.raises(DataError, match=r"found files of the forms \['hdf5', 'numpy'\], expected exactly one"):
        open_split(folder, "train")


def test_a_missing_label_file_is_refused(make_data):
    folder = make_data("numpy")
    (folder / "train" / "label-2000-01-02-00-0.npy").unlink()
    with pytest.raises(DataError, match=r"label-2000-01-02-00-0\.npy: found no such file"):
        open_split(folder, "train")


def test_the_statistics_of_another_set_are_refused(make_data):
    folder = make_data()
    from deepcam.channel_statistics import Statistics

    fields, _ = open_split(folder, "train")[0]
    Statistics.of(fields / 2).save(folder / "stats.h5")
    with pytest.raises(
        DataError, match=r"data-2000-01-01-00-0\.h5: TMQ: found values from -50 to 90.*another data set"
    ):
        open_split(folder, "train")


def test_statistics_that_were_not_written_with_the_samples_are_refused(make_data):
    folder = make_data()
    files = [manifest.describe(folder, path) for path in sorted((folder / "train").iterdir())]
    statistics = manifest.describe(folder, folder / "stats.h5")
    Manifest(
        benchmark="deepcam",
        synthetic=True,
        format="hdf5",
        arrays={},
        splits={
            "train": manifest.Split(num_samples=5, files=tuple(files)),
            "statistics": manifest.Split(num_samples=0, files=(statistics,)),
        },
        provenance={},
        tool="test",
        tool_version="0",
    ).save(folder)
    assert open_split(folder, "train").manifest.synthetic
    stats = folder / "stats.h5"
    content = bytearray(stats.read_bytes())
    content[-1] ^= 1
    stats.write_bytes(content)
    with pytest.raises(DataError, match=r"stats\.h5: sha256: found \w+, expected \w+; copy or prepare it again"):
        open_split(folder, "train")


def test_a_sample_of_another_size_is_refused(make_data):
    folder = make_data()
    sample_files.write(
        FORMATS["hdf5"], folder / "train", "2000-02-01-00-0", np.zeros((32, 32, 16), np.float32), np.zeros((32, 32))
    )
    with pytest.raises(SampleError, match=r"found shape \(32, 32, 16\), expected \(16, 32, 16\)"):
        epoch_of(open_split(folder, "train"))


# The tests of DALI come last: worker processes are forked, which its threads do not survive.


@pytest.mark.parametrize("form", ["numpy", "fused"])
def test_dali_gives_the_same_batches(make_data, form):
    pytest.importorskip("nvidia.dali", reason="the extra [dali] is not installed")
    data = open_split(make_data(form, train=7), "train")
    for options in ({}, {"rank": 0, "num_ranks": 3}, {"epoch": 2, "batch_size": 3}, {"shuffle": False}):
        expected = epoch_of(data, **options)
        assert all(map(torch.equal, epoch_of(data, kind="dali", num_workers=2, **options), expected))


def test_dali_names_a_broken_sample_in_one_line(make_data):
    pytest.importorskip("nvidia.dali", reason="the extra [dali] is not installed")
    folder = make_data("numpy")
    data = open_split(folder, "train")
    message = break_sample(folder)
    with pytest.raises(SampleError) as error:
        epoch_of(data, num_workers=2, kind="dali")
    assert str(error.value) == message
