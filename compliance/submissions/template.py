# SPDX-License-Identifier: Apache-2.0
"""submission_template/: its files with an entry's names, and the places that a copy still asks to be filled in.

files(tree)[tree.system_folder / "README.md"]
for place in unfilled(tree.organization): ...
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import compliance
from compliance.files import regular_file
from compliance.files.errors import UserError
from compliance.files.regular_file import is_folder, is_regular
from compliance.submissions.layout import DECLARATION, EntryTree

TEMPLATE = Path(compliance.__file__).parent.parent / "submission_template"  # beside it, in a checkout and in a wheel
PLACEHOLDER = "FILL IN"
NAMES = {"ORGANIZATION": "org", "SYSTEM": "system", "BENCHMARK": "benchmark", "IMPLEMENTATION": "implementation"}
TEMPLATE_STEMS = {*NAMES, "SYSTEM_IMPLEMENTATION"}
MAX_BYTES = 1 << 20  # of a text that a submitter writes
TEXTS = ("README.md", "*.sh", DECLARATION)


@dataclass(frozen=True)
class Place:
    """Something that the submitter still has to write."""

    path: Path
    line: int
    """0 for the name of the file or folder itself."""
    text: str


def files(tree: EntryTree) -> dict[Path, bytes]:
    """Content of the template's organization by path, with the entry's names in place of the template's."""
    folder = TEMPLATE / "ORGANIZATION"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; install the whole package, or run from a checkout")
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        tree.root / _named(path.relative_to(TEMPLATE).as_posix(), tree): _named(path.read_text("utf-8"), tree).encode()
        for path in paths
    }


def _named(text: str, tree: EntryTree) -> str:
    return re.sub("|".join(NAMES), lambda match: getattr(tree, NAMES[match[0]]), text)


def unfilled(organization: Path) -> Iterator[Place]:
    """Names of the template, and lines that say FILL IN, of one organization's submission."""
    for path in (*_own_paths(organization), *_benchmark_paths(organization)):
        if path.stem in TEMPLATE_STEMS:
            yield Place(path, 0, "still has the template's name")
        if is_regular(path) and any(map(path.match, TEXTS)):
            yield from _lines(path)


def _own_paths(organization: Path) -> Iterator[Path]:
    """The organization, its declaration, and the files of systems/."""
    declarations = [child for child in _children(organization) if child.name == DECLARATION]
    yield from (organization, *declarations, *_children(organization / "systems"))


def _benchmark_paths(organization: Path) -> Iterator[Path]:
    """<benchmark>, <benchmark>/<system>, its files, and the README of each implementation."""
    for benchmark in _children(organization / "benchmarks"):
        yield benchmark
        for child in _children(benchmark):
            yield child
            for file in _children(child):
                yield file
                if child.name == "implementations":
                    yield from (path for path in _children(file) if path.name == "README.md")


def _children(folder: Path) -> list[Path]:
    """Sorted children; none of a folder that is missing, a link, or cannot be listed. Links are left out."""
    try:
        return sorted(child for child in folder.iterdir() if not child.is_symlink()) if is_folder(folder) else []
    except OSError:
        return []


def _lines(path: Path) -> Iterator[Place]:
    try:
        text = regular_file.read(path, MAX_BYTES).decode("utf-8", "replace")
    except UserError:
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if PLACEHOLDER in line:
            yield Place(path, number, line.strip("#- ")[:200])
