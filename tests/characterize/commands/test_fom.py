# SPDX-License-Identifier: Apache-2.0
"""Figures of merit: each source gives its figure, ratios are to the reference's baseline, mistakes are one line."""

import csv

import pytest

from characterize import __main__ as command
from characterize.commands import worksheet
from characterize.results.result import CharacterizeError, load

STATED = 'minutes = {minutes}\nkind = "{kind}"\nmethod = "by hand"\naccelerators = 512\n'


def cell(benchmark, column, minutes, kind="measured"):
    return f"[benchmarks.{benchmark}.{column}]\n" + STATED.format(minutes=minutes, kind=kind)


def written(path, *cells, system="Ours"):
    path.write_text(f'system = "{system}"\n' + "".join(cells))
    return path


@pytest.fixture
def reference(tmp_path):
    cells = cell("cosmoflow", "baseline", 8), cell("deepcam", "baseline", 4)
    return written(tmp_path / "reference.toml", *cells, system="Old")


def test_ratios_and_their_geometric_mean(reference, tmp_path, capsys):
    """CosmoFlow twice as fast, DeepCAM eight times; optimized: 4 and, without a figure, the baseline's 8."""
    cells = cell("cosmoflow", "baseline", 4), cell("cosmoflow", "optimized", 2), cell("deepcam", "baseline", 0.5)
    proposed = written(tmp_path / "proposed.toml", *cells)
    arguments = ["fom", "--reference", str(reference), "--proposed", str(proposed), "--output", str(tmp_path / "o")]
    assert command.main(arguments) == 0
    data = load(tmp_path / "o" / "fom.json", "fom").data
    assert data["ratios"]["cosmoflow"] == pytest.approx({"baseline": 2, "optimized": 4})
    assert data["geometric_means"] == pytest.approx({"baseline": 4, "optimized": 32**0.5})
    assert "0 of 3 figures are projected" in " ".join(capsys.readouterr().out.split())
    rows = list(csv.DictReader((tmp_path / "o" / "fom.csv").open()))
    best = next(row for row in rows if (row["system"], row["column"]) == ("Ours", "optimized"))
    assert (best["value"], best["unit"], best["kind"], best["method"]) == ("30.0", "trainings/h", "measured", "by hand")
    assert command.main(["report", "--output", str(tmp_path / "o")]) == 0
    page = (tmp_path / "o" / "report.html").read_text()
    assert "Ours, baseline: 4.00 times Old (geometric mean)." in page
    assert page.count("by hand") == 5


def test_without_a_proposal_there_is_a_worksheet_to_fill(reference, tmp_path):
    assert command.main(["fom", "--reference", str(reference), "--output", str(tmp_path / "o")]) == 0
    empty = tmp_path / "o" / "fom_worksheet.toml"
    with pytest.raises(CharacterizeError, match=r"fom_worksheet\.toml: .*length >= 1.*system"):
        worksheet.load(empty)
    text = empty.read_text().replace('""', '"x"').replace("minutes = 0", "minutes = 2").replace("ors = 0", "ors = 8")
    empty.write_text(text)
    assert set(worksheet.load(empty).figures) == {"cosmoflow", "deepcam"}


def test_a_public_entry_and_many_instances(tmp_path):
    """v2.0, HoreKa: 512 A100 trained CosmoFlow in 5.49 minutes."""
    public = '[benchmarks.cosmoflow.baseline]\npublic = "v2.0 HelmholtzAI/horeka_gpu_n512_pytorch1.13"\n'
    several = cell("deepcam", "baseline", 6) + "instances = 3\n"
    figures = worksheet.load(written(tmp_path / "w.toml", public, several)).figures
    one = figures["cosmoflow"]["baseline"]
    assert (one.kind, one.accelerators, one.unit) == ("measured", 512, "trainings/h")
    assert one.value == pytest.approx(60 / 5.494, rel=1e-3)
    assert figures["deepcam"]["baseline"].value == 30


def test_a_prediction_is_projected_with_its_interval(tmp_path):
    arguments = ["predict", "--accelerator", "H100", "--ranks", "512", "--batches", "512", "--output", str(tmp_path)]
    assert command.main(arguments) == 0
    source = '[benchmarks.cosmoflow.baseline]\nprediction = "predict_cosmoflow_H100.json"\n'
    figure = worksheet.load(written(tmp_path / "w.toml", source)).figures["cosmoflow"]["baseline"]
    minutes = load(tmp_path / "predict_cosmoflow_H100.json").data["choices"][0]["minutes"]
    assert (figure.kind, figure.accelerators) == ("projected", 512)
    assert figure.value == pytest.approx(60 / minutes)
    assert figure.interval[0] < figure.value < figure.interval[1]


def test_logs_are_scored(published_results, tmp_path):
    folder = published_results / "hpc_results_v2.0" / "HelmholtzAI" / "results" / "horeka_gpu_n512_pytorch1.13"
    source = f'[benchmarks.cosmoflow.baseline]\nlogs = "{folder}/strong/cosmoflow"\n'
    figure = worksheet.load(written(tmp_path / "w.toml", source)).figures["cosmoflow"]["baseline"]
    assert figure.kind == "measured"
    assert figure.value == pytest.approx(60 / 5.494, rel=1e-3)


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([], "required field `benchmarks`"),
        ([cell("cosmoflow", "optimised", 4)], "optimised"),
        ([cell("cosmoflow", "optimized", 4)], "benchmarks.cosmoflow: baseline: missing"),
        ([cell("cosmoflow", "baseline", -4)], "minutes"),
        ([cell("cosmoflow", "baseline", 4, kind="guessed")], "kind"),
        (["[benchmarks.cosmoflow.baseline]\n"], "found none, expected one of minutes, vflops, logs"),
        (["[benchmarks.cosmoflow.baseline]\nminutes = 4\n"], "kind: missing, minutes needs it"),
        (['[benchmarks.cosmoflow.baseline]\npublic = "v9"\n'], "found 'v9', expected an entry of cosmoflow"),
        (['[benchmarks.cosmoflow.baseline]\npublic = "v9"\nkind = "measured"\n'], "kind: unexpected, public gives it"),
        (['[benchmarks.cosmoflow.baseline]\nlogs = "nowhere"\n'], "no such file or folder"),
        (['[benchmarks.cosmoflow.baseline]\nprediction = "nowhere.json"\n'], "not a readable result"),
        ([cell("cosmoflow", "baseline", 4)], "deepcam: missing, expected a figure for every benchmark"),
        (
            [
                cell("cosmoflow", "baseline", 4),
                cell("deepcam", "baseline", 4).replace("minutes", "vflops"),
            ],
            "deepcam: found a figure in VFLOPS, expected trainings/h",
        ),
    ],
)
def test_a_wrong_worksheet_is_one_line(reference, tmp_path, monkeypatch, capsys, cells, said):
    proposed = written(tmp_path / "proposed.toml", *cells)
    arguments = ["fom", "--reference", str(reference), "--proposed", str(proposed), "--output", str(tmp_path / "o")]
    assert command.cli.exit_code(lambda: command.main(arguments)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "proposed.toml" in error or "nowhere" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()
