# SPDX-License-Identifier: Apache-2.0
"""`rules`: list the rule sets; `rules NAME`: print the values that one sets; `--resolved`: also those it inherits."""

import argparse
from collections.abc import Mapping
from typing import Any

from compliance.files import toml
from compliance.reports.tables import aligned
from compliance.rulesets import ruleset
from compliance.rulesets.ruleset import RuleSet, is_constraint


def run(arguments: argparse.Namespace) -> int:
    if arguments.name is None:
        rows = [(name, ruleset.load(name).values["title"]) for name in ruleset.names()]
        print(aligned([("name", "title"), *rows]), end="")
    else:
        print(text(ruleset.load(arguments.name), resolved=arguments.resolved), end="")
    return 0


def text(rules: RuleSet, *, resolved: bool) -> str:
    """Every value as TOML with the file that sets it; without `resolved`, only values that the rule set sets itself."""
    lines = []
    for path, file_name in sorted(rules.origins.items()):
        value = _at(rules.values, path)
        has_own_lines = isinstance(value, Mapping) and value and not is_constraint(value)
        if (resolved or file_name == rules.file_name) and not has_own_lines:
            lines.append((f"{toml.key(*path)} = {toml.value(value)}", file_name))
    width = max((len(line) for line, _ in lines if len(line) <= 100), default=0)
    return "".join(f"{line:<{width}}  # {file_name}\n" for line, file_name in lines)


def _at(values: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    for part in path:
        values = values[part]
    return values
