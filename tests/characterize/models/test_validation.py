# SPDX-License-Identifier: Apache-2.0
"""Predictions of public entries from the others: on made-up rounds by hand, on the real ones as the document says."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from characterize.models.public_rounds import Observation, device_family, observations, reference_epochs, results_folder
from characterize.models.throughput import Setting
from characterize.models.validation import QUESTIONS, calibration, leave_one_out, predict, summarise
from characterize.results.result import CharacterizeError

DOCUMENT = Path(__file__).parents[3] / "docs" / "characterization.md"


def observation(ranks=64, batch=256, minutes=None, epochs=10.0, samples=1000, rate_per_rank=10.0):
    """An entry that obeys the time model exactly."""
    throughput = rate_per_rank * ranks
    return Observation(
        round="0.7",
        org="acme",
        system=f"n{ranks}",
        division="closed",
        setting=Setting(benchmark="toy", device="X1", era="0.7", num_ranks=ranks, global_batch_size=batch),
        train_samples=samples,
        epochs=epochs,
        throughput=throughput,
        staging_minutes=0.0,
        minutes=minutes or epochs * samples / throughput / 60,
    )


ROUND = [observation(ranks=ranks, batch=batch) for ranks in (16, 32, 64) for batch in (128, 256, 512)]


def test_a_lawful_round_is_predicted():
    wanted = observation(ranks=32, batch=384)
    assert predict(ROUND, wanted).minutes.median == pytest.approx(wanted.minutes, rel=0.1)


def test_known_throughput_is_taken_as_it_is():
    wanted = replace(observation(), throughput=123.0)
    found = predict(ROUND, wanted, "throughput known")
    assert found.throughput.median == 123
    assert found.minutes.median == pytest.approx(10 * 1000 / 123 / 60)


def test_the_answer_is_never_looked_at():
    wanted = observation()
    told, untold = (predict(ROUND, one) for one in (wanted, replace(wanted, minutes=1e9, epochs=1e9, throughput=1e9)))
    assert told == untold


def test_without_a_like_entry_there_is_no_prediction():
    assert predict(ROUND, observation(samples=2000)) is None
    assert predict(ROUND, observation(samples=2000), "epochs known") is not None


def test_a_wrong_entry_does_not_predict_itself():
    odd = observation(minutes=100.0)
    trials = [trial for trial in leave_one_out([*ROUND, odd]) if trial.observation is odd]
    assert [trial.question for trial in trials] == list(QUESTIONS)
    assert all(trial.prediction.minutes.median < 1 and not trial.within for trial in trials)


def test_calibration_reaches_as_far_as_nine_of_ten_errors():
    trials = [trial for trial in leave_one_out([*ROUND, observation(minutes=100.0)]) if trial.question == "blind"]
    scores = sorted(abs(trial.log_ratio) / trial.prediction.minutes.spread for trial in trials)
    assert calibration(trials) == pytest.approx(scores[math.ceil(0.9 * 11) - 1])
    assert calibration([]) == 1.645


def test_no_trials_have_no_summary():
    assert summarise([]) is None


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("NVIDIA A100-SXM4-40GB (400W)", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("FUJITSU Processor A64FX", "A64FX"),
        ("NVIDIA Quadro RTX 5000", "RTX 5000"),
        ("Own Chip 7 ", "Own Chip 7"),
    ],
)
def test_device_families(name, family):
    assert device_family(name) == family


def test_reference_points_are_the_rules_own():
    assert reference_epochs("2.0", "cosmoflow")[64] == pytest.approx(18.28, abs=0.01)
    assert reference_epochs("0.7", "cosmoflow") == {}


def test_a_folder_that_is_none_is_named(tmp_path):
    with pytest.raises(CharacterizeError, match="HPC_RESULTS"):
        results_folder(tmp_path / "nowhere")
    with pytest.raises(CharacterizeError, match="found no round"):
        observations(tmp_path)


@pytest.fixture(scope="module")
def public_trials(published_results):
    return leave_one_out(observations(published_results))


def test_every_public_entry_is_predicted(public_trials):
    assert len(public_trials) == 28 * len(QUESTIONS)
    assert all(trial.prediction is not None for trial in public_trials)


def test_public_errors_are_those_that_the_document_states(public_trials):
    stated = re.findall(
        r"^\| (blind|throughput known|epochs known) \| all \| (\d+) \| (\d+) % \| .* (\d+) % \|$",
        DOCUMENT.read_text(),
        re.M,
    )
    found = {
        question: summarise(trial for trial in public_trials if trial.question == question) for question in QUESTIONS
    }
    assert {question: (int(number), int(error), int(held)) for question, number, error, held in stated} == {
        question: (one.num_trials, round(100 * one.median_error), round(100 * one.coverage))
        for question, one in found.items()
    }
