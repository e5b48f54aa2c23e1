# SPDX-License-Identifier: Apache-2.0
"""One shard of the prepared data set: its pictures checked, the odd ones among them converted."""

import io
from dataclasses import dataclass
from pathlib import Path

from harness.data import manifest
from harness.data.manifest import DataFile
from imagenet_resnet import jpeg, webdataset
from imagenet_resnet.ilsvrc_archives import Picture
from imagenet_resnet.jpeg import PictureError

PLAIN_MODES = ("RGB", "L")
CONVERTED_QUALITY = 100


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Pictures to be written into one shard."""

    folder: Path
    """Folder of the data set."""
    name: str
    """Path of the shard below it."""
    first: int
    """Number of its first sample in the split."""
    pictures: list[Picture]
    labels: list[int]
    skip_broken: bool
    """Leave out what cannot be decoded, rather than stop."""


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """Result of a task."""

    files: tuple[DataFile, ...]
    """The shard and its index."""
    num_samples: int
    converted: tuple[str, ...]
    """Names of pictures that were no JPEG in RGB or grey."""
    left_out: tuple[str, ...]
    """Names of pictures that cannot be decoded."""


def write_shard(task: ShardTask) -> Receipt:
    """Read, check and write; PictureError naming a picture that cannot be decoded, unless those are left out."""
    samples, converted, left_out = [], [], []
    for number, (picture, label) in enumerate(zip(task.pictures, task.labels, strict=True), start=task.first):
        original = picture.read()
        try:
            content = plain_jpeg(original)
        except PictureError as error:
            if not task.skip_broken:
                where = f"{picture.archive}: {picture.class_name}/{picture.name}"
                raise PictureError(f"{where}: {error}; --broken skip leaves it out") from None
            left_out.append(picture.name)
            continue
        if content is not original:
            converted.append(picture.name)
        samples.append((f"{number:08d}", content, label))
    path = task.folder / task.name
    webdataset.write_shard(path, samples)
    described = manifest.describe(task.folder, path, num_samples=len(samples))
    files = (described, manifest.describe(task.folder, webdataset.index_path(path)))
    return Receipt(files=files, num_samples=len(samples), converted=tuple(converted), left_out=tuple(left_out))


def plain_jpeg(encoded: bytes) -> bytes:
    """The very bytes where they are a JPEG in RGB or grey, else an RGB JPEG of the same pixels; PictureError."""
    with jpeg.opened(encoded) as picture:
        try:
            picture.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise PictureError(f"cannot be decoded: {error}") from None
        if picture.format == "JPEG" and picture.mode in PLAIN_MODES:
            return encoded
        stream = io.BytesIO()
        jpeg.as_rgb(picture).save(stream, "JPEG", quality=CONVERTED_QUALITY, subsampling=0)
        return stream.getvalue()
