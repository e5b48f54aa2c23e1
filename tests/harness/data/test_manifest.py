# SPDX-License-Identifier: Apache-2.0
"""The manifest of a prepared data set: written, read, and held against the files."""

import hashlib
import json

import pytest

from harness.data import manifest
from harness.data.manifest import Array, Manifest, ManifestError, Split


@pytest.fixture
def data_set(tmp_path):
    """A folder of one split with two files, and its manifest."""
    (tmp_path / "train").mkdir()
    for name, content in (("a.bin", b"first"), ("b.bin", b"second")):
        (tmp_path / "train" / name).write_bytes(content)
    files = tuple(manifest.describe(tmp_path, tmp_path / "train" / name) for name in ("a.bin", "b.bin"))
    described = Manifest(
        benchmark="cosmoflow",
        synthetic=True,
        format="numpy",
        arrays={"image": Array(dtype="uint8", shape=(None, None, 3))},
        splits={"train": Split(num_samples=2, files=files)},
        provenance={"source": "a test", "seed": 1},
        tool="test",
        tool_version="1",
    )
    described.save(tmp_path)
    return tmp_path


def edit(folder, change):
    path = folder / manifest.FILE_NAME
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_what_is_saved_is_loaded_again(data_set):
    loaded = Manifest.load(data_set)
    assert loaded.splits["train"].files[1].path == "train/b.bin"
    assert loaded.arrays["image"].shape == (None, None, 3)
    assert Manifest.load(loaded.save(data_set).parent) == loaded


def test_the_file_is_plain_json_with_checksums(data_set):
    content = json.loads((data_set / manifest.FILE_NAME).read_text())
    assert content["synthetic"] is True
    assert content["splits"]["train"]["files"][0]["sha256"] == hashlib.sha256(b"first").hexdigest()


def test_saving_leaves_nothing_else_behind(data_set):
    assert sorted(path.name for path in data_set.iterdir()) == ["manifest.json", "train"]


def test_a_folder_without_manifest_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ManifestError, match=rf"{tmp_path}/manifest.json: no manifest; prepare"):
        Manifest.load(tmp_path)


def test_a_manifest_cut_short_is_an_error(data_set):
    path = data_set / manifest.FILE_NAME
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ManifestError, match=r"manifest.json: not valid: .*truncated"):
        Manifest.load(data_set)


def test_a_value_of_the_wrong_type_is_named(data_set):
    edit(data_set, lambda content: content["splits"]["train"].update(num_samples="two"))
    with pytest.raises(ManifestError, match=r"Expected `int`, got `str` - at `\$.splits\[...\].num_samples`"):
        Manifest.load(data_set)


def test_another_schema_is_refused(data_set):
    edit(data_set, lambda content: content.update(schema=2))
    with pytest.raises(ManifestError, match=r"schema: found 2, expected 1"):
        Manifest.load(data_set)


def test_an_unknown_split_names_those_there_are(data_set):
    with pytest.raises(ManifestError, match=r"found no 'test' in the manifest, expected one of \['train'\]"):
        Manifest.load(data_set).split("test")


def test_an_intact_data_set_passes_and_reports_progress(data_set):
    seen = []
    Manifest.load(data_set).verify(data_set, checksums=True, advance=lambda: seen.append(1))
    assert len(seen) == 2


def test_a_missing_file_is_found_without_checksums(data_set):
    (data_set / "train" / "b.bin").unlink()
    with pytest.raises(ManifestError, match=r"train/b.bin: cannot be read \(No such file"):
        Manifest.load(data_set).verify(data_set)


def test_a_truncated_file_is_found_without_checksums(data_set):
    (data_set / "train" / "b.bin").write_bytes(b"sec")
    with pytest.raises(ManifestError, match=r"b.bin: size: found 3 bytes, expected 6"):
        Manifest.load(data_set).verify(data_set)


def test_a_changed_byte_is_found_by_its_checksum_only(data_set):
    (data_set / "train" / "b.bin").write_bytes(b"secome")
    listed = Manifest.load(data_set)
    listed.verify(data_set)
    with pytest.raises(
        ManifestError, match=r"b.bin: sha256: found .*, expected " + hashlib.sha256(b"second").hexdigest()
    ):
        listed.verify(data_set, checksums=True)


def test_ranks_share_the_work(data_set):
    (data_set / "train" / "b.bin").unlink()
    listed = Manifest.load(data_set)
    listed.verify(data_set, split="train", part=slice(0, None, 2))
    with pytest.raises(ManifestError, match=r"b.bin"):
        listed.verify(data_set, split="train", part=slice(1, None, 2))


def test_every_fault_is_named(data_set):
    for name in ("a.bin", "b.bin"):
        (data_set / "train" / name).unlink()
    with pytest.raises(ManifestError, match=r"(?s)a.bin.*\n.*b.bin"):
        Manifest.load(data_set).verify(data_set)
