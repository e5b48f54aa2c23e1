# SPDX-License-Identifier: Apache-2.0
"""The parts that prepare commands share: tasks in processes, receipts to go on from, room on the disk."""

import os
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from compliance.files.errors import UserError
from compliance.files.lock import LockError
from harness.data import manifest, preparation
from harness.data.manifest import DataFile, Manifest, ManifestError, Split
from harness.data.preparation import PrepareError

OPTIONS = {"seed": 1}


@dataclass(frozen=True, kw_only=True)
class Made:
    files: tuple[DataFile, ...]
    process: int


def make(out: Path, name: str, *, broken: bool = False) -> Made:
    if broken:
        raise PrepareError(f"{name}: broken")
    (out / name).write_text(name)
    return Made(files=(manifest.describe(out, out / name),), process=os.getpid())


def tasks(out: Path, broken: str = "") -> dict[str, partial]:
    names = [f"train/{number}" for number in range(4)]
    return {name: partial(make, out, name, broken=name == broken) for name in names}


def described(made: dict[str, Made]) -> Manifest:
    files = tuple(file for one in made.values() for file in one.files)
    return Manifest(
        benchmark="toy",
        synthetic=True,
        format="text",
        arrays={},
        splits={"train": Split(num_samples=len(files), files=files)},
        provenance={},
        tool="test",
        tool_version="0",
    )


def test_results_come_from_other_processes_in_the_order_of_the_tasks(tmp_path):
    (tmp_path / "train").mkdir()
    results = list(preparation.in_processes(tasks(tmp_path), 2))
    assert [name for name, _ in results] == list(tasks(tmp_path))
    assert os.getpid() not in {made.process for _, made in results}


def test_an_interrupted_preparation_makes_only_what_is_missing(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(PrepareError, match="train/2: broken"), preparation.begun(out, OPTIONS):
        preparation.completed(out, tasks(out, broken="train/2"), Made, num_workers=1)
    (out / "train/1").write_text("of another size")
    old_ns = (out / "train/0").stat().st_mtime_ns
    with preparation.begun(out, OPTIONS):
        made = preparation.completed(out, tasks(out), Made, num_workers=1)
        assert (out / "train/0").stat().st_mtime_ns == old_ns
        assert (out / "train/1").read_text() == "train/1"
        preparation.finish(out, described(made))
    assert sorted(path.name for path in out.iterdir()) == ["manifest.json", "train", "validation"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert manifest.verify_whole(out).split("train").num_samples == 4


def test_other_options_do_not_go_on_and_other_files_are_left_alone(tmp_path):
    with preparation.begun(tmp_path, OPTIONS):
        pass
    with pytest.raises(PrepareError, match="interrupted with other options"), preparation.begun(tmp_path, {"seed": 2}):
        pass
    with preparation.begun(tmp_path, OPTIONS):
        preparation.finish(tmp_path, described({}))
    with pytest.raises(PrepareError, match="found a finished data set"), preparation.begun(tmp_path, OPTIONS):
        pass
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(PrepareError, match="found other files"), preparation.begun(tmp_path, OPTIONS):
        pass


def test_two_preparations_never_write_one_folder(tmp_path):
    out = tmp_path / "out"
    with (
        preparation.begun(out, OPTIONS),
        pytest.raises(LockError, match=rf"out: in use by process {os.getpid()} on"),
        preparation.begun(out, OPTIONS),
    ):
        pass


def test_a_new_folder_appears_whole_and_removes_what_a_killed_call_left(tmp_path):
    out, left = tmp_path / "out", tmp_path / ".out.12345678.part"
    left.mkdir()
    with preparation.new_folder(out) as folder:
        (folder / "file").write_text("content")
        assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UserError, match="not overwritten; name another folder"), preparation.new_folder(out):
        pass
    assert (out / "file").read_text() == "content"


def test_verification_names_a_changed_file(tmp_path):
    with preparation.begun(tmp_path, OPTIONS):
        made = preparation.completed(tmp_path, tasks(tmp_path), Made, num_workers=1)
        preparation.finish(tmp_path, described(made))
    (tmp_path / "train/3").write_text("train/X")
    with pytest.raises(ManifestError, match="train/3: sha256: found"):
        manifest.verify_whole(tmp_path)


def test_room_counts_what_is_there_already_and_no_links(tmp_path, monkeypatch):
    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    preparation.check_space(tmp_path / "new" / "folder", 1000)
    with pytest.raises(PrepareError, match=r"folder: found 0.0 GiB free, expected 0.0 GiB for two"):
        preparation.check_space(tmp_path / "new" / "folder", 1001, " for two")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there").write_bytes(bytes(50))
    (tmp_path / "link").symlink_to(tmp_path / "there")
    preparation.check_space(tmp_path, 1050)
    with pytest.raises(PrepareError):
        preparation.check_space(tmp_path, 1051)


SYNTHESIS_OPTIONS = {"seed": 1, "cell": 8.0}
COUNTS = {"train": 5, "validation": 2}


def write(folder, split: str, number: int) -> DataFile:
    path = folder / f"{split}_{number}"
    path.write_text(path.name)
    return manifest.describe(folder, path)


@pytest.fixture
def data_set(tmp_path):
    files = preparation.made(partial(write, tmp_path), COUNTS, "writing", num_processes=2, chunksize=2)
    described = Manifest(
        benchmark="toy",
        synthetic=True,
        format="text",
        arrays={},
        splits={
            **{split: Split(num_samples=len(made), files=tuple(made)) for split, made in files.items()},
            "statistics": Split(num_samples=0, files=()),
        },
        provenance={"source": "made up", **SYNTHESIS_OPTIONS},
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
    files = preparation.made(partial(write, tmp_path), COUNTS, "writing", num_processes=1, step=2)
    assert [file.path for file in files["train"]] == ["train_0", "train_2", "train_4"]
    assert [file.path for file in files["validation"]] == ["validation_0"]


def test_a_finished_data_set_is_kept(data_set):
    assert preparation.finished(data_set, SYNTHESIS_OPTIONS, COUNTS) == Manifest.load(data_set)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"seed": 2}, COUNTS),
        ({"width": 8}, COUNTS),
        (SYNTHESIS_OPTIONS, {"train": 5}),
        (SYNTHESIS_OPTIONS, {"train": 5, "validation": 3}),
    ],
)
def test_other_samples_are_not_kept(data_set, options, counts):
    assert preparation.finished(data_set, options, counts) is None


def test_a_damaged_or_another_versions_data_set_is_not_kept(data_set):
    replace(Manifest.load(data_set), tool_version="0.0").save(data_set)
    assert preparation.finished(data_set, SYNTHESIS_OPTIONS, COUNTS) is None
    replace(Manifest.load(data_set), tool_version=manifest.tool_version()).save(data_set)
    (data_set / "train_3").unlink()
    assert preparation.finished(data_set, SYNTHESIS_OPTIONS, COUNTS) is None
