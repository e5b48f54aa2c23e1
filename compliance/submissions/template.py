# SPDX-License-Identifier: Apache-2.0
"""submission_template/: a copy of it with an entry's names, and what a copy still asks to be filled in.

instantiate(tree)                             # writes <root>/<org>/...
for place in unfilled(tree.organization): ...
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import compliance
from compliance.files.errors import UserError
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
    """0: the name of the file or folder itself."""
    text: str


def instantiate(tree: EntryTree) -> None:
    """Write the template's organization with the entry's names in place of its own."""
    template = TEMPLATE / "ORGANIZATION"
    if not template.is_dir():
        raise UserError(f"{template}: found no such folder; install the whole package, or run from a checkout")
    _copy(template, tree.organization, tree)


def _copy(source: Path, target: Path, tree: EntryTree) -> None:
    if source.is_dir():
        target.mkdir(parents=True)
        for child in source.iterdir():
            _copy(child, target / _named(child.name, tree), tree)
        return
    target.write_text(_named(source.read_text(encoding="utf-8"), tree), encoding="utf-8")
    if target.suffix == ".sh":
        target.chmod(0o755)


def _named(text: str, tree: EntryTree) -> str:
    return re.sub("|".join(NAMES), lambda match: getattr(tree, NAMES[match[0]]), text)


def unfilled(organization: Path) -> Iterator[Place]:
    """Names of the template, and lines that say FILL IN, of one organization's submission."""
    for path in (*_own_paths(organization), *_benchmark_paths(organization)):
        if path.stem in TEMPLATE_STEMS:
            yield Place(path, 0, "still has the template's name")
        if path.is_file() and any(map(path.match, TEXTS)):
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
                yield from (
                    one for one in _children(file) if child.name == "implementations" and one.match("README.md")
                )


def _children(folder: Path) -> list[Path]:
    """Sorted; none where the folder is missing or a link, which could lead out of the submission."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    return sorted(child for child in folder.iterdir() if not child.is_symlink())


def _lines(path: Path) -> Iterator[Place]:
    if path.stat().st_size > MAX_BYTES:
        return
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, start=1):
        if PLACEHOLDER in line:
            yield Place(path, number, line.strip("#- ")[:200])
