# SPDX-License-Identifier: Apache-2.0
"""Commands that the documents show are commands that exist."""

import re
import shlex
from pathlib import Path

import pytest

from compliance.__main__ import parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*.md"))]
COMMAND = "python -m compliance "


def commands():
    """Lines of indented code, without their comments."""
    for document in DOCUMENTS:
        for line in document.read_text(encoding="utf-8").splitlines():
            if line.startswith("    " + COMMAND):
                yield pytest.param(line.partition(COMMAND)[2], id=f"{document.name}: {line.strip()[:60]}")


@pytest.mark.parametrize("line", list(commands()))
def test_a_command_in_a_document_is_understood(line):
    words = shlex.split(re.split(r"\s{4,}| > ", line)[0], comments=True)
    assert parser().parse_args(words).verb == words[0]


def test_the_documents_show_commands():
    assert len(list(commands())) > 5
