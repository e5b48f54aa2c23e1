# SPDX-License-Identifier: Apache-2.0
"""Result files: written, read back, and refused with one sentence."""

import json

import pytest

from characterize.results.result import CharacterizeError, Result, load, load_all
from characterize.results.tables import percent, quantity, seconds, size


@pytest.fixture
def result():
    return Result(name="allreduce", verb="allreduce", settings={"ranks": 2}, data={"rows": [1.5]})


def test_what_is_written_is_read_back(result, tmp_path):
    path = result.write(tmp_path / "new")
    assert load(path, "allreduce") == result
    assert [one.name for one in load_all(tmp_path / "new")] == ["allreduce"]


def test_a_result_says_where_it_is_from(result, tmp_path):
    record = json.loads(result.write(tmp_path).read_text())
    assert record["schema"] == 1
    assert record["machine"]["num_cores"] >= 1
    assert record["machine"]["processor"]
    assert {"python", "torch"} <= record["versions"].keys()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": 7}, "schema: found 7, expected 1"),
        ({"verb": "storage"}, "verb: found 'storage', expected 'allreduce'"),
        ({"machine": {}}, "incomplete result"),
        ({"surprise": 1}, "incomplete result"),
    ],
)
def test_another_file_is_refused(result, tmp_path, change, said):
    path = result.write(tmp_path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CharacterizeError, match=r"allreduce\.json") as caught:
        load(path, "allreduce")
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["", "[1]", "{}", "no json"])
def test_no_result_at_all_is_refused(tmp_path, text):
    path = tmp_path / "kernels.json"
    path.write_text(text)
    with pytest.raises(CharacterizeError, match=r"kernels\.json.*measure it again"):
        load(path)


def test_numbers_that_no_json_has_are_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        Result(name="x", verb="kernels", settings={}, data={"rate": float("nan")}).write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_quantities_are_said_as_people_say_them():
    assert quantity(1.354e9, "B/s") == "1.35 GB/s"
    assert quantity(999.9e6, "B/s") == "1.00 GB/s"
    assert quantity(230e12, "FLOP/s") == "230 TFLOP/s"
    assert quantity(None) == quantity(float("inf")) == percent(None) == seconds(None) == "-"
    assert (seconds(0.0123), seconds(2e-6), seconds(61), seconds(0)) == ("12.3 ms", "2.00 µs", "61.0 s", "0 s")
    assert (size(8), size(3 << 20), size(1536)) == ("8 B", "3 MiB", "1.5 KiB")
