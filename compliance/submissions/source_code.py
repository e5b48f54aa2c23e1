# SPDX-License-Identifier: Apache-2.0
"""The code of a benchmark: its package with the packages that it imports, at a commit or as it is installed.

source = at_commit("cosmoflow", "HEAD")
source.files["cosmoflow/train.py"], source.commit
"""

import hashlib
import io
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import compliance
from compliance.files.errors import UserError

ROOT = Path(compliance.__file__).resolve().parent.parent
PACKAGES = ("harness", "compliance", "rules")
"""Packages that every benchmark imports."""
PROJECT_FILES = ("setup.cfg", "pyproject.toml", "constraints.txt", "LICENSE")
NOT_SOURCE = frozenset({"__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache"})


@dataclass(frozen=True, kw_only=True)
class Source:
    """The files of one benchmark's code."""

    files: Mapping[str, bytes]
    """Content by path, such as cosmoflow/train.py."""
    commit: str
    """Empty if the code came from no git checkout."""
    changed: tuple[str, ...] = ()
    """Files in which the working tree differs from the commit."""


def exists(benchmark: str) -> bool:
    """True if this repository holds the benchmark's code."""
    return (ROOT / benchmark / "train.py").is_file()


def current_commit() -> str:
    """HEAD of the checkout that this code runs from; empty outside one."""
    return _git("rev-parse", "HEAD").strip() if _is_checkout() else ""


def at_commit(benchmark: str, commit: str) -> Source:
    """The code as committed; outside a checkout, as installed. UserError for a commit that git does not know."""
    if not _is_checkout():
        return as_installed(benchmark)
    full = _git("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}").strip()
    if not full:
        raise UserError(f"--commit {commit}: not a commit of {ROOT}")
    names = _git("ls-tree", "--name-only", full, "--", benchmark, *PACKAGES, *PROJECT_FILES).split()
    if benchmark not in names:
        raise UserError(f"--commit {commit}: has no folder {benchmark}/")
    archive = subprocess.run(["git", "-C", ROOT, "archive", full, "--", *names], capture_output=True, check=True)
    return Source(files=dict(_members(archive.stdout)), commit=full, changed=_changed(full, names))


def as_installed(package: str) -> Source:
    """The code that `import` finds now, changes that are not committed included."""
    is_here = all(_folder(name).parent == ROOT for name in (package, *PACKAGES))
    commit = current_commit() if is_here else ""
    return Source(
        files=installed_files(package),
        commit=commit,
        changed=_changed(commit, [package, *PACKAGES, *PROJECT_FILES]) if commit else (),
    )


def installed_files(package: str) -> dict[str, bytes]:
    """Content by path of the code that `import` finds now. UserError if there is no such package."""
    files = {name: path for folder in map(_folder, (package, *PACKAGES)) for name, path in _tree(folder)}
    files |= {name: ROOT / name for name in PROJECT_FILES if (ROOT / name).is_file()}
    return {name: path.read_bytes() for name, path in files.items()}


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 of a list of the files, with a line `<sha256>  <path>` for each in the order of the paths.

    It is that of `find * -type f | LC_ALL=C sort | xargs sha256sum | sha256sum` in a folder that holds only them.
    """
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{package}: no such package; run from the checkout, or install it")
    return Path(spec.submodule_search_locations[0]).resolve()


def _tree(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder.parent)
        if path.is_file() and NOT_SOURCE.isdisjoint(inside.parts):
            yield inside.as_posix(), path


def _members(archive: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            if (file := tar.extractfile(member)) is not None:
                yield member.name, file.read()


def _changed(commit: str, names: list[str]) -> tuple[str, ...]:
    return tuple(_git("diff", "--name-only", commit, "--", *names).split("\n")[:-1])


def _is_checkout() -> bool:
    return (ROOT / ".git").exists() and shutil.which("git") is not None


def _git(*arguments: str) -> str:
    """Standard output; empty if git fails."""
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
