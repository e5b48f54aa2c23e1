# SPDX-License-Identifier: Apache-2.0
"""The files around the demo's results: the layers of the system are declared where the checker looks for them."""

import tomllib
from pathlib import Path

import imagenet_resnet
from compliance.submissions import entry_files, source_code
from compliance.submissions.entry_files import EntryFiles
from compliance.submissions.layout import EntryTree
from harness import config
from imagenet_resnet.config import Hyperparameters, System

PACKAGE = Path(imagenet_resnet.__file__).parent


def written(root: Path) -> EntryTree:
    tree = EntryTree(root=root, org="Lab", system="laptop", benchmark="imagenet_resnet", implementation="pytorch")
    settings = config.load(PACKAGE / "configs" / "demo", hyperparameters_type=Hyperparameters, system_type=System)
    entry = EntryFiles(
        tree=tree,
        rules=settings.rules,
        division=settings.division,
        description={"submitter": "Lab"},
        source=source_code.as_installed("imagenet_resnet"),
        layers=settings.layers,
        readme="# Lab",
    )
    entry_files.write(entry)
    return tree


def test_layers_stand_in_the_organizations_declaration(tmp_path):
    tree = written(tmp_path)
    declared = tomllib.loads((tree.organization / "submission.toml").read_text())
    assert declared["rules"] == "hpc_ai500_demo"
    assert declared["layers"] == tomllib.loads((PACKAGE / "configs/demo/system.toml").read_text())["layers"]
    assert tomllib.loads((tmp_path / "submission.toml").read_text()) == {"rules": "hpc_ai500_demo"}


def test_what_a_submitter_wrote_about_layers_is_kept(tmp_path):
    file = written(tmp_path).organization / "submission.toml"
    file.write_text("# mine")
    written(tmp_path)
    assert file.read_text() == "# mine"
