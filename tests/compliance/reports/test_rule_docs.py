# SPDX-License-Identifier: Apache-2.0
"""Rules explained from their own docstrings; rules/README.md is what the generator writes."""

from importlib.resources import files

import pytest

from compliance.__main__ import main
from compliance.checks.registry import RULES
from compliance.files.errors import UserError
from compliance.reports import rule_docs


def test_the_readme_of_the_rules_is_current():
    readme = files("rules").joinpath("README.md").read_text(encoding="utf-8")
    assert readme == rule_docs.readme(), "run python -m compliance explain --all --output rules/README.md"


@pytest.mark.parametrize("rule_id", sorted(RULES))
def test_every_rule_says_why_and_how_to_fix(rule_id):
    text = rule_docs.rule(rule_id)
    for words in (RULES[rule_id].summary, RULES[rule_id].severity, RULES[rule_id].why, RULES[rule_id].fix):
        assert words
        assert words in text


@pytest.mark.parametrize("rule_id", sorted(RULES))
def test_every_rule_is_one_section_of_the_readme(rule_id):
    assert rule_docs.readme().count(f"\n### {rule_id}: ") == 1


def test_listing_has_a_line_for_every_rule(capsys):
    assert main(["explain"]) == 0
    assert sorted(line.split()[0] for line in capsys.readouterr().out.splitlines()) == sorted(RULES)


def test_case_does_not_matter():
    assert rule_docs.rule("t102") == rule_docs.rule("T102")


def test_an_unknown_rule_names_a_near_one():
    with pytest.raises(UserError, match="no rule 'T1022'; did you mean 'T1"):
        rule_docs.rule("T1022")


def test_every_family_has_a_heading():
    assert {rule_id[0] for rule_id in RULES} <= set(rule_docs.FAMILIES)
