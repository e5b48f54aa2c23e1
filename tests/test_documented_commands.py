# SPDX-License-Identifier: Apache-2.0
"""Every command that a document shows runs, in a copy of the repository and on little data."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compliance.conftest import build_organization
from tests.demos import COSMOFLOW, DEMOS, EWA, Demo, with_keys
from tests.documented import DOCUMENTS, ELSEWHERE, MARK, NOT_RUN, ROOT, Command, commands

SCRATCH = "output/scratch"
SMALLER = (
    (r"^\.venv/bin/", ""),
    (r"/scratch/", f"{SCRATCH}/"),
    (r"RANKS=8 (\w+)/launch/run_local.sh \S+/configs/closed", r"RANKS=2 \1/launch/run_local.sh \1/configs/demo"),
    (r"--nproc-per-node 8", "--nproc-per-node 2"),
    (r"--runs \d+", "--runs 1"),
    (r"(campaign my_config .*)", r"\1 --runs 1"),
    (r"\bFOLDER\b", "cosmoflow/configs/demo"),
    (r"\bDATA\b(?!=)", "output/demo/data"),
    (r"\bPACKED\b", "output/packed"),
    (r"\bRUNS\b(?!=)", "runs"),
    (r"--output submission --system", "--output packaged --system"),
    (r"--train 96 --validation 24", "--train 8 --validation 2"),
    (r"(ewa_fasterrcnn.synthesize \S+)", r"\1 --train 8 --validation 4"),
    (r"(imagenet_resnet/launch/init_datasets.sh)", r"\1 --train 64 --validation 8"),
    (r"(characterize roofline)", r"\1 --system characterize/systems/hpc_ai500_16_gpus.toml"),
)
"""Replacements in a command, so that it runs in seconds in the copy."""
SHOWN = [command for command in commands() if not command.elsewhere and not command.not_run]


@pytest.mark.parametrize("command", [command for command in commands() if command.not_run], ids=str)
def test_a_document_marks_what_no_test_runs(command):
    assert MARK in command.document.read_text(encoding="utf-8"), f'{command}: {command.not_run}; say "{MARK}"'


@pytest.mark.parametrize("by", sorted(set(ELSEWHERE.values())))
def test_what_runs_a_command_elsewhere_exists(by):
    path, _, name = by.partition("::")
    assert not name or f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("target", ["demo", "test", "test-slow", "lint", "site"])
def test_the_continuous_integration_runs_a_target_that_documents_show(target):
    assert re.search(rf"(?m)^make {target}\b", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))


def test_every_exception_is_of_a_command_that_a_document_shows():
    for pattern in (*ELSEWHERE, *NOT_RUN):
        assert any(re.match(pattern, command.text) for command in commands()), pattern


@pytest.fixture
def sandbox(tmp_path) -> Path:
    """A copy of the tracked files, with the demos' configurations reduced, and programs named as in the documents."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    copy = tmp_path / "repository"
    for name in filter(None, listed.split("\0")):
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.startswith("tests/") and (ROOT / name).is_file():
            shutil.copy2(ROOT / name, copy / name)
    for demo in DEMOS.values():
        demo.configure(copy / demo.package / "configs" / "demo")
    programs = {"python": sys.executable, "torchrun": f"{sys.executable} -m torch.distributed.run"}
    (copy / "bin").mkdir()
    for name, program in {**programs, "python3": sys.executable}.items():
        (copy / "bin" / name).write_text(f'#!/bin/sh\nexec {program} "$@"\n')
        (copy / "bin" / name).chmod(0o755)
    return copy


@pytest.fixture
def run(sandbox) -> Callable[[str], None]:
    """Run a line in the sandbox with bash. `check` of a submission that has errors may exit with 1."""
    environment = {**os.environ, "PATH": f"{sandbox / 'bin'}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}

    def run(line: str) -> None:
        for pattern, small in SMALLER:
            line = re.sub(pattern, small, line)
        shell = ["bash", "-c", line]
        done = subprocess.run(shell, cwd=sandbox, env=environment, capture_output=True, text=True, timeout=600)
        allowed = (0, 1) if "compliance check" in line else (0,)
        assert done.returncode in allowed, f"{line}: exit code {done.returncode}\n{done.stdout[-2000:]}{done.stderr}"
        assert "Traceback" not in done.stderr

    return run


def synthesized(demo: Demo, folder: Path, sizes: str | None = None) -> None:
    options = (sizes or demo.sizes).split()
    line = [sys.executable, "-m", f"{demo.package}.synthesize", str(folder), *options]
    subprocess.run(line, cwd=ROOT, check=True, capture_output=True)


def own_configuration(sandbox: Path) -> None:
    """Settings of an owner in cosmoflow/configs/closed: one epoch on the data of the sandbox."""
    system = sandbox / "cosmoflow" / "configs" / "closed" / "system.toml"
    keys = {"data_folder": f"{SCRATCH}/cosmoflow", "max_epochs": 1, "num_workers": 0, "precision": "fp32"}
    system.write_text(with_keys(system.read_text(), "system", keys))
    shutil.copytree(system.parent, sandbox / "my_config")
    synthesized(COSMOFLOW, sandbox / SCRATCH / "cosmoflow", "--train 64 --validation 4")


def submissions(sandbox: Path) -> None:
    """A round of two organizations and a submission of one, in all places where the documents have them."""
    build_organization(sandbox / "round", "acme", [("n64", "strong", "cosmoflow", 10, 24)])
    build_organization(sandbox / "round", "beta", [("rack", "strong", "cosmoflow", 10, 25)])
    for organization in ("acme", "beta"):
        shutil.copytree(sandbox / "round" / organization, sandbox / organization)
    for target in ("submission", "output/demo/submission", "last_round"):
        shutil.copytree(sandbox / "acme", sandbox / target / "acme")
    shutil.copytree(sandbox / "acme" / "results" / "n64" / "strong" / "cosmoflow", sandbox / "runs")


def ready(sandbox: Path, document: str) -> None:
    """Files that a reader of the document has by then."""
    if document in ("README.md", "docs/submitting.md", "docs/reviewing.md"):
        submissions(sandbox)
        own_configuration(sandbox)
    if document == "README.md":
        shutil.rmtree(sandbox / "my_config")  # the README copies it
        shutil.rmtree(sandbox / "runs")  # the README trains
    if document == "docs/submitting.md":
        shutil.rmtree(sandbox / "submission")  # a campaign makes it
    if document in ("docs/scaling.md", "cosmoflow/README.md"):
        synthesized(COSMOFLOW, sandbox / "output" / "demo" / "data")
    if document == "ewa_fasterrcnn/README.md":
        EWA.configure(sandbox / "ewa_fasterrcnn" / "configs" / "demo", trained_weights="output/ewa/weights.pt")
    package = document.partition("/")[0]
    if package in DEMOS:
        synthesized(DEMOS[package], sandbox / SCRATCH / package.partition("_")[0])


def documents():
    for path in DOCUMENTS:
        shown = [command for command in SHOWN if command.document == path]
        if shown:
            trains = any(re.search(r"train|campaign|run_local|torchrun", command.text) for command in shown)
            name = str(path.relative_to(ROOT))
            yield pytest.param(name, shown, id=name, marks=[pytest.mark.slow] if trains else [])


@pytest.mark.parametrize(("document", "shown"), list(documents()))
def test_the_commands_of_a_document_run_one_after_another(document: str, shown: list[Command], sandbox, run):
    ready(sandbox, document)
    for command in shown:
        run(command.text)
