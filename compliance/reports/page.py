# SPDX-License-Identifier: Apache-2.0
"""The report page: one self-contained HTML file for a log, an entry, an organization or a whole round.

    text = render(review, Path("folder/of/the/page"))

The page loads nothing. Text from logs and file names is escaped: jinja2 escapes by default, and the page's content
security policy allows no script but the two that it contains.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, BinaryIO

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compliance.files import regular_file
from compliance.reports.pages import numbers
from compliance.reports.pages.entries import EntryView, entry_views
from compliance.reports.pages.faults import finding_list, rows_by_entry
from compliance.reports.pages.links import Links
from compliance.reports.pages.matrix import matrix
from compliance.reports.pages.rankings import BenchmarkView, benchmark_views
from compliance.review import Review
from compliance.rulesets.ruleset import RuleSet

PAGES = Path(__file__).parent / "pages"
STYLES = ("uplot.min.css", "report.css")
SCRIPTS = ("uplot.iife.min.js", "report.js")


def write(review: Review, file: BinaryIO, page_folder: Path) -> None:
    """Write the page, with links that are valid from `page_folder`."""
    file.write(render(review, page_folder).encode("utf-8", "backslashreplace"))


def render(review: Review, page_folder: Path) -> str:
    """The page's text, with links that are valid from `page_folder`."""
    links = Links(page_folder=page_folder, root=review.submission.root)
    views = entry_views(review, links)
    benchmarks = benchmark_views(views, review.ruleset)
    scripts = [_asset(name) for name in SCRIPTS]
    return (
        _environment()
        .get_template("report.html")
        .render(
            **_facts(review),
            links=links,
            benchmarks=benchmarks,
            overview=matrix(benchmarks),
            entries=_in_page_order(views, benchmarks),
            findings=finding_list(review, views, links),
            findings_by_entry=rows_by_entry(review, views, links),
            styles=[_asset(name) for name in STYLES],
            scripts=scripts,
            policy=_policy(scripts),
            version=_version(),
            written_at=datetime.now(UTC),
        )
    )


def _facts(review: Review) -> dict[str, Any]:
    """Values of the page that concern the submission as a whole."""
    entries = review.submission.entries
    values = review.ruleset.values
    return {
        "submission": review.submission,
        "ruleset": review.ruleset,
        "choice": review.choice,
        "ok": review.ok,
        "rule_files": _rule_files(review.ruleset),
        "title": str(values.get("title", review.ruleset.name)),
        "organizations": sorted({entry.org for entry in entries if entry.org}),
        "is_synthetic": values.get("synthetic") is True,
        "num_logs": sum(len(entry.logs) for entry in entries),
        "num_bytes": sum(regular_file.size(log.path) for entry in entries for log in entry.logs),
    }


def _in_page_order(views: Sequence[EntryView], benchmarks: Sequence[BenchmarkView]) -> list[EntryView]:
    """In the order of the rankings; then those that no ranking holds."""
    ranked = [view for benchmark in benchmarks for view in benchmark.views]
    anchors = {view.anchor for view in ranked}
    return ranked + [view for view in views if view.anchor not in anchors]


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("compliance.reports", "pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(numbers.FILTERS)
    return environment


def _asset(name: str) -> Markup:
    """A style sheet or script of the page's own, which needs no escaping."""
    return Markup((PAGES / name).read_text(encoding="utf-8"))


def _policy(scripts: Sequence[str]) -> str:
    """Content security policy: the page's own scripts by their hash sums, and nothing else."""
    sums = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{checksum}'" for checksum in sums)
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _rule_files(ruleset: RuleSet) -> list[str]:
    """The rule set's own file first, then those that it inherits from."""
    inherited = sorted(set(ruleset.origins.values()) - {ruleset.file_name}, reverse=True)
    return [ruleset.file_name, *inherited]


def _version() -> str:
    try:
        return version("hpc-ai-bench")
    except PackageNotFoundError:
        return "not installed"
