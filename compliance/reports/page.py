# SPDX-License-Identifier: Apache-2.0
"""The report page: one self-contained HTML file for a log, an entry, an organization or a whole round.

    write(review, Path("report.html"))

Nothing is loaded from anywhere, and everything that a log or a file name says is escaped: jinja2 escapes by default,
and the page's own content security policy allows no script but the two that it carries.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compliance.files import atomic_write
from compliance.reports.pages import numbers
from compliance.reports.pages.entries import EntryView, entry_views
from compliance.reports.pages.faults import finding_list
from compliance.reports.pages.links import Links
from compliance.reports.pages.rankings import benchmark_views
from compliance.review import Review
from compliance.rulesets.ruleset import RuleSet

STYLES = ("uplot.min.css", "report.css")
SCRIPTS = ("uplot.iife.min.js", "report.js")


def write(review: Review, output: Path) -> None:
    """Write the page to `output`, whole or not at all."""
    atomic_write.write(output, render(review, output.absolute().parent))


def render(review: Review, page_folder: Path) -> str:
    """The page's text, with links that are valid from `page_folder`."""
    submission, ruleset = review.submission, review.ruleset
    links = Links(page_folder=page_folder, root=submission.root)
    entries = entry_views(review, links)
    benchmarks = benchmark_views(entries, ruleset)
    scripts = [_asset(name) for name in SCRIPTS]
    return (
        _environment()
        .get_template("report.html")
        .render(
            submission=submission,
            ruleset=ruleset,
            rule_files=_rule_files(ruleset),
            links=links,
            title=str(ruleset.values.get("title", ruleset.name)),
            organizations=sorted({entry.org for entry in submission.entries if entry.org}),
            is_synthetic=ruleset.values.get("synthetic") is True,
            benchmarks=benchmarks,
            entries=_in_page_order(entries, benchmarks),
            findings=finding_list(review.findings, entries, links),
            num_logs=sum(len(entry.logs) for entry in submission.entries),
            num_bytes=sum(log.num_bytes for entry in submission.entries for log in entry.logs),
            styles=[_asset(name) for name in STYLES],
            scripts=scripts,
            policy=_policy(scripts),
            version=_version(),
            written_at=datetime.now(UTC),
        )
    )


def _in_page_order(entries: Sequence[EntryView], benchmarks: Sequence) -> list[EntryView]:
    """As ranked; then those that no ranking holds."""
    ranked = [view for benchmark in benchmarks for view in benchmark.views]
    anchors = {view.anchor for view in ranked}
    return ranked + [view for view in entries if view.anchor not in anchors]


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
    return Markup(_environment().loader.get_source(None, name)[0])


def _policy(scripts: Sequence[str]) -> str:
    """Content security policy: the page's own scripts by their sums, and nothing else, from nowhere else."""
    sums = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{one}'" for one in sums)
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
