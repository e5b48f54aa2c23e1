# SPDX-License-Identifier: Apache-2.0
"""Files, names, links and commands that the documents mention exist."""

import ast
import re
import shlex
import subprocess
from functools import cache
from pathlib import Path

import pytest

from compliance.__main__ import parser

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("*/README.md")), *sorted(ROOT.glob("*.md"))]
PACKAGES = (
    "cosmoflow",
    "deepcam",
    "imagenet_resnet",
    "ewa_fasterrcnn",
    "harness",
    "compliance",
    "characterize",
    "perf",
)
COMMAND = "python -m compliance "
SOURCES = (".py", ".toml", ".sh", ".slurm", ".json", ".html", ".cfg", ".def", ".yaml", ".js")
IN_THE_REPOSITORY = (".py", ".slurm", ".md", ".def")
"""Documents name files with these endings only if they are files of the repository."""

FILE = re.compile(
    r"(?:[\w./{},<>*-]*\w\.(?:py|toml|md|sh|slurm|json|html|css|js|csv|txt|h5|npy|def|yaml|cfg))\b(?![\w/])"
)
DOTTED = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
KEY = re.compile(r"[a-z][a-z0-9]*(?:_[a-z0-9]+)+")


@cache
def tracked() -> tuple[str, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(filter(None, listed.stdout.split("\0")))


@cache
def sources() -> str:
    """The text of all files that are not documents; a name that users meet is in one of them."""
    paths = [ROOT / name for name in tracked() if name.endswith(SOURCES)]
    return "\n".join(path.read_text(encoding="utf-8") for path in paths if path.is_file())


def prose(document: Path) -> str:
    """The text without indented and fenced blocks, which are examples and commands, and without addresses."""
    text = document.read_text(encoding="utf-8")
    return re.sub(r"(?ms)^```.*?^```$|^    .*?$|\]\([^)]*\)|https?://\S+", "", text)


def spans(document: Path) -> list[str]:
    """Code in backticks."""
    return re.findall(r"`([^`]+)`", prose(document))


def files(document: Path) -> list[str]:
    """File names, in backticks or not; commands in backticks hold them too."""
    return FILE.findall(prose(document))


def cases(found):
    """(document, name) of every name that `found` finds in a document."""
    for document in DOCUMENTS:
        for name in sorted(set(found(document))):
            yield pytest.param(document, name, id=f"{document.relative_to(ROOT)}: {name}")


def spans_like(pattern: re.Pattern):
    return cases(lambda document: filter(pattern.fullmatch, spans(document)))


OF_A_READER = re.compile(r"^/|^\.\.|[<>{}*]|YYYY|\b(results|benchmarks|systems)/|result_\d+\.txt")
"""Patterns, paths on the reader's machine, and files of a submission."""


def is_file_of_the_repository(name: str, document: Path) -> bool:
    """A bare name in a package's README is a file of that package."""
    if (ROOT / name).exists() or (document.parent / name).exists():
        return True
    is_of_a_package = document.parent != ROOT and document.parent.name in PACKAGES
    folder = f"{document.parent.name}/" if is_of_a_package and "/" not in name else ""
    return any(path.startswith(folder) and f"/{path}".endswith(f"/{name}") for path in tracked())


@pytest.mark.parametrize(("document", "name"), list(cases(files)))
def test_a_file_that_a_document_names_exists(document, name):
    if not OF_A_READER.search(name) and not is_file_of_the_repository(name, document):
        assert not name.endswith(IN_THE_REPOSITORY), f"{name} is not in the repository"
        assert Path(name).name in sources(), f"{name} is neither in the repository nor made or read by it"


@pytest.mark.parametrize(("document", "name"), list(spans_like(DOTTED)))
def test_a_dotted_name_in_a_document_resolves(document, name):
    assert resolves(name), f"{document.name}: {name} does not exist"


@pytest.mark.parametrize(("document", "name"), list(spans_like(KEY)))
def test_a_key_that_a_document_names_is_in_the_sources(document, name):
    assert re.search(rf"\b{name}\b", sources()), f"{document.name}: {name} is nowhere in the sources"


def resolves(name: str) -> bool:
    """True if the dotted name is a module, or a name defined in one, down to the fields of a class."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        base = ROOT.joinpath(*parts[:length])
        file = base.with_suffix(".py") if base.with_suffix(".py").is_file() else base / "__init__.py"
        if file.is_file():
            return _defines(ast.parse(file.read_text(encoding="utf-8")), parts[length:])
    return False


def _defines(scope: ast.AST, names: list[str]) -> bool:
    if not names:
        return True
    return any(_defines(node, names[1:]) for node in getattr(scope, "body", ()) if names[0] in _names(node))


def _names(node: ast.AST) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def links():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8")):
            if "://" not in target:
                yield pytest.param(document, target, id=f"{document.relative_to(ROOT)}: {target}")


@pytest.mark.parametrize(("document", "target"), list(links()))
def test_a_link_leads_to_a_file_and_a_heading(document, target):
    path, _, anchor = target.partition("#")
    linked = document.parent / path if path else document
    assert linked.exists(), f"{document.name}: {target}"
    if anchor:
        assert anchor in {slug(heading) for heading in re.findall(r"(?m)^#+ (.*)$", linked.read_text(encoding="utf-8"))}


def slug(heading: str) -> str:
    """The anchor that GitHub and MkDocs give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


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


@pytest.mark.parametrize(
    ("name", "exists"),
    [
        ("harness.run", True),
        ("harness.run.Run", True),
        ("harness.run.Run.epochs", True),
        ("harness.config.Config.layers", True),
        ("harness.run.Rum", False),
        ("harness.runs", False),
    ],
)
def test_the_resolver_tells_names_that_exist(name, exists):
    assert resolves(name) == exists
