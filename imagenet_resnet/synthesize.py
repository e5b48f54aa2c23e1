# SPDX-License-Identifier: Apache-2.0
"""Draw gratings that a small network learns in seconds, as real JPEGs in the layout of the real data.

    python -m imagenet_resnet.synthesize data                                     # 8 classes, 512 + 128 pictures
    python -m imagenet_resnet.synthesize data --classes 100 --train 50000 --form shards

The same seed gives the same pictures whatever the number of processes. `--preview FILE.png` draws one of each class.
"""

import argparse
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path

from compliance.command_line import Parser
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = cli.synthesis_parser("imagenet_resnet.synthesize", __doc__, train=512, validation=128)
    add = parser.add_argument
    add("--classes", type=cli.positive, default=8, metavar="N", help="classes (%(default)s)")
    add("--form", choices=("folders", "shards"), default="folders", help="image folders or tar shards (%(default)s)")
    add("--height", type=cli.positive, default=84, metavar="N", help="pixels down (%(default)s)")
    add("--width", type=cli.positive, default=112, metavar="N", help="pixels across (%(default)s)")
    return parser


cli.answer_early(__name__, options())

import numpy as np

from compliance.files import atomic_write
from harness.data import manifest, preparation
from harness.data.manifest import Array, DataFile, Manifest, Split
from imagenet_resnet import webdataset
from imagenet_resnet.synthetic import gratings
from imagenet_resnet.synthetic.gratings import Drawing, GratingError

FORMS = {"folders": "jpeg", "shards": "webdataset"}
"""Form on the command line -> format in the manifest."""
SAMPLES_PER_SHARD = 1024


def synthesize(folder: Path, drawing: Drawing, counts: dict[str, int], *, form: str, num_processes: int) -> Manifest:
    """Write a new data set of the pictures of every split; a finished data set of the same options is kept."""
    provenance = {"source": "gratings drawn by imagenet_resnet.synthesize", **asdict(drawing)}
    if (kept := preparation.finished(folder, provenance, counts)) and kept.format == FORMS[form]:
        return kept
    with preparation.new_folder(folder) as new:
        return _draw(new, drawing, counts, provenance, form=form, num_processes=num_processes)


def _draw(
    folder: Path, drawing: Drawing, counts: dict[str, int], provenance: dict, *, form: str, num_processes: int
) -> Manifest:
    write = partial({"folders": _write_picture, "shards": _write_shard}[form], folder, drawing, counts)
    step = {"folders": 1, "shards": SAMPLES_PER_SHARD}[form]
    made = preparation.made(write, counts, "drawing", num_processes=num_processes, step=step, chunksize=16 // step + 1)
    complete = Manifest(
        benchmark="imagenet_resnet",
        synthetic=True,
        format=FORMS[form],
        arrays={
            "image": Array(dtype="uint8", shape=(drawing.height, drawing.width, 3)),
            "label": Array(dtype="int64", shape=()),
        },
        splits={split: Split(num_samples=counts[split], files=_sorted_files(made[split])) for split in counts},
        provenance=provenance,
        tool="imagenet_resnet.synthesize",
        tool_version=manifest.tool_version(),
    )
    complete.save(folder)
    return complete


def label_of(drawing: Drawing, number: int) -> int:
    """Classes take turns, so that every split has equally many of each."""
    return number % drawing.num_classes


def _write_picture(folder: Path, drawing: Drawing, counts: dict[str, int], split: str, number: int) -> list[DataFile]:
    label = label_of(drawing, number)
    path = folder / split / gratings.class_name(label) / f"{split}_{number:08d}.JPEG"
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write.write(path, gratings.draw(drawing, label=label, split=split, number=number))
    return [manifest.describe(folder, path)]


def _write_shard(folder: Path, drawing: Drawing, counts: dict[str, int], split: str, start: int) -> list[DataFile]:
    path = folder / split / f"{split}-{start // SAMPLES_PER_SHARD:06d}.tar"
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(start, min(start + SAMPLES_PER_SHARD, counts[split]))
    labels = {number: label_of(drawing, number) for number in numbers}
    pictures = (
        (f"{number:08d}", gratings.draw(drawing, label=label, split=split, number=number), label)
        for number, label in labels.items()
    )
    webdataset.write_shard(path, pictures)
    described = manifest.describe(folder, path, num_samples=len(numbers))
    return [described, manifest.describe(folder, webdataset.index_path(path))]


def _sorted_files(made: list[list[DataFile]]) -> tuple[DataFile, ...]:
    return tuple(sorted((file for files in made for file in files), key=lambda file: file.path))


def draw_preview(path: Path, drawing: Drawing) -> None:
    """One picture of each of the first classes, side by side."""
    import matplotlib.pyplot as plt

    from imagenet_resnet.jpeg import as_rgb, opened

    num_shown = min(16, drawing.num_classes)
    figure, all_axes = plt.subplots(2, (num_shown + 1) // 2, figsize=(13, 5), layout="constrained")
    for label, axes in enumerate(all_axes.T.flat):
        axes.set_axis_off()
        if label < num_shown:
            encoded = gratings.draw(drawing, label=label, split="train", number=label)
            axes.imshow(np.asarray(as_rgb(opened(encoded))))
            axes.set_title(f"class {label}")
    figure.suptitle("Synthetic pictures: the tilt of the bars, and whether they are coloured, are the class")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("synthesize", lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    drawing = Drawing(num_classes=given.classes, width=given.width, height=given.height, seed=given.seed)
    counts = {"train": given.train, "validation": given.validation}
    if min(counts.values()) < drawing.num_classes:
        raise GratingError(f"counts: found {counts}, expected at least one picture of each class in both")
    synthesize(given.folder, drawing, counts, form=given.form, num_processes=given.workers)
    if given.preview:
        draw_preview(given.preview, drawing)
    size = f"{drawing.width} x {drawing.height} pixels"
    return (
        f"{given.folder}: synthetic pictures of {size} in {drawing.num_classes} classes, as {given.form}: "
        f"{given.train} train, {given.validation} validation"
    )


if __name__ == "__main__":
    sys.exit(main())
