# SPDX-License-Identifier: Apache-2.0
"""TFRecord files of one sample, read and written without TensorFlow.

A record is a little-endian uint64 length, the masked CRC-32C of those 8 bytes, the payload and the masked CRC-32C of
the payload (tensorflow/core/lib/io/record_writer.h). The payload is a tf.train.Example, a protocol buffer whose
features map names to lists: here `x`, one byte string, and `y`, floats. A file may be gzipped as a whole.

Wire legend: a field is a varint key (field number << 3 | wire type) and its value; wire type 2 is length-delimited.
"""

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import google_crc32c
import numpy as np

from compliance.files.errors import UserError

GZIP_MAGIC = b"\x1f\x8b\x08"
INDEX_SUFFIX = ".tfrecord.idx"
HEADER_BYTES = 12
FOOTER_BYTES = 4

# Field numbers of tensorflow/core/example/{example,feature}.proto.
EXAMPLE_FEATURES = 1
FEATURES_ENTRY = 1
ENTRY_KEY, ENTRY_VALUE = 1, 2
FEATURE_BYTES, FEATURE_FLOATS = 1, 2
LIST_VALUE = 1

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5


class TFRecordError(UserError):
    """A file that is no TFRecord of one sample, or whose checksum fails."""


def read(path: Path) -> tuple[memoryview, np.ndarray]:
    """Features (`x` as bytes, `y` as float32) of the one record of `path`; TFRecordError names the file and fault.

    `x` is a view of what was read: 16 MB are not copied.
    """
    try:
        payload = _only_record(_inflated(path.read_bytes()))
        x, y = parse_example(payload)
    except (TFRecordError, zlib.error, EOFError, gzip.BadGzipFile) as error:
        raise TFRecordError(f"{path}: {error}") from None
    return x, y


def write(path: Path, x: bytes, y: np.ndarray, *, compress: bool = False) -> None:
    """Write one sample; `compress` deflates the whole file, with the same bytes for the same sample (mtime 0)."""
    data = frame(serialize_example(x, y))
    path.write_bytes(gzip.compress(data, compresslevel=6, mtime=0) if compress else data)


def write_index(path: Path, index_path: Path) -> None:
    """Write the index that DALI's reader needs: a line "offset bytes" for the only record of an uncompressed file."""
    index_path.write_text(f"0 {path.stat().st_size}\n")


def is_compressed(path: Path) -> bool:
    """True if the file is compressed as a whole: its first bytes tell, since both forms are called `.tfrecord`."""
    with path.open("rb") as stream:
        return stream.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def frame(payload: bytes) -> bytes:
    """The payload with its length and both checksums around it."""
    length = struct.pack("<Q", len(payload))
    return b"".join((length, _masked_crc(length), payload, _masked_crc(payload)))


def records(data: bytes) -> Iterator[memoryview]:
    """Payloads of all records in `data`, each checked; TFRecordError at the first broken one."""
    data = np.frombuffer(data, dtype=np.uint8)  # whose slices are views that google_crc32c takes
    start = 0
    while start < len(data):
        header = data[start : start + HEADER_BYTES]
        if len(header) < HEADER_BYTES:
            raise TFRecordError(f"truncated: found {len(header)} bytes of a {HEADER_BYTES}-byte record header")
        _check_crc("length", header[:8], header[8:])
        (num_bytes,) = struct.unpack("<Q", header[:8].data)
        stop = start + HEADER_BYTES + num_bytes + FOOTER_BYTES
        if stop > len(data):
            raise TFRecordError(f"truncated: found {len(data)} bytes, expected {stop}")
        payload = data[start + HEADER_BYTES : stop - FOOTER_BYTES]
        _check_crc("payload", payload, data[stop - FOOTER_BYTES : stop])
        yield payload.data
        start = stop


def parse_example(payload: memoryview) -> tuple[memoryview, np.ndarray]:
    """Features `x` (bytes) and `y` (float32) of a serialized tf.train.Example."""
    features = {}
    for entry in _delimited(payload, EXAMPLE_FEATURES, FEATURES_ENTRY):
        fields = dict(_fields(entry))
        features[bytes(fields.get(ENTRY_KEY, b""))] = fields.get(ENTRY_VALUE, memoryview(b""))
    if missing := {b"x", b"y"} - features.keys():
        found = sorted(name.decode("utf-8", "replace") for name in features)
        raise TFRecordError(f"feature {min(missing).decode()!r} is missing: found {found}, expected ['x', 'y']")
    x = list(_delimited(features[b"x"], FEATURE_BYTES, LIST_VALUE))
    if len(x) != 1:
        raise TFRecordError(f"feature 'x': found {len(x)} byte strings, expected 1")
    # Floats are packed into one run by every current writer, or stand one by one (wire type 5): both concatenate.
    y = b"".join(_delimited(features[b"y"], FEATURE_FLOATS, LIST_VALUE))
    if len(y) % 4:
        raise TFRecordError(f"feature 'y': found {len(y)} bytes, expected a multiple of 4")
    return x[0], np.frombuffer(y, dtype="<f4")


def serialize_example(x: bytes, y: np.ndarray) -> bytes:
    """A tf.train.Example with the features `x` and `y`."""
    x_feature = _field(FEATURE_BYTES, _field(LIST_VALUE, x))
    y_feature = _field(FEATURE_FLOATS, _field(LIST_VALUE, y.astype("<f4").tobytes()))
    entries = (
        _field(FEATURES_ENTRY, _field(ENTRY_KEY, name) + _field(ENTRY_VALUE, feature))
        for name, feature in ((b"x", x_feature), (b"y", y_feature))
    )
    return _field(EXAMPLE_FEATURES, b"".join(entries))


def _inflated(data: bytes) -> bytes:
    return gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data


def _only_record(data: bytes) -> memoryview:
    payloads = list(records(data))
    if len(payloads) != 1:
        raise TFRecordError(f"found {len(payloads)} records, expected 1")
    return payloads[0]


def _masked_crc(data: bytes | np.ndarray) -> bytes:
    """CRC-32C rotated right by 15 bits plus a constant, so that a checksum of data with checksums stays a good one."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def _check_crc(what: str, data: np.ndarray, found: np.ndarray) -> None:
    if (expected := _masked_crc(data)) != found.tobytes():
        raise TFRecordError(f"checksum of the {what}: found {found.tobytes().hex()}, expected {expected.hex()}")


def _delimited(message: memoryview, *path: int) -> Iterator[memoryview]:
    """Every value at a path of field numbers, in order."""
    number, *rest = path
    for found, value in _fields(message):
        if found == number:
            yield from _delimited(value, *rest) if rest else (value,)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, value) of a message; the value's bytes whatever the wire type."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        start, stop = _extent(message, position, wire_type=key & 7)
        if stop > len(message):
            raise TFRecordError(f"broken tf.train.Example: a field of {stop - start} bytes exceeds its message")
        yield key >> 3, message[start:stop]
        position = stop


def _extent(message: memoryview, position: int, *, wire_type: int) -> tuple[int, int]:
    """Byte range of a field's value."""
    if wire_type == DELIMITED:
        num_bytes, start = _varint(message, position)
        return start, start + num_bytes
    if wire_type == VARINT:
        return position, _varint(message, position)[1]
    if wire_type in (FIXED32, FIXED64):
        return position, position + (4 if wire_type == FIXED32 else 8)
    raise TFRecordError(f"broken tf.train.Example: found wire type {wire_type}, expected one of 0, 1, 2, 5")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """(value, position after it) of a base-128 number, least significant group first."""
    value = 0
    for shift, byte in enumerate(message[position : position + 10]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, position + shift + 1
    raise TFRecordError("broken tf.train.Example: a number that does not end")


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field."""
    length, prefix = len(value), [number << 3 | DELIMITED]
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*prefix, length]) + value
