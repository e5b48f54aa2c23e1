# SPDX-License-Identifier: Apache-2.0
"""Rule, Finding and @rule: a check is a small function whose docstring is its documentation.

    @rule("T102", needs=("L101",))
    def init_within_limit(log: RunLog, limits: EntryRules) -> Iterator[Fault]:
        \"\"\"Initialisation ends within the allowed time.

        Why: work moved before run_start would be free.
        Example: init_start 0 s, init_stop 2052 s, limit 1800 s.
        Fix: move training work after run_start.
        \"\"\"

The name of the first parameter is the subject of the rule: `log`, `entry`, `organization`, `submission`, or `waivers`
(the reviewer's, after all other rules). An optional second one is `limits` (of that log or entry), `ruleset`, `earlier`
(another round, if one is given), or `signers` (the reviewer's keys, for organizations). A rule is skipped if its
prerequisite found something on the same subject.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from compliance.rulesets.ruleset import Benchmark, RuleSet

SCOPES = ("log", "entry", "organization", "submission", "waivers")
CONTEXTS = ("limits", "ruleset", "earlier", "signers")
SEVERITIES = ("error", "warning", "manual")
SECTIONS = re.compile(r"^(Why|Example|Fix): ", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class EntryRules:
    """The rules that apply to one entry: rule set, benchmark and division."""

    ruleset: RuleSet
    benchmark: Benchmark
    division: str
    """closed or open; hardware, system or free under HPC AI500."""


@dataclass(frozen=True)
class Fault:
    """A breach, as a rule yields it: the place and the message. The engine adds rule, severity and fix."""

    path: Path
    message: str
    line: int = 0
    """Line in the file; 0 for the whole file or folder."""
    expected: str = ""
    found: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault with its rule; the fields are those of `check --format json`."""

    rule: str
    severity: str
    path: str
    line: int
    message: str
    expected: str
    found: str
    fix: str

    def __str__(self) -> str:
        where = f"{self.path}:{self.line}" if self.line else self.path
        expected = f", expected {self.expected}" if self.expected else ""
        return f"{where}: {self.rule} {self.severity}: {self.message}{expected}"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A registered check."""

    id: str
    severity: str
    scope: str
    context: str | None
    """Second argument of the check, one of CONTEXTS; None without one."""
    needs: tuple[str, ...]
    check: Callable[..., Iterator[Fault]]

    @cached_property
    def _sections(self) -> dict[str, str]:
        """The sections of the check's docstring; the text before the first one is the summary."""
        head, *parts = SECTIONS.split(inspect.getdoc(self.check) or "")
        sections = {"summary": head, **dict(zip(parts[0::2], parts[1::2], strict=True))}
        return {name.lower(): " ".join(text.split()) for name, text in sections.items()}

    @property
    def summary(self) -> str:
        return self._sections["summary"]

    @property
    def why(self) -> str:
        return self._sections["why"]

    @property
    def example(self) -> str:
        return self._sections["example"]

    @property
    def fix(self) -> str:
        return self._sections["fix"]

    def faults(self, subject: object, context: object = None) -> Iterator[Fault]:
        """The faults that the check finds in its subject."""
        return self.check(subject) if self.context is None else self.check(subject, context)

    def finding(self, fault: Fault) -> Finding:
        return Finding(
            rule=self.id,
            severity=self.severity,
            path=str(fault.path),
            line=fault.line,
            message=fault.message,
            expected=fault.expected,
            found=fault.found,
            fix=self.fix,
        )


RULES: dict[str, Rule] = {}


def rule(rule_id: str, *, severity: str = "error", needs: tuple[str, ...] = ()) -> Callable:
    """Register a check under its id; its docstring must have a summary, Why, Example and Fix."""

    def register(check: Callable[..., Iterator[Fault]]) -> Callable[..., Iterator[Fault]]:
        assert rule_id not in RULES, f"{rule_id} is taken by {RULES[rule_id].check.__name__}"
        scope, *contexts = check.__code__.co_varnames[: check.__code__.co_argcount]
        assert scope in SCOPES, scope
        assert not contexts or (len(contexts) == 1 and contexts[0] in CONTEXTS), contexts
        assert severity in SEVERITIES, severity
        RULES[rule_id] = Rule(
            id=rule_id,
            severity=severity,
            scope=scope,
            context=contexts[0] if contexts else None,
            needs=needs,
            check=check,
        )
        return check

    return register
