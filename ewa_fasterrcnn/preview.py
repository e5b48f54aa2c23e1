# SPDX-License-Identifier: Apache-2.0
"""Pictures of weather with its storms: what is there, and what a trained network finds.

    python -m ewa_fasterrcnn.preview detections.png --config ewa_fasterrcnn/configs/demo \\
        --weights output/ewa/weights.pt --data output/ewa/data

The network and the data are those of the configuration, unless other ones are named; `trained_weights` in system.toml
makes training keep them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from compliance.command_line import Parser, command
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = command("ewa_fasterrcnn.preview", __doc__)
    add = parser.add_argument
    add("picture", type=Path, metavar="FILE.png", help="picture to write")
    add("--config", type=Path, required=True, metavar="FOLDER", help="configuration that was trained")
    add("--weights", type=Path, metavar="FILE", help="use these instead of trained_weights in system.toml")
    add("--data", type=Path, metavar="FOLDER", help="prepared data set, instead of the one that system.toml names")
    add("--images", type=cli.positive, default=4, metavar="N", help="images to draw (%(default)s)")
    return parser


cli.answer_early(__name__, options())

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from ewa_fasterrcnn import train
from ewa_fasterrcnn.channel_statistics import Normalise
from ewa_fasterrcnn.config import Hyperparameters, System
from ewa_fasterrcnn.data import open_split
from ewa_fasterrcnn.model.backbone import read_weights
from ewa_fasterrcnn.model.box_head import Detections, by_image
from ewa_fasterrcnn.year_files import CHANNELS, CLASS_NAMES
from harness import config
from harness.config import ConfigError

COLOURS = ("#ffd400", "#ff2d55", "#00d5ff", "#7dff4a")
"""By class number."""
LEAST_DRAWN_SCORE = 0.5

Sample = tuple[np.ndarray, np.ndarray, Detections | None]
"""(C, H, W) fields, (B, 5) rows of boxes, what was found."""


def draw(path: Path, samples: Sequence[Sample], title: str) -> None:
    """Two maps an image: column water and sea-level pressure. True boxes are dashed, found ones solid with a score."""
    figure = Figure(figsize=(17, 5.4 * len(samples) + 1), layout="constrained")
    rows = figure.subplots(len(samples), 2, squeeze=False)
    for (left, right), (fields_CHW, rows_B5, found) in zip(rows, samples, strict=True):
        fields = dict(zip(CHANNELS, fields_CHW, strict=True))
        _draw_map(left, fields["TMQ"], "column water TMQ, kg/m2", "YlGnBu_r", rows_B5, found)
        _draw_map(right, fields["PSL"] / 100, "sea-level pressure PSL, hPa", "gray", rows_B5, found)
    lines = [Line2D([], [], color=colour, label=name) for colour, name in zip(COLOURS, CLASS_NAMES, strict=True)]
    styles = [
        Line2D([], [], color="black", linestyle=style, label=name)
        for style, name in (("--", "true box"), ("-", f"found, score from {LEAST_DRAWN_SCORE}"))
    ]
    figure.legend(handles=[*lines, *styles], loc="outside lower center", ncols=3)
    figure.suptitle(title)
    figure.savefig(path, dpi=70)


def _draw_map(
    axes: Axes, field_HW: np.ndarray, name: str, colours: str, rows_B5: np.ndarray, found: Detections | None
) -> None:
    height, width = field_HW.shape
    axes.imshow(field_HW, origin="lower", extent=(0, width, 0, height), cmap=colours)
    for *box, number in rows_B5[rows_B5[:, 4] >= 0].tolist():
        axes.add_patch(_rectangle(box, COLOURS[int(number)], "--"))
    for box, score, number in zip(*(column.tolist() for column in found or ()), strict=True):
        if score >= LEAST_DRAWN_SCORE:
            axes.add_patch(_rectangle(box, COLOURS[number], "-"))
            axes.text(box[1], box[2], f"{score:.2f}", color=COLOURS[number], fontsize=9, va="bottom")
    axes.set(xlim=(0, width), ylim=(0, height), xlabel="pixels east", ylabel="pixels north", title=name)


def _rectangle(box: Sequence[float], colour: str, style: str) -> Rectangle:
    ymin, xmin, ymax, xmax = box
    return Rectangle(
        (xmin, ymin), xmax - xmin, ymax - ymin, fill=False, edgecolor=colour, linestyle=style, linewidth=1.8
    )


def find(options: argparse.Namespace) -> list[Sample]:
    """The first validation images with what the trained network finds in them."""
    settings = config.load(options.config, hyperparameters_type=Hyperparameters, system_type=System)
    weights = options.weights or settings.system.trained_weights
    if weights is None:
        raise ConfigError(f"{settings.system_path}: [system] trained_weights: missing; set it or give --weights")
    network = train.new_model(settings.hyperparameters)
    try:
        network.load_state_dict(read_weights(weights))
    except RuntimeError:
        raise ConfigError(
            f"{weights}: found another network's weights than {settings.hyperparameters_path}'s"
        ) from None
    dataset = open_split(options.data or settings.system.data_folder, "validation")
    normalise, samples = Normalise(dataset.statistics), []
    for number in range(min(options.images, len(dataset))):
        fields_CHW = dataset.read(number)
        with torch.no_grad():
            (found,) = by_image(network.eval()(normalise(torch.from_numpy(fields_CHW[None]))))
        samples.append((fields_CHW, dataset.boxes_NB5[number], found))
    return samples


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("preview", lambda: _run(given))


def _run(given: argparse.Namespace) -> str:
    samples = find(given)
    draw(given.picture, samples, f"Detections on {len(samples)} validation images")
    return f"{given.picture}: {len(samples)} images"


if __name__ == "__main__":
    sys.exit(main())
