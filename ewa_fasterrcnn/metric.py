# SPDX-License-Identifier: Apache-2.0
"""The quality metric: mean average precision at an overlap (IoU) of 0.5, as pycocotools computes it.

    precision = average_precision(detections, boxes_NB5)     # {"tropical cyclone": 0.61, ...}
    quality = mean_average_precision(precision)

Average precision is COCO's: the mean over 101 recalls of the best precision at that recall or a higher one. A class
without a single box in the data has no precision, and is left out of the mean. In an image without boxes every
detection is a false one.

Shape legend: N images, B rows of boxes, D detections.
"""

import contextlib
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from compliance.files.errors import UserError
from ewa_fasterrcnn.model.box_head import MOST_DETECTIONS, Detections
from ewa_fasterrcnn.year_files import CLASS_NAMES, UNUSED

OVERLAP = 0.5


class MetricError(UserError):
    """A quality that is not defined."""


def average_precision(detections: Mapping[int, Detections], boxes_NB5: np.ndarray) -> dict[str, float]:
    """By class name, for the classes that have boxes. detections: by the number of their image, from 0.

    MetricError naming the image of a box or score that is no finite number: pycocotools matches it with every true box.
    """
    for image, found in detections.items():
        _check(image, found)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every step
        evaluation = COCOeval(
            _index(_true_boxes(boxes_NB5), len(boxes_NB5)), _index(_found_boxes(detections), len(boxes_NB5)), "bbox"
        )
        evaluation.params.iouThrs = np.array([OVERLAP])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.params.maxDets = [MOST_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision_RK = evaluation.eval["precision"][0, :, :, 0, 0]  # -1 for a class without boxes
    means_K = precision_RK.mean(axis=0)
    return {name: float(mean) for name, mean in zip(CLASS_NAMES, means_K, strict=True) if mean > -1}


def mean_average_precision(precision: Mapping[str, float]) -> float:
    """The mean over classes; MetricError where no class has boxes."""
    if not precision:
        raise MetricError("average precision: found no box in any image, expected at least one to be found")
    return sum(precision.values()) / len(precision)


def _check(image: int, found: Detections) -> None:
    unsound_D = ~(found.boxes_D4.isfinite().all(dim=1) & found.scores_D.isfinite())
    if unsound_D.any():
        number = int(unsound_D.nonzero()[0])
        values = f"box {found.boxes_D4[number].tolist()}, score {found.scores_D[number].item()}"
        raise MetricError(f"image {image}: detection {number}: found {values}, expected finite numbers")


def _true_boxes(boxes_NB5: np.ndarray) -> Iterator[dict[str, Any]]:
    for image, rows_B5 in enumerate(boxes_NB5):
        for *box, number in rows_B5[rows_B5[:, 4] != UNUSED].tolist():
            yield _annotation(image, box, number) | {"iscrowd": 0}


def _found_boxes(detections: Mapping[int, Detections]) -> Iterator[dict[str, Any]]:
    for image, found in detections.items():
        columns = (column.tolist() for column in found)
        for box, score, number in zip(*columns, strict=True):
            yield _annotation(image, box, number) | {"score": score}


def _annotation(image: int, box: list[float], number: float) -> dict[str, Any]:
    ymin, xmin, ymax, xmax = box
    height, width = ymax - ymin, xmax - xmin
    return {
        "image_id": image,
        "category_id": int(number),
        "bbox": [xmin, ymin, width, height],
        "area": width * height,
    }


def _index(annotations: Iterator[dict[str, Any]], num_images: int) -> COCO:
    # pycocotools takes a match with annotation 0 for no match: they count from 1.
    numbered = [annotation | {"id": number} for number, annotation in enumerate(annotations, start=1)]
    coco = COCO()
    coco.dataset = {
        "images": [{"id": number} for number in range(num_images)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES)],
        "annotations": numbered,
    }
    coco.createIndex()
    return coco
