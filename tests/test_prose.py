# SPDX-License-Identifier: Apache-2.0
"""Plain English, as far as a machine can tell: how docstrings open, a word, and the length of lines in documents."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDTH = 120
GENERATED = ("rules/README.md", "docs/performance.md")
"""Written by the checker and by `make bench`, one line a rule or a fact."""
TEXTS = (".py", ".md", ".toml", ".sh", ".slurm", ".html", ".css", ".cfg", ".def")


def files(*endings: str) -> list[Path]:
    """Tracked files with these endings; libraries of others (uplot) and submissions (examples) are not our prose."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    ours = [name for name in listed if name.endswith(endings) and "uplot" not in name and "examples/" not in name]
    return [ROOT / name for name in ours if (ROOT / name).is_file()]


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every docstring, those below a field or a constant included."""
    for node in ast.walk(ast.parse(source)):
        for statement in getattr(node, "body", None) or [] if not isinstance(node, ast.Lambda | ast.IfExp) else []:
            value = getattr(statement, "value", None)
            if isinstance(statement, ast.Expr) and isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield statement.lineno, value.value.strip()


def test_a_docstring_is_a_sentence_or_names_the_thing():
    found = [
        f"{path.relative_to(ROOT)}:{line}: {text.splitlines()[0]}"
        for path in files(".py")
        for line, text in docstrings(path.read_text(encoding="utf-8"))
        if re.match(r"(Of|What|Where|Whether)\b", text)
    ]
    assert not found, "\n".join(found)


def test_faults_are_fixed():
    word = re.compile(r"\bm" + r"end(s|ed|ing)?\b", re.IGNORECASE)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files(*TEXTS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if word.search(line)
    ]
    assert not found, "\n".join(found)


def test_lines_of_documents_fit_the_width():
    found = [
        f"{path.relative_to(ROOT)}:{number}: {len(line)} characters"
        for path in files(".md")
        if str(path.relative_to(ROOT)) not in GENERATED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > WIDTH and not line.startswith("|")  # a row of a table is one line
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ('"""Of it."""\n', ["Of it."]),
        ('class A:\n    """The thing."""\n    x: int\n    """Its count."""\n', ["The thing.", "Its count."]),
        ('f = lambda: 1\nx = "no docstring"\n', []),
    ],
)
def test_docstrings_are_found_wherever_they_are(source, expected):
    assert [text for _, text in docstrings(source)] == expected
