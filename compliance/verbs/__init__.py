# SPDX-License-Identifier: Apache-2.0
"""One module a verb of `python -m compliance`, imported when it is called: `run(arguments) -> exit code`."""

from compliance.errors import UserError
from compliance.ruleset import RuleSetError
from compliance.submission import SubmissionError

USER_ERRORS = (UserError, RuleSetError, SubmissionError, OSError)
