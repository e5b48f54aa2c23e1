# SPDX-License-Identifier: Apache-2.0
"""P: a submission is more than submission_template/: it is filled in and has results."""

from collections.abc import Iterator

from compliance.checks.registry import Fault, rule
from compliance.submissions import template
from compliance.submissions.reader import Organization


@rule("P953")
def template_is_filled_in(organization: Organization) -> Iterator[Fault]:
    """No file of the submission still has text to fill in, and none has a name of the template.

    Why: a reviewer repeats the runs from these texts.
    Example: "FILL IN: where the data set comes from" in benchmarks/cosmoflow/dgx_n64/README.md.
    Fix: replace the line by the text that it asks for; rename files and folders to your own names.
    """
    if organization.folder.is_dir():
        for place in template.unfilled(organization.folder):
            yield Fault(place.path, place.text, place.line)


@rule("P954")
def submission_holds_results(organization: Organization) -> Iterator[Fault]:
    """An organization's submission has at least one entry.

    Why: a folder without entries would pass every other rule.
    Example: results/ without a folder <system>/strong/<benchmark>/, as in the template.
    Fix: copy the logs to the places that the layout gives, or check another folder.
    """
    if not organization.entries:
        expected = "results/<system>/{strong,weak}/<benchmark>/result_<i>.txt"
        yield Fault(organization.folder, "no entry", expected=expected)
