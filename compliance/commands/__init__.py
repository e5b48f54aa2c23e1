# SPDX-License-Identifier: Apache-2.0
"""One module a command of `python -m compliance`, imported when it is called: `run(arguments) -> exit code`."""

from compliance.files.errors import UserError
from compliance.rulesets.ruleset import RuleSetError
from compliance.submissions.reader import SubmissionError

USER_ERRORS = (UserError, RuleSetError, SubmissionError, OSError)
