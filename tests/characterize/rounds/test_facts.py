# SPDX-License-Identifier: Apache-2.0
"""Tables of entries: the shipped one, reading, writing, and messages for wrong ones."""

import pytest

from characterize.devices.device_table import find_device_named, known_devices
from characterize.results.result import CharacterizeError
from characterize.rounds import facts
from characterize.rounds.from_logs import facts_of_rounds


def test_the_shipped_table_has_the_entries_of_three_rounds():
    entries = facts.shipped()
    scored = [entry for entry in entries if entry.metric == "time_to_train"]
    assert {(version, sum(entry.round == version for entry in scored)) for version in ("0.7", "1.0", "2.0")} == {
        ("0.7", 15),
        ("1.0", 23),
        ("2.0", 10),
    }
    devices = known_devices()
    for entry in entries:
        find_device_named(entry.device, devices)
        assert entry.samples_per_s < entry.training_samples_per_s


def test_the_shipped_table_is_made_from_the_logs(published_results):
    """The committed code makes the rows of these rounds from their logs."""
    folders = [published_results / "hpc_results_v0.7", published_results / "hpc_results_v2.0"]
    made, _ = facts_of_rounds(folders, known_devices())
    shipped = {(entry.label, entry.metric): entry for entry in facts.shipped()}
    for entry in made:
        if (entry.label, entry.metric) in shipped:  # v2.0 repeats five results of v1.0
            other = shipped[entry.label, entry.metric]
            assert (entry.num_ranks, entry.date, entry.num_runs) == (other.num_ranks, other.date, other.num_runs)
            assert entry.epochs == pytest.approx(other.epochs, rel=1e-4)
            assert entry.samples_per_s == pytest.approx(other.samples_per_s, rel=1e-4)
    assert len(made) == 15 + 22


def test_what_is_written_is_read_back(tmp_path):
    entries = facts.shipped()[:3]
    facts.write(tmp_path / "table.csv", entries, "three entries")
    assert facts.read(tmp_path / "table.csv") == entries


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("0.7,CSCS", "0.7,CSCS,extra", "entry 1"),
        ("128,256,262144", "many,256,262144", "entry 1"),
        ("epochs,", "", "entry"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, old, new, said):
    path = tmp_path / "table.csv"
    facts.write(path, facts.shipped()[:1], "one entry")
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CharacterizeError, match=r"table\.csv") as caught:
        facts.read(path)
    assert said in str(caught.value)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(CharacterizeError, match=r"nowhere\.csv: not a readable table"):
        facts.read(tmp_path / "nowhere.csv")
