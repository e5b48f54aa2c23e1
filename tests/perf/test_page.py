# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md: a verdict for every ratio, a table per machine, and measurements that lack a tool are named."""

from pathlib import Path
from subprocess import CalledProcessError

import pytest

from perf import __main__ as perf_command
from perf import compliance, measurement, page, staging
from perf.measurement import Measurement, Row, folder_name

OLD, NEW = "2 cores of Intel(R) Xeon(R) Processor (AMX)", "2 cores of AMD EPYC (AVX512-bf16)"


def measured(machine, date, *ratios):
    rows = [
        Row(what=f"row {number}", unit="s", ours=1.0, peer=ratio, ratio=ratio, peak_share=0.5)
        for number, ratio in enumerate(ratios)
    ]
    text = {"name": "toy", "title": "Toy: a measurement", "peer": "a peer", "method": "Once."}
    return Measurement(**text, rows=rows, versions=(), machine=machine, date=date)


@pytest.mark.parametrize(
    ("ratios", "said"),
    [((1.06, 2), "win"), ((0.96, 1.04), "equal"), ((0.9,), "lose"), ((0.9, 1.2), "depends on the machine")],
)
def test_a_verdict_needs_all_machines(ratios, said):
    assert page.verdict(ratios) == said


def test_machines_stand_beside_each_other_and_keep_their_figures(tmp_path):
    measured(OLD, "2026-11-21", 2.0, 0.5, 1.0).write(tmp_path)
    measured(NEW, "2026-11-25", 1.5, 1.5).write(tmp_path)
    page.write(tmp_path, tmp_path / "performance.md")
    text = (tmp_path / "performance.md").read_text()
    summary = text[: text.index("## Toy")]
    assert f"| | measurement | {NEW} | {OLD} |" in summary
    assert "| win | Toy: row 0 | 1.5x | 2x |" in summary
    assert "| equal | Toy: row 2 | - | 1x |" in summary
    assert "| depends on the machine | Toy: row 1 | 1.5x | 0.5x |" in summary
    assert summary.index("| win") < summary.index("| equal") < summary.index("| depends")
    assert text.index(f"{NEW}, 2026-11-25") < text.index(f"{OLD}, 2026-11-21")
    assert "| row 0 | s | 1 | 1.5 | **1.5x** | 50% |  |" in text
    measured(NEW, "2026-11-26", 3.0).write(tmp_path, load_per_core=2.5)
    page.write(tmp_path, tmp_path / "performance.md")
    text = (tmp_path / "performance.md").read_text()
    assert "| win | Toy: row 0 | 3x | 2x |" in text
    assert "2026-11-25" not in text
    assert text.count("Load before: 2.5 per core; rates are lower bounds.") == 1


def test_folders_of_machines():
    assert folder_name(OLD) == "intel_xeon_amx"
    assert folder_name(NEW) == "amd_epyc_avx512_bf16"


def test_a_machine_is_named_with_its_instructions(monkeypatch):
    info = {"model name": "AMD EPYC", "flags": "fpu avx2 avx512f avx512_bf16"}
    monkeypatch.setattr(measurement, "_cpuinfo", lambda: info)
    assert measurement.machine().endswith("cores of AMD EPYC (AVX512-bf16)")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ModuleNotFoundError("No module", name="h5py"), "toy: the module h5py is not installed"),
        (FileNotFoundError(2, "No such file or directory", "rsync"), "toy: rsync not found"),
        (CalledProcessError(1, ["dd"]), "toy: Command '['dd']' returned non-zero exit status 1."),
    ],
)
def test_a_missing_tool_leaves_out_its_measurement_alone(monkeypatch, tmp_path, capsys, error, said):
    class Module:
        @staticmethod
        def measure():
            raise error

    class Other:
        @staticmethod
        def measure():
            return measured(NEW, "2026-11-25", 2.0)

    monkeypatch.setattr(perf_command, "NAMES", ("toy", "other"))
    monkeypatch.setattr(perf_command, "import_module", lambda name: Module if name == "perf.toy" else Other)
    monkeypatch.setattr(perf_command, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    assert perf_command.main(["--output", str(tmp_path / "results")]) == 0
    assert capsys.readouterr().err == f"not measured: {said}\n"
    assert "row 0" in (tmp_path / "docs" / "performance.md").read_text()


def test_staging_is_compared_with_the_tools_that_are_there(monkeypatch, tmp_path):
    monkeypatch.setattr(staging.shutil, "which", lambda name: None if name == "rsync" else f"/bin/{name}")
    assert set(staging._peers(tmp_path)) == {"cp"}
    assert set(staging._dd(tmp_path)) == {"dd"}


def test_a_peer_that_is_not_installed_gives_no_figure(monkeypatch):
    monkeypatch.setattr(compliance, "find_spec", lambda name: None)
    with pytest.raises(measurement.NotMeasurable, match="mlperf-logging, the peer, is not installed"):
        compliance.measure()


def test_the_document_is_made_from_the_records(tmp_path):
    root = Path(perf_command.__file__).parents[1]
    page.write(root / "perf" / "results", tmp_path / "performance.md")
    assert (tmp_path / "performance.md").read_text() == (root / "docs" / "performance.md").read_text()


def test_every_measurement_is_known_to_the_command():
    modules = {
        path.stem for path in Path(perf_command.__file__).parent.glob("*.py") if "def measure()" in path.read_text()
    }
    assert modules == set(perf_command.NAMES)
