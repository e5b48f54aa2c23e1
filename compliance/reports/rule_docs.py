# SPDX-License-Identifier: Apache-2.0
"""Explanations of rules from their docstrings, for the terminal and for rules/README.md."""

from itertools import groupby

from compliance import checks
from compliance.checks import waivers
from compliance.checks.registry import RULES, Rule
from compliance.files.errors import UserError, nearest
from compliance.rulesets.ruleset import load, names

assert checks.FAMILIES  # importing them
assert waivers.FILE_NAME  # has registered the rules

FAMILIES = {
    "L": "Log",
    "T": "Timing",
    "R": "Results",
    "Q": "Quality",
    "H": "Hyperparameters",
    "S": "System description",
    "C": "Convergence",
    "P": "Package",
}
HEAD = """\
# Rules

Written by `python -m compliance explain --all --output rules/README.md`; the rules are functions of compliance/checks/.
An *error* fails a submission, a *warning* asks for a look; a reviewer checks by hand what is marked *manual*.

## Rule sets

A rule set extends one parent: a table merges, a constraint is replaced whole.
`python -m compliance rules NAME --resolved` shows every value with the file that it comes from.

"""


def rule(rule_id: str) -> str:
    """One rule in full. UserError for an unknown rule names the nearest one."""
    asked = RULES.get(rule_id.upper())
    if asked is None:
        raise UserError(f"no rule {rule_id!r}; {nearest(rule_id.upper(), RULES)}")
    needs = f"\nneeds    {', '.join(asked.needs)} to hold" if asked.needs else ""
    return (
        f"{asked.id}  {asked.summary}\n\n"
        f"severity {asked.severity}\nlooks at {asked.scope}{needs}\n\n"
        f"Why      {asked.why}\nExample  {asked.example}\nFix      {asked.fix}\n"
    )


def listing() -> str:
    """All rules, one line each."""
    return "".join(f"{rule.id}  {rule.severity:<7}  {rule.summary}\n" for rule in _sorted())


def readme() -> str:
    """rules/README.md: the rule sets, and one section for each rule."""
    sets = "".join(f"- `{name}`: {load(name).values['title']}\n" for name in names())
    families = groupby(_sorted(), key=lambda rule: rule.id[0])
    return HEAD + sets + "".join(_family(letter, list(rules)) for letter, rules in families)


def _sorted() -> list[Rule]:
    """By family in the order above, then by number."""
    order = list(FAMILIES)
    return sorted(RULES.values(), key=lambda rule: (order.index(rule.id[0]), rule.id))


def _family(letter: str, rules: list[Rule]) -> str:
    return f"\n## {FAMILIES[letter]}\n" + "".join(map(_section, rules))


def _section(rule: Rule) -> str:
    needs = f", needs {', '.join(rule.needs)}" if rule.needs else ""
    return (
        f"\n### {rule.id}: {rule.check.__name__.replace('_', ' ')}\n\n"
        f"{rule.summary} *({rule.severity}, looks at the {rule.scope}{needs})*\n\n"
        f"- Why: {rule.why}\n- Example: {rule.example}\n- Fix: {rule.fix}\n"
    )
