# SPDX-License-Identifier: Apache-2.0
"""RoIAlign and non-maximum suppression against slow, obvious computations, and compiled ones where they load."""

from types import ModuleType

import pytest
import torch
from torch.autograd import gradcheck

from ewa_fasterrcnn.model import roi_ops
from ewa_fasterrcnn.model.boxes import overlaps
from ewa_fasterrcnn.model.roi_ops import roi_align, suppress
from tests.ewa_fasterrcnn.model.plain_detector import plain_roi_align


@pytest.fixture
def compiled() -> ModuleType:
    """torchvision.ops; its wheel for CUDA fails beside a CPU build of PyTorch with a RuntimeError."""
    try:
        from torchvision import ops
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"torchvision's compiled operators do not load here: {error}")
    return ops


def random_boxes(num: int, *, size: float = 100, seed: int = 0, dtype=torch.float32) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(num, 2, generator=generator, dtype=dtype) * size
    return torch.cat([low, low + 1 + torch.rand(num, 2, generator=generator, dtype=dtype) * size / 3], dim=1)


def kept(boxes_B4, scores_B, threshold) -> list[int]:
    """Indices of the boxes that stay, the best first."""
    stays_B = suppress(boxes_B4, scores_B, threshold=threshold)
    order_B = scores_B.argsort(descending=True, stable=True)
    return order_B[stays_B[order_B]].tolist()


def align(features_CHW, boxes_R4, scale):
    """RoIAlign of one map of one image."""
    return roi_align([features_CHW[None]], boxes_R4[None], torch.zeros(1, len(boxes_R4)).long(), [scale])


def slow_suppress(boxes_B4, scores_B, threshold):
    """One box after another, as the algorithm is told."""
    left = scores_B.argsort(descending=True, stable=True).tolist()
    best_ones = []
    while left:
        best = left.pop(0)
        best_ones.append(best)
        left = [other for other in left if overlaps(boxes_B4[[best]], boxes_B4[[other]]).item() <= threshold]
    return best_ones


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
@pytest.mark.parametrize("num", [120, 300])  # one block and three
def test_suppression_is_that_of_the_slow_loop(num, threshold):
    boxes = random_boxes(num)
    scores = torch.rand(num, generator=torch.Generator().manual_seed(1))
    assert kept(boxes, scores, threshold) == slow_suppress(boxes, scores, threshold)


def test_a_suppressed_box_suppresses_nothing():
    chain = torch.tensor([[0.0, 0.0, 10.0, 10.0], [0.0, 4.0, 10.0, 14.0], [0.0, 8.0, 10.0, 18.0]])
    assert kept(chain, torch.tensor([0.9, 0.8, 0.7]), 0.3) == [0, 2]


def chain_of(num: int) -> torch.Tensor:
    """Boxes of which each overlaps the next by half."""
    start = torch.arange(float(num))
    return torch.stack([start * 0, start, start * 0 + 10, start + 3], dim=1)


def test_a_chain_through_many_blocks_comes_out_right(monkeypatch):
    monkeypatch.setattr(roi_ops, "BLOCK", 8)
    assert kept(chain_of(60), torch.linspace(1, 0, 60), 0.45) == list(range(0, 60, 2))


def test_of_a_chain_longer_than_the_rounds_no_two_that_overlap_stay():
    found = kept(chain_of(60), torch.linspace(1, 0, 60), 0.45)
    assert found[:8] == list(range(0, 16, 2))  # right as far as the rounds reach
    assert set(found) <= set(range(0, 60, 2))


def test_equal_scores_keep_the_order_and_nothing_gives_nothing():
    twins = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    assert kept(twins, torch.ones(2), 0.5) == [0]
    assert kept(torch.zeros(0, 4), torch.zeros(0), 0.5) == []


def test_an_empty_row_neither_stays_nor_suppresses():
    twins = torch.tensor([[0.0, 0.0, 4.0, 4.0], [0.0, 0.0, 4.0, 4.0]])
    assert suppress(twins, torch.tensor([-torch.inf, -9.0]), threshold=0.5).tolist() == [False, True]


def test_images_and_classes_are_apart():
    twins = torch.tensor([[0.0, 0.0, 4.0, 4.0]] * 2).expand(3, 2, 2, 4)
    scores = torch.tensor([0.7, 0.9]).expand(3, 2, 2)
    assert suppress(twins, scores, threshold=0.5).tolist() == [[[False, True]] * 2] * 3


@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_roi_align_is_that_of_the_slow_loop(scale):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(2, 6, 9, generator=generator, dtype=torch.float64)
    inside = random_boxes(4, size=5 / scale, dtype=torch.float64)
    reaching_out = torch.tensor([[-3.0, -2.0, 4.0, 5.0], [4.0, 6.0, 9.0, 14.0]], dtype=torch.float64) / scale
    boxes = torch.cat([inside, reaching_out])
    assert torch.allclose(align(features, boxes, scale), slow_roi_align(features, boxes, scale), atol=1e-12)


def test_roi_align_has_the_values_and_gradients_of_grid_sample():
    features = torch.randn(5, 20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    boxes = torch.cat([random_boxes(30, dtype=torch.float64), random_boxes(10, dtype=torch.float64) - 20])
    results = []
    for form in (align, lambda *arguments: plain_roi_align(*arguments[:2], scale=arguments[2])):
        own = features.clone().requires_grad_()
        value = form(own, boxes, 0.25)
        value.square().sum().backward()
        results.append((value.detach(), own.grad))
    for found, expected in zip(*results, strict=True):
        assert torch.allclose(found, expected, atol=1e-12)


def test_roi_align_reads_each_region_from_its_level_and_image():
    levels = [torch.tensor([10.0, 20.0]).view(2, 1, 1, 1).expand(2, 3, *size) + size[0] for size in ((8, 12), (4, 6))]
    boxes = torch.tensor([[1.0, 1.0, 6.0, 9.0]]).expand(2, 2, 4)
    crops = roi_align(levels, boxes, torch.tensor([[0, 1], [1, 0]]), [1.0, 0.5])
    assert crops.shape == (4, 3, 7, 7)
    assert [crop.round(decimals=3).unique().tolist() for crop in crops] == [[18], [14], [24], [28]]


def test_roi_align_reads_a_slope_exactly():
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(16.0), indexing="ij")
    features = torch.stack([rows + 0.5, columns + 0.5])
    (found,) = align(features, torch.tensor([[2.0, 3.0, 9.0, 10.0]]), 1.0)
    assert found[0, :, 0].tolist() == pytest.approx([2.5, 3.5, 4.5, 5.5, 6.5, 7.5, 8.5])
    assert found[1, 0].tolist() == pytest.approx([3.5, 4.5, 5.5, 6.5, 7.5, 8.5, 9.5])


def test_roi_align_has_the_right_gradients():
    features = torch.randn(2, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    boxes = torch.tensor([[0.3, 0.6, 3.1, 4.2], [-1.2, 1.1, 2.7, 7.9]], dtype=torch.float64)
    assert gradcheck(lambda maps: align(maps, boxes, 1.0), (features,))


def test_roi_align_of_a_map_of_one_cell():
    one = align(torch.full((1, 1, 1), 7.0), torch.tensor([[0.0, 0.0, 1.0, 1.0]]), 1.0)
    assert one.unique().tolist() == [7.0]


def test_compiled_and_own_suppression_agree(compiled):
    boxes, scores = random_boxes(500), torch.rand(500, generator=torch.Generator().manual_seed(2))
    assert kept(boxes, scores, 0.5) == compiled.nms(boxes[:, [1, 0, 3, 2]], scores, 0.5).tolist()


def test_compiled_and_own_roi_align_agree_in_values_and_gradients(compiled):
    features = torch.randn(4, 20, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    boxes = torch.cat([random_boxes(30, dtype=torch.float64), random_boxes(10, dtype=torch.float64) - 20])
    own, other = (features.clone().requires_grad_() for _ in range(2))
    peer = compiled.roi_align(other[None], [boxes[:, [1, 0, 3, 2]]], roi_ops.CROP_SIZE, 0.25, 2, aligned=True)
    value = align(own, boxes, 0.25)
    assert torch.allclose(value, peer, atol=1e-12)
    value.square().sum().backward()
    peer.square().sum().backward()
    assert torch.allclose(own.grad, other.grad, atol=1e-12)
