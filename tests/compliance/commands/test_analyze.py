# SPDX-License-Identifier: Apache-2.0
"""`analyze` and `compare`: tables on the terminal, and a folder with csv, json, pictures and a page."""

import csv
import json
import re
import subprocess
import sys
from html import unescape

import pytest
from matplotlib.text import Text

from compliance.__main__ import main
from compliance.commands import _analysis
from compliance.reports.pictures import compute


def test_the_papers_tables_and_figures_from_a_round(published_results, tmp_path, capsys):
    output = tmp_path / "analysis"
    assert main(["analyze", str(published_results / "hpc_results_v0.7"), "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].startswith("rules mlperf_hpc_0.7")
    assert printed.splitlines()[-1] == str(output / "index.html")
    for title in ("Table 4: scores", "Table 5: staging", "Table 6: epochs", "Run-to-run variation"):
        assert title in printed
    assert re.search(r"LBNL/corigpu_n64_tf1.15.0 +closed +16.49 ± 0.61 +2.55", printed)
    pictures = {
        *("figure_1_time_split", "figure_2_compute_cosmoflow", "figure_2_compute_deepcam", "figure_3_time_and_epochs"),
        *("figure_5_weak_scaling", "variation"),
    }
    assert {path.stem for path in output.glob("*.png")} == {path.stem for path in output.glob("*.svg")} == pictures
    rows = list(csv.DictReader((output / "table_6_compute.csv").open()))
    assert len(rows) == 15
    document = json.loads((output / "analysis.json").read_text())
    assert [float(row["epochs"]) for row in rows] == [
        row["epochs"] for row in document["tables"]["table_6_compute"]["rows"]
    ]


def test_the_page_holds_everything_and_loads_nothing(valid_round, tmp_path):
    assert main(["analyze", str(valid_round), "--output", str(tmp_path / "a")]) == 0
    page = (tmp_path / "a" / "index.html").read_text()
    assert "Table 6" in page
    assert page.count("data:image/svg+xml;base64,") >= 2
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "default-src 'none'" in unescape(page)


def test_a_single_log_and_hostile_names(valid_round, tmp_path, capsys):
    odd = valid_round / "<b>&$x_$\x1b[2J"
    (valid_round / "beta").rename(odd)
    assert main(["analyze", str(valid_round), "--output", str(tmp_path / "a")]) == 0
    assert "\x1b" not in capsys.readouterr().out
    page = (tmp_path / "a" / "index.html").read_text()
    assert "<b>" not in page
    log = odd / "results/rack/strong/deepcam/result_0.txt"
    assert main(["analyze", str(log), "--output", str(tmp_path / "b")]) == 0
    assert "Table 6" in (tmp_path / "b" / "index.html").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no complete run"), (":::MLLOG {}\n", "no complete run"), (None, "no such file or folder")],
)
def test_nothing_to_analyze_is_one_line(tmp_path, capsys, content, said):
    log = tmp_path / "result_0.txt"
    if content is not None:
        log.write_text(content)
    assert main(["analyze", str(log), "--output", str(tmp_path / "a"), "--rules", "mlperf_hpc_2.0"]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "a").exists()


def test_an_output_that_cannot_be_written_is_reported_before_the_work(valid_round, tmp_path, capsys, monkeypatch):
    (tmp_path / "taken").write_text("")
    monkeypatch.setattr("compliance.commands._analysis.read", lambda *_: pytest.fail("the work has begun"))
    for output in (tmp_path / "taken", tmp_path / "taken" / "a"):
        assert main(["analyze", str(valid_round), "--output", str(output)]) == 2
        assert "cannot be written" in capsys.readouterr().err


def test_compare_needs_two_rounds_and_names_the_causes(published_results, tmp_path, capsys):
    first, second = (str(published_results / f"hpc_results_v{name}") for name in ("0.7", "2.0"))
    assert main(["compare", first]) == 2
    assert "expected two or more" in capsys.readouterr().err
    assert main(["compare", first, second, "--output", str(tmp_path / "c")]) == 0
    printed = capsys.readouterr().out
    assert "hpc_results_v2.0 against hpc_results_v0.7" in printed
    assert re.search(r"RIKEN/fugaku_512\S+ +Fujitsu\+RIKEN/fugaku_512\S+ +249.35 +114.35 +2.18", printed)
    assert (tmp_path / "c" / "comparison_hpc_results_v0.7_hpc_results_v2.0.svg").is_file()


def test_analysis_imports_no_training_code(valid_round, tmp_path):
    code = "import sys; from compliance.__main__ import main; main(sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, "analyze", valid_round, "--output", tmp_path / "a"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not {"torch", "harness"} & set(printed.split())


def test_labels_of_figure_2_do_not_overlap(published_results):
    _, entries = _analysis.read(published_results / "hpc_results_v0.7", None)
    for benchmark in ("cosmoflow", "deepcam"):
        figure = compute.draw([entry for entry in entries if entry.benchmark == benchmark])
        figure.draw_without_rendering()
        for panel in figure.axes:
            texts = [text for text in panel.texts if text.get_text()]
            numbers = [text for text in texts if text.get_text().isdigit()]
            levels = [text for text in texts if text not in numbers]
            assert levels
            for number in numbers:
                box = Text.get_window_extent(number)  # without the line to its marker
                assert not any(box.overlaps(level.get_window_extent()) for level in levels)
