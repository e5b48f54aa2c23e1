# SPDX-License-Identifier: Apache-2.0
"""From the archives, made as the official ones are, to shards: mapping, odd pictures, broken ones, resuming."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from harness import children
from harness.data import preparation
from harness.data.manifest import Manifest
from imagenet_resnet import conversion, ilsvrc_archives, prepare
from imagenet_resnet.data import open_split
from imagenet_resnet.ilsvrc_archives import KIT, TRAINING, VALIDATION, ArchiveError, Archives
from imagenet_resnet.jpeg import PictureError
from imagenet_resnet.loader import loader

CLASSES = {"n00000009": 1, "n00000002": 2, "n00000005": 3}
"""WordNet id -> number in meta.mat, which is not the order of the names."""
COLOURS = {"n00000009": (200, 30, 30), "n00000002": (30, 200, 30), "n00000005": (30, 30, 200)}
TRUTH = ["n00000005", "n00000009", "n00000002", "n00000002", "n00000009", "n00000005"]


def picture(colour, mode: str = "RGB", kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), colour).convert(mode).save(stream, kind)
    return stream.getvalue()


def tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def meta() -> bytes:
    rows = [[(number, name, "some words")] for name, number in CLASSES.items()]
    rows.append([(4, "n99999999", "an inner node, which has no pictures")])
    stream = io.BytesIO()
    synsets = np.array(rows, dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    savemat(stream, {"synsets": synsets}, do_compression=True)
    return stream.getvalue()


def kit(truth: list[int]) -> bytes:
    lines = "".join(f"{number}\n" for number in truth).encode()
    folder = "ILSVRC2012_devkit_t12/data"
    return tar(
        {f"{folder}/{ilsvrc_archives.SYNSETS}": meta(), f"{folder}/{ilsvrc_archives.GROUND_TRUTH}": lines}, "w:gz"
    )


@pytest.fixture
def raw(tmp_path) -> Path:
    """Three classes of four pictures, a PNG called JPEG, a grey one and one in CMYK among them; six to validate."""
    odd = {("n00000009", 1): ("RGB", "PNG"), ("n00000002", 0): ("CMYK", "JPEG"), ("n00000005", 2): ("L", "JPEG")}
    folder = tmp_path / "raw"
    folder.mkdir()
    inner = {
        f"{name}.tar": tar(
            {f"{name}_{n}.JPEG": picture(COLOURS[name], *odd.get((name, n), ("RGB", "JPEG"))) for n in range(4)}
        )
        for name in CLASSES
    }
    (folder / TRAINING).write_bytes(tar(inner))
    validation = {f"ILSVRC2012_val_{n + 1:08d}.JPEG": picture(COLOURS[name]) for n, name in enumerate(TRUTH)}
    (folder / VALIDATION).write_bytes(tar(dict(reversed(validation.items()))))  # the order of names counts
    (folder / KIT).write_bytes(kit([CLASSES[name] for name in TRUTH]))
    return folder


def run(*arguments) -> int:
    return prepare.main([*map(str, arguments), "--workers", "1"])


def prepared(raw: Path, out: Path, *options) -> Manifest:
    assert run(raw, out, "--any-checksum", "--samples-per-shard", 5, *options) == 0
    return Manifest.load(out)


def test_archives_become_shards_that_train(raw, tmp_path, capsys):
    manifest = prepared(raw, tmp_path / "out")
    assert {split: one.num_samples for split, one in manifest.splits.items()} == {"train": 12, "validation": 6}
    names = sorted(path.name for path in (tmp_path / "out" / "train").iterdir())
    assert names == [f"train-{shard:06d}.{kind}" for shard in range(3) for kind in ("idx", "tar")]
    assert not (tmp_path / "out" / preparation.RECEIPTS_FOLDER).exists()
    assert "12 train, 6 validation" in capsys.readouterr().out
    colours = [COLOURS[name] for name in sorted(CLASSES)]
    for split in ("train", "validation"):
        dataset = open_split(tmp_path / "out", split, num_classes=3)
        for image_NHWC, label_N in loader(dataset, batch_size=4, side=16, shuffle=split == "train"):
            for image_HWC, label in zip(image_NHWC.numpy(), label_N.tolist(), strict=True):
                mean_C = image_HWC.mean(axis=(0, 1))
                assert np.ptp(mean_C) < 3 or mean_C.argmax() == np.argmax(colours[label])  # the grey one has no hue


def test_the_order_of_training_is_shuffled_by_the_seed(raw, tmp_path):
    tasks = {
        seed: [p.name for task in _tasks(raw, tmp_path, seed) for p in task.pictures if task.name.startswith("train")]
        for seed in (1, 2)
    }
    assert sorted(tasks[1]) == sorted(tasks[2])
    assert tasks[1] != tasks[2] != sorted(tasks[2])


def _tasks(raw, out, seed):
    source = Archives(raw)
    listed = {"train": source.training(), "validation": source.validation()}
    return list(prepare._tasks(out, source.classes, listed, prepare.Sharding(seed=seed)))


def test_odd_pictures_are_converted_and_named(raw, tmp_path):
    manifest = prepared(raw, tmp_path / "out")
    assert sorted(manifest.provenance["converted"].split(", ")) == ["n00000002_0.JPEG", "n00000009_1.JPEG"]
    assert manifest.provenance["left_out"] == ""
    assert manifest.provenance["num_classes"] == 3


def test_plain_pictures_are_kept_byte_for_byte():
    for mode in ("RGB", "L"):
        content = picture((1, 2, 3), mode)
        assert conversion.plain_jpeg(content) is content
    converted = Image.open(io.BytesIO(conversion.plain_jpeg(picture((200, 30, 30), "CMYK"))))
    assert (converted.format, converted.mode) == ("JPEG", "RGB")
    assert np.abs(np.asarray(converted).mean(axis=(0, 1)) - (200, 30, 30)).max() < 6


def broken(raw: Path) -> None:
    """Spoil the first picture of the validation archive: its head stays."""
    path = raw / VALIDATION
    content = bytearray(path.read_bytes())
    found = Archives(raw).validation()[0]
    content[found.start + 200 : found.start + found.size] = bytes(found.size - 200)
    path.write_bytes(content)


def test_a_broken_picture_is_named(raw, tmp_path, capsys):
    broken(raw)
    assert run(raw, tmp_path / "out", "--any-checksum") == 2
    printed = capsys.readouterr().err
    assert "n00000005/ILSVRC2012_val_00000001.JPEG: cannot be decoded" in printed
    assert "--broken skip" in printed
    assert printed.count("\n") == 1


def test_a_broken_picture_may_be_left_out_and_is_named(raw, tmp_path):
    broken(raw)
    manifest = prepared(raw, tmp_path / "out", "--broken", "skip")
    assert manifest.provenance["left_out"] == "ILSVRC2012_val_00000001.JPEG"
    assert manifest.split("validation").num_samples == 5


def test_an_interrupted_preparation_goes_on(raw, tmp_path, monkeypatch):
    complete = prepared(raw, tmp_path / "whole")
    calls, write = [], prepare.write_shard

    def fail_at_third(task):
        calls.append(task.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return write(task)

    monkeypatch.setattr(children, "pool", _Here)
    monkeypatch.setattr(prepare, "write_shard", fail_at_third)
    assert run(raw, tmp_path / "out", "--any-checksum", "--samples-per-shard", 5) == 130
    assert run(raw, tmp_path / "out", "--any-checksum", "--samples-per-shard", 6) == 2
    assert Manifest.load(tmp_path / "whole") == complete
    assert prepared(raw, tmp_path / "out").splits == complete.splits
    assert len(calls) == len(set(calls)) + 1


class _Here:
    """A pool that works in this process, when it is asked for results."""

    def __init__(self, num_workers):
        self.num_workers = num_workers

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def submit(self, function, *arguments):
        return type("Future", (), {"result": staticmethod(lambda: function(*arguments))})

    def shutdown(self, **_):
        return None


def test_verify_reads_every_byte(raw, tmp_path, capsys):
    prepared(raw, tmp_path / "out")
    assert prepare.main(["--verify", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "train" / "train-000001.tar"
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    assert prepare.main(["--verify", str(tmp_path / "out")]) == 2
    assert "train-000001.tar: sha256" in capsys.readouterr().err


def test_indexes_of_others_shards_are_written(raw, tmp_path):
    prepared(raw, tmp_path / "out")
    texts = {path: path.read_text() for path in (tmp_path / "out").rglob("*.idx")}
    for path in texts:
        path.unlink()
    assert prepare.main(["--index", str(tmp_path / "out")]) == 0
    assert {path: path.read_text() for path in texts} == texts


def test_a_folder_in_use_is_left_alone(raw, tmp_path, capsys):
    prepared(raw, tmp_path / "out")
    assert run(raw, tmp_path / "out", "--any-checksum") == 2
    assert "found a finished data set" in capsys.readouterr().err


# --- archives that cannot be used


def test_archives_that_are_not_the_published_ones_are_refused(raw, tmp_path, capsys):
    assert run(raw, tmp_path / "out") == 2
    assert "md5: found" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_archive_is_named(raw):
    (raw / KIT).unlink()
    with pytest.raises(ArchiveError, match=f"{KIT}: missing"):
        Archives(raw)


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        ([3, 1, 2], "found 3 classes for 6 pictures"),
        ([3, 1, 2, 2, 1, 4], "found class number 4"),
        ([3, 1, 2, 2, 1, 7], "found class number 7"),
        ([3, 1, 2, 2, 1, 1], "found 1 to 3 pictures in 3 classes"),
    ],
)
def test_a_ground_truth_that_does_not_fit_is_refused(raw, truth, message):
    (raw / KIT).write_bytes(kit(truth))
    with pytest.raises(ArchiveError, match=message):
        Archives(raw).validation()


def test_what_is_no_archive_is_refused(raw):
    (raw / TRAINING).write_bytes(b"<html>log in first</html>")
    with pytest.raises(ArchiveError, match="not a tar file"):
        Archives(raw).training()


def test_a_picture_is_read_where_it_stands(raw):
    for found in Archives(raw).training():
        assert found.read()[:3] in (b"\xff\xd8\xff", b"\x89PN")
    with pytest.raises(PictureError):
        conversion.plain_jpeg(b"nothing")
