# SPDX-License-Identifier: Apache-2.0
"""Commands of `python -m compliance`, one module each, imported when it is called: `run(arguments) -> exit code`."""
