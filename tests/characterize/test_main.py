# SPDX-License-Identifier: Apache-2.0
"""The command line: a declared roofline and the report page end to end, and exit code 2 for bad input."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

import characterize.systems
from characterize import __main__ as command
from characterize.commands.report import render
from characterize.results.result import load

CASE = Path(characterize.systems.__file__).parent / "hpc_ai500_16_gpus.toml"
ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "characterize", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder with the results of the case study."""
    folder = tmp_path_factory.mktemp("results")
    assert command.main(["roofline", "--system", str(CASE), "--output", str(folder)]) == 0
    return folder


def test_the_case_study_writes_json_and_pictures(folder):
    assert (folder / "roofline.png").read_bytes().startswith(b"\x89PNG")
    assert "EWA, fp32" in (folder / "roofline.svg").read_text()
    data = load(folder / "roofline.json", "roofline").data
    assert data["system"]["num_ranks"] == 16


def test_the_case_study_prints_what_bounds_what(folder, capsys):
    command.main(["roofline", "--system", str(CASE), "--output", str(folder)])
    printed = capsys.readouterr().out
    assert re.search(r"EWA, fp32 +communication \(Ethernet\) +80\.9 TFLOP/s +26\.0 TFLOP/s +32 %", printed)
    assert re.search(r"Image classification, fp32 +compute \(GEMM, fp32\) +230 TFLOP/s", printed)


def test_a_declared_system_without_workloads_gets_the_benchmarks(tmp_path, capsys):
    plan = tmp_path / "plan.toml"
    plan.write_text('num_ranks = 64\nnum_nodes = 8\n[compute]\n"bf16" = 1e16\n[communication]\n"net" = 1e9\n')
    assert command.main(["roofline", "--system", str(plan), "--benchmark", "cosmoflow", "--output", str(tmp_path)]) == 0
    placed = load(tmp_path / "roofline.json").data["placed"]
    assert [one["workload"]["name"] for one in placed] == ["CosmoFlow"]
    workload = placed[0]["workload"]
    assert workload["flops_per_step"] == pytest.approx(64 * 4 * 192.09e9, rel=1e-3)
    assert workload["communication_bytes_per_step"] == pytest.approx(2 * 7 * 4 * 8_907_556)
    assert "communication (net)" in capsys.readouterr().out


def test_one_rank_has_a_memory_roofline_alone(tmp_path):
    plan = tmp_path / "plan.toml"
    plan.write_text('num_ranks = 1\n[compute]\n"fp32" = 1e12\n[memory]\n"ram" = 1e9\n')
    assert command.main(["roofline", "--system", str(plan), "--benchmark", "cosmoflow", "--output", str(tmp_path)]) == 0
    picture = (tmp_path / "roofline.svg").read_text()
    assert "per byte of memory" in picture
    assert "per byte of communication" not in picture
    assert load(tmp_path / "roofline.json").data["placed"][0]["workload"]["communication_bytes_per_step"] == 0


def test_the_report_is_one_page_that_loads_nothing(folder):
    assert command.main(["report", "--output", str(folder), "--title", "Site <b> & co"]) == 0
    page = (folder / "report.html").read_text()
    assert "Site &lt;b&gt; &amp; co" in page
    assert "EWA, fp32 is bound by communication (Ethernet) at 80.9 TFLOP/s; it attains 26.0 TFLOP/s" in page
    assert page.count("<svg") == 1
    assert not re.search(r'(src|href)="(?!#)', page)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(identifiers) == len(set(identifiers))


def test_what_bounds_what_is_sorted_by_what_limits_most(folder):
    head = render([load(folder / "roofline.json")], "t").split("<nav")[0]
    assert "<h3>Benchmarks against their bounds, farthest first</h3>" in head
    shares = [int(share) for share in re.findall(r"(\d+) % of that", head)]
    assert len(shares) > 1
    assert shares == sorted(shares)


def test_settings_and_titles_are_words_and_not_python(folder):
    result = load(folder / "roofline.json")
    settings = {"full": False, "sizes": [8, 1024], "choices": [[64, 128]], "throughput": [], "organization": None}
    other = replace(result, name="roofline_cosmoflow_own_measurements", settings={"benchmark": "cosmoflow"} | settings)
    page = render([other], "t")
    assert "<h2>Roofline: CosmoFlow, own measurements</h2>" in page
    assert "full: no; sizes: 8, 1024; choices: 64 x 128; throughput: none; organization: not given" in page


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
def test_tables_on_a_phone_scroll_and_break_no_word(folder, tmp_path):
    """In a frame as wide as a phone no header is higher than three lines, and the page is not wider than the frame."""
    script = (
        "const page = document.documentElement; const heads = [...document.querySelectorAll('th')];"
        "const tallest = Math.max(...heads.map(head => head.getBoundingClientRect().height));"
        "parent.postMessage(`tallest ${tallest} wide ${page.scrollWidth > page.clientWidth}`, '*');"
    )
    page = re.sub(r"<meta http-equiv=.*?>", "", render([load(folder / "roofline.json")], "t"))
    (tmp_path / "page.html").write_text(page.replace("</body>", f"<script>{script}</script></body>"))
    listen = "<script>onmessage = message => document.title = message.data</script>"
    frame = tmp_path / "phone.html"
    frame.write_text(f'{listen}<iframe src="page.html" width="390" height="800"></iframe>')
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
        command += ["--virtual-time-budget=5000", "--dump-dom", frame.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    tallest, is_wide = re.search(r"tallest ([\d.]+) wide (\w+)", shown).groups()
    assert float(tallest) < 80
    assert is_wide == "false"


def test_what_a_result_says_is_escaped(folder):
    result = load(folder / "roofline.json")
    result.settings["system"] = "<script>alert(1)</script>"
    assert "<script>" not in render([result], "t")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("report", "--output", "nowhere"), "found no result; measure first"),
        (("roofline", "--system", "nowhere.toml"), "nowhere.toml: cannot be read"),
        (("roofline", "--benchmark", "cosmoflo"), "did you mean cosmoflow"),
        (("allreduce", "--ranks", "1"), "one rank communicates nothing"),
        (("breakdown", "cosmoflow", "--ranks", "1"), "one rank sends no gradients"),
        (("scaling", "cosmoflow", "--ranks", "2"), "one number of ranks shows no scaling"),
    ],
)
def test_bad_input_is_one_sentence(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["characterize", *arguments])
    assert command.cli.exit_code(command.main) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_cannot_be_written_is_refused_before_measuring(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("characterize.commands.roofline.measure", lambda options: pytest.fail("measured"))
    monkeypatch.setattr(sys, "argv", ["characterize", "roofline", "--output", str(tmp_path / "file" / "results")])
    assert command.cli.exit_code(command.main) == 2
    assert "is not a writable folder" in capsys.readouterr().err


def test_a_result_of_another_version_ends_the_report_with_2(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "old")
    path = tmp_path / "old" / "roofline.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 99}))
    done = run("report", "--output", tmp_path / "old")
    assert (done.returncode, done.stdout) == (2, "")
    assert "schema: found 99, expected 1" in done.stderr
    assert done.stderr.count("\n") == 1


def test_help_names_every_verb():
    done = run("--help")
    assert done.returncode == 0
    assert all(verb in done.stdout for verb in command.VERBS)


@pytest.mark.slow
def test_breakdown_of_a_benchmark(tmp_path):
    assert command.main(["breakdown", "cosmoflow", "--output", str(tmp_path)]) == 0
    data = load(tmp_path / "breakdown_cosmoflow.json", "breakdown").data
    assert max(data["kinds"], key=data["kinds"].get) == "convolution"
    assert data["timeline"]["all-reduce"] > 0
    phases = data["phases"]
    step = sum(phases[name] for name in ("forward", "backward", "exposed_communication", "optimizer"))
    assert 0 < phases["hidden_communication"] + phases["exposed_communication"] < step
    assert data["kinds"]["optimizer"] > 0
    assert data["samples"]
    assert command.main(["report", "--output", str(tmp_path)]) == 0
    assert "CosmoFlow spends" in (tmp_path / "report.html").read_text()
