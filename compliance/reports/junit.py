# SPDX-License-Identifier: Apache-2.0
"""Findings as JUnit XML, which continuous integration shows as tests.

Each log is a test case, and so is each other path with findings. Errors fail a case; other findings are its output.
"""

from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from compliance.checks.registry import Finding
from compliance.reports.tables import printable
from compliance.submissions.reader import Submission


def document(findings: Sequence[Finding], submission: Submission) -> str:
    by_path: dict[str, list[Finding]] = {str(log.path): [] for entry in submission.entries for log in entry.logs}
    for finding in findings:
        by_path.setdefault(finding.path, []).append(finding)
    failures = sum(any(map(_is_error, of_path)) for of_path in by_path.values())
    counts = {"tests": str(len(by_path)), "failures": str(failures)}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "compliance", **counts})
    for path, of_path in by_path.items():
        case = ElementTree.SubElement(suite, "testcase", {"classname": "compliance", "name": _xml(path)})
        _fill(case, of_path)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _fill(case: ElementTree.Element, findings: Sequence[Finding]) -> None:
    errors = [finding for finding in findings if _is_error(finding)]
    if errors:
        rules = ", ".join(sorted({error.rule for error in errors}))
        message = f"{len(errors)} error{'s' * (len(errors) > 1)}: {rules}"
        ElementTree.SubElement(case, "failure", {"message": message}).text = _lines(errors)
    if len(errors) < len(findings):
        others = (finding for finding in findings if not _is_error(finding))
        ElementTree.SubElement(case, "system-out").text = _lines(others)


def _is_error(finding: Finding) -> bool:
    return finding.severity == "error"


def _lines(findings: Iterable[Finding]) -> str:
    return _xml("\n".join(map(str, findings)))


def _xml(text: str) -> str:
    """The text with characters escaped that XML cannot hold: most control characters, and halves of surrogate pairs."""
    return "\n".join(map(printable, text.split("\n")))
