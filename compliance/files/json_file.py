# SPDX-License-Identifier: Apache-2.0
"""Reads JSON objects that others have written, in bounded memory."""

import json
from pathlib import Path
from typing import Any

from compliance.files import regular_file
from compliance.files.errors import UserError


def load(path: Path, max_bytes: int) -> dict[str, Any]:
    """The file's object. UserError if it cannot be read or holds anything else."""
    content = regular_file.read(path, max_bytes)
    try:
        values = json.loads(content)
    except RecursionError:
        raise UserError(f"{path}: not JSON to be read: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found a JSON {type(values).__name__}, expected an object")
    return values
