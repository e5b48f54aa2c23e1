# SPDX-License-Identifier: Apache-2.0
"""`rules NAME`: valid TOML, equal to what the checker uses, each value with the file it comes from."""

import tomllib

import pytest

from compliance.__main__ import main
from compliance.rulesets.ruleset import load, names


def printed(capsys, *arguments):
    assert main(["rules", *arguments]) == 0
    return capsys.readouterr().out


def test_all_rule_sets_are_listed_with_their_titles(capsys):
    text = printed(capsys)
    assert all(name in text and load(name).values["title"] in text for name in names())


@pytest.mark.parametrize("name", names())
def test_resolved_values_are_those_that_the_checker_uses(name, capsys):
    assert tomllib.loads(printed(capsys, name, "--resolved")) == load(name).values


def test_every_value_names_the_file_that_set_it(capsys):
    lines = printed(capsys, "mlperf_hpc_demo", "--resolved").splitlines()
    origins = {line.split(" = ")[0]: line.rsplit("# ", 1)[1] for line in lines}
    assert origins["benchmarks.cosmoflow.target"] == "mlperf_hpc_demo.toml"
    assert origins["benchmarks.cosmoflow.num_runs"] == "mlperf_hpc_0.7.toml"
    assert origins["clock.staging"] == "mlperf_hpc_3.0.toml"
    assert origins["benchmarks.deepcam.closed.opt_eps"] == "mlperf_hpc_1.0.toml"


def test_unresolved_shows_what_the_rule_set_says_itself(capsys):
    lines = printed(capsys, "mlperf_hpc_2.0").splitlines()
    assert lines
    assert all(line.endswith("# mlperf_hpc_2.0.toml") for line in lines)
