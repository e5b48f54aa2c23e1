# SPDX-License-Identifier: Apache-2.0
"""Matching and sampling, worked by hand."""

import pytest
import torch

from ewa_fasterrcnn.model.matching import BACKGROUND, IGNORED, match, sample

OVERLAPS_GA = torch.tensor([[0.8, 0.5, 0.1, 0.0, 0.2], [0.1, 0.6, 0.2, 0.0, 0.4]])


def test_each_candidate_takes_the_box_it_overlaps_most():
    matches = match(OVERLAPS_GA, foreground=0.5, background=0.3, rescue=False)
    assert matches.tolist() == [0, 1, BACKGROUND, BACKGROUND, IGNORED]


def test_thresholds_are_foreground_inclusive_and_background_exclusive():
    overlaps = torch.tensor([[0.7, 0.3, 0.2999, 0.6999]])
    assert match(overlaps, foreground=0.7, background=0.3, rescue=False).tolist() == [0, IGNORED, BACKGROUND, IGNORED]


def test_rescue_gives_every_true_box_its_best_candidates():
    matches = match(OVERLAPS_GA, foreground=0.7, background=0.3, rescue=True)
    assert matches.tolist() == [0, 1, BACKGROUND, BACKGROUND, IGNORED]
    tied = torch.tensor([[0.2, 0.2, 0.1]])
    assert match(tied, foreground=0.7, background=0.3, rescue=True).tolist() == [0, 0, BACKGROUND]


def test_rescue_takes_no_candidate_that_does_not_overlap():
    matches = match(torch.tensor([[0.0, 0.0]]), foreground=0.7, background=0.3, rescue=True)
    assert matches.tolist() == [BACKGROUND, BACKGROUND]


def test_without_true_boxes_all_is_background():
    matches = match(torch.zeros(0, 4), foreground=0.7, background=0.3, rescue=True)
    assert matches.tolist() == [BACKGROUND] * 4


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_background_fills_up_what_foreground_leaves():
    matches = torch.tensor([0, 1] + [BACKGROUND] * 10 + [IGNORED] * 5)
    foreground, background = sample(matches, num=8, foreground_share=0.5, generator=generator())
    assert sorted(foreground.tolist()) == [0, 1]
    assert len(background) == 6
    assert set(background.tolist()) <= set(range(2, 12))
    assert len(set(background.tolist())) == 6


def test_foreground_is_bounded_by_its_share():
    matches = torch.tensor([0] * 10 + [BACKGROUND] * 10)
    foreground, background = sample(matches, num=8, foreground_share=0.25, generator=generator())
    assert (len(foreground), len(background)) == (2, 6)


@pytest.mark.parametrize("matches", [[0, 0, 0], [BACKGROUND] * 3, [IGNORED] * 3])
def test_a_sample_may_be_of_one_kind_or_empty(matches):
    foreground, background = sample(torch.tensor(matches), num=8, foreground_share=1.0, generator=generator())
    assert len(foreground) == matches.count(0)
    assert len(background) == matches.count(BACKGROUND)


def test_the_generator_alone_decides_the_draw():
    matches = torch.full((100,), BACKGROUND)
    draws = [sample(matches, num=8, foreground_share=0.5, generator=generator(seed))[1].tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
