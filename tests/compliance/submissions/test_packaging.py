# SPDX-License-Identifier: Apache-2.0
"""package: logs become a submission that the checker reads, with the code of one commit and the rest named."""

import gzip
import json
import os
import shutil
import subprocess
import tomllib

import pytest

from compliance.__main__ import main
from compliance.files.errors import UserError
from compliance.review import review
from compliance.rulesets.ruleset import load
from compliance.submissions import run_files, source_code
from compliance.submissions.packaging import Options, package


@pytest.fixture
def runs(tmp_path, run_log):
    """Ten logs of cosmoflow in folders of their own, the latest first, beside other output."""
    for index in range(10):
        start_ms = 1_662_904_434_000 + (10 - index) * 10**7
        run = run_log(seed=index + 1, num_epochs=24, start_ms=start_ms)
        run.write(tmp_path / "runs" / f"job_{index}" / "train.log")
        (tmp_path / "runs" / f"job_{index}" / "notes.txt").write_text("no log\n")
    return tmp_path / "runs"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "submission"


def fill_in(folder):
    """Write something wherever the packaged submission asks for it."""
    for path in folder.rglob("*"):
        if path.suffix in (".md", ".sh") and "implementations" not in path.parts:
            path.write_text(path.read_text().replace("FILL IN:", "Done:"))
    for path in folder.glob("*/systems/*.json"):
        values = json.loads(path.read_text())
        path.write_text(json.dumps({key: value or "something" for key, value in values.items()}))


def test_logs_are_numbered_in_the_order_of_their_starts_and_copied_as_they_are(runs, output):
    package([runs], output, Options(system="box"))
    results = output / "acme" / "results" / "box" / "strong" / "cosmoflow"
    assert sorted(path.name for path in results.iterdir()) == [f"result_{index}.txt" for index in range(10)]
    for index in range(10):
        copied = (results / f"result_{index}.txt").read_bytes()
        assert copied == (runs / f"job_{9 - index}" / "train.log").read_bytes()


def test_a_packaged_submission_passes_once_it_is_filled_in(runs, output, capsys):
    assert main(["package", str(runs), "--output", str(output), "--rules", "mlperf_hpc_2.0"]) == 0
    assert not review(output).ok
    fill_in(output)
    reviewed = review(output)
    assert reviewed.ok, [str(finding) for finding in reviewed.findings if finding.severity == "error"]
    assert not reviewed.counts["warning"]
    assert (reviewed.ruleset.name, reviewed.entries[0].score.scored) == ("mlperf_hpc_2.0", True)


def test_what_is_left_to_write_is_named(runs, output, capsys):
    main(["package", str(runs), "--output", str(output)])
    printed = capsys.readouterr().out
    named = printed.partition("still to be written:")[2]
    assert f"{output}/acme/systems/64_nodes.json: system_type, host_processors_per_node" in named
    assert f"{output}/acme/benchmarks/cosmoflow/64_nodes/README.md:7: FILL IN" in named
    assert "no log names the commit that ran" in named
    assert ".part" not in printed


def test_what_the_logs_tell_is_in_the_description(runs, output):
    package([runs], output, Options())
    values = json.loads((output / "acme" / "systems" / "64_nodes.json").read_text())
    told = {"submitter": "acme", "division": "closed", "status": "onprem", "system_name": "64 nodes"}
    assert values | told | {"number_of_nodes": "64", "accelerators_per_node": "8"} == values
    assert values["framework"] == ""


def test_a_given_description_is_taken_as_it_is(runs, output, tmp_path):
    (tmp_path / "box.json").write_text('{"framework": "PyTorch"}')
    package([runs], output, Options(system="box", description=tmp_path / "box.json"))
    assert json.loads((output / "acme" / "systems" / "box.json").read_text()) == {"framework": "PyTorch"}


def test_the_code_is_that_of_the_commit(runs, output):
    commit = subprocess.run(["git", "rev-parse", "HEAD~1"], cwd=source_code.ROOT, capture_output=True, text=True).stdout
    if not commit:
        pytest.skip("not a git checkout with two commits")
    package([runs], output, Options(system="box", commit="HEAD~1"))
    code = output / "acme" / "benchmarks" / "cosmoflow" / "implementations" / "pytorch"
    blob = ["git", "show", "HEAD~1:harness/config.py"]
    assert (code / "harness" / "config.py").read_bytes() == subprocess.run(
        blob, cwd=source_code.ROOT, capture_output=True, check=True
    ).stdout
    assert {path.name for path in code.iterdir()} >= {"cosmoflow", "harness", "compliance", "rules", "LICENSE"}
    assert not (code / "deepcam").exists()
    summary = json.loads((code.parents[1] / "box" / "box_pytorch.json").read_text())
    assert (summary["commit"], summary["implementation"]) == (commit.strip(), "pytorch")


def test_the_commit_that_the_logs_name_is_taken(runs, output, edit_log):
    if not source_code._is_checkout():
        pytest.skip("not a git checkout")
    commit = source_code._git("rev-parse", "HEAD").strip()
    for log in runs.glob("*/train.log"):
        edit_log(log, lambda run: run.copy("seed", key="code_commit", value=commit))
    packaged = package([runs], output, Options())
    assert f"code of commit {commit[:12]}" in packaged.entries[0]
    assert not any("no log names the commit" in line for line in packaged.to_write)


def test_the_packaged_code_runs(runs, output):
    package([runs], output, Options(system="box"))
    code = output / "acme" / "benchmarks" / "cosmoflow" / "implementations" / "pytorch"
    command = [
        "python3",
        "-c",
        "import compliance.rulesets.ruleset as r; print(r.__file__, r.load('mlperf_hpc_3.0').name)",
    ]
    printed = subprocess.run(command, cwd=code, capture_output=True, text=True, check=True).stdout
    assert printed.split() == [str(code / "compliance" / "rulesets" / "ruleset.py"), "mlperf_hpc_3.0"]


def test_code_of_another_benchmark_is_the_submitters_to_add(runs, output, edit_log):
    for log in runs.glob("*/train.log"):
        edit_log(log, lambda run: run.set("submission_benchmark", "oc20"))
    packaged = package([runs], output, Options())
    assert any("this repository has no oc20" in line for line in packaged.to_write)


def test_two_benchmarks_share_an_organization(runs, output, run_log):
    for index in range(5):
        run_log("deepcam", seed=90 + index).write(runs / f"deepcam_{index}.txt")
    packaged = package([runs], output, Options(system="box"))
    assert len(packaged.entries) == 2
    assert [path.name for path in sorted((output / "acme" / "results" / "box" / "strong").iterdir())] == [
        "cosmoflow",
        "deepcam",
    ]


def test_the_layers_of_hpc_ai500_are_asked_for(runs, output, edit_log):
    for log in runs.glob("*/train.log"):
        edit_log(log, lambda run: run.set("submission_benchmark", "imagenet_resnet"))
    packaged = package([runs], output, Options(system="box"))
    declaration = output / "acme" / "submission.toml"
    asked = [line for line in packaged.to_write if line.startswith(f"{declaration}:")]
    assert list(tomllib.loads(declaration.read_text())["layers"]) == list(load("hpc_ai500_2.0").values["layers"])
    assert len(asked) == 9
    assert packaged.choice.ruleset.name == "hpc_ai500_2.0"


def test_throughput_instances(runs, output):
    package([runs], output, Options(system="box", scaling="weak"))
    assert len(list((output / "acme" / "results" / "box" / "weak" / "cosmoflow").iterdir())) == 10


def test_nothing_is_overwritten(runs, output):
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="is not overwritten"):
        package([runs], output, Options())
    assert [path.name for path in output.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(runs, output, tmp_path):
    with pytest.raises(UserError, match="not a commit of"):
        package([runs], output, Options(commit="no-such-commit"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("submission_org", "package one organization's runs at a time"),
        ("submission_platform", "name the system with --system"),
    ],
)
def test_runs_that_do_not_belong_together(runs, output, edit_log, key, said):
    edit_log(runs / "job_3" / "train.log", lambda run: run.set(key, "another"))
    with pytest.raises(UserError, match=said):
        package([runs], output, Options())


def test_a_run_that_is_named_twice(runs, output):
    shutil.copy(runs / "job_3" / "train.log", runs / "copy.txt")
    with pytest.raises(UserError, match=r"train\.log is the same run as .*copy\.txt"):
        package([runs], output, Options())


@pytest.mark.parametrize(("name", "said"), [("empty", "no log of a complete run"), ("none", "no such file")])
def test_nothing_to_package(tmp_path, output, name, said):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=said):
        package([tmp_path / name], output, Options())


def test_every_file_passed_over_is_named_with_its_reason(runs, output, capsys, run_log):
    """Three of five runs were left out silently: an empty log, a compressed one, and one whose name has no ending."""
    (runs / "job_0" / "train.log").rename(runs / "run_without_ending")
    (runs / "job_1" / "train.log").write_bytes(gzip.compress((runs / "job_1" / "train.log").read_bytes()))
    (runs / "job_2" / "train.log").write_text("")
    (runs / "job_3" / "train.log").write_text((runs / "job_3" / "train.log").read_text(), encoding="utf-16")
    killed = run_log(seed=77)
    killed.drop("run_stop")
    killed.write(runs / "killed.log")
    (runs / "link.log").symlink_to(runs / "job_4" / "train.log")
    os.mkfifo(runs / "pipe.log")
    for index in range(6):
        (runs / f"epoch_{index}.pt").write_bytes(b"weights")
    assert main(["package", str(runs), "--output", str(output), "--rules", "mlperf_hpc_2.0"]) == 0
    printed = capsys.readouterr().out
    not_packaged = printed.partition("not packaged:")[2].partition("still to be written:")[0].splitlines()
    assert sorted(line.strip() for line in not_packaged if line.strip() and "notes.txt" not in line) == [
        f"{runs}/*.pt (6 files, each): has no :::MLLOG line in its first MiB",
        f"{runs}/job_1/train.log: is a gzip file; unpack it",
        f"{runs}/job_2/train.log: is empty",
        f"{runs}/job_3/train.log: is UTF-16 text; convert it to UTF-8",
        f"{runs}/killed.log: has no run_stop: the run did not end",
        f"{runs}/link.log: is a link, which is not followed",
        f"{runs}/pipe.log: is not a regular file",
    ]
    assert "7 logs, code of" in printed
    assert "7 runs, the rules ask for 10 (mlperf_hpc_2.0.toml)" in printed


def test_a_run_in_a_log_and_in_the_output_of_its_job_is_refused(runs, output):
    log = (runs / "job_3" / "train.log").read_text()
    (runs / "slurm-3.out").write_text("job starts\n" + "".join(f"0: {line}\n" for line in log.splitlines()))
    with pytest.raises(UserError, match=r"slurm-3\.out is the same run as .*job_3/train\.log; name each run once"):
        package([runs], output, Options())
    assert not output.exists()


@pytest.mark.parametrize("case", ["20_runs_that_package_leaves_out", "21_runs_with_console_output"])
def test_the_shared_cases(shared_cases, output, case, capsys):
    folder = shared_cases / case
    code = main(["package", str(folder), "--output", str(output)])
    printed = capsys.readouterr()
    if case.startswith("20"):
        assert code == 0
        assert "3 logs, code of" in printed.out
        assert f"{folder}/run1.log: is empty" in printed.out
        assert f"{folder}/run3.log.gz: is a gzip file; unpack it" in printed.out
    else:
        assert code == 2
        assert printed.err.count("is the same run as") == 5


def test_two_packagings_at_once_leave_one_whole_submission(runs, output, monkeypatch):
    def meanwhile(*arguments):
        output.mkdir()
        (output / "theirs.txt").write_text("theirs")
        return find(*arguments)

    find = run_files.find
    monkeypatch.setattr(run_files, "find", meanwhile)
    with pytest.raises(UserError, match="cannot be written: Directory not empty"):
        package([runs], output, Options())
    assert [path.name for path in output.iterdir()] == ["theirs.txt"]
