# SPDX-License-Identifier: Apache-2.0
"""The chain of digests in a log: what keeps it, and what breaks it."""

import json

import pytest

from compliance.log_digest import LogDigest, broken_links


@pytest.fixture
def write(run_log, tmp_path):
    """A valid log with a log_digest after every epoch and after run_stop; `change` may edit its lines afterwards."""

    def write(change=lambda lines: None, name="result_0.txt", **options):
        digest, lines = LogDigest(), []
        for line in run_log(num_epochs=3, **options).lines:
            lines.append(f":::MLLOG {json.dumps(line)}")
            digest.update(lines[-1])
            if line["key"] in ("epoch_stop", "run_stop"):
                event = {"time_ms": line["time_ms"], "key": "log_digest", "value": digest.hexdigest()}
                lines.append(f":::MLLOG {json.dumps(event | {'event_type': 'POINT_IN_TIME', 'metadata': {}})}")
                digest.update(lines[-1])
        change(lines)
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
        return path

    return write


def line_of(lines, text):
    return next(index for index, line in enumerate(lines) if text in line)


def replace(old, new):
    def change(lines):
        index = line_of(lines, old)
        lines[index] = lines[index].replace(old, new)

    return change


def test_an_unedited_log_has_an_unbroken_chain(write, findings):
    path = write()
    assert list(broken_links(path)) == []
    assert findings(path) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines.insert(12, "epoch 1: loss 0.3"),
        lambda lines: lines.insert(0, "+ echo ':::MLLOG {}'"),
        lambda lines: lines.__setitem__(slice(None), [f"[rank 0] {line}\r" for line in lines]),
        lambda lines: lines.__setitem__(5, lines[5] + " and more output"),
        lambda lines: lines.append("job ends"),
    ],
    ids=["other output", "shell trace", "prefix and CRLF", "output after an event", "output at the end"],
)
def test_other_output_keeps_the_chain(write, change):
    assert list(broken_links(write(change))) == []


@pytest.mark.parametrize(
    "change",
    [
        replace('"value": 0.5,', '"value": 0.6,'),
        replace('"key": "eval_error", "value": 0.1', '"key": "eval_error", "value": 0.0'),
        replace('"time_ms": 1662904434000', '"time_ms": 1662904433999'),
        replace('"status": "success"', '"status": "aborted"'),
        lambda lines: lines.pop(10),
        lambda lines: lines.insert(11, lines[10]),
        lambda lines: lines.insert(10, lines.pop(11)),
        lambda lines: lines.pop(line_of(lines, "log_digest")),
        lambda lines: lines.__setitem__(10, lines[10] + lines.pop(11)),
    ],
    ids=["value", "quality", "time", "status", "removed", "repeated", "order", "a digest removed", "lines joined"],
)
def test_an_edit_breaks_the_chain(write, findings, change):
    path = write(change)
    assert len(list(broken_links(path))) >= 1
    assert "L121" in {finding.rule for finding in findings(path)}


def test_the_first_wrong_digest_is_named(write, findings):
    path = write(replace('"dropout", "value": 0.5', '"dropout", "value": 0.4'))
    (finding,) = (finding for finding in findings(path) if finding.rule == "L121")
    first = line_of(path.read_text().splitlines(), "log_digest") + 1
    assert (finding.severity, finding.line) == ("error", first)
    assert "the log was edited" in finding.message


def test_a_chain_without_its_end_is_an_error(write, findings):
    path = write(lambda lines: lines.pop())
    assert "no log_digest after run_stop" in [finding.message for finding in findings(path)]


def test_a_digest_can_be_continued_after_a_part_of_the_log(write, tmp_path):
    lines = write().read_text().splitlines()
    part = tmp_path / "part.txt"
    part.write_text("\n".join(lines[:20]) + "\n")
    continued, whole = LogDigest.of(part), LogDigest()
    for line in lines:
        whole.update(line)
    for line in lines[20:]:
        continued.update(line.encode())
    assert continued.hexdigest() == whole.hexdigest()


def test_a_log_without_digests_beside_logs_with_them_is_a_warning(write, findings):
    for index in range(5):
        write(name=f"deepcam/result_{index}.txt", benchmark="deepcam", seed=index + 1)
    path = write(
        lambda lines: lines.__setitem__(slice(None), [line for line in lines if "log_digest" not in line]),
        name="deepcam/result_4.txt",
        benchmark="deepcam",
        seed=5,
    )
    assert [(f.rule, f.path) for f in findings(path.parent) if f.rule.startswith("L")] == [("L125", str(path))]


def test_a_line_without_end_and_damaged_events_are_read_in_bounded_memory(tmp_path):
    path = tmp_path / "result_0.txt"
    path.write_bytes(b"x" * 3_000_000 + b"\n:::MLLOG {broken\n:::MLLOG " + b"[" * 100_000 + b"\n:::MLLOG {\xff}\n")
    assert list(broken_links(path)) == []
    assert len(LogDigest.of(path).hexdigest()) == 64
