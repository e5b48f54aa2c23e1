# SPDX-License-Identifier: Apache-2.0
"""The forecaster without eyes: its boxes by hand, and its command."""

import numpy as np
import pytest

from ewa_fasterrcnn import climatology
from ewa_fasterrcnn.metric import average_precision

ALWAYS, ONCE = (10, 10, 20, 20, 1), (40, 40, 60, 60, 1)


def rows(*images) -> np.ndarray:
    table = np.full((len(images), 15, 5), -1, dtype=np.float32)
    for number, boxes in enumerate(images):
        for row, box in enumerate(boxes):
            table[number, row] = box
    return table


def test_the_most_frequent_place_comes_first():
    found = climatology.climatology(rows([ALWAYS], [ALWAYS, ONCE], [ALWAYS], []))
    assert found.boxes_D4.tolist() == [list(ALWAYS[:4]), list(ONCE[:4])]
    assert found.scores_D.tolist() == pytest.approx([0.75, 0.25])
    assert found.classes_D.tolist() == [1, 1]


def test_it_is_right_where_storms_stand_still_and_wrong_elsewhere():
    found = climatology.climatology(rows([ALWAYS], [ALWAYS]))
    assert average_precision({0: found}, rows([ALWAYS])) == {"tropical cyclone": pytest.approx(1.0)}
    assert average_precision({0: found}, rows([ONCE])) == {"tropical cyclone": 0.0}


def test_the_command_names_every_class_and_the_mean(storms, tmp_path, capsys):
    assert climatology.main([str(storms)]) == 0
    printed = capsys.readouterr().out
    assert "mAP at an overlap of 0.5" in printed
    assert climatology.main([str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("baseline: ")
