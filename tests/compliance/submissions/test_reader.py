# SPDX-License-Identifier: Apache-2.0
"""Folders of every layout as entries, and what stands in the way of one."""

import json
import os
import shutil
from pathlib import Path

import pytest

from compliance.submissions import reader
from compliance.submissions.reader import SubmissionError, read


def entries(found):
    return [(entry.org, entry.system, entry.scaling, entry.benchmark, len(entry.runs)) for entry in found.entries]


def odd(found, root):
    return sorted((oddity.kind, str(oddity.path.relative_to(root))) for oddity in found.oddities)


def test_a_round(valid_round):
    found = read(valid_round)
    assert found.kind == "round"
    assert entries(found) == [
        ("acme", "box", "strong", "cosmoflow", 10),
        ("acme", "cluster", "weak", "cosmoflow", 10),
        ("beta", "rack", "strong", "deepcam", 5),
    ]
    assert [len(entry.pruned) for entry in found.entries] == [0, 1, 0]
    assert found.has_scaling_folders
    assert found.oddities == []


def test_an_organization(valid_round):
    found = read(valid_round / "beta")
    assert (found.kind, entries(found)) == ("organization", [("beta", "rack", "strong", "deepcam", 5)])
    assert found.entries[0].description.values["submitter"] == "beta"


def test_a_result_folder_and_a_log_know_where_they_stand(acme_cosmoflow):
    folder, log = read(acme_cosmoflow), read(acme_cosmoflow / "result_3.txt")
    assert (folder.kind, entries(folder)) == ("folder", [("acme", "box", "strong", "cosmoflow", 10)])
    assert (log.kind, entries(log)) == ("log", [("acme", "box", "strong", "cosmoflow", 1)])
    assert log.entries[0].is_single_log


def test_a_log_anywhere_has_the_benchmark_that_it_logs(tmp_path, run_log):
    found = read(run_log("deepcam").write(tmp_path / "anywhere.log"))
    assert entries(found) == [("", "", "strong", "deepcam", 1)]


def test_the_layout_of_v07(valid_round):
    results = valid_round / "beta" / "results" / "rack"
    (results / "strong" / "deepcam").rename(results / "deepcam")
    (results / "strong").rmdir()
    found = read(valid_round / "beta")
    assert entries(found) == [("beta", "rack", "strong", "deepcam", 5)]
    assert not found.has_scaling_folders


def test_logs_are_in_the_order_of_their_numbers(valid_round):
    folder = valid_round / "beta/results/rack/strong/deepcam"
    (folder / "result_4.txt").rename(folder / "result_10.txt")
    names = [log.path.name for log in read(folder).entries[0].runs]
    assert names == ["result_0.txt", "result_1.txt", "result_2.txt", "result_3.txt", "result_10.txt"]


def test_links_are_noted_and_never_followed(valid_round, tmp_path):
    outside = tmp_path / "outside"
    shutil.copytree(valid_round / "beta/results/rack", outside)
    results = valid_round / "beta" / "results"
    (results / "linked").symlink_to(outside)
    (results / "rack" / "strong" / "loop").symlink_to(results)
    (results / "rack" / "strong" / "deepcam" / "result_5.txt").symlink_to(results / "rack/strong/deepcam/result_0.txt")
    found = read(valid_round / "beta")
    assert entries(found) == [("beta", "rack", "strong", "deepcam", 5)]
    assert odd(found, results) == [
        ("link", "linked"),
        ("link", "rack/strong/deepcam/result_5.txt"),
        ("link", "rack/strong/loop"),
    ]


def test_what_belongs_to_no_entry_is_kept(valid_round):
    folder = valid_round / "beta/results/rack/strong/deepcam"
    (folder / "result_5.txt").mkdir()
    (folder / "notes").mkdir()
    (folder / "Result_6.txt").write_text("")
    (folder / ".hidden").write_text("")
    (folder.parent / "oc20").mkdir()
    assert odd(read(valid_round / "beta"), folder.parent) == [
        ("empty_folder", "oc20"),
        ("not_a_file", "deepcam/result_5.txt"),
        ("unknown_file", "deepcam/Result_6.txt"),
        ("unknown_folder", "deepcam/notes"),
    ]


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000, '{"a": NaN'])
def test_a_broken_description_has_an_error(valid_round, content):
    (valid_round / "beta/systems/rack.json").write_text(content)
    description = read(valid_round / "beta").entries[0].description
    assert description.values == {}
    assert description.error


@pytest.mark.parametrize(
    ("described", "logged", "division"),
    [("open", "closed", "open"), ("Open", "closed", "open"), ("nonsense", "open", "open"), (None, "open", "open")],
)
def test_the_description_names_the_division_before_the_logs(valid_round, edit_log, described, logged, division):
    file = valid_round / "beta/systems/rack.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"division": described}))
    for path in (valid_round / "beta/results/rack/strong/deepcam").iterdir():
        edit_log(path, lambda run: run.set("submission_division", logged))
    assert read(valid_round / "beta").entries[0].division == division


def test_submission_toml_is_read_at_the_root(valid_round):
    (valid_round / "submission.toml").write_text('rules = "mlperf_hpc_2.0"\n')
    assert read(valid_round).declaration.values == {"rules": "mlperf_hpc_2.0"}
    (valid_round / "submission.toml").write_text("rules = \n")
    assert "not TOML" in read(valid_round).declaration.error


def test_what_is_no_submission_says_what_was_expected(tmp_path):
    with pytest.raises(SubmissionError, match="no such file or folder"):
        read(tmp_path / "missing")
    with pytest.raises(
        SubmissionError, match="expected a log, a result folder, an organization's submission or a round"
    ):
        read(tmp_path)


def test_a_description_too_large_is_not_read(valid_round, monkeypatch):
    monkeypatch.setattr(reader, "MAX_JSON_BYTES", 10)
    assert "larger than" in read(valid_round / "beta").entries[0].description.error


def test_descriptions_together_are_bounded(valid_round, monkeypatch):
    size = (valid_round / "beta/systems/rack.json").stat().st_size
    monkeypatch.setattr(reader, "MAX_DESCRIPTION_BYTES", size + 10)
    (valid_round / "beta/systems/second.json").write_text("{} " * 20)
    descriptions = read(valid_round / "beta").organizations[0].descriptions
    assert descriptions["rack"].error is None
    assert "larger than" in descriptions["second"].error


@pytest.mark.parametrize("kind", ["pipe", "device", "link", "folder"])
def test_what_is_not_a_file_is_never_opened(valid_round, kind):
    path = valid_round / "beta/systems/odd.json"
    outside = valid_round.parent / "outside.json"
    outside.write_text('{"secret": 1}')
    {
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "link": lambda: path.symlink_to(outside),
        "folder": path.mkdir,
    }[kind]()
    submission = read(valid_round / "beta")
    if kind in ("device", "link"):
        assert "odd" not in submission.organizations[0].descriptions
        assert [(oddity.path, oddity.kind) for oddity in submission.oddities] == [(path, "link")]
    else:
        assert "cannot be read" in submission.organizations[0].descriptions["odd"].error


def test_a_folder_that_cannot_be_listed_is_noted_and_the_rest_is_read(valid_round, monkeypatch):
    locked = valid_round / "acme/results/cluster"

    def listing(folder):
        if folder == locked:
            raise PermissionError(13, "Permission denied", str(folder))
        return os_listing(folder)

    os_listing = Path.iterdir
    monkeypatch.setattr(Path, "iterdir", listing)
    submission = read(valid_round)
    assert reader.Oddity(locked, "unlisted_folder") in submission.oddities
    assert [entry.system for entry in submission.entries] == ["box", "rack"]


def test_hidden_results_and_digits_of_other_scripts_are_noted(valid_round):
    folder = valid_round / "beta/results/rack/strong/deepcam"
    (folder / ".result_9.txt").write_text("")
    (folder / "result_\u0665.txt").write_text("")
    (folder / ".DS_Store").write_text("")
    oddities = read(valid_round).oddities
    assert {(oddity.path.name, oddity.kind) for oddity in oddities} == {
        (".result_9.txt", "unknown_file"),
        ("result_\u0665.txt", "unknown_file"),
    }


def test_a_pipe_is_no_log(tmp_path):
    os.mkfifo(tmp_path / "result_0.txt")
    with pytest.raises(SubmissionError, match="is not a regular file"):
        read(tmp_path / "result_0.txt")


def test_a_path_that_is_a_link_is_followed(valid_round, tmp_path):
    (tmp_path / "round_link").symlink_to(valid_round)
    assert len(read(tmp_path / "round_link").entries) == 3
