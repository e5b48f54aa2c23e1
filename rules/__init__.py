# SPDX-License-Identifier: Apache-2.0
"""The rule sets as data: one TOML file a round, read by compliance.rulesets.ruleset. This package holds no code."""
