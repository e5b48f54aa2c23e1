# SPDX-License-Identifier: Apache-2.0
"""The report page in headless Chromium: filter, zoomable curves, policy against foreign scripts, and narrow screens."""

import re
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path

import pytest

from compliance.reports import page as report_page
from compliance.review import review

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
QUIET = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--enable-logging=stderr", "--v=0"),
)
POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


def browse(page: Path, fragment: str = "", width: int = 1280) -> tuple[str, list[str]]:
    """The document after its scripts have run, and what the console says."""
    # Its own folder, removed leniently: the browser's helpers may still write when it has ended.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", f"--window-size={width},900", "--dump-dom"]
        done = subprocess.run([*command, f"{page.as_uri()}{fragment}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def with_script(page: Path, script: str, *, allowed: bool) -> Path:
    """A copy of the page that also runs `script`, where the policy is taken out to allow it."""
    text = page.read_text(encoding="utf-8").replace("</body>", f"<script>{script}</script></body>")
    copy = page.with_name(f"copy-{page.name}")
    copy.write_text(POLICY.sub("", text) if allowed else text, encoding="utf-8")
    return copy


def shown_rules(document: str) -> list[str]:
    """Rules of the findings that are not hidden."""
    rows = re.findall(r'<tr class="finding"([^>]*)>', document)
    return [re.search(r'data-rule="(\w+)"', row).group(1) for row in rows if "hidden" not in row]


@pytest.fixture(scope="module")
def page(pristine_round, tmp_path_factory) -> Path:
    """A round in which one run is missing (R101, an error) and all else is warnings and notes."""
    folder = shutil.copytree(pristine_round, tmp_path_factory.mktemp("browser") / "round")
    (folder / "acme/results/box/strong/cosmoflow/result_9.txt").unlink()
    outcome = review(folder, "mlperf_hpc_2.0")
    file = folder.with_name("report.html")
    file.write_text(report_page.render(outcome, file.parent))
    return file


def test_the_page_opens_without_a_word_on_the_console(page):
    document, console = browse(page)
    assert console == []
    assert len(shown_rules(document)) > 5
    assert re.search(r"<output[^>]*>(\d+) of \1 shown</output>", document)


@pytest.mark.parametrize(
    ("fragment", "expected"),
    [
        ("#severity=error", {"R101"}),
        ("#rule=R101", {"R101"}),
        ("#text=9%20RUNS%20of", {"R101"}),
        ("#text=none%20such", set()),
    ],
)
def test_a_link_filters_the_findings(page, fragment, expected):
    document, console = browse(page, fragment)
    assert set(shown_rules(document)) == expected
    assert console == []


def test_groups_without_a_shown_finding_disappear(page):
    document, _ = browse(page, "#severity=error")
    groups = re.findall(r'<div class="rule" [^>]*>', document)
    assert sum("hidden" not in group for group in groups) == 1
    assert len(groups) > 1


def test_the_search_box_filters_rows_and_entries(page):
    script = """
        const box = document.querySelector(".find input");
        box.value = "RACK deepcam";
        box.dispatchEvent(new Event("input", { bubbles: true }));
    """
    document, console = browse(with_script(page, script, allowed=True))
    assert console == []
    rows = re.findall(r'<(?:tr|details)[^>]* data-words="([^"]*)"([^>]*)>', document)
    shown = [words for words, rest in rows if "hidden" not in rest]
    assert 0 < len(shown) < len(rows)
    assert all("rack" in words for words in shown)


def test_a_column_sorts_the_table(page):
    script = """
        const split = document.querySelector(".split.sortable");
        const heads = [...split.tHead.rows[0].cells];
        const minutes = () => [...split.tBodies[0].rows].map((row) => row.cells[heads.length - 1].textContent.trim());
        heads.at(-1).querySelector("button").click();
        const up = minutes();
        heads.at(-1).querySelector("button").click();
        document.title = `${up.join()} ${minutes().join()} ${heads.at(-1).getAttribute("aria-sort")}`;
    """
    document, console = browse(with_script(page, script, allowed=True))
    assert console == []
    up, down, direction = re.search(r"<title>(.*?)</title>", document).group(1).split()
    assert [float(minute) for minute in up.split(",")] == sorted(float(minute) for minute in up.split(","))
    assert up.split(",") == down.split(",")[::-1]
    assert len(up.split(",")) > 1
    assert direction == "descending"


def test_a_link_to_a_folded_entry_opens_it(page):
    text = page.read_text(encoding="utf-8")
    anchor = re.findall(r'class="body" id="(entry-[^"]*)"', text)[1]
    copy = page.with_name("folded.html")
    copy.write_text(re.sub(r'(<details class="entry"[^>]*) open', r"\1", text), encoding="utf-8")
    document, console = browse(copy, f"#{anchor}")
    opened = re.findall(r'<details class="entry"[^>]* open=""[^>]*>.*?id="(entry-[^"]*)"', document, re.DOTALL)
    assert opened == [anchor]
    assert console == []


def test_curves_can_be_zoomed_and_read(page):
    copy = with_script(page, 'document.querySelector(".explore").click()', allowed=True)
    document, console = browse(copy)
    assert console == []
    assert document.count("<canvas") == 2
    assert re.search(r'<th tabindex="0" role="button">', document)


def test_the_policy_stops_a_foreign_script(page):
    copy = with_script(page, 'document.title = "taken over"', allowed=False)
    document, console = browse(copy)
    assert "taken over</title>" not in document
    assert any("Content Security Policy" in line for line in console)


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_the_page_never_scrolls_sideways(page, width):
    # Headless windows have a least width, so the narrow page is measured in a frame.
    measure = "const page = this.contentDocument.documentElement; document.title = page.scrollWidth - page.clientWidth"
    inner = escape(page.read_text(encoding="utf-8"))
    frame = f'<iframe style="width:{width}px;height:900px;border:0" onload="{measure}" srcdoc="{inner}"></iframe>'
    outer = page.with_name(f"frame-{width}.html")
    outer.write_text(f"<!DOCTYPE html><meta charset='utf-8'><title>none</title>{frame}", encoding="utf-8")
    document, _ = browse(outer)
    assert re.search(r"<title>(.*?)</title>", document).group(1) == "0"
