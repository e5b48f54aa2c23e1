# SPDX-License-Identifier: Apache-2.0
"""As much of MATLAB's file format (version 5) as reading ImageNet's meta.mat takes: a struct array of numbers and text.

    read_records(Path("meta.mat").read_bytes())           # [{"ILSVRC2012_ID": 1.0, "WNID": "n02119789", ...}, ...]

Source: The MathWorks, "MAT-file format" (the description of Level 5).
"""

import math
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from compliance.files.errors import UserError

HEADER_BYTES = 128
COMPRESSED, MATRIX = 15, 14
STRUCT_CLASS, CHARACTER_CLASS = 2, 4
NUMBER_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
TEXT_TYPES = {16: "utf-8", 17: "utf-16-le", 4: "utf-16-le", 2: "latin-1"}

Value = float | str | None


class MatlabError(UserError):
    """Bytes that are no file of that version, or hold no struct array."""


def read_records(content: bytes) -> list[dict[str, Value]]:
    """The first struct array of a file, one dict an element; arrays of more than one number are None."""
    if len(content) < HEADER_BYTES or content[126:128] != b"IM":
        raise MatlabError("not a MATLAB file of version 5 in little-endian order")
    try:
        for kind, body in _elements(content[HEADER_BYTES:]):
            if kind == COMPRESSED:
                kind, body = next(_elements(zlib.decompress(body)))
            if kind == MATRIX and (records := _records(body)) is not None:
                return records
    except (struct.error, zlib.error, StopIteration, KeyError, IndexError, UnicodeDecodeError) as error:
        raise MatlabError(f"damaged: {error}") from None
    raise MatlabError("holds no struct array")


def _elements(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each element; those of at most four bytes stand inside their tag."""
    position = 0
    while position + 8 <= len(content):
        kind, num_bytes = struct.unpack_from("<II", content, position)
        if kind >> 16:
            yield kind & 0xFFFF, content[position + 4 : position + 4 + (kind >> 16)]
            position += 8
        else:
            yield kind, content[position + 8 : position + 8 + num_bytes]
            padding = 0 if kind == COMPRESSED else -num_bytes % 8
            position += 8 + num_bytes + padding


def _records(matrix: bytes) -> list[dict[str, Value]] | None:
    """The elements of a struct array; None where it is another kind of array."""
    parts = list(_elements(matrix))
    if parts[0][1][0] != STRUCT_CLASS:
        return None
    shape = np.frombuffer(parts[1][1], dtype="<i4")
    name_bytes = int(np.frombuffer(parts[3][1], dtype="<i4")[0])
    packed = parts[4][1]
    starts = range(0, len(packed), name_bytes)
    names = [packed[start : start + name_bytes].split(b"\0")[0].decode() for start in starts]
    values = [_value(body) for _, body in parts[5:]]
    rows = range(0, len(names) * math.prod(shape.tolist()), len(names))
    return [dict(zip(names, values[row : row + len(names)], strict=True)) for row in rows]


def _value(matrix: bytes) -> Value:
    parts = list(_elements(matrix))
    if len(parts) < 4:
        return None
    kind, body = parts[3]
    if parts[0][1][0] == CHARACTER_CLASS:
        return body.decode(TEXT_TYPES[kind])
    numbers = np.frombuffer(body, dtype="<" + NUMBER_TYPES[kind])
    return float(numbers[0]) if len(numbers) == 1 else None
