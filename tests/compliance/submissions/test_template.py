# SPDX-License-Identifier: Apache-2.0
"""submission_template/: empty, it names every field to fill in; filled in, it passes."""

import json
from pathlib import Path

import pytest

from compliance.review import review
from compliance.rulesets.ruleset import load
from compliance.submissions import entry_files, template
from compliance.submissions.entry_files import EntryFiles
from compliance.submissions.layout import EntryTree, folder_name

TEMPLATE = Path(__file__).resolve().parents[3] / "submission_template"


@pytest.fixture
def tree(tmp_path) -> EntryTree:
    tree = EntryTree(root=tmp_path, org="acme", system="box", benchmark="cosmoflow", implementation="pytorch")
    rules = load("mlperf_hpc_3.0")
    description = dict.fromkeys(rules.values["system_description"]["keys"], "")
    entry_files.write(EntryFiles(tree=tree, rules=rules, division="closed", description=description, source=None))
    return tree


def findings(root, *rules):
    return [finding for finding in review(root).findings if finding.rule in rules]


def test_the_empty_template_is_read_and_does_not_pass():
    reviewed = review(TEMPLATE)
    assert not reviewed.ok
    assert reviewed.submission.entries == []


def test_a_submission_without_an_entry_does_not_pass(tmp_path):
    (tmp_path / "acme" / "results").mkdir(parents=True)
    (finding,) = review(tmp_path).findings
    assert (finding.rule, finding.severity, finding.message) == ("P954", "error", "no entry")
    assert [one.rule for one in review(tmp_path / "acme").findings] == ["P954"]


def test_the_empty_template_names_every_place_to_fill_in():
    named = {(Path(one.path).name, one.line) for one in findings(TEMPLATE, "P953")}
    expected = {(name, 0) for name in ("ORGANIZATION", "BENCHMARK", "SYSTEM", "IMPLEMENTATION", "SYSTEM.json")}
    expected |= {("SYSTEM_IMPLEMENTATION.json", 0)}
    for path in (*TEMPLATE.rglob("*/README.md"), *TEMPLATE.rglob("*.sh")):
        lines = path.read_text().splitlines()
        expected |= {
            (path.name, number) for number, line in enumerate(lines, 1) if "FILL IN" in line and "`" not in line
        }
    assert named == expected


def test_the_empty_template_names_every_required_field_of_the_system():
    (finding,) = findings(TEMPLATE, "S104")
    assert all(key in finding.message for key in load("mlperf_hpc_3.0").values["system_description"]["filled_in"])


def test_the_template_has_all_keys_of_a_system_description():
    values = json.loads((TEMPLATE / "ORGANIZATION" / "systems" / "SYSTEM.json").read_text())
    assert list(values) == load("mlperf_hpc_3.0").values["system_description"]["keys"]
    assert set(values.values()) == {""}


def test_the_filled_template_passes(tree, run_log):
    for place in list(template.unfilled(tree.organization)):
        place.path.write_text(place.path.read_text().replace("FILL IN:", "Here:"))
    values = json.loads(tree.description.read_text())
    known = {"division": "closed", "status": "onprem", "number_of_nodes": "64", "accelerators_per_node": "8"}
    tree.description.write_text(json.dumps(dict.fromkeys(values, "box") | {"submitter": "acme"} | known))
    (tree.implementation_folder / "train.py").write_text("print()\n")
    for index in range(10):
        start_ms = 1_694_440_434_000 + index * 10**7
        run_log(seed=index + 1, num_epochs=24, start_ms=start_ms).write(tree.result(index))
    reviewed = review(tree.root)
    assert [str(finding) for finding in reviewed.findings if finding.severity in ("error", "warning")] == []
    assert reviewed.entries[0].score.scored


def test_a_copy_has_the_entrys_names_everywhere(tree):
    names = [str(path.relative_to(tree.root)) for path in tree.root.rglob("*")]
    assert tree.summary.is_file()
    assert tree.description.is_file()
    assert not any(word in name for word in template.NAMES for name in names)
    assert (tree.system_folder / "README.md").read_text().startswith("# cosmoflow on box\n")
    assert (tree.system_folder / "setup.sh").stat().st_mode & 0o111


def test_what_is_left_is_named_by_line_and_goes_away_when_written(tree):
    readme = tree.system_folder / "README.md"
    before = [place for place in template.unfilled(tree.organization) if place.path == readme]
    assert [place.line for place in before] == [7, 9, 11]
    readme.write_text(readme.read_text().replace("FILL IN: how to start the runs", "sbatch"))
    after = [place for place in template.unfilled(tree.organization) if place.path == readme]
    assert [place.line for place in after] == [9, 11]


def test_a_link_is_not_followed(tree, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "README.md").write_text("FILL IN: a secret\n")
    (tree.benchmark_folder / "other").symlink_to(elsewhere)
    (tree.system_folder / "more.sh").symlink_to(elsewhere / "README.md")
    assert not any("secret" in place.text for place in template.unfilled(tree.organization))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("64xNVIDIA DGX A100", "64xNVIDIA_DGX_A100"),
        ("../a/b", "a_b"),
        ("Fujitsu+RIKEN", "Fujitsu+RIKEN"),
        ("/", "unnamed"),
    ],
)
def test_names_of_folders(text, name):
    assert folder_name(text) == name
