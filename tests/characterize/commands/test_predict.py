# SPDX-License-Identifier: Apache-2.0
"""predict: works from a clone, refuses guesses, and uses rounds, devices and measurements of one's own."""

import sys

import pytest

from characterize import __main__ as command
from characterize.commands.own_throughput import from_scaling, from_texts
from characterize.results.result import CharacterizeError, Result, load
from characterize.rounds.facts import shipped
from tests.characterize.rounds.test_from_logs import run, write_round


def predict(folder, *arguments):
    """Run the command; return the newest result."""
    assert command.main(["predict", *map(str, arguments), "--output", str(folder)]) == 0
    return load(max(folder.glob("predict*.json"), key=lambda path: path.stat().st_mtime_ns))


def test_it_works_without_logs(tmp_path, monkeypatch, capsys):
    """Facts are shipped: neither HPC_RESULTS nor a folder beside the project is read."""
    monkeypatch.setenv("HPC_RESULTS", str(tmp_path / "nowhere"))
    result = predict(tmp_path, "--benchmark", "cosmoflow", "--ranks", 64, 128, "--batches", 128, 256)
    choices = {(choice["num_ranks"], choice["global_batch_size"]): choice for choice in result.data["choices"]}
    assert list(choices) == [(64, 128), (64, 256), (128, 128), (128, 256)]
    assert choices[128, 256]["is_fastest"]
    assert all(choice["low"] < choice["minutes"] < choice["high"] for choice in choices.values())
    assert "such predictions were wrong by" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "predict_cosmoflow_A100.svg").is_file()


def test_h100_is_predicted_within_a_factor_of_two_of_its_published_time(tmp_path):
    """MLPerf HPC v3.0: 2.1 minutes for CosmoFlow on 512 H100; none of the shipped entries ran on an H100."""
    result = predict(tmp_path, "--accelerator", "H100", "--ranks", 512, "--batches", 512)
    choice = result.data["choices"][0]
    assert 2.1 / 2 < choice["minutes"] < 2.1 * 2
    assert choice["low"] < 2.1 < choice["high"]
    assert result.data["device_is_new"]
    assert result.data["experience"]["split"] == "device"


def test_own_throughputs_are_used_as_they_are(tmp_path):
    result = predict(tmp_path, "--benchmark", "deepcam", "--throughput", "512:512=8800", "512:1024=9000")
    assert {choice["throughput"] for choice in result.data["choices"]} == {8800, 9000}
    assert result.settings["accelerator"] == "own measurements"
    assert result.data["experience"]["question"] == "throughput measured"


def test_own_throughputs_tell_about_other_choices(tmp_path):
    arguments = ("--benchmark", "deepcam", "--ranks", 1024, "--batches", 1024)
    slow, fast = (
        predict(tmp_path, *arguments, "--throughput", f"256:512={rate}").data["choices"][0] for rate in (300, 30_000)
    )
    assert fast["throughput"] > 3 * slow["throughput"]


def test_an_organization_known_for_fast_code_is_faster(tmp_path):
    arguments = ("--ranks", 512, "--batches", 512)
    typical = predict(tmp_path, *arguments).data["choices"][0]
    nvidia = predict(tmp_path, *arguments, "--organization", "NVIDIA").data["choices"][0]
    assert nvidia["throughput"] > 1.2 * typical["throughput"]


def test_a_prediction_with_other_settings_does_not_replace_the_last_one(tmp_path):
    for batch in (128, 256, 128):
        predict(tmp_path, "--ranks", 64, "--batches", batch)
    assert sorted(path.name for path in tmp_path.glob("*.json")) == [
        "predict_cosmoflow_A100.json",
        "predict_cosmoflow_A100_2.json",
    ]


def test_other_rounds_are_read_from_logs(tmp_path, capsys):
    folder = write_round(tmp_path / "logs", [run(100 * number, number_of_ranks=128) for number in range(5)])
    result = predict(tmp_path, "--logs", folder, "--benchmark", "deepcam")
    assert result.settings["num_entries"] == len(shipped()) + 1
    chip = write_round(
        tmp_path / "chip",
        [run(9000 + 100 * number, number_of_ranks=128) for number in range(5)],
        description={"accelerators_per_node": 8, "accelerator_model_name": "Chip 7"},
    )
    predict(tmp_path, "--logs", chip)
    assert "unknown device 'Chip 7'" in capsys.readouterr().err


def test_a_device_of_ones_own(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text("[Ours]\nbf16_tflops = 600\nmemory_gb_per_s = 3000\n")
    result = predict(tmp_path, "--accelerator", "Ours", "--devices", path, "--ranks", 64, "--batches", 64)
    assert result.name == "predict_cosmoflow_Ours"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--accelerator", "X900"), "--devices FILE"),
        (("--benchmark", "resnet"), "expected one of cosmoflow, deepcam, oc20"),
        (("--batches", "65536"), "the largest batch size that converged for cosmoflow on 524288 samples is 1024"),
        (("--throughput", "64:65536=1"), "the largest batch size that converged"),
        (("--batches", "0"), "expected whole numbers above 0"),
        (("--ranks", "2048", "--batches", "1024"), "below the ranks"),
        (("--samples", "7"), "public entries trained on 262144, 524288 samples"),
        (("--organization", "nobody"), "expected one of ANL"),
        (("--throughput", "512=9000"), "RANKS:BATCH=SAMPLES_PER_SECOND"),
        (("--logs", "nowhere"), "nowhere: no such file or folder"),
        (("--measured", "nowhere"), "scaling_cosmoflow.json: not a readable result"),
        (("--devices", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_a_guess_is_refused_with_one_line(monkeypatch, capsys, tmp_path, arguments, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["characterize", "predict", *arguments])
    assert command.cli.exit_code(command.main) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "output").exists()


def scaling_result(**changed):
    settings = {
        "benchmark": "cosmoflow",
        "size": [128, 128, 128],
        "kinds": ["weak"],
        "is_reference_size": True,
    } | changed
    data = {"seconds": {"weak": {"8": [2.0, 2.0]}}, "global_batch_size": {"weak": {"8": 32}}}
    return Result(name="scaling_cosmoflow", verb="scaling", settings=settings, data=data)


def test_results_of_scaling_are_throughputs_without_evaluation(tmp_path):
    scaling_result().write(tmp_path)
    entries = [entry for entry in shipped() if entry.benchmark == "cosmoflow"]
    own = from_scaling(tmp_path, "cosmoflow", entries)
    assert list(own) == [(8, 32)]
    assert 0.5 * 16 < own[8, 32].samples_per_s < 16  # 16 samples/s while training, and less with evaluation
    result = predict(tmp_path, "--measured", tmp_path)
    assert result.data["choices"][0]["throughput"] == own[8, 32].samples_per_s


def test_scaling_on_a_smaller_input_is_refused(tmp_path):
    scaling_result(size=[64, 64, 64], is_reference_size=False).write(tmp_path)
    with pytest.raises(CharacterizeError, match=r"measured on 64 x 64 x 64.*use scaling --full"):
        from_scaling(tmp_path, "cosmoflow", shipped())


def test_throughputs_are_parsed_or_refused():
    assert from_texts(["512:1024=9000.5"])[512, 1024].samples_per_s == 9000.5
    for text in ("512=9000", "a:b=c", "1:1=0", "1:1=1e400", "1:1=nan"):
        with pytest.raises(CharacterizeError, match="RANKS:BATCH=SAMPLES_PER_SECOND"):
            from_texts([text])


def test_validation_states_errors_for_every_split(tmp_path, capsys):
    result = predict(tmp_path, "--validate")
    assert result.name == "predict_validation"
    assert {row["split"] for row in result.data["summary"]} == {"entry", "organization", "round", "device"}
    printed = capsys.readouterr().out
    assert "its device" in printed
    assert "v0.7, v1.0, v2.0" in (tmp_path / "predict_validation.svg").read_text()


def test_the_report_page_has_predictions(tmp_path):
    predict(tmp_path, "--ranks", 64, "--batches", 64)
    predict(tmp_path, "--validate")
    assert command.main(["report", "--output", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "CosmoFlow on 64 A100 with a global batch size of 64" in page
    assert page.count("<svg") == 2
