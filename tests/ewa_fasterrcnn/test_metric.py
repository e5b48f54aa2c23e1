# SPDX-License-Identifier: Apache-2.0
"""Mean average precision, in cases worked by hand."""

import numpy as np
import pytest
import torch

from ewa_fasterrcnn.metric import MetricError, average_precision, mean_average_precision
from ewa_fasterrcnn.model.box_head import Detections

NAMES = ("tropical depression", "tropical cyclone", "extratropical cyclone", "atmospheric river")


def truths(*images) -> np.ndarray:
    rows = np.full((len(images), 15, 5), -1, dtype=np.float32)
    for number, boxes in enumerate(images):
        for row, box in enumerate(boxes):
            rows[number, row] = box
    return rows


def found(*rows) -> Detections:
    """Rows of ymin, xmin, ymax, xmax, score, class."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    return Detections(table[:, :4], table[:, 4], table[:, 5].long())


SQUARE, FAR = (10, 20, 30, 60), (50, 70, 60, 90)


def test_an_exact_detection_of_the_only_storm_is_1():
    assert average_precision({0: found((*SQUARE, 0.3, 1))}, truths([(*SQUARE, 1)])) == {NAMES[1]: pytest.approx(1.0)}


def test_a_better_scored_false_one_halves_the_precision():
    detections = {0: found((*FAR, 0.9, 1), (*SQUARE, 0.3, 1))}
    assert average_precision(detections, truths([(*SQUARE, 1)])) == {NAMES[1]: pytest.approx(0.5)}


def test_a_worse_scored_false_one_costs_nothing():
    detections = {0: found((*FAR, 0.1, 1), (*SQUARE, 0.3, 1))}
    assert average_precision(detections, truths([(*SQUARE, 1)])) == {NAMES[1]: pytest.approx(1.0)}


def test_one_of_two_storms_found_is_51_of_101_recalls():
    detections = {0: found((*SQUARE, 0.3, 1))}
    assert average_precision(detections, truths([(*SQUARE, 1), (*FAR, 1)])) == {NAMES[1]: pytest.approx(51 / 101)}


def test_an_overlap_of_half_counts_and_of_less_does_not():
    half = {0: found((0, 0, 10, 5, 0.9, 0))}
    assert average_precision(half, truths([(0, 0, 10, 10, 0)]))[NAMES[0]] == pytest.approx(1.0)
    less = {0: found((0, 0, 10, 4.9, 0.9, 0))}
    assert average_precision(less, truths([(0, 0, 10, 10, 0)]))[NAMES[0]] == 0.0


def test_height_and_width_are_told_apart():
    lying = {0: found((20, 10, 60, 30, 0.9, 1))}  # rows and columns of SQUARE exchanged
    assert average_precision(lying, truths([(*SQUARE, 1)]))[NAMES[1]] == 0.0


def test_the_right_place_with_the_wrong_class_is_nothing():
    assert average_precision({0: found((*SQUARE, 0.9, 2))}, truths([(*SQUARE, 1)])) == {NAMES[1]: 0.0}


def test_the_second_detection_of_one_storm_is_false():
    detections = {0: found((*SQUARE, 0.9, 1), (*SQUARE, 0.8, 1)), 1: found((*SQUARE, 0.7, 1))}
    precision = average_precision(detections, truths([(*SQUARE, 1)], [(*SQUARE, 1)]))
    # Precision 1 up to a recall of a half (51 of the 101 points), then 2 of 3.
    assert precision == {NAMES[1]: pytest.approx((51 + 50 * 2 / 3) / 101)}


def test_false_detections_in_an_image_without_boxes_count():
    detections = {0: found((*SQUARE, 0.9, 1)), 1: found((*SQUARE, 0.5, 1))}
    assert average_precision(detections, truths([], [(*SQUARE, 1)])) == {NAMES[1]: pytest.approx(0.5)}


def test_an_image_without_detections_and_one_that_was_never_looked_at():
    for detections in ({0: found()}, {}):
        assert average_precision(detections, truths([(*SQUARE, 1)])) == {NAMES[1]: 0.0}


def test_classes_without_boxes_are_left_out_of_the_mean():
    detections = {0: found((*SQUARE, 0.9, 1), (*SQUARE, 0.9, 3))}
    precision = average_precision(detections, truths([(*SQUARE, 1), (*FAR, 0)]))
    assert precision == {NAMES[0]: 0.0, NAMES[1]: pytest.approx(1.0)}
    assert mean_average_precision(precision) == pytest.approx(0.5)


def test_no_box_in_any_image_is_no_quality():
    with pytest.raises(MetricError, match="no box in any image"):
        mean_average_precision(average_precision({0: found((*SQUARE, 0.9, 1))}, truths([])))


def test_pycocotools_prints_nothing(capsys):
    average_precision({0: found((*SQUARE, 0.9, 1))}, truths([(*SQUARE, 1)]))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("column", [0, 4])
def test_a_box_or_score_that_is_no_number_is_refused_by_name(column):
    """pycocotools matches NaN boxes with every true box: they would have an average precision of 1."""
    rows = [(*FAR, 0.9, 1), (*FAR, 0.8, 1)]
    rows[1] = tuple(float("nan") if number == column else value for number, value in enumerate(rows[1]))
    with pytest.raises(MetricError, match=r"image 3: detection 1: found box \[.*expected finite numbers"):
        average_precision({3: found(*rows)}, truths([], [], [], [(*SQUARE, 1)]))
