# SPDX-License-Identifier: Apache-2.0
"""Constraint: the values that a logged key may have. The head of rules/base.toml lists the words.

Constraint(type="integer", above=0).accepts(64)            # True
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

NUMBERS = frozenset({int, float})
LARGEST = 1e300


def _is_number(value: Any) -> bool:
    # A comparison, unlike math.isfinite, also survives an integer of 400 digits. A boolean is not a number.
    return type(value) in NUMBERS and -LARGEST < value < LARGEST


def _is_integer(value: Any) -> bool:
    # Frameworks without integers log 64.0; the count is still whole.
    return _is_number(value) and float(value).is_integer()


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


TYPES: dict[str, Callable[[Any], bool]] = {
    "text": lambda value: isinstance(value, str) and bool(value.strip()),
    "boolean": lambda value: isinstance(value, bool),
    "integer": _is_integer,
    "number": _is_number,
    "list of numbers": _is_numbers,
    "number or list of numbers": lambda value: _is_number(value) or _is_numbers(value),
}


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A value must fulfill every word that is given. A word that is not given is None."""

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
    """The key may be missing; if it is logged, the other words apply."""
    when: Mapping[str, Any] | None = None
    """The constraint applies only if these other keys have these values."""

    @classmethod
    def from_toml(cls, table: Mapping[str, Any]) -> "Constraint":
        words = {**table, "one_of": tuple(table["one_of"])} if "one_of" in table else table
        return cls(**words)

    def applies(self, values: Mapping[str, Any]) -> bool:
        """True if a log with these values fulfills `when`."""
        return all(values.get(key) == expected for key, expected in (self.when or {}).items())

    @cached_property
    def accepts(self) -> Callable[[Any], bool]:
        """A function that tells whether a value fulfills every word; NaN and infinity fulfill no numeric word."""
        tests = tuple(self._tests())

        def accepts(value: Any) -> bool:
            for test in tests:  # noqa: SIM110 (all() with a generator takes twice as long)
                if not test(value):
                    return False
            return True

        return tests[0] if len(tests) == 1 else accepts

    def _tests(self) -> Iterator[Callable[[Any], bool]]:
        """One test per word, built once: a round has a hundred thousand values to test."""
        if self.type is not None:
            yield TYPES[self.type]
        if self.equals is not None:
            yield lambda value: _same(value, self.equals)
        if (choices := self.one_of) is not None:
            yield lambda value: any(_same(value, choice) for choice in choices)
        if self.length is not None:
            yield lambda value: isinstance(value, list | str) and len(value) == self.length
        yield from self._bound_tests()

    def _bound_tests(self) -> Iterator[Callable[[Any], bool]]:
        """Tests of the bounds, which apply to each item of a list if the type allows lists."""
        of_items = _for_each if self.type is not None and "list" in self.type else _itself
        if self.at_least is not None or self.at_most is not None:
            low = -LARGEST if self.at_least is None else self.at_least
            high = LARGEST if self.at_most is None else self.at_most
            yield of_items(lambda value: type(value) in NUMBERS and low <= value <= high)
        if self.above is not None or self.below is not None:
            floor = -LARGEST if self.above is None else self.above
            ceiling = LARGEST if self.below is None else self.below
            yield of_items(lambda value: type(value) in NUMBERS and floor < value < ceiling)

    @property
    def threshold(self) -> float:
        """The bound of a quality target: its at_most or its at_least."""
        bound = self.at_most if self.at_most is not None else self.at_least
        assert bound is not None, "only a target has a threshold"
        return bound

    @property
    def smaller_is_better(self) -> bool:
        return self.at_most is not None

    def describe(self) -> str:
        """The constraint in words, as findings print it: 'an integer above 0'."""
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


def _for_each(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: all(map(test, value)) if type(value) is list else test(value)


def _itself(test: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return test


def _same(value: Any, expected: Any) -> bool:
    """Equality that tells true from 1, compares integers exactly and accepts 1e-6 after single precision."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(expected, float) and _is_number(value):
        return math.isclose(value, expected, rel_tol=1e-6)
    return value == expected
