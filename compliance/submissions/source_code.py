# SPDX-License-Identifier: Apache-2.0
"""The code of a benchmark as it ran: the benchmark's package with what it imports, at one commit or as installed."""

import io
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import compliance
from compliance.files.errors import UserError

ROOT = Path(compliance.__file__).resolve().parent.parent
PACKAGES = ("harness", "compliance", "rules")
"""What every benchmark's package imports."""
SHARED = (*PACKAGES, "setup.cfg", "pyproject.toml", "constraints.txt", "LICENSE")
NOT_SOURCE = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True, kw_only=True)
class Source:
    """What was copied."""

    commit: str
    """Empty where the code came from no git checkout."""
    differs: tuple[str, ...] = ()
    """Files that the working tree has otherwise than the commit."""


def exists(benchmark: str) -> bool:
    """Whether this repository holds the benchmark's code."""
    return (ROOT / benchmark / "train.py").is_file()


def current_commit() -> str:
    """HEAD of the checkout that this code runs from; empty outside one."""
    return _git("rev-parse", "HEAD").strip() if _is_checkout() else ""


def copy(benchmark: str, commit: str, folder: Path) -> Source:
    """Copy the benchmark's code to `folder`. UserError for a commit that git does not know."""
    if not _is_checkout():
        for name in (benchmark, *SHARED):
            _copy(ROOT / name, folder / name)
        return Source(commit="")
    full = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    if not full:
        raise UserError(f"--commit {commit}: no commit of {ROOT}")
    names = _git("ls-tree", "--name-only", full, "--", benchmark, *SHARED).split()
    if benchmark not in names:
        raise UserError(f"--commit {commit}: holds no {benchmark}/")
    archive = subprocess.run(["git", "-C", ROOT, "archive", full, "--", *names], capture_output=True, check=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder, filter="data")
    return Source(commit=full, differs=tuple(_git("diff", "--name-only", full, "--", *names).split("\n")[:-1]))


def _is_checkout() -> bool:
    return (ROOT / ".git").exists() and shutil.which("git") is not None


def _git(*arguments: str) -> str:
    """Standard output; empty where git has nothing to say."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=NOT_SOURCE)
    elif source.is_file():
        shutil.copy2(source, target)
