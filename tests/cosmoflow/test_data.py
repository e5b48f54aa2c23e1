# SPDX-License-Identifier: Apache-2.0
"""The data set in its three forms, and the order and shares of its batches."""

from pathlib import Path

import h5py
import numpy as np
import psutil
import pytest
import torch

from cosmoflow import prepare, tfrecord
from cosmoflow.conversion import Conversion
from cosmoflow.data import open_split
from cosmoflow.loader import loader
from cosmoflow.sample_files import SampleError
from cosmoflow.synthesize import Simulation, synthesize
from harness.data import manifest
from harness.data.checks import DataError
from harness.data.sampler import EpochBatches
from harness.distributed.node_group import NodeGroup
from harness.distributed.world import World

FORMS = {
    "hdf5": Conversion(format="hdf5", crop=8, validation_fraction=0.5),
    "numpy": Conversion(format="numpy", crop=8, validation_fraction=0.5),
    "tfrecord": Conversion(format="tfrecord", crop=8, validation_fraction=0.5),
    "gzip": Conversion(format="tfrecord", compress=True, crop=8, validation_fraction=0.5),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """The same 2 universes of 16^3, as 8 + 8 crops of 8^3, in every form."""
    root = tmp_path_factory.mktemp("forms")
    synthesize(root / "raw", Simulation(size=16), {"universes": 2}, num_processes=1)
    for name, conversion in FORMS.items():
        prepare.prepare(root / "raw", root / name, conversion, num_workers=1)
    return root


@pytest.fixture
def writable(folders, tmp_path):
    """Copies a form, to be damaged; without manifest where told so."""

    def copy(name, *, with_manifest=True):
        for path in (folders / name).rglob("*.*"):
            target = tmp_path / name / path.relative_to(folders / name)
            if path.is_file() and (with_manifest or path.name != manifest.FILE_NAME):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        return tmp_path / name

    return copy


def first_file(folder, ending="*"):
    return min((folder / "train").glob(ending))


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize("cache", [False, True])
def test_every_form_holds_the_same_samples_channels_first(folders, name, cache):
    dataset = open_split(folders / name, "train")
    if cache:
        dataset.fill_cache(NodeGroup(World(), error=DataError))
    assert (len(dataset), dataset.sample_shape, dataset.manifest.synthetic) == (8, (4, 8, 8, 8), True)
    with h5py.File(f"{open_split(folders / 'hdf5', 'train').stems[3]}.hdf5") as file:
        full_DHWC, target_4 = file["full"][()], file["unitPar"][()]
    volume_CDHW, target = dataset[3]
    assert (volume_CDHW.dtype, target.dtype) == (torch.int16, torch.float32)
    in_order_of_file = volume_CDHW if name == "numpy" else volume_CDHW.permute(1, 2, 3, 0)
    assert in_order_of_file.is_contiguous()  # nothing was transposed
    for channel in range(4):
        np.testing.assert_array_equal(volume_CDHW[channel].numpy(), full_DHWC[..., channel])
    np.testing.assert_array_equal(target.numpy(), target_4)


@pytest.mark.parametrize("name", FORMS)
def test_a_folder_without_manifest_is_read_as_found(folders, writable, name):
    dataset = open_split(writable(name, with_manifest=False), "train")
    listed = open_split(folders / name, "train")
    assert dataset.manifest is None
    assert [stem.rsplit("/")[-1] for stem in dataset.stems] == [stem.rsplit("/")[-1] for stem in listed.stems]


def test_numpy_files_with_redshifts_last_are_read_too(folders, writable):
    folder = writable("numpy", with_manifest=False)
    for path in folder.rglob("*_data.npy"):
        np.save(path, np.moveaxis(np.load(path), 0, -1))
    expected, found = open_split(folders / "numpy", "train")[2], open_split(folder, "train")[2]
    assert torch.equal(found[0], expected[0])


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("cache", [False, True])
def test_a_batch_holds_the_samples_of_its_indices(folders, num_workers, cache):
    dataset = open_split(folders / "tfrecord", "train")
    if cache:
        dataset.fill_cache(NodeGroup(World(), error=DataError))
    batches = loader(dataset, batch_size=3, seed=5, shuffle=True, num_workers=num_workers)
    batches.set_epoch(2)
    expected = EpochBatches(8, batch_size=3, seed=5, shuffle=True)
    expected.epoch = 2
    found = list(batches)
    assert [len(target) for _, target in found] == [3, 3]  # 2 of 8 samples fill no batch
    for (volume_NCDHW, target_N4), indices in zip(found, expected.indices(), strict=True):
        assert (volume_NCDHW.dtype, target_N4.dtype) == (torch.int16, torch.float32)
        for row, index in enumerate(indices):
            assert torch.equal(volume_NCDHW[row], dataset[index][0])
            assert torch.equal(target_N4[row], dataset[index][1])


def test_an_epoch_may_be_given_up_half_way(folders):
    batches = loader(open_split(folders / "numpy", "train"), batch_size=1, num_workers=2)
    for _ in batches:
        break
    assert len(list(batches)) == 8


def test_loading_leaves_the_random_state_of_the_run_alone(folders):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(loader(open_split(folders / "numpy", "train"), batch_size=2, seed=3, shuffle=True, num_workers=1))
    assert torch.equal(torch.get_rng_state(), before)


# What is wrong with the data is said before a run starts.


@pytest.mark.parametrize(
    ("split", "message"),
    [("test", "test: no such folder; expected the test split"), ("train", "train: no such folder")],
)
def test_a_missing_folder_is_named(tmp_path, split, message):
    with pytest.raises(DataError, match=message):
        open_split(tmp_path, split)


def test_an_empty_folder_is_an_error(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"train: found files of the forms \[\], expected exactly one of"):
        open_split(tmp_path, "train")


def test_a_missing_file_is_named(writable):
    folder = writable("numpy")
    first_file(folder, "*_label.npy").unlink()
    with pytest.raises(DataError, match=r"_label.npy: cannot be read \(No such file"):
        open_split(folder, "train")


def test_a_missing_label_is_named_without_manifest_too(writable):
    folder = writable("numpy", with_manifest=False)
    first_file(folder, "*_label.npy").unlink()
    with pytest.raises(DataError, match=r"_000_label.npy: found no such file, expected it beside"):
        open_split(folder, "train")


@pytest.mark.parametrize("name", FORMS)
def test_a_truncated_file_is_named_with_both_sizes(writable, name):
    folder = writable(name)
    path = first_file(folder)
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2])
    with pytest.raises(DataError, match=f"{path}: size: found {size // 2} bytes, expected {size}"):
        open_split(folder, "train")


@pytest.mark.parametrize("name", FORMS)
def test_a_truncated_first_sample_is_named_without_manifest_too(writable, name):
    folder = writable(name, with_manifest=False)
    path = first_file(folder)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=str(path)):
        open_split(folder, "train")


def test_a_flipped_bit_of_a_record_is_named_when_it_is_read(writable):
    folder = writable("tfrecord")
    path = sorted((folder / "train").glob("*.tfrecord"))[3]
    content = bytearray(path.read_bytes())
    content[500] ^= 1
    path.write_bytes(content)
    batches = loader(open_split(folder, "train"), batch_size=8, num_workers=1)
    with pytest.raises(SampleError, match=f"{path}: checksum of the payload"):
        list(batches)


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((4, 8, 8, 8), dtype=np.float32), "dtype: found float32, expected int16"),
        (np.zeros((8, 8, 8), dtype=np.int16), r"shape: found \(8, 8, 8\), expected \(4, D, D, D\) or"),
        (np.zeros((4, 8, 8, 16), dtype=np.int16), r"shape: found \(4, 8, 8, 16\), expected"),
    ],
)
def test_a_wrong_array_is_named(writable, volume, message):
    folder = writable("numpy", with_manifest=False)
    np.save(first_file(folder, "*_data.npy"), volume)
    with pytest.raises(DataError, match=f"_000_data.npy: {message}"):
        open_split(folder, "train")


def test_a_sample_of_another_size_is_named_when_it_is_read(writable):
    folder = writable("tfrecord", with_manifest=False)
    path = sorted((folder / "train").glob("*.tfrecord"))[5]
    tfrecord.write(path, bytes(4**3 * 4 * 2), np.zeros(4))
    with pytest.raises(SampleError, match=rf"{path}: shape: found \(4, 4, 4, 4\), expected \(4, 8, 8, 8\)"):
        list(loader(open_split(folder, "train"), batch_size=8))


@pytest.mark.parametrize("target", [np.zeros(3, np.float32), np.zeros(4, np.int32), np.full(4, np.nan, np.float32)])
def test_a_wrong_target_is_named(writable, target):
    folder = writable("numpy", with_manifest=False)
    np.save(first_file(folder, "*_label.npy"), target)
    with pytest.raises(DataError, match=r"target: found .*, expected (float32 \(4,\)|finite numbers)"):
        open_split(folder, "train")


def test_a_file_without_targets_is_named(writable):
    folder = writable("hdf5", with_manifest=False)
    with h5py.File(first_file(folder), "r+") as file:
        del file["unitPar"]
    with pytest.raises(DataError, match=r"_000.hdf5: .*unitPar.*expected the datasets 'full' and 'unitPar'"):
        open_split(folder, "train")


def test_another_benchmarks_data_are_refused(writable):
    folder = writable("numpy")
    path = folder / manifest.FILE_NAME
    path.write_text(path.read_text().replace('"cosmoflow"', '"deepcam"'))
    with pytest.raises(DataError, match=r"found deepcam data in form 'numpy', expected cosmoflow data in one of"):
        open_split(folder, "train")


def test_a_cache_that_does_not_fit_is_refused(folders, monkeypatch):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    with pytest.raises(DataError, match=r"caching takes 0.0 GiB per node, found 0.0 GiB of free memory"):
        open_split(folders / "numpy", "train").fill_cache(NodeGroup(World(), error=DataError))


def test_samples_that_fill_no_global_batch_are_refused(folders):
    with pytest.raises(DataError, match="train: found 8 training samples, expected at least one global batch of 9"):
        loader(open_split(folders / "numpy", "train"), batch_size=1, num_ranks=9, shuffle=True)


def test_an_unknown_kind_of_loader_is_refused(folders):
    with pytest.raises(DataError, match=r"loader kind: found 'fast', expected 'plain' or 'dali'"):
        loader(open_split(folders / "numpy", "train"), batch_size=1, kind="fast")


@pytest.mark.parametrize("name", ["hdf5", "numpy"])
def test_negative_counts_are_named_with_file_and_voxel(writable, name):
    folder = writable(name)
    dataset = open_split(folder, "train")
    path = dataset.sample_format.paths(Path(dataset.stems[2]))[0]
    if name == "hdf5":
        with h5py.File(path, "r+") as file:
            file["full"][1, 2, 3, 0] = -5
    else:
        counts = np.load(path)
        counts[0, 1, 2, 3] = -5
        np.save(path, counts)
    with pytest.raises(SampleError, match=rf"{path}: counts: found -5 at voxel \[1, 2, 3\] of redshift 0"):
        dataset.batch(np.array([2]))
    (folder / manifest.FILE_NAME).unlink()
    with pytest.raises(SampleError, match="found -5"):
        prepare.describe(folder)
    assert not (folder / manifest.FILE_NAME).exists()
