# SPDX-License-Identifier: Apache-2.0
"""Files for tools and readers outside the code say what the code's own files say."""

import re
from configparser import ConfigParser
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[1]


def load(path: str) -> dict:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


@pytest.fixture
def version() -> str:
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return setup["metadata"]["version"]


def test_a_commit_runs_what_make_lint_runs():
    recipe = re.search(r"(?m)^lint: .*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text())[1]
    commands = [line.strip().removeprefix("$(BIN)/").removesuffix(" .") for line in recipe.splitlines()]
    (repository,) = load(".pre-commit-config.yaml")["repos"]
    assert [hook["entry"].removeprefix(".venv/bin/") for hook in repository["hooks"]] == commands


def test_the_workflow_runs_the_continuous_integration_and_no_more():
    job = load(".github/workflows/ci.yml")["jobs"]["test"]
    assert job["steps"][-1] == {"run": "bash .ci/run"}


@pytest.mark.parametrize("path", sorted(ROOT.glob(".github/ISSUE_TEMPLATE/*.yml")), ids=lambda path: path.stem)
def test_an_issue_template_is_one_that_github_shows(path):
    form = load(str(path.relative_to(ROOT)))
    if path.stem != "config":
        assert form["name"]
        assert form["description"]
        assert all(item["attributes"]["label"] for item in form["body"])


def test_the_version_is_the_same_everywhere(version):
    assert load("CITATION.cff")["version"] == version
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
