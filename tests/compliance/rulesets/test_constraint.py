# SPDX-License-Identifier: Apache-2.0
"""Constraint words one by one, at their boundaries."""

import pytest

from compliance.rulesets.constraint import Constraint

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("words", "accepted", "refused"),
    [
        ({"equals": 1e-6}, [1e-6, 1.0000000116860974e-06], [1.1e-6, "1e-6", None]),  # the second went through float32
        ({"equals": True}, [True], [1, "true", False]),
        ({"equals": 1}, [1, 1.0], [True, 1.1]),
        ({"equals": "sgd"}, ["sgd"], ["SGD", None]),
        ({"one_of": ["closed", "open"]}, ["closed", "open"], ["Closed", "", None, ["closed"]]),
        ({"at_least": 0}, [0, 0.0, 5], [-1e-9, NAN, INFINITY, "0", None, True]),
        ({"at_most": 0.124}, [0.124, -3], [0.1240001, NAN]),
        ({"above": 0}, [1e-9, 5], [0, -1, NAN]),
        ({"below": 1}, [0.999, -5], [1, 1.0, NAN]),
        ({"type": "integer"}, [1, 0, -3, 64.0], [0.5, "1", True, None, NAN, INFINITY, 10**400]),
        ({"type": "number"}, [1, 0.5], ["0.5", None, True, NAN]),
        ({"type": "text"}, ["a"], ["", "  ", 3, None]),
        ({"type": "boolean"}, [True, False], [0, 1, "true"]),
        ({"type": "list of numbers"}, [[], [1, 2.5]], [[1, "2"], 1, [NAN], None]),
        ({"type": "number or list of numbers"}, [1, [1, 2]], ["1", [None]]),
        ({"type": "list of numbers", "length": 2}, [[0.9, 0.999]], [[0.9], [1, 2, 3], "ab"]),
        ({"at_least": 0, "at_most": 1}, [0, 1, 0.5], [-0.1, 1.1]),
    ],
)
def test_words(words, accepted, refused):
    constraint = Constraint.from_toml(words)
    assert [value for value in accepted if not constraint.accepts(value)] == []
    assert [value for value in refused if constraint.accepts(value)] == []


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ({"at_most": 0.124}, "at most 0.124"),
        ({"type": "integer", "above": 0}, "an integer above 0"),
        ({"type": "number", "at_least": 0, "below": 1}, "a number at least 0 below 1"),
        ({"one_of": ["closed", "open"]}, "one of 'closed', 'open'"),
        ({"equals": True}, "True"),
        ({"type": "list of numbers", "length": 2}, "a list of numbers of length 2"),
        ({}, "anything"),
    ],
)
def test_descriptions(words, text):
    assert Constraint.from_toml(words).describe() == text


def test_when_holds_only_for_the_named_values():
    constraint = Constraint.from_toml({"equals": 1.0, "when": {"opt_name": "LAMB"}})
    assert constraint.applies({"opt_name": "LAMB"})
    assert not constraint.applies({"opt_name": "Adam"})
    assert not constraint.applies({})
    assert Constraint.from_toml({"equals": 1.0}).applies({})


@pytest.mark.parametrize(
    ("words", "threshold", "smaller"), [({"at_most": 0.124}, 0.124, True), ({"at_least": 0.82}, 0.82, False)]
)
def test_targets_have_a_threshold_and_a_direction(words, threshold, smaller):
    target = Constraint.from_toml(words)
    assert (target.threshold, target.smaller_is_better) == (threshold, smaller)
