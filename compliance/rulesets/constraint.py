# SPDX-License-Identifier: Apache-2.0
"""Constraint: what a value in a log may be. The words are those of rules/base.toml's head."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

NUMBERS = frozenset({int, float})
LARGEST = 1e300


def _is_number(value: object) -> bool:
    # Comparing, unlike math.isfinite, also survives an integer of 400 digits. A boolean is no number.
    return type(value) in NUMBERS and -LARGEST < value < LARGEST


def _is_integer(value: object) -> bool:
    # Frameworks without integers log 64.0; the count is still whole.
    return _is_number(value) and float(value).is_integer()


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


TYPES = {
    "text": lambda value: isinstance(value, str) and bool(value.strip()),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "list of numbers": _is_numbers,
    "number or list of numbers": lambda value: _is_number(value) or _is_numbers(value),
}


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """All the words that are given must hold. A missing word is None."""

    type: str | None = None
    """A key of TYPES."""
    equals: Any = None
    one_of: tuple | None = None
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    length: int | None = None
    optional: bool = False
    """The key may be absent; where it is there, the rest holds."""
    when: Mapping[str, Any] | None = None
    """Applies only where these other keys have these values."""

    @classmethod
    def from_toml(cls, table: Mapping[str, Any]) -> "Constraint":
        words = {**table, "one_of": tuple(table["one_of"])} if "one_of" in table else table
        return cls(**words)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether `when` holds among a log's values."""
        return all(values.get(key) == expected for key, expected in (self.when or {}).items())

    @cached_property
    def accepts(self) -> Callable[[object], bool]:
        """Whether a value fulfils every word; NaN and infinity fulfil none of the numeric ones."""
        tests = tuple(self._tests())

        def accepts(value: object) -> bool:
            for test in tests:  # noqa: SIM110 (all() with a generator takes twice as long)
                if not test(value):
                    return False
            return True

        return tests[0] if len(tests) == 1 else accepts

    def _tests(self) -> Iterator[Callable[[object], bool]]:
        """What the words ask, made once: a round has a hundred thousand values to test."""
        if self.type is not None:
            yield TYPES[self.type]
        if self.equals is not None:
            yield lambda value: _same(value, self.equals)
        if self.one_of is not None:
            yield lambda value: any(_same(value, choice) for choice in self.one_of)
        if self.length is not None:
            yield lambda value: isinstance(value, list | str) and len(value) == self.length
        if self.at_least is not None or self.at_most is not None:
            low = -LARGEST if self.at_least is None else self.at_least
            high = LARGEST if self.at_most is None else self.at_most
            yield lambda value: type(value) in NUMBERS and low <= value <= high
        if self.above is not None:
            yield lambda value: _is_number(value) and value > self.above
        if self.below is not None:
            yield lambda value: _is_number(value) and value < self.below

    @property
    def threshold(self) -> float:
        """The bound of a target: its at_most or its at_least."""
        bound = self.at_most if self.at_most is not None else self.at_least
        assert bound is not None, "only a target has a threshold"
        return bound

    @property
    def smaller_is_better(self) -> bool:
        return self.at_most is not None

    def describe(self) -> str:
        """In words, as findings print it: 'an integer above 0'."""
        words = []
        if self.type is not None:
            words.append(f"an {self.type}" if self.type[0] in "aeiou" else f"a {self.type}")
        if self.equals is not None:
            words.append(repr(self.equals))
        if self.one_of is not None:
            words.append("one of " + ", ".join(map(repr, self.one_of)))
        for word in ("at_least", "at_most", "above", "below"):
            bound = getattr(self, word)
            if bound is not None:
                words.append(f"{word.replace('_', ' ')} {bound:g}")
        if self.length is not None:
            words.append(f"of length {self.length}")
        return " ".join(words) or "anything"


CONSTRAINT_WORDS = frozenset(field.name for field in fields(Constraint))


def _same(value: object, expected: object) -> bool:
    """Equality that keeps true apart from 1, and lets 1e-6 have gone through single precision."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if _is_number(value) and _is_number(expected):
        return math.isclose(value, expected, rel_tol=1e-6)
    return value == expected
