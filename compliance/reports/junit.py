# SPDX-License-Identifier: Apache-2.0
"""Findings as JUnit XML, which continuous integration shows as tests: one case a log, and one a further path found.

Errors fail a case; warnings, notes and waived findings are its output.
"""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from compliance.checks.registry import Finding
from compliance.submissions.reader import Submission


def document(findings: Sequence[Finding], submission: Submission) -> str:
    by_path: dict[str, list[Finding]] = {str(log.path): [] for entry in submission.entries for log in entry.logs}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    failures = sum(any(one.severity == "error" for one in found) for found in by_path.values())
    counts = {"tests": str(len(by_path)), "failures": str(failures)}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "compliance", **counts})
    for path, found in by_path.items():
        case = ElementTree.SubElement(suite, "testcase", {"classname": "compliance", "name": _xml(path)})
        _fill(case, found)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _fill(case: ElementTree.Element, findings: Sequence[Finding]) -> None:
    errors = [one for one in findings if one.severity == "error"]
    if errors:
        message = f"{len(errors)} error{'s' * (len(errors) > 1)}: {', '.join(sorted({one.rule for one in errors}))}"
        ElementTree.SubElement(case, "failure", {"message": message}).text = _lines(errors)
    if len(errors) < len(findings):
        others = (one for one in findings if one.severity != "error")
        ElementTree.SubElement(case, "system-out").text = _lines(others)


def _lines(findings: Iterable[Finding]) -> str:
    return _xml("\n".join(map(str, findings)))


def _xml(text: str) -> str:
    """XML has no way to write most control characters, nor half a surrogate pair."""
    return "".join(one if one.isprintable() or one == "\n" else one.encode("unicode_escape").decode() for one in text)
