# SPDX-License-Identifier: Apache-2.0
"""Bounds of fields: the boundary itself, what lies beyond it, and None, which passes."""

import math
from types import SimpleNamespace

import pytest

from harness import validate


@pytest.mark.parametrize(
    ("check", "inside", "outside", "expected"),
    [
        (lambda fields: validate.above(fields, 0, "x"), (1e-9, 3), (0, -1, math.nan), "a number above 0"),
        (lambda fields: validate.at_least(fields, 1, "x"), (1, 2.5), (0, 0.99, math.nan), "at least 1"),
        (lambda fields: validate.share(fields, "x"), (0, 0.999), (1.0, -0.1, math.nan), "at least 0 and below 1"),
        (lambda fields: validate.rising(fields, "x"), ((), (1, 2, 2, 3)), ((2, 1), (1, 3, 2)), "them rising"),
    ],
)
def test_a_field_out_of_its_bounds_is_named(check, inside, outside, expected):
    for value in (None, *inside):
        check(SimpleNamespace(x=value))
    for value in outside:
        with pytest.raises(ValueError, match=rf"x: found .*, expected {expected}$"):
            check(SimpleNamespace(x=value))


def test_every_named_field_is_checked():
    with pytest.raises(ValueError, match="second: found 0"):
        validate.above(SimpleNamespace(first=1, second=0, third=-1), 0, "first", "second", "third")
