# SPDX-License-Identifier: Apache-2.0
"""RoIAlign and non-maximum suppression against slow, obvious computations, and compiled ones where they load."""

import math

import pytest
import torch
from torch.autograd import gradcheck

from ewa_fasterrcnn.model import roi_ops
from ewa_fasterrcnn.model.boxes import overlaps
from ewa_fasterrcnn.model.roi_ops import plain_roi_align, plain_suppress, suppress_by_group

needs_compiled = pytest.mark.skipif(
    roi_ops.COMPILED is None, reason="torchvision's compiled operators do not load here"
)


def random_boxes(num: int, *, size: float = 100, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(num, 2, generator=generator, dtype=dtype) * size
    return torch.cat([low, low + 1 + torch.rand(num, 2, generator=generator, dtype=dtype) * size / 3], dim=1)


def slow_suppress(boxes_B4, scores_B, threshold):
    """One box after another, as the algorithm is told."""
    left = scores_B.argsort(descending=True, stable=True).tolist()
    kept = []
    while left:
        best = left.pop(0)
        kept.append(best)
        left = [other for other in left if overlaps(boxes_B4[[best]], boxes_B4[[other]]).item() <= threshold]
    return kept


def slow_value(map_HW, y, x):
    """The map at a point, linear between the centres of four cells; constant beyond the border, zero a cell farther."""
    height, width = map_HW.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return 0.0
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    low_y, low_x = min(int(y), max(height - 2, 0)), min(int(x), max(width - 2, 0))
    value = 0.0
    for row in {low_y, min(low_y + 1, height - 1)}:
        for column in {low_x, min(low_x + 1, width - 1)}:
            value += (1 - abs(y - row)) * (1 - abs(x - column)) * map_HW[row, column].item()
    return value


def slow_roi_align(features_CHW, boxes_R4, scale):
    """Every point of every cell of every box by itself."""
    result = torch.zeros(len(boxes_R4), len(features_CHW), 7, 7, dtype=features_CHW.dtype)
    for number, (ymin, xmin, ymax, xmax) in enumerate((boxes_R4 * scale).tolist()):
        for row in range(7):
            for column in range(7):
                for i in (0.25, 0.75):
                    for j in (0.25, 0.75):
                        y = ymin + (row + i) * (ymax - ymin) / 7 - 0.5
                        x = xmin + (column + j) * (xmax - xmin) / 7 - 0.5
                        for channel, map_HW in enumerate(features_CHW):
                            result[number, channel, row, column] += slow_value(map_HW, y, x) / 4
    return result


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7])
def test_suppression_is_that_of_the_slow_loop(threshold):
    boxes = random_boxes(120)
    scores = torch.rand(120, generator=torch.Generator().manual_seed(1))
    assert plain_suppress(boxes, scores, threshold=threshold).tolist() == slow_suppress(boxes, scores, threshold)


def test_a_suppressed_box_suppresses_nothing():
    chain = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 4.0, 10.0, 14.0], [0.0, 8.0, 10.0, 18.0]])
    kept = plain_suppress(chain, torch.tensor([0.9, 0.8, 0.7]), threshold=0.3)
    assert kept.tolist() == [0, 2]


def test_the_longest_chain_comes_out_right():
    start = torch.arange(60.0)
    chain = torch.stack([start * 0, start, start * 0 + 10, start + 3], dim=1)  # each overlaps the next by half
    scores = torch.linspace(1, 0, 60)
    kept = plain_suppress(chain, scores, threshold=0.45)
    assert kept.tolist() == list(range(0, 60, 2))


def test_equal_scores_keep_the_order_and_nothing_gives_nothing():
    twins = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    assert plain_suppress(twins, torch.ones(2), threshold=0.5).tolist() == [0]
    assert plain_suppress(torch.zeros(0, 4), torch.zeros(0), threshold=0.5).tolist() == []


def test_only_boxes_of_one_group_suppress_each_other():
    twins = torch.tensor([[0.0, 0.0, 4.0, 4.0]] * 3)
    scores = torch.tensor([0.7, 0.9, 0.8])
    assert suppress_by_group(twins, scores, torch.tensor([0, 0, 1]), threshold=0.5).tolist() == [1, 2]
    assert suppress_by_group(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), threshold=0.5).tolist() == []


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_roi_align_is_that_of_the_slow_loop(scale):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
    inside = random_boxes(4, size=5 / scale, dtype=torch.float64)
    reaching_out = torch.tensor([[-3.0, -2.0, 4.0, 5.0], [4.0, 6.0, 9.0, 14.0]], dtype=torch.float64) / scale
    boxes = torch.cat([inside, reaching_out])
    found = plain_roi_align(features, boxes, scale=scale)
    assert torch.allclose(found, slow_roi_align(features, boxes, scale), atol=1e-12)


def test_roi_align_reads_a_slope_exactly():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    features = torch.stack([rows + 0.5, columns + 0.5])
    (found,) = plain_roi_align(features, torch.tensor([[2.0, 3.0, 9.0, 10.0]]), scale=1.0)
    assert found[0, :, 0].tolist() == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5])
    assert found[1, 0].tolist() == pytest.approx([3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5])


def test_roi_align_has_the_right_gradients():
    features = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    boxes = torch.tensor([[0.3, 0.6, 3.1, 4.2], [-1.2, 1.1, 2.7, 7.9]], dtype=torch.float64)
    assert gradcheck(lambda maps: plain_roi_align(maps, boxes, scale=1.0), (features,))


def test_roi_align_of_no_boxes_and_of_a_map_of_one_cell():
    assert plain_roi_align(torch.ones(3, 4, 5), torch.zeros(0, 4), scale=1.0).shape == (0, 3, 7, 7)
    one = plain_roi_align(torch.full((1, 1, 1), 7.0), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), scale=1.0)
    assert one.unique().tolist() == [7.0]


@needs_compiled
def test_compiled_and_plain_suppression_agree():
    boxes, scores = random_boxes(500), torch.rand(500, generator=torch.Generator().manual_seed(2))
    assert (
        roi_ops.suppress(boxes, scores, threshold=0.5).tolist() == plain_suppress(boxes, scores, threshold=0.5).tolist()
    )


@needs_compiled
def test_compiled_and_plain_roi_align_agree_in_values_and_gradients():
    maps = [torch.randn(4, 20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    maps = [one.requires_grad_() for one in maps]
    boxes = torch.cat([random_boxes(30, dtype=torch.float64), random_boxes(10, dtype=torch.float64) - 20])
    values = [
        form(one, boxes, scale=0.25) for form, one in zip((roi_ops.roi_align, plain_roi_align), maps, strict=True)
    ]
    assert torch.allclose(*values, atol=1e-12)
    for value in values:
        value.square().sum().backward()
    assert torch.allclose(maps[0].grad, maps[1].grad, atol=1e-12)


def test_both_forms_are_used_through_one_name():
    boxes, scores = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 1.0, 8.0, 9.0]]), torch.tensor([0.5, 0.6])
    assert roi_ops.suppress(boxes, scores, threshold=0.5).tolist() == [1]
    assert math.isclose(
        roi_ops.roi_align(torch.full((1, 4, 4), 3.0), boxes, scale=0.25).mean().item(), 3.0, rel_tol=1e-6
    )
