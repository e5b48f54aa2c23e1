# SPDX-License-Identifier: Apache-2.0
"""The parser, on files with any content: every marked line is an event, a bad line or a shell trace."""

import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compliance import mllog
from compliance.mllog import UnreadLog, read
from compliance.run_log import MAX_BAD_LINES_KEPT, MAX_EVENTS_PER_KEY, bounded

EVENT = b':::MLLOG {"time_ms": 5, "event_type": "POINT_IN_TIME", "key": "seed", "value": 7, "metadata": {}}'


@pytest.fixture
def parse(tmp_path):
    def parse(content):
        path = tmp_path / "result_0.txt"
        path.write_bytes(content)
        return read(path)

    return parse


def places(log):
    return [(event.key, event.line) for event in log.events]


def test_an_event_is_read_with_its_line(parse):
    log = parse(b"starting\n" + EVENT + b"\nepoch 1\n")
    (event,) = log.events
    assert (event.key, event.value, event.time_ms, event.event_type, event.line) == ("seed", 7, 5, "POINT_IN_TIME", 2)
    assert (log.num_lines, log.num_events, log.num_bad_lines, log.error) == (3, 1, 0, None)


@pytest.mark.parametrize(
    "line",
    [
        b"[rank 0] " + EVENT,
        EVENT + b" and more output",
        EVENT + b"\r",
        b"\x00\x00" + EVENT + b"\x00",
        EVENT.replace(b"7", b'"Universit\xe4t"'),
        EVENT.replace(b"7", b"NaN"),
        EVENT.replace(b"7", b"Infinity"),
        EVENT.replace(b'"metadata": {}', b'"metadata": {"unheard": [1, {"of": null}]}'),
    ],
)
def test_what_stands_around_an_event_does_not_matter(parse, line):
    log = parse(b"\n\n" + line + b"\n")
    assert (places(log), log.num_bad_lines) == ([("seed", 3)], 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (EVENT[:60], "truncated or damaged"),
        (b":::MLLOG", "truncated or damaged"),
        (b":::MLLOG [1, 2]", "not an event"),
        (EVENT.replace(b'"key": "seed", ', b""), "key"),
        (EVENT.replace(b'"seed"', b"3"), "key"),
        (EVENT.replace(b"5,", b'"noon",'), "time_ms"),
        (EVENT.replace(b"5,", b"-1,"), "Expected `int` >= 0 - at `$.time_ms`"),
        (EVENT.replace(b"5,", b"1697000000000000,"), "time_ms is 1697000000000000, expected milliseconds"),
        (EVENT.replace(b"5,", b"1e300,"), "time_ms is 1e+300, expected milliseconds"),
        (EVENT.replace(b'"seed"', b'"batch"').replace(b'"value": 7', b'"value": 7, "value": 8'), "appears twice"),
        (EVENT.replace(b'"seed"', b'"eval_error"').replace(b"5,", b'5, "time_ms": 6,'), "appears twice"),
        (EVENT.replace(b"7", b"[" * 100_000), "truncated or damaged"),
    ],
)
def test_what_is_no_event_is_counted_with_line_and_reason(parse, line, reason):
    log = parse(EVENT + b"\n" + line + b"\n" + EVENT)
    assert [place for place in places(log) if place[1] != 2] == [("seed", 1), ("seed", 3)]
    (bad,) = log.bad_lines
    assert bad.line == 2
    assert reason in bad.reason


def test_two_events_that_ranks_wrote_into_one_line_are_both_read(parse):
    log = parse(EVENT[:40] + EVENT + b"\n")
    assert places(log) == [("seed", 1)]
    assert [bad.line for bad in log.bad_lines] == [1]


@pytest.mark.parametrize("content", [b"", b"\n", b"\x00", b"no newline at the end", b"\xff\xfe\n"])
def test_a_file_without_events_has_none(parse, content):
    log = parse(content)
    assert (log.events, log.num_bad_lines, log.num_bytes) == ([], 0, len(content))


def test_a_file_that_cannot_be_opened_says_why(tmp_path):
    assert read(tmp_path / "missing.txt").error == "No such file or directory"
    assert read(tmp_path).error == "Is a directory"


def test_bad_lines_past_the_first_hundred_are_counted(parse):
    log = parse(b":::MLLOG {\n" * 250)
    assert (log.num_bad_lines, len(log.bad_lines)) == (250, MAX_BAD_LINES_KEPT)


def test_lines_after_ten_thousand_bad_ones_are_still_read(parse):
    good = b':::MLLOG {"key": "seed", "value": 1, "time_ms": 1, "event_type": "POINT_IN_TIME"}\n'
    log = parse(b":::MLLOG {broken\n" * 10_001 + good + b":::MLLOG {broken\n")
    assert (log.num_bad_lines, log.value("seed"), log.line_of("seed")) == (10_002, 1, 10_002)


def test_keys_are_found_in_file_order(parse):
    log = parse(b"\n".join(EVENT.replace(b"7", str(value).encode()) for value in (3, 1, 2)))
    assert [event.value for event in log.all("seed")] == [3, 1, 2]
    assert (log.first("seed").value, log.last("seed").value, log.value("seed")) == (3, 2, 3)
    assert (log.first("no"), log.all("no"), log.value("no", "default")) == (None, [], "default")


def test_equal_bytes_have_equal_digests(parse):
    first, again, other = parse(EVENT).digest, parse(EVENT).digest, parse(EVENT + b"\n").digest
    assert first == again != other


def test_a_line_without_end_costs_blocks_not_its_length(parse):
    content = b"x" * 60_000_000 + b"\n" + EVENT
    tracemalloc.start()
    log = parse(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (places(log), log.num_lines) == ([("seed", 2)], 2)
    assert peak < len(content) / 2


LINES = st.lists(st.sampled_from([EVENT, b"", b"output", b":::MLLOG {", b"\xff:::ML", EVENT + b"x"]), max_size=30)


@given(lines=LINES, block_bytes=st.integers(1, 300), ends=st.booleans())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_blocks_change_nothing(lines, block_bytes, ends, tmp_path, monkeypatch):
    """Whatever the size of a block, a line longer than two of them apart: the same events and lines as by splitting."""
    monkeypatch.setattr(mllog, "BLOCK_BYTES", max(block_bytes, len(EVENT) + 2))
    path = tmp_path / "result_0.txt"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ends else b""))
    log = read(path)
    events = [number for number, line in enumerate(lines, 1) if line.startswith(EVENT)]
    assert [event.line for event in log.events] == events
    assert [bad.line for bad in log.bad_lines] == [n for n, line in enumerate(lines, 1) if line == b":::MLLOG {"]


@given(value=st.recursive(st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(), st.lists, max_leaves=5))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_values_are_read_as_json_reads_them(value, tmp_path):
    path = tmp_path / "result_0.txt"
    record = {"key": "note", "time_ms": 1, "event_type": "POINT_IN_TIME", "value": value}
    path.write_text(f":::MLLOG {json.dumps(record)}\n", encoding="utf-8")
    assert read(path).value("note") == (bounded(value) if isinstance(value, list | str) else value)


def test_a_key_of_thousands_of_events_is_counted_and_kept_in_part(parse):
    stats, mark = EVENT.replace(b"seed", b"tracked_stats"), EVENT.replace(b"seed", b"epoch_start")
    log = parse(b"\n".join([stats, mark] * (MAX_EVENTS_PER_KEY + 7)))
    assert len(log.all("tracked_stats")) == MAX_EVENTS_PER_KEY
    assert log.passed_over == {"tracked_stats": 7}
    assert len(log.all("epoch_start")) == MAX_EVENTS_PER_KEY + 7
    assert log.num_events == 2 * (MAX_EVENTS_PER_KEY + 7)


def test_events_come_in_the_order_of_the_file(parse):
    log = parse(b"\n".join(EVENT.replace(b"seed", key) for key in (b"b", b"a", b"c", b"b")))
    assert [event.line for event in log.in_order("a", "b")] == [1, 2, 4]


def test_a_log_is_read_when_it_is_asked_for(tmp_path):
    path = tmp_path / "result_0.txt"
    log = UnreadLog(path)
    path.write_bytes(EVENT)
    assert log.num_events == 1
    path.unlink()
    assert log.value("seed") == 7
    assert UnreadLog(path).error == "No such file or directory"
    with pytest.raises(AttributeError):
        log.evnts  # noqa: B018
