# SPDX-License-Identifier: Apache-2.0
"""Score of a forecaster without eyes: the same boxes for every image, those that fit the training years best.

    python -m ewa_fasterrcnn.climatology output/ewa/data

Every training box of a class is a candidate, scored by the share of training images in which it would have been right
(overlap of 0.5). The best ones that do not overlap each other are the "detections" of all validation images. A network
that has learned anything must be well above it.
"""

import sys
from pathlib import Path

from compliance.command_line import Parser, command
from harness import cli


def options() -> Parser:
    """Options of the command."""
    parser = command("ewa_fasterrcnn.climatology", __doc__)
    parser.add_argument("folder", type=Path, metavar="DATA", help="prepared data set")
    return parser


cli.answer_early(__name__, options())

import numpy as np
import torch

from ewa_fasterrcnn.data import open_split
from ewa_fasterrcnn.metric import OVERLAP, average_precision, mean_average_precision
from ewa_fasterrcnn.model import boxes
from ewa_fasterrcnn.model.box_head import MOST_DETECTIONS, SUPPRESSION_OVERLAP, Detections
from ewa_fasterrcnn.model.roi_ops import suppress
from ewa_fasterrcnn.year_files import CLASS_NAMES, UNUSED

MOST_CANDIDATES = 2000
"""Boxes per class; enough to cover the map, few enough to compare each with all."""


def climatology(boxes_NB5: np.ndarray) -> Detections:
    """The same detections for every image, from the boxes of the training images."""
    rows = torch.from_numpy(boxes_NB5[boxes_NB5[:, :, 4] != UNUSED])
    scored = [_candidates(rows[rows[:, 4] == number], len(boxes_NB5)) for number in range(len(CLASS_NAMES))]
    classes = torch.cat([torch.full((len(part),), number) for number, (part, _) in enumerate(scored)])
    boxes_D4, scores_D = (torch.cat(parts) for parts in zip(*scored, strict=True))
    best = scores_D.argsort(descending=True, stable=True)[:MOST_DETECTIONS]
    return Detections(boxes_D4[best], scores_D[best], classes[best])


def _candidates(rows_G5: torch.Tensor, num_images: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Boxes of one class that do not overlap each other, and the share of images in which each would be right."""
    every = max(1, len(rows_G5) // MOST_CANDIDATES)
    candidates = rows_G5[::every, :4]
    right = boxes.overlaps(candidates, rows_G5[:, :4]) >= OVERLAP
    scores = right.sum(dim=1) / num_images
    stays = suppress(candidates, scores, threshold=SUPPRESSION_OVERLAP)
    return candidates[stays], scores[stays]


def main(arguments: list[str] | None = None) -> int:
    """Command line; 0, or 2 with one line on stderr."""
    given = options().parse_args(arguments)
    return cli.report("baseline", lambda: _run(given.folder))


def _run(folder: Path) -> str:
    training, validation = (open_split(folder, split).boxes_NB5 for split in ("train", "validation"))
    found = climatology(training)
    precision = average_precision(dict.fromkeys(range(len(validation)), found), validation)
    lines = [f"{name:24}{value:.3f}" for name, value in precision.items()]
    return "\n".join([*lines, f"{'mAP at an overlap of 0.5':24} {mean_average_precision(precision):.3f}"])


if __name__ == "__main__":
    sys.exit(main())
