# SPDX-License-Identifier: Apache-2.0
"""TFRecord files of one sample: against bytes made by hand and against broken ones."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cosmoflow import tfrecord
from cosmoflow.tfrecord import TFRecordError

TARGET = np.array([0.5, -0.25, 1.0, -1.0], dtype=np.float32)


def crc32c(data: bytes) -> int:
    """CRC-32C bit by bit, from its definition (RFC 3720, appendix B.4)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sample.tfrecord"


def test_the_framing_is_the_documented_one():
    assert crc32c(b"123456789") == 0xE3069283  # the check value that every catalogue of CRCs gives
    length = struct.pack("<Q", 3)
    assert tfrecord.frame(b"abc") == length + masked(length) + b"abc" + masked(b"abc")


def test_an_example_written_by_hand_is_parsed():
    y = b"\x0a\x01y\x12\x08" + b"\x12\x06\x0a\x04" + struct.pack("<f", 1.5)
    x = b"\x0a\x01x\x12\x06" + b"\x0a\x04\x0a\x02" + b"\x07\x08"
    features = b"\x0a" + bytes([len(y)]) + y + b"\x0a" + bytes([len(x)]) + x
    found_x, found_y = tfrecord.parse_example(memoryview(b"\x0a" + bytes([len(features)]) + features))
    assert bytes(found_x) == b"\x07\x08"
    assert found_y.tolist() == [1.5]


def test_floats_written_one_by_one_are_parsed():
    floats = b"".join(b"\x0d" + struct.pack("<f", value) for value in (1.0, 2.0))
    y = b"\x0a\x01y\x12" + bytes([len(floats) + 2]) + b"\x12" + bytes([len(floats)]) + floats
    x = b"\x0a\x01x\x12\x04\x0a\x02\x0a\x00"
    features = b"\x0a" + bytes([len(y)]) + y + b"\x0a" + bytes([len(x)]) + x
    assert tfrecord.parse_example(memoryview(b"\x0a" + bytes([len(features)]) + features))[1].tolist() == [1.0, 2.0]


@given(x=st.binary(max_size=400), y=st.lists(st.floats(width=32, allow_nan=False), max_size=5))
def test_what_is_serialized_is_parsed_again(x, y):
    found_x, found_y = tfrecord.parse_example(memoryview(tfrecord.serialize_example(x, np.array(y, dtype=np.float32))))
    assert bytes(found_x) == x
    assert found_y.tolist() == y


@pytest.mark.parametrize("compress", [False, True])
def test_a_file_holds_what_was_written(path, compress):
    tfrecord.write(path, b"voxels", TARGET, compress=compress)
    x, y = tfrecord.read(path)
    assert (bytes(x), y.tolist()) == (b"voxels", TARGET.tolist())
    assert tfrecord.is_compressed(path) is compress


def test_a_sample_of_the_original_size_takes_the_published_bytes(path):
    tfrecord.write(path, bytes(128**3 * 4 * 2), TARGET)
    assert path.stat().st_size == 16_777_287


def test_the_same_sample_compresses_to_the_same_bytes(tmp_path):
    paths = [tmp_path / name for name in ("a.tfrecord", "b.tfrecord")]
    for path in paths:
        tfrecord.write(path, b"voxels", TARGET, compress=True)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_index_says_where_the_only_record_lies(path):
    tfrecord.write(path, b"voxels", TARGET)
    tfrecord.write_index(path, path.with_suffix(".idx"))
    assert path.with_suffix(".idx").read_text() == f"0 {path.stat().st_size}\n"


@pytest.mark.parametrize(("position", "what"), [(0, "length"), (9, "length"), (20, "payload"), (-1, "payload")])
def test_a_changed_byte_fails_its_checksum(path, position, what):
    tfrecord.write(path, b"voxels", TARGET)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(TFRecordError, match=rf"{path}: checksum of the {what}: found \w+, expected \w+"):
        tfrecord.read(path)


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("num_bytes", [5, 30])
def test_a_truncated_file_is_an_error_that_names_it(path, compress, num_bytes):
    tfrecord.write(path, b"voxels", TARGET, compress=compress)
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(TFRecordError, match=rf"{path}: (truncated: found|Compressed file ended)"):
        tfrecord.read(path)


def test_an_empty_file_holds_no_record(path):
    path.write_bytes(b"")
    with pytest.raises(TFRecordError, match=r"found 0 records, expected 1"):
        tfrecord.read(path)


def test_a_second_record_is_refused(path):
    path.write_bytes(tfrecord.frame(tfrecord.serialize_example(b"", TARGET)) * 2)
    with pytest.raises(TFRecordError, match=r"found 2 records, expected 1"):
        tfrecord.read(path)


def test_a_damaged_deflate_stream_is_an_error(path):
    tfrecord.write(path, bytes(range(200)), TARGET, compress=True)
    content = bytearray(path.read_bytes())
    content[20:30] = b"\xff" * 10
    path.write_bytes(content)
    with pytest.raises(TFRecordError, match=str(path)):
        tfrecord.read(path)


@given(payload=st.binary(max_size=60))
def test_any_payload_is_parsed_or_refused(payload):
    def refused() -> bool:
        try:
            tfrecord.parse_example(memoryview(payload))
        except TFRecordError:
            return True
        return False

    assert refused() or {b"x", b"y"} <= {payload[i : i + 1] for i in range(len(payload))}


def test_half_a_float_is_refused():
    y = b"\x0a\x01y\x12\x06\x12\x04\x0a\x02\x00\x00"
    x = b"\x0a\x01x\x12\x04\x0a\x02\x0a\x00"
    features = b"\x0a" + bytes([len(y)]) + y + b"\x0a" + bytes([len(x)]) + x
    with pytest.raises(TFRecordError, match=r"feature 'y': found 2 bytes, expected a multiple of 4"):
        tfrecord.parse_example(memoryview(b"\x0a" + bytes([len(features)]) + features))


def test_a_missing_feature_is_named(path):
    without_x = tfrecord.serialize_example(b"", TARGET).replace(b"\x0a\x01x", b"\x0a\x01z")
    path.write_bytes(gzip.compress(tfrecord.frame(without_x)))
    with pytest.raises(TFRecordError, match=r"feature 'x' is missing: found \['y', 'z'\], expected \['x', 'y'\]"):
        tfrecord.read(path)
