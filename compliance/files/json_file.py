# SPDX-License-Identifier: Apache-2.0
"""Reads JSON objects that others have written, in bounded memory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compliance.files import regular_file
from compliance.files.errors import UserError


def load(path: Path, max_bytes: int, repeated: list[str] | None = None) -> dict[str, Any]:
    """The file's object. UserError if it cannot be read or holds anything else.

    Names that an object has twice are added to `repeated`; their last value counts.
    """
    content = regular_file.read(path, max_bytes)
    try:
        values = json.loads(content, object_pairs_hook=None if repeated is None else _noting(repeated))
    except RecursionError:
        raise UserError(f"{path}: not JSON to be read: nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: found a JSON {type(values).__name__}, expected an object")
    return values


def _noting(repeated: list[str]) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    def as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, value in pairs:
            if name in values:
                repeated.append(name)
            values[name] = value
        return values

    return as_dict
