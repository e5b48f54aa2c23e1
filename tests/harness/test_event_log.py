# SPDX-License-Identifier: Apache-2.0
"""Lines of mlperf-logging: in their own file, at once, and whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from harness.event_log import EventLog, EventLogError


def records(path: Path) -> list[dict]:
    return [json.loads(line.removeprefix(":::MLLOG ")) for line in path.read_text().splitlines()]


def test_three_kinds_of_events(tmp_path):
    log = EventLog(tmp_path / "log.txt")
    log.start("epoch", epoch_num=1)
    log.point("eval_error", np.float32(0.5), epoch_num=1)
    log.stop("epoch", epoch_num=1)
    written = [(record["event_type"], record["key"], record["value"]) for record in records(tmp_path / "log.txt")]
    assert written == [
        ("INTERVAL_START", "epoch_start", None),
        ("POINT_IN_TIME", "eval_error", 0.5),
        ("INTERVAL_END", "epoch_stop", None),
    ]
    assert all(record["metadata"]["epoch_num"] == 1 for record in records(tmp_path / "log.txt"))


def test_two_logs_in_one_process_keep_to_their_files_and_off_the_console(tmp_path, capfd):
    first, second = EventLog(tmp_path / "a.txt"), EventLog(tmp_path / "b.txt")
    for log, value in ((first, 1), (second, 2), (first, 3)):
        log.point("seed", value)
    first.close()
    second.point("seed", 4)
    assert [record["value"] for record in records(tmp_path / "a.txt")] == [1, 3]
    assert [record["value"] for record in records(tmp_path / "b.txt")] == [2, 4]
    assert capfd.readouterr() == ("", "")


def test_line_is_in_the_file_at_once(tmp_path):
    log = EventLog(tmp_path / "log.txt")
    for num_events in range(1, 4):
        log.point("seed", 1)
        assert len(records(tmp_path / "log.txt")) == num_events


def test_event_tells_where_it_was_logged(tmp_path):
    EventLog(tmp_path / "log.txt").point("seed", 1)
    assert records(tmp_path / "log.txt")[0]["metadata"]["file"].endswith("tests/harness/test_event_log.py")


def test_without_a_path_nothing_is_written(tmp_path, capfd):
    log = EventLog(None)
    log.point("seed", 1)
    log.close()
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_log_is_never_overwritten(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_text("precious\n")
    with pytest.raises(EventLogError, match=r"result_0.txt: exists and is not empty; .* move it or name another"):
        EventLog(path)
    assert path.read_text() == "precious\n"


def test_empty_file_and_missing_folders_are_no_hindrance(tmp_path):
    (tmp_path / "empty.txt").touch()
    for path in (tmp_path / "empty.txt", tmp_path / "a" / "b" / "new.txt"):
        EventLog(path).point("seed", 1)
        assert len(records(path)) == 1


def test_output_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EventLogError, match=r"result.txt: cannot be written: File exists"):
        EventLog(tmp_path / "file" / "result.txt")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_full_disk_is_an_error_and_no_gap():
    log = EventLog(Path("/dev/full"))
    with pytest.raises(EventLogError, match="No space left on device"):
        log.point("seed", 1)
    log.close()


def test_value_that_cannot_be_logged_is_an_error_and_leaves_no_line(tmp_path):
    log = EventLog(tmp_path / "log.txt")
    with pytest.raises(EventLogError, match="not JSON serializable"):
        log.point("weights", torch.zeros(2))
    assert (tmp_path / "log.txt").read_text() == ""
