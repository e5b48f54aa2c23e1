# SPDX-License-Identifier: Apache-2.0
"""S and P: descriptions against logs, and what lies beside the results, at their boundaries."""

import json

import pytest


@pytest.fixture
def describe(valid_round, findings):
    """Change acme's description of a system; the rules that then find something."""

    def change(system="box", **values):
        file = valid_round / "acme" / "systems" / f"{system}.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        return [finding.rule for finding in findings(valid_round)]

    return change


@pytest.mark.parametrize("nodes", ["64", 64, 64.0, " 64 "])
def test_counts_may_be_numbers_or_text(describe, nodes):
    assert describe(number_of_nodes=nodes) == []


@pytest.mark.parametrize("nodes", ["65", 63, "6.4e1"])
def test_other_counts_are_found(describe, nodes):
    assert set(describe(number_of_nodes=nodes)) <= {"S105", "S108"} != set()
    assert describe(number_of_nodes=nodes)


def test_instances_may_have_fewer_nodes_than_the_system_but_not_more(describe):
    assert describe("cluster", number_of_nodes=1024) == []
    assert describe("cluster", number_of_nodes=32, accelerators_per_node="0") == ["S108", "S108"]


def test_concurrent_instances_fit_the_system_exactly(describe, valid_round, edit_log):
    """Ten kept instances and a pruned one, of 512 ranks each, on nodes with 8 accelerators."""
    assert describe("cluster", number_of_nodes=704) == []
    assert describe("cluster", number_of_nodes=703) == ["S111"]
    pruned = valid_round / "acme/results/cluster/weak/cosmoflow/pruned_results/result_10.txt"
    edit_log(pruned, lambda run: run.shift(10**7))
    assert describe("cluster", number_of_nodes=640) == []


def test_a_timed_run_has_all_nodes_of_its_system(describe):
    assert describe("box", number_of_nodes=512) == ["S108"]


def test_case_of_division_and_status_does_not_matter(describe):
    assert describe(division="Closed", status="OnPrem") == []


def test_an_accelerator_needs_a_name_only_where_there_is_one(describe):
    assert describe(accelerator_model_name="") == ["S104"]
    assert "S104" not in describe(accelerator_model_name="", accelerators_per_node="0")


def test_optional_keys_may_be_empty_and_missing_ones_are_named(valid_round, describe, findings):
    assert describe(hw_notes="", cooling="") == []
    file = valid_round / "acme/systems/box.json"
    values = json.loads(file.read_text())
    del values["cooling"], values["sw_notes"]
    file.write_text(json.dumps(values))
    (finding,) = findings(valid_round)
    assert (finding.rule, finding.message) == ("S112", "missing keys: cooling, sw_notes")


@pytest.mark.parametrize(
    ("logged", "expected"),
    [("ACME", []), ("Acme Inc.", []), ("acme", []), ("ac me", []), ("zeta", ["S110"])],
)
def test_organization_may_be_written_in_other_ways(valid_round, findings, edit_log, logged, expected):
    for path in (valid_round / "acme/results/box/strong/cosmoflow").iterdir():
        edit_log(path, lambda run: run.set("submission_org", logged))
    assert [finding.rule for finding in findings(valid_round)] == expected


def test_a_missing_description_names_the_nearest(valid_round, findings):
    (valid_round / "acme/systems/box.json").rename(valid_round / "acme/systems/bx.json")
    found = {finding.rule: finding for finding in findings(valid_round)}
    assert set(found) == {"S101", "S109", "S114"}
    assert "did you mean 'bx'?" in found["S101"].message


def test_power_of_all_nodes_passes(valid_round, findings):
    folder = valid_round / "acme/results/box/strong/cosmoflow/power/result_3"
    folder.mkdir(parents=True)
    for node in range(64):
        (folder / f"node_{node}.txt").write_text("312 W\n")
    assert findings(valid_round) == []
    (folder / "node_63.txt").unlink()
    (finding,) = findings(valid_round)
    assert (finding.rule, finding.found) == ("P106", "63")


def test_a_script_behind_a_link_is_missing(valid_round, findings):
    script = valid_round / "acme/benchmarks/cosmoflow/box/setup.sh"
    script.unlink()
    script.symlink_to(script.with_name("run_and_time.sh"))
    (finding,) = findings(valid_round)
    assert finding.rule == "P102"
    assert "setup.sh" in finding.message
