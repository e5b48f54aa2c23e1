# SPDX-License-Identifier: Apache-2.0
"""The documents' web site is built from the repository's Markdown, without a warning and without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sphinx", reason="the extra [docs] is not installed")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "sphinx", "-q", "-W", "-c", ROOT / "docs/site", "-d", folder / "trees"]
    done = subprocess.run([*build, ROOT, folder / "html"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_document_is_a_page_that_the_navigation_reaches(site):
    tracked = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    documents = [
        path for path in tracked.stdout.split() if re.fullmatch(r"[^/]+\.md|docs/[^/]+\.md|[^./]+/README\.md", path)
    ]
    expected = {Path(document).with_suffix(".html").as_posix() for document in documents}
    navigation = (site / "docs/site/index.html").read_text()
    linked = {(site / "docs/site" / link).resolve() for link in re.findall(r'href="([^"#:]+\.html)"', navigation)}
    assert {page for page in expected if (site / page).resolve() not in linked} == set()


def test_pages_load_nothing_from_elsewhere(site):
    loaded = (
        r'<(?:script|img|iframe)[^>]+src="(https?:)?//|<link[^>]+rel="(?:stylesheet|preload)"[^>]+href="(https?:)?//'
    )
    assert [page.name for page in site.rglob("*.html") if re.search(loaded, page.read_text())] == []
