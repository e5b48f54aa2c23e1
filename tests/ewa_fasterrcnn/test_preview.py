# SPDX-License-Identifier: Apache-2.0
"""Pictures of what a trained network finds, from training to the file."""

import pytest
import torch

from ewa_fasterrcnn import preview, train
from ewa_fasterrcnn.model.box_head import Detections


def test_training_keeps_weights_and_preview_draws_what_they_find(configure, storms, tmp_path, capsys):
    weights, picture = tmp_path / "weights.pt", tmp_path / "found.png"
    folder = configure(system=f'trained_weights = "{weights}"')
    train.main(["--config", str(folder), "--data", str(storms), "--output", str(tmp_path / "log.txt"), "--seed", "3"])
    assert preview.main([str(picture), "--config", str(folder), "--data", str(storms), "--images", "2"]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "2 images" in capsys.readouterr().out


def test_boxes_are_drawn_where_they_are(storms):
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    found = Detections(
        torch.tensor([[10.0, 20.0, 30.0, 60.0], [1.0, 1.0, 2.0, 2.0]]), torch.tensor([0.9, 0.2]), torch.tensor([1, 0])
    )
    rows = torch.tensor([[5.0, 6.0, 9.0, 12.0, 3.0], [-1.0] * 5]).numpy()
    preview._draw_map(axes, torch.zeros(64, 96).numpy(), "name", "gray", rows, found)
    drawn = [(patch.get_xy(), patch.get_width(), patch.get_height()) for patch in axes.patches]
    assert drawn == [((6.0, 5.0), 6.0, 4.0), ((20.0, 10.0), 40.0, 20.0)]  # the second was found with too low a score


@pytest.mark.parametrize("missing", [False, True])
def test_unusable_weights_are_one_line(configure, storms, tmp_path, capsys, missing):
    weights = tmp_path / "weights.pt"
    if not missing:
        torch.save({"other": torch.zeros(1)}, weights)
    arguments = [str(tmp_path / "a.png"), "--config", str(configure()), "--data", str(storms)]
    assert preview.main([*arguments, "--weights", str(weights)]) == 2
    printed = capsys.readouterr().err
    assert ("cannot be read" if missing else "found another network's weights") in printed
    assert preview.main(arguments) == 2
    assert "trained_weights: missing" in capsys.readouterr().err
