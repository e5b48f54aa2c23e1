# SPDX-License-Identifier: Apache-2.0
"""Matching and sampling, worked by hand."""

import pytest
import torch

from ewa_fasterrcnn.model.matching import BACKGROUND, IGNORED, Sample, match, move_losses, sample
from ewa_fasterrcnn.model.random_numbers import random_numbers

OVERLAPS_GA = [[0.8, 0.5, 0.1, 0.0, 0.2], [0.1, 0.6, 0.2, 0.0, 0.4]]


def matches_of(overlaps: list[list[float]], **thresholds) -> list[int]:
    (matches_A,) = match(torch.tensor([overlaps]), **thresholds)
    return matches_A.tolist()


def test_each_candidate_takes_the_box_it_overlaps_most():
    found = matches_of(OVERLAPS_GA, foreground=0.5, background=0.3, rescue=False)
    assert found == [0, 1, BACKGROUND, BACKGROUND, IGNORED]


def test_thresholds_are_foreground_inclusive_and_background_exclusive():
    found = matches_of([[0.7, 0.3, 0.2999, 0.6999]], foreground=0.7, background=0.3, rescue=False)
    assert found == [0, IGNORED, BACKGROUND, IGNORED]


def test_rescue_gives_every_true_box_its_best_candidates():
    found = matches_of(OVERLAPS_GA, foreground=0.7, background=0.3, rescue=True)
    assert found == [0, 1, BACKGROUND, BACKGROUND, IGNORED]
    assert matches_of([[0.2, 0.2, 0.1]], foreground=0.7, background=0.3, rescue=True) == [0, 0, BACKGROUND]


def test_rescue_takes_no_candidate_that_does_not_overlap():
    """Therefore an unused row, which overlaps nothing, makes all background."""
    assert matches_of([[0.0, 0.0]], foreground=0.7, background=0.3, rescue=True) == [BACKGROUND, BACKGROUND]


def drawn(matches: list[int], *, num: int, share: float, key: int = 0) -> tuple[list[int], list[int]]:
    """Foreground and background of a sample of one image."""
    random_1A = random_numbers(torch.tensor([key]), len(matches), purpose=0)
    found = sample(torch.tensor([matches]), random_1A, num=num, foreground_share=share)
    assert found.indices_NS.shape == (1, min(num, found.indices_NS.shape[1]))
    is_background_NS = found.is_filled_NS & ~found.is_foreground_NS
    num_foreground = int(found.is_foreground_NS.sum())
    assert found.is_foreground_NS[0, :num_foreground].all()
    return tuple(found.indices_NS[mask].tolist() for mask in (found.is_foreground_NS, is_background_NS))


def test_background_fills_up_what_foreground_leaves():
    foreground, background = drawn([0, 1] + [BACKGROUND] * 10 + [IGNORED] * 5, num=8, share=0.5)
    assert sorted(foreground) == [0, 1]
    assert len(background) == len(set(background)) == 6
    assert set(background) <= set(range(2, 12))


def test_foreground_is_bounded_by_its_share():
    foreground, background = drawn([0] * 10 + [BACKGROUND] * 10, num=8, share=0.25)
    assert (len(foreground), len(background)) == (2, 6)


@pytest.mark.parametrize("matches", [[0, 0, 0], [BACKGROUND] * 3, [IGNORED] * 3])
def test_a_sample_may_be_of_one_kind_or_empty(matches):
    foreground, background = drawn(matches, num=8, share=1.0)
    assert len(foreground) == matches.count(0)
    assert len(background) == matches.count(BACKGROUND)


def test_the_random_numbers_alone_decide_the_draw():
    draws = [drawn([BACKGROUND] * 100, num=8, share=0.5, key=key)[1] for key in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


def test_every_candidate_is_drawn_as_often_as_any_other():
    random_NA = random_numbers(torch.arange(4000), 10, purpose=0)
    found = sample(torch.full((4000, 10), BACKGROUND), random_NA, num=3, foreground_share=0.5)
    counts = found.indices_NS.flatten().bincount(minlength=10)
    assert counts.tolist() == pytest.approx([1200] * 10, abs=5 * 1200**0.5)


def test_move_losses_by_hand():
    starts = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [2.0, 2.0, 2.0, 2.0]]])  # the second is an empty slot's
    deltas = torch.tensor([[[3.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]], requires_grad=True)
    sampled = Sample(torch.tensor([[0, 1]]), torch.tensor([[True, False]]), torch.tensor([[True, True]]))
    (loss,) = move_losses(deltas, starts, starts, torch.tensor([[0, BACKGROUND]]), sampled, (1.0, 1.0))
    loss.backward()
    assert loss.item() == pytest.approx((3 - 1 / 18) / 2)
    assert deltas.grad.flatten().tolist() == [0.5, 0, 0, 0, 0, 0, 0, 0]
